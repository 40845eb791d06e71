//! Escapes that Dapr's parser knows and libyaml does not.

use alloc::vec::Vec;

use super::{Refusal, Tree};
use crate::fault::Fault;
use crate::yaml::Mark;

/// A text in which the escape `\'`, which Dapr's parser knows and libyaml does not, is replaced by
/// one of the same length for a character that the text has nowhere else.
pub(super) struct Apostrophes {
    text: Vec<u8>,
    escape: u8,
    stand_in: char,
}

impl Apostrophes {
    /// More scalars than this with the escape are not read: each costs a start from the beginning.
    const MOST_SCALARS: usize = 200;

    /// Replaces the escapes of the scalar that has one at `offset`; nothing where that is another
    /// escape, or where no character is free.
    pub(super) fn replaced(text: &[u8], offset: usize) -> Option<Self> {
        let free = |&(escape, hex, _): &(u8, &[u8], char)| {
            !text.windows(2).any(|pair| pair == [b'\\', escape])
                && !text.windows(2).any(|pair| pair.eq_ignore_ascii_case(hex))
        };
        let stand_ins: [(u8, &[u8], char); 3] = [
            (b'e', b"1b", '\u{1b}'),
            (b'a', b"07", '\u{7}'),
            (b'v', b"0b", '\u{b}'),
        ];
        let (escape, _, stand_in) = stand_ins.into_iter().find(free)?;
        let mut replaced = Self {
            text: text.to_vec(),
            escape,
            stand_in,
        };
        replaced.replace(offset).then_some(replaced)
    }

    /// Replaces from one escape on to the end of its scalar; says whether it was the one meant.
    fn replace(&mut self, offset: usize) -> bool {
        let mut at = offset;
        let mut found = false;
        while let Some(&[first, second]) =
            self.text.get(at..at + 2).and_then(|pair| pair.as_array())
        {
            match (first, second) {
                (b'"', _) => break,
                (b'\\', b'\'') => {
                    if let Some(second) = self.text.get_mut(at + 1) {
                        *second = self.escape;
                    }
                    found = true;
                    at += 2;
                }
                (b'\\', _) if at == offset => return false,
                (b'\\', _) => at += 2,
                _ => at += 1,
            }
        }
        found
    }

    pub(super) fn parse(mut self) -> Result<Option<Tree>, Fault> {
        for _ in 0..Self::MOST_SCALARS {
            match Tree::parse_as(&self.text, Some(self.stand_in)) {
                Err(Refusal::Escape { offset, fault }) => {
                    if !self.replace(offset) {
                        return Err(fault);
                    }
                }
                Err(Refusal::Fault(fault)) => return Err(fault),
                Ok(tree) => return Ok(tree),
            }
        }
        Err(Fault::limit(
            Mark::default(),
            "more than 200 scalars with the escape `\\'`",
        ))
    }
}
