//! Numbers for traces and spans: not secret, and cheap, since each request takes some.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes numbers that no two processes are likely to make.
#[derive(Debug)]
pub(super) struct Ids {
    seeds: [u64; 3],
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        // The standard library's keys are random, and differ for each.
        let seeds = [0, 1, 2].map(|number: u64| RandomState::new().hash_one(number));
        Self {
            seeds,
            next: AtomicU64::new(1),
        }
    }

    pub(super) fn of_trace(&self) -> [u8; 16] {
        let number = self.number();
        let [high, low, _] = self.seeds.map(|seed| mix(seed, number));
        // Whether a trace is sampled goes by the second half.
        (u128::from(high) << 64 | u128::from(low))
            .max(1)
            .to_be_bytes()
    }

    pub(super) fn of_span(&self) -> [u8; 8] {
        let [_, _, seed] = self.seeds;
        mix(seed, self.number()).max(1).to_be_bytes()
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// `SplitMix64`: each number once, in no order that one sees.
fn mix(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Ids;

    #[test]
    fn no_number_comes_twice() {
        let ids = [Ids::new(), Ids::new()];
        let made: BTreeSet<_> = (0..2000).map(|at: usize| ids[at % 2].of_trace()).collect();
        assert_eq!(made.len(), 2000);
        let made: BTreeSet<_> = (0..2000).map(|at: usize| ids[at % 2].of_span()).collect();
        assert_eq!(made.len(), 2000);
    }
}
