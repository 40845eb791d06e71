//! What a server has asked of its stores, for `--stats`.

use std::sync::atomic::{AtomicU64, Ordering};

use keyref::Context;
use keyref::observer::{DenyEvent, FetchEvent, Observer};

/// Counts since the server's start, of references and of requests.
#[derive(Debug, Default)]
pub(super) struct Counts {
    calls: AtomicU64,
    failures: AtomicU64,
    denials: AtomicU64,
}

impl Counts {
    /// Logs them.
    pub(super) fn log(&self) {
        let [calls, failures, denials] =
            [&self.calls, &self.failures, &self.denials].map(|count| count.load(Ordering::Relaxed));
        tracing::info!("backend calls: {calls}, failed: {failures}, denied requests: {denials}");
    }
}

impl Observer for Counts {
    fn fetched(&self, _context: &Context, event: &FetchEvent<'_>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if event.failure.is_some() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn denied(&self, _context: &Context, _event: &DenyEvent<'_>) {
        self.denials.fetch_add(1, Ordering::Relaxed);
    }
}
