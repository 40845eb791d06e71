//! What stores have said, kept for a while: off where no rule names the store.
//!
//! Only the door uses it, after policy has been asked.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod rule;
mod shelf;
mod store;

pub use self::rule::CacheRule;
use self::shelf::{Entry, Shelf};
pub(crate) use self::store::{Look, StoreCache};

/// The name that stands for every store that has no rule of its own.
pub const EVERY_STORE: &str = "*";

/// What stores have said, kept for a while.
///
/// All that is kept is bounded, over all stores together; what was used longest ago goes first. Policy
/// is asked for each read all the same, and a store that is opened again begins with nothing kept.
///
/// Clones are the same cache: one that is given to each new [`Resolver`](crate::Resolver) goes on
/// where stores are taken over from an [`Earlier`](crate::Earlier) one.
///
/// ```
/// use std::time::Duration;
///
/// use keyref::stores::Memory;
/// use keyref::{Cache, CacheRule, Resolver};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rule = CacheRule::new(Duration::from_secs(60)).with_stale(Duration::from_secs(600));
/// let resolver = Resolver::builder()
///     .store("vault", Memory::new())
///     .cache(Cache::new([("vault", rule)]))
///     .build()?;
/// assert_eq!(resolver.cache().stats().entries, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cache(Arc<Kept>);

struct Kept {
    rules: BTreeMap<String, CacheRule>,
    /// The number of the next store.
    next: AtomicU64,
    /// Where the tenth that an entry's time differs by is drawn from.
    lot: RandomState,
    held: Mutex<Held>,
}

struct Held {
    found: Shelf,
    /// On a shelf of their own: names that somebody makes up push no value out.
    absent: Shelf,
    /// How often a lot was drawn.
    drawn: u64,
    hits: u64,
    negative_hits: u64,
    misses: u64,
    stale: u64,
    evictions: u64,
}

/// How much is kept, over all stores together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CacheBounds {
    /// How many secrets: 10,000 by default. A tenth as many are known not to exist beside them.
    pub entries: usize,
    /// About how many bytes, names included: 16 MiB by default, and a tenth beside them. What is
    /// larger alone is not kept.
    pub bytes: usize,
}

impl Default for CacheBounds {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 16 << 20,
        }
    }
}

impl CacheBounds {
    /// So many secrets and bytes.
    pub fn new(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes }
    }

    fn of_absent(self) -> Self {
        Self {
            entries: self.entries / 10,
            bytes: self.bytes / 10,
        }
    }
}

/// What a cache has done so far, for all stores and resolvers that share it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CacheStats {
    /// How often a value that was kept answered.
    pub hits: u64,
    /// How often it was known that a secret does not exist.
    pub negative_hits: u64,
    /// How often a read of a store with a rule had to ask the store, or wait for others who did.
    pub misses: u64,
    /// How often a value was given out after its time, because the store could not be reached.
    pub stale: u64,
    /// How many entries had to go for others.
    pub evictions: u64,
    /// How many entries are kept now.
    pub entries: usize,
    /// About how many bytes they take.
    pub bytes: usize,
}

impl Default for Cache {
    /// Keeps nothing.
    fn default() -> Self {
        Self::new([] as [(&str, CacheRule); 0])
    }
}

impl Cache {
    /// Keeps what these stores say, [`EVERY_STORE`] for those that are not named.
    pub fn new<N: Into<String>>(rules: impl IntoIterator<Item = (N, CacheRule)>) -> Self {
        Self::with_bounds(rules, CacheBounds::default())
    }

    /// The same within bounds of one's own.
    pub fn with_bounds<N: Into<String>>(
        rules: impl IntoIterator<Item = (N, CacheRule)>,
        bounds: CacheBounds,
    ) -> Self {
        let rules = rules.into_iter();
        Self(Arc::new(Kept {
            rules: rules
                .map(|(store, rule)| (store.into(), rule.bounded()))
                .collect(),
            next: AtomicU64::new(0),
            lot: RandomState::new(),
            held: Mutex::new(Held {
                found: Shelf::new(bounds),
                absent: Shelf::new(bounds.of_absent()),
                drawn: 0,
                hits: 0,
                negative_hits: 0,
                misses: 0,
                stale: 0,
                evictions: 0,
            }),
        }))
    }

    /// What it has done so far.
    pub fn stats(&self) -> CacheStats {
        let held = self.held();
        CacheStats {
            hits: held.hits,
            negative_hits: held.negative_hits,
            misses: held.misses,
            stale: held.stale,
            evictions: held.evictions,
            entries: held.found.len() + held.absent.len(),
            bytes: held.found.bytes() + held.absent.bytes(),
        }
    }

    /// The rule for a store: its own, or that of every store.
    pub fn rule(&self, store: &str) -> Option<CacheRule> {
        let rules = &self.0.rules;
        rules.get(store).or_else(|| rules.get(EVERY_STORE)).copied()
    }

    /// The names that have rules, sorted.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.0.rules.keys().map(String::as_str)
    }

    /// A number that no other store has had, in any resolver that shares this cache.
    pub(crate) fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether these are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What is kept of a store, where there is a rule for it.
    pub(crate) fn of_store(&self, store: &str, instance: u64) -> Option<StoreCache> {
        let rule = self.rule(store).filter(CacheRule::keeps_anything)?;
        Some(StoreCache::new(self.clone(), store, instance, rule))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This time, give or take a tenth.
    fn about(&self, time: Duration, held: &mut Held) -> Duration {
        held.drawn += 1;
        let lot = self.0.lot.hash_one(held.drawn) % 2_001;
        time * u32::try_from(9_000 + lot).unwrap_or(10_000) / 10_000
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("rules", &self.0.rules)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
