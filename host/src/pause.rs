//! Pauses between attempts.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The pause after an attempt, counted from 1: the first one doubled each time, no longer than the
/// longest. Half of it is fixed, half by chance, so that those who failed together do not come back
/// together.
pub(crate) fn pause(attempt: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
    let whole = first.saturating_mul(doubled).min(longest);
    // The standard library's seeds of hash maps are its only source of chance.
    let chance = RandomState::new().hash_one(attempt) % 1000;
    whole / 2 + whole / 2 * u32::try_from(chance).unwrap_or_default() / 1000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::pause;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        for (attempt, whole) in [(1, 100), (2, 200), (4, 800), (5, 1000), (u32::MAX, 1000)] {
            let whole = Duration::from_millis(whole);
            let pause = pause(attempt, first, longest);
            assert!(pause >= whole / 2 && pause <= whole, "{attempt}: {pause:?}");
        }
    }
}
