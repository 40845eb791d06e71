//! Fetches that are under way, which all who ask for the same secret share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, WeakShared};

use crate::run::{Fetch, FetchKey, Fetched};

/// Fetches that are under way.
#[derive(Clone, Default)]
pub(crate) struct Inflight(Arc<Mutex<Listed>>);

#[derive(Default)]
struct Listed {
    fetches: HashMap<FetchKey, (u64, WeakShared<BoxFuture<'static, Fetched>>)>,
    /// The number of the last fetch.
    last: u64,
}

impl Inflight {
    /// The fetch of this secret that is under way, or a new one.
    pub(crate) fn join(
        &self,
        key: FetchKey,
        begin: impl FnOnce() -> BoxFuture<'static, Fetched>,
    ) -> Fetch {
        let mut listed = self.lock();
        let known = listed.fetches.get(&key);
        let known = known.and_then(|(_, fetch)| fetch.upgrade());
        // One that has ended is as old as whoever still holds it.
        if let Some(fetch) = known.filter(|fetch| fetch.peek().is_none()) {
            return fetch;
        }
        listed.last += 1;
        let number = listed.last;
        let entry = Entry {
            key: key.clone(),
            number,
            inflight: self.clone(),
        };
        let work = begin();
        let fetch = async move {
            let _entry = entry;
            work.await
        };
        let fetch = fetch.boxed().shared();
        if let Some(weak) = fetch.downgrade() {
            listed.fetches.insert(key, (number, weak));
        }
        fetch
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a fetch off the list once it has ended or nobody waits for it any more.
struct Entry {
    key: FetchKey,
    number: u64,
    inflight: Inflight,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut listed = self.inflight.lock();
        // Another one may be under way for the same by now.
        let known = listed.fetches.get(&self.key);
        if known.is_some_and(|(number, _)| *number == self.number) {
            listed.fetches.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;

    use super::Inflight;
    use crate::run::{FetchKey, Fetched};
    use crate::stores::SecretRequest;

    fn key() -> FetchKey {
        FetchKey {
            store: "vault".to_owned(),
            instance: 0,
            request: SecretRequest::new("s"),
        }
    }

    #[test]
    fn a_fetch_that_is_given_up_leaves_its_successor_on_the_list() {
        let begun = AtomicUsize::new(0);
        let inflight = Inflight::default();
        let join = |work: futures_util::future::BoxFuture<'static, Fetched>| {
            inflight.join(key(), || {
                begun.fetch_add(1, Ordering::Relaxed);
                work
            })
        };
        // One that has ended is not shared; its place is taken while it is still held.
        let ended = join(async { Ok(None) }.boxed());
        assert!(matches!(ended.clone().now_or_never(), Some(Ok(None))));
        let waiting = join(std::future::pending().boxed());
        drop(ended);
        assert!(join(async { Ok(None) }.boxed()).now_or_never().is_none());
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        drop(waiting);
        let after = join(async { Ok(None) }.boxed()).now_or_never();
        assert!(matches!(after, Some(Ok(None))));
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }
}
