//! Answers in the order of their last use, of which only so many are held.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use crate::cache::CacheBounds;
use crate::run::FetchKey;
use crate::secret::Secret;

/// About what an entry costs beside its text: its place in two maps.
const ENTRY_BYTES: usize = 320;
/// About what a key of a secret, or an option of a request, costs beside its text.
const ITEM_BYTES: usize = 128;

/// What a store has said.
#[derive(Clone)]
pub(super) struct Entry {
    /// The secret, where it exists.
    pub(super) found: Option<Secret>,
    /// When the store was asked.
    pub(super) asked: Instant,
    /// Until when it counts as what the store says now.
    pub(super) fresh_until: Instant,
    /// Until when it may be given out at all.
    pub(super) usable_until: Instant,
}

/// Answers in the order of their last use.
pub(super) struct Shelf {
    entries: HashMap<Arc<FetchKey>, Placed>,
    /// By the number of their last use: the first is the next to go.
    order: BTreeMap<u64, Arc<FetchKey>>,
    /// The number of the last use of all.
    uses: u64,
    bytes: usize,
    bounds: CacheBounds,
}

struct Placed {
    entry: Entry,
    used: u64,
    bytes: usize,
}

impl Shelf {
    pub(super) fn new(bounds: CacheBounds) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            bounds,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is held, which counts as a use of it.
    pub(super) fn get(&mut self, key: &FetchKey) -> Option<Entry> {
        let placed = self.entries.get_mut(key)?;
        let shared = self.order.remove(&placed.used)?;
        self.uses += 1;
        placed.used = self.uses;
        self.order.insert(placed.used, shared);
        Some(placed.entry.clone())
    }

    /// Whether what is held was asked for later than this.
    pub(super) fn is_newer(&self, key: &FetchKey, asked: Instant) -> bool {
        let placed = self.entries.get(key);
        placed.is_some_and(|placed| placed.entry.asked > asked)
    }

    /// Holds an answer in place of an earlier one; how many others had to go.
    pub(super) fn put(&mut self, key: &FetchKey, entry: Entry) -> u64 {
        self.remove(key);
        let bytes = weight(key, entry.found.as_ref());
        if bytes > self.bounds.bytes || self.bounds.entries == 0 {
            return 0;
        }
        let mut evicted = 0;
        while self.entries.len() >= self.bounds.entries || self.bytes + bytes > self.bounds.bytes {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some(placed) = self.entries.remove(&oldest) {
                self.bytes -= placed.bytes;
                evicted += 1;
            }
        }
        let key = Arc::new(key.clone());
        self.uses += 1;
        self.bytes += bytes;
        self.order.insert(self.uses, Arc::clone(&key));
        let used = self.uses;
        self.entries.insert(key, Placed { entry, used, bytes });
        evicted
    }

    pub(super) fn remove(&mut self, key: &FetchKey) {
        if let Some(placed) = self.entries.remove(key) {
            self.order.remove(&placed.used);
            self.bytes -= placed.bytes;
        }
    }

    /// Drops whatever a store has said.
    pub(super) fn forget(&mut self, instance: u64) {
        let (order, bytes) = (&mut self.order, &mut self.bytes);
        self.entries.retain(|key, placed| {
            let is_kept = key.instance != instance;
            if !is_kept {
                order.remove(&placed.used);
                *bytes -= placed.bytes;
            }
            is_kept
        });
    }
}

/// About how much memory an entry takes.
fn weight(key: &FetchKey, found: Option<&Secret>) -> usize {
    let request = &key.request;
    let text = key.store.len() + request.name.len() + request.namespace.len();
    let options = request.options.iter();
    let options = options.map(|(name, value)| name.len() + value.len() + ITEM_BYTES);
    let items = found.into_iter().flat_map(Secret::iter);
    let items = items.map(|(key, value)| key.len() + value.len() + ITEM_BYTES);
    ENTRY_BYTES + text + options.sum::<usize>() + items.sum::<usize>()
}
