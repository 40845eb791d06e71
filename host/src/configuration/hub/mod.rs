//! Follows a backend for all subscribers of a store: one connection, while there is a subscriber.
//!
//! ```text
//! subscriber -> join -> [ hub: connects, listens, reads ] -> states -> subscriber
//! ```
//!
//! A backend only tells that something has changed; what there is now is read again. So nothing is
//! lost with a connection: after each new one everything is read, and a state that differs is told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use self::follower::Follower;
use super::{Items, ItemsRequest};
use crate::context::Context;
use crate::deadline::within;
use crate::error::Class;
use crate::stores::StoreError;

mod follower;

/// How many subscribers wait to be let in at a time.
const WAITING: usize = 64;

/// What a store reads.
#[async_trait]
pub(super) trait Backend: Send + Sync + 'static {
    /// Connects.
    async fn connect(self: Arc<Self>) -> Result<Box<dyn Connection>, StoreError>;
}

/// A connection that hears of changes. An error of class [`Class::Unreachable`] or
/// [`Class::TimedOut`] ends it; others are about what was read.
#[async_trait]
pub(super) trait Connection: Send {
    /// Hears of changes of a topic from now on.
    async fn listen(&mut self, topic: &Topic) -> Result<(), StoreError>;

    /// No longer hears of them.
    async fn forget(&mut self, topic: &Topic) -> Result<(), StoreError>;

    /// Reads what there is of these keys; none for all.
    async fn read(&mut self, keys: &[String]) -> Result<Items, StoreError>;

    /// Waits until something has changed. Nothing is lost where the wait is given up.
    async fn changed(&mut self) -> Result<Change, StoreError>;
}

/// What subscribers can share a state of.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Topic {
    /// The channel that tells of changes, where the backend has several.
    pub(super) channel: String,
    /// The keys, sorted; none for all.
    pub(super) keys: Vec<String>,
}

impl Topic {
    /// The keys that a request asks for.
    pub(super) fn of(request: &ItemsRequest) -> Self {
        let mut keys = request.keys.clone();
        keys.sort();
        keys.dedup();
        Self {
            channel: String::new(),
            keys,
        }
    }

    fn has(&self, key: &String) -> bool {
        self.keys.is_empty() || self.keys.binary_search(key).is_ok()
    }
}

/// What has changed.
pub(super) enum Change {
    /// Nobody knows.
    #[cfg_attr(
        not(any(feature = "configuration-postgresql", feature = "kubernetes")),
        expect(dead_code, reason = "Redis always knows")
    )]
    Any,
    /// No others than these keys.
    Keys(BTreeSet<String>),
}

/// A store's way to its subscribers.
pub(super) struct Hub<B> {
    /// The store's name.
    name: String,
    backend: Arc<B>,
    joining: Mutex<Option<mpsc::Sender<Join>>>,
    /// Whether the backend is not followed for now, though somebody subscribes.
    is_out: Arc<AtomicBool>,
}

/// A subscriber that wants to be let in.
struct Join {
    topic: Topic,
    reply: oneshot::Sender<Result<watch::Receiver<Arc<Items>>, StoreError>>,
}

impl<B: Backend> Hub<B> {
    pub(super) fn new(name: &str, backend: Arc<B>) -> Self {
        Self {
            name: name.to_owned(),
            backend,
            joining: Mutex::default(),
            is_out: Arc::default(),
        }
    }

    /// Whether the backend is not followed for now, though somebody subscribes.
    pub(super) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    /// The states of a topic, the present one first.
    pub(super) async fn join(
        &self,
        topic: Topic,
        context: &Context,
    ) -> Result<watch::Receiver<Arc<Items>>, StoreError> {
        let joining = self.joining();
        let lost = || StoreError::new(Class::Internal, "the store is not followed any more");
        within(context, async {
            let (reply, answer) = oneshot::channel();
            let join = Join { topic, reply };
            joining.send(join).await.map_err(|_| lost())?;
            answer.await.map_err(|_| lost())?
        })
        .await
    }

    /// The way to the task that follows the backend, which begins with the first subscriber, and
    /// again where its runtime is gone.
    fn joining(&self) -> mpsc::Sender<Join> {
        let mut joining = self.joining.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(joining) = joining.as_ref().filter(|joining| !joining.is_closed()) {
            return joining.clone();
        }
        let (sender, joins) = mpsc::channel(WAITING);
        let follower = Follower::new(&self.name, joins, Arc::clone(&self.is_out));
        tokio::spawn(follower.run(Arc::clone(&self.backend)));
        *joining = Some(sender.clone());
        sender
    }
}

/// Whether a connection has ended with this, and what was asked may go well with another one.
pub(super) fn is_of_connection(error: &StoreError) -> bool {
    matches!(error.class, Class::Unreachable | Class::TimedOut)
}
