//! How a server is told to end.

use tokio::sync::watch;

/// What the server is to do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Serve.
    #[default]
    Running,
    /// Finish what has begun, and take no more.
    Ending,
    /// End at once.
    Now,
}

/// Tells all listeners and connections of a server to end.
#[derive(Debug)]
pub(crate) struct End(watch::Sender<Phase>);

impl Default for End {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }
}

impl End {
    /// Goes on to a later phase; never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let is_later = (phase as u8) > (*current as u8);
            if is_later {
                *current = phase;
            }
            is_later
        });
    }

    /// Whether this phase is reached, or a later one.
    pub(crate) fn has_reached(&self, phase: Phase) -> bool {
        (*self.0.borrow() as u8) >= phase as u8
    }

    /// Waits for this phase, or a later one.
    pub(crate) async fn reaches(&self, phase: Phase) {
        let mut phases = self.0.subscribe();
        // The sender is there for as long as this is.
        drop(
            phases
                .wait_for(|current| (*current as u8) >= phase as u8)
                .await,
        );
    }
}
