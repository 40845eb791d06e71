//! Waiting, with the clock of WASI.

use crate::bindings::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::bindings::wasi::io::poll;

/// Waits for one thing, for ever.
pub fn block() {
    subscribe_duration(u64::MAX).block();
}

/// Waits for several, for ever.
pub fn poll() {
    let never = [subscribe_duration(u64::MAX), subscribe_duration(u64::MAX)];
    poll::poll(&[&never[0], &never[1]]);
}

/// Takes the host's memory for what it could wait for.
pub fn subscribe() {
    let mut all = Vec::new();
    loop {
        all.push(subscribe_duration(u64::MAX));
    }
}

/// Waits as an honest guest might.
pub fn sleep() {
    let soon = subscribe_duration(2_000_000);
    assert_eq!(poll::poll(&[&subscribe_duration(u64::MAX), &soon]), [1]);
    soon.block();
}
