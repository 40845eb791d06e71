//! What is kept of one store, and whether the store can be reached.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cache::{Cache, CacheRule, Entry};
use crate::error::Class;
use crate::run::{Fetch, FetchKey, Fetched};
use crate::secret::Secret;

/// How long a store is waited for where its last answer could be given out instead.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a store that could not be reached is left alone while its last answers serve.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a store may take that nobody waits for any more.
const LONGEST_REFRESH: Duration = Duration::from_secs(30);
/// What is left of a caller's time for giving it the last answer.
const MARGIN: Duration = Duration::from_millis(50);

/// What is kept of one store.
pub(crate) struct StoreCache {
    cache: Cache,
    store: String,
    instance: u64,
    rule: CacheRule,
    /// Where the store cannot be reached: when it is asked again.
    outage: Mutex<Option<Instant>>,
}

/// What a read comes to.
pub(crate) enum Look {
    /// This is the answer.
    Known(Option<Secret>),
    /// The store is to be asked. What it said last is there where it cannot be reached.
    Ask(Option<Last>),
}

/// What a store said last.
pub(crate) struct Last {
    secret: Secret,
    usable_until: Instant,
}

impl StoreCache {
    pub(super) fn new(cache: Cache, store: &str, instance: u64, rule: CacheRule) -> Self {
        Self {
            cache,
            store: store.to_owned(),
            instance,
            rule,
            outage: Mutex::default(),
        }
    }

    /// What is known of a secret.
    pub(crate) fn look(&self, key: &FetchKey) -> Look {
        let now = Instant::now();
        let mut held = self.cache.held();
        let entry = held.found.get(key).or_else(|| held.absent.get(key));
        let Some(entry) = entry.filter(|entry| now < entry.usable_until) else {
            held.misses += 1;
            // What must not be given out any more need not be held until its place is needed.
            held.found.remove(key);
            held.absent.remove(key);
            return Look::Ask(None);
        };
        if now < entry.fresh_until {
            match entry.found {
                Some(_) => held.hits += 1,
                None => held.negative_hits += 1,
            }
            return Look::Known(entry.found);
        }
        let Some(secret) = entry.found.map(Secret::into_stale) else {
            held.misses += 1;
            return Look::Ask(None);
        };
        if self.is_out(now) {
            held.stale += 1;
            return Look::Known(Some(secret));
        }
        held.misses += 1;
        Look::Ask(Some(Last {
            secret,
            usable_until: entry.usable_until,
        }))
    }

    /// Keeps what the store says, and takes note of whether it can be reached.
    pub(crate) fn keep(&self, key: &FetchKey, asked: Instant, answer: &Fetched) {
        match answer {
            Err(error) if error.class.retry_helps() => return self.begin_outage(error.class),
            // What is refused now must not be given out later.
            Err(_) => self.forget(key),
            Ok(found) => self.put(key, asked, found.clone()),
        }
        self.end_outage();
    }

    /// The answer of a store that is being asked; what it said last where it cannot be reached, or
    /// does not answer in time. Where this caller is the one who began to ask, a store that is slow
    /// is heard all the same.
    pub(crate) async fn within_reach(
        self: Arc<Self>,
        last: Last,
        (fetch, is_begun): (Fetch, bool),
        deadline: Option<Instant>,
    ) -> Fetched {
        // Without a runtime nothing tells the time.
        let Ok(runtime) = Handle::try_current() else {
            return self.or_last(fetch.await, last);
        };
        let patient_until = Instant::now() + PATIENCE;
        let deadline = deadline.and_then(|deadline| deadline.checked_sub(MARGIN));
        let until = deadline.map_or(patient_until, |deadline| deadline.min(patient_until));
        if let Ok(answer) = timeout_at(until, fetch.clone()).await {
            return self.or_last(answer, last);
        }
        if Instant::now() >= last.usable_until {
            return fetch.await;
        }
        self.begin_outage(Class::TimedOut);
        if is_begun {
            drop(runtime.spawn(timeout(LONGEST_REFRESH, fetch)));
        }
        Ok(Some(self.give(last)))
    }

    fn or_last(&self, answer: Fetched, last: Last) -> Fetched {
        match answer {
            Err(error) if error.class.retry_helps() && Instant::now() < last.usable_until => {
                Ok(Some(self.give(last)))
            }
            answer => answer,
        }
    }

    fn give(&self, last: Last) -> Secret {
        self.cache.held().stale += 1;
        last.secret
    }

    fn put(&self, key: &FetchKey, asked: Instant, found: Option<Secret>) {
        let mut held = self.cache.held();
        let held = &mut *held;
        // One that was asked earlier can be the later to answer.
        if held.found.is_newer(key, asked) || held.absent.is_newer(key, asked) {
            return;
        }
        held.found.remove(key);
        held.absent.remove(key);
        let (ttl, stale) = match found {
            Some(_) => (self.rule.ttl, self.rule.stale),
            None => (self.rule.negative_ttl, Duration::ZERO),
        };
        let fresh_until = asked + self.cache.about(ttl, held);
        let usable_until = fresh_until + stale;
        if usable_until <= asked {
            return;
        }
        let shelf = match found {
            Some(_) => &mut held.found,
            None => &mut held.absent,
        };
        let entry = Entry {
            found,
            asked,
            fresh_until,
            usable_until,
        };
        held.evictions += shelf.put(key, entry);
    }

    fn forget(&self, key: &FetchKey) {
        let mut held = self.cache.held();
        held.found.remove(key);
        held.absent.remove(key);
    }

    /// Whether the store is left alone for now. Where its time has come, this caller asks it, and
    /// others are answered with what it said last meanwhile.
    fn is_out(&self, now: Instant) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(again_at) = outage.as_mut() else {
            return false;
        };
        let is_out = now < *again_at;
        if !is_out {
            *again_at = now + PATIENCE + PAUSE;
        }
        is_out
    }

    fn begin_outage(&self, class: Class) {
        // Without values to give out it makes no difference.
        if self.rule.stale.is_zero() {
            return;
        }
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let before = outage.replace(Instant::now() + PAUSE);
        drop(outage);
        if before.is_none() {
            let (store, class, stale) = (&self.store, class.code(), self.rule.stale);
            tracing::warn!(
                store,
                class,
                "the store cannot be reached: what it said last is given out for up to {stale:?} \
                 after its time"
            );
        }
    }

    fn end_outage(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let before = outage.take();
        drop(outage);
        if before.is_some() {
            let store = &self.store;
            tracing::info!(store, "the store answers again");
        }
    }
}

impl Drop for StoreCache {
    fn drop(&mut self) {
        let mut held = self.cache.held();
        held.found.forget(self.instance);
        held.absent.forget(self.instance);
    }
}
