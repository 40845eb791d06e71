//! One run: what it has fetched, and what it may still spend on hints.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::{BoxFuture, Shared};

use crate::secret::Secret;
use crate::stores::{SecretRequest, StoreError};

/// A store's answer, which all who wait for it share.
pub(crate) type Fetched = Result<Option<Secret>, StoreError>;
pub(crate) type Fetch = Shared<BoxFuture<'static, Fetched>>;

/// What makes two requests one fetch.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct FetchKey {
    pub(crate) store: String,
    pub(crate) instance: u64,
    pub(crate) request: SecretRequest,
}

/// What comparing names may cost in one run: some hundredths of a second.
const MOST_COMPARED: usize = 5_000_000;

/// How many bytes of hints may list names in one run.
const MOST_LISTED: usize = 4 << 20;

/// One run.
pub(crate) struct Run {
    /// What it has fetched: each secret once, however many references name it.
    fetches: Option<Mutex<HashMap<FetchKey, Fetch>>>,
    hits: AtomicU64,
    calls: AtomicU64,
    /// What comparing names has cost.
    compared: AtomicUsize,
    /// How many bytes of hints list names.
    listed: AtomicUsize,
}

impl Run {
    /// A run that fetches one secret at the most, and so remembers nothing.
    pub(crate) fn of_one() -> Self {
        Self::new(None)
    }

    /// A run of many requests, several of which may be for one secret.
    pub(crate) fn of_many() -> Self {
        Self::new(Some(Mutex::default()))
    }

    fn new(fetches: Option<Mutex<HashMap<FetchKey, Fetch>>>) -> Self {
        Self {
            fetches,
            hits: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            compared: AtomicUsize::new(0),
            listed: AtomicUsize::new(0),
        }
    }

    /// Whether what it has fetched is there for its next requests.
    pub(crate) fn remembers(&self) -> bool {
        self.fetches.is_some()
    }

    /// How often a fetch served another request.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How often it asked a store; not where it waited with others for one answer.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there is time for one more comparison of names, which costs the product of their
    /// lengths: there can be as many failures as references.
    pub(crate) fn spend(&self, cost: usize) -> bool {
        self.compared.fetch_add(cost, Ordering::Relaxed) < MOST_COMPARED
    }

    /// Whether there is room for one more hint that lists names, which has this many bytes.
    pub(crate) fn list(&self, bytes: usize) -> bool {
        self.listed.fetch_add(bytes, Ordering::Relaxed) < MOST_LISTED
    }

    pub(crate) fn fetch(&self, key: &FetchKey) -> Option<Fetch> {
        let fetches = self.fetches.as_ref()?;
        let fetches = fetches.lock().unwrap_or_else(PoisonError::into_inner);
        let fetch = fetches.get(key).cloned()?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(fetch)
    }

    pub(crate) fn remember(&self, key: FetchKey, fetch: Fetch) -> Fetch {
        let Some(fetches) = &self.fetches else {
            return fetch;
        };
        let mut fetches = fetches.lock().unwrap_or_else(PoisonError::into_inner);
        fetches.entry(key).or_insert(fetch).clone()
    }
}
