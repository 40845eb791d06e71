//! What a subscription's app is told, and told again where it was away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::App;
use crate::api::configuration::Subscription;
use crate::configuration::Items;

/// How long to wait before an app that was away is told again. Doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest of these waits.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What an app has not been told yet: one value for each key, the newest.
#[derive(Default)]
struct Untold {
    items: Mutex<Items>,
    is_more: Notify,
}

/// Tells the app each change, until the subscription ends. While it is told, or away, later changes
/// of a key take the place of earlier ones.
pub(crate) async fn deliver(app: Arc<App>, store: String, mut subscription: Subscription) {
    let untold = Untold::default();
    let id = subscription.id().to_owned();
    let collect = async {
        while let Some(items) = subscription.next().await {
            untold.add(items);
        }
    };
    tokio::select! {
        () = collect => {}
        () = tell(&app, &store, &id, &untold) => {}
    }
}

async fn tell(app: &App, store: &str, id: &str, untold: &Untold) {
    let mut wait = None;
    loop {
        let items = untold.take().await;
        let Some((left, reason)) = app.tell(store, id, items).await else {
            if wait.take().is_some() {
                tracing::info!(store, id, "the app was told what it had missed");
            }
            continue;
        };
        // Once for each time that it is away.
        if wait.is_none() {
            tracing::error!(
                store,
                id,
                "error sending configuration item to the app, which is tried again: {reason}"
            );
        }
        let next = wait.map_or(FIRST_WAIT, |wait: Duration| (wait * 2).min(LONGEST_WAIT));
        wait = Some(next);
        untold.put_back(left);
        tokio::time::sleep(next).await;
    }
}

impl Untold {
    /// Adds what is newer than all that is there.
    fn add(&self, items: Items) {
        self.lock().extend(items);
        self.is_more.notify_one();
    }

    /// Puts back what is older.
    fn put_back(&self, items: Items) {
        let mut untold = self.lock();
        for (key, item) in items {
            untold.entry(key).or_insert(item);
        }
        self.is_more.notify_one();
    }

    /// Waits for something, and takes all of it.
    async fn take(&self) -> Items {
        loop {
            let items = std::mem::take(&mut *self.lock());
            if !items.is_empty() {
                return items;
            }
            self.is_more.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Untold;
    use crate::configuration::{Item, Items};

    #[tokio::test]
    async fn the_newest_value_of_each_key_is_told() {
        let items = |pairs: &[(&str, &str)]| -> Items {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), Item::new(*value, "")))
                .collect()
        };
        let untold = Untold::default();
        untold.add(items(&[("a", "1"), ("b", "1")]));
        untold.add(items(&[("a", "2")]));
        let taken = untold.take().await;
        assert_eq!(taken, items(&[("a", "2"), ("b", "1")]));
        untold.add(items(&[("a", "3"), ("c", "1")]));
        untold.put_back(taken);
        let expected = items(&[("a", "3"), ("b", "1"), ("c", "1")]);
        assert_eq!(untold.take().await, expected);
    }
}
