//! What a subscription's app is told, and told again where it was away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::App;
use crate::api::configuration::Subscription;
use crate::api::service::Service;
use crate::configuration::Items;
use crate::resiliency::Execution;

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
    let (id, service) = (subscription.id().to_owned(), subscription.service());
    let collect = async {
        while let Some(items) = subscription.next().await {
            untold.add(items);
        }
    };
    tokio::select! {
        () = collect => {}
        () = tell(&app, &service, (&store, &id), &untold) => {}
    }
}

async fn tell(app: &App, service: &Service, (store, id): (&str, &str), untold: &Untold) {
    let mut wait = None;
    let (mut execution, mut before) = (None, None);
    loop {
        let items = untold.take().await;
        let is_same = before.take().is_some_and(|before: Items| before == items);
        let policy = service.notification_policy(store);
        execution = policy.map(|policy| match execution.take() {
            Some(execution) if is_same && Execution::is_under(&execution, &policy) => execution,
            _ => Execution::begin(policy, None),
        });
        let Some(left) = app.tell(store, id, items, execution.as_mut()).await else {
            if wait.take().is_some() {
                tracing::info!(store, id, "the app was told what it had missed");
            }
            execution.take().iter().for_each(Execution::succeeded);
            continue;
        };
        let reason = left.why.reason;
        let pause = execution.as_mut().and_then(Execution::pause);
        let pause = match (pause, &mut execution) {
            (Some(pause), Some(execution)) => {
                execution.note_retry(pause, &reason);
                pause
            }
            _ if left.why.is_away => away(&mut wait, (store, id), &reason),
            _ => {
                tracing::error!(
                    store,
                    id,
                    "error sending configuration item to the app: {reason}"
                );
                continue;
            }
        };
        before = Some(left.items.clone());
        untold.put_back(left.items);
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait for an app that is away. It is named in the log once for each time that it is.
fn away(wait: &mut Option<Duration>, (store, id): (&str, &str), reason: &str) -> Duration {
    if wait.is_none() {
        tracing::error!(
            store,
            id,
            "error sending configuration item to the app, which is tried again: {reason}"
        );
    }
    let next = wait.map_or(FIRST_WAIT, |wait| (wait * 2).min(LONGEST_WAIT));
    *wait = Some(next);
    next
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
