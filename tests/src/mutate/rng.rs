//! Chance that can be repeated.

/// A generator of numbers (`SplitMix64`); the same seed gives the same numbers on every machine.
#[derive(Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// Starts the sequence that belongs to `seed`.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `bound`, or 0 where there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (bound as u64).max(1)).unwrap_or(0)
    }

    /// Is true `percent` times in a hundred.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Picks one of `choices`, or the default where there is none.
    pub(super) fn pick<T: Copy + Default>(&mut self, choices: &[T]) -> T {
        choices
            .get(self.below(choices.len()))
            .copied()
            .unwrap_or_default()
    }

    /// Returns a character of any plane, now and then one that YAML does not allow.
    pub(super) fn character(&mut self) -> char {
        let (first, count) = self.pick(&[
            (0x20, 0x60),
            (0xa0, 0x500),
            (0x2000, 0x6f),
            (0x3040, 0x4000),
            (0x1_f300, 0x300),
            (0, 0xffff),
        ]);
        u32::try_from(first + self.below(count))
            .ok()
            .and_then(char::from_u32)
            .unwrap_or('?')
    }
}
