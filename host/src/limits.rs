//! How much work documents may cause.

use std::time::Duration;

/// Limits on one call of the resolver. What goes over one is a problem that names it; its
/// neighbours are resolved all the same.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one document. 4 MiB by default.
    pub document_bytes: usize,
    /// Documents of one call. 20,000 by default.
    pub documents: usize,
    /// Bytes of all documents of one call. 32 MiB by default.
    pub total_bytes: usize,
    /// Linear memory of one instance of the guest, in bytes, at most and by default 64 MiB.
    pub memory: usize,
    /// Linear memory of all instances of one call, in bytes. 160 MiB by default.
    pub total_memory: usize,
    /// How long one call of the guest may take. 1 s by default.
    pub time: Duration,
    /// Handles of one call of the guest. 100,000 by default.
    pub handles: usize,
    /// Fetches of one store that are under way at a time. 32 by default.
    pub fetches: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 4 << 20,
            documents: 20_000,
            total_bytes: 32 << 20,
            memory: 64 << 20,
            total_memory: 160 << 20,
            time: Duration::from_secs(1),
            handles: 100_000,
            fetches: 32,
        }
    }
}
