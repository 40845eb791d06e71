//! What resolving comes to.

use std::time::Duration;

use crate::component::{Component, Origin, ResolvedComponent};
use crate::problem::{Problem, Severity};

/// What a set of documents came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Resolution {
    /// The components that are resolved as a whole, in the order of the documents.
    pub components: Vec<ResolvedComponent>,
    /// The other components that are loaded, as their documents have them, in their order: the
    /// problems say why they are not resolved.
    pub failed: Vec<Component>,
    /// What is wrong, in the order of the documents. Where one is an error, what it is about is
    /// not among the components.
    pub problems: Vec<Problem>,
    /// What the loaded components refer to, one for each reference in the order of the documents,
    /// whether it could be resolved or not.
    pub references: Vec<Origin>,
    /// The names of the stores that references could name.
    pub stores: Vec<String>,
    /// What it took.
    pub stats: Stats,
}

impl Resolution {
    /// Whether nothing was lost: no problem is more than a warning.
    pub fn is_complete(&self) -> bool {
        self.problems
            .iter()
            .all(|problem| problem.severity != Severity::Error)
    }
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// How many components were loaded, resolved or not.
    pub components: usize,
    /// How often a store was asked.
    pub backend_calls: u64,
    /// How often a fetch of this call served another reference.
    pub cache_hits: u64,
    /// Time in the guest to parse.
    pub parse: Duration,
    /// Time to open the stores of the documents, and to fetch.
    pub fetch: Duration,
    /// Time in the guest to place, and to finish.
    pub place: Duration,
}
