//! Looks at files again and again: that works everywhere, for links that are exchanged and for
//! volumes over a network as well, and costs one call of the system for each file.

use std::path::Path;
use std::time::Duration;

use crate::stamp::Stamp;

/// How often files are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What was there at the last look.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: Option<(Vec<Option<Stamp>>, bool)>,
}

/// What a look tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Look {
    /// The files are as they were when they were read last.
    Same,
    /// They are to be read.
    Changed {
        /// They were the same at the look before: nobody is writing them.
        is_settled: bool,
    },
}

impl Look {
    /// Whether the files are to be read.
    pub(crate) fn is_changed(self) -> bool {
        self != Self::Same
    }

    /// Whether nobody is writing the files.
    pub(crate) fn is_settled(self) -> bool {
        self != Self::Changed { is_settled: false }
    }
}

impl Looks {
    /// Looks. A change is told twice, since the files may have been read while they were written,
    /// or written again within what the clock can tell. The first look tells a change.
    pub(crate) fn look<'p>(&mut self, paths: impl IntoIterator<Item = &'p Path>) -> Look {
        let now: Vec<_> = paths.into_iter().map(Stamp::of).collect();
        let before = self.last.take();
        let is_settled = before.as_ref().is_some_and(|(before, _)| *before == now);
        let is_read = is_settled && before.is_some_and(|(_, was_settled)| was_settled);
        self.last = Some((now, is_settled));
        if is_read {
            Look::Same
        } else {
            Look::Changed { is_settled }
        }
    }
}
