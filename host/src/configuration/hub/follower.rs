//! The task that follows a backend: connects, again where that fails, and keeps the states up to date.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Backend, Change, Connection, Items, Join, Topic, is_of_connection};
use crate::pause::pause;
use crate::problem::printable;
use crate::stores::StoreError;

/// The pause after the first failed attempt to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a connection must last for the next pause to be short again.
const SETTLED: Duration = Duration::from_secs(10);
/// How often it is looked whether subscribers have gone, and what could not be read is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A topic that somebody follows.
struct Followed {
    states: watch::Sender<Arc<Items>>,
    /// What the state may not show as it is now.
    stale: Stale,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Stale {
    Keys(BTreeSet<String>),
    All,
}

/// Why a connection was given up.
enum End {
    /// Nobody is interested any more.
    Unwanted,
    Failed(StoreError),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// The task that follows a backend.
pub(super) struct Follower {
    name: String,
    joins: mpsc::Receiver<Join>,
    /// Those that are not let in yet.
    waiting: Vec<Join>,
    topics: BTreeMap<Topic, Followed>,
    /// Whether the log says that it is not followed.
    is_out: Arc<AtomicBool>,
}

impl Follower {
    pub(super) fn new(name: &str, joins: mpsc::Receiver<Join>, is_out: Arc<AtomicBool>) -> Self {
        is_out.store(false, Ordering::Relaxed);
        Self {
            name: name.to_owned(),
            joins,
            waiting: Vec::new(),
            topics: BTreeMap::new(),
            is_out,
        }
    }

    /// Runs until the store is dropped and has no subscribers.
    pub(super) async fn run<B: Backend>(mut self, backend: Arc<B>) {
        let mut attempt = 0;
        loop {
            self.topics.retain(|_, followed| followed.is_wanted());
            if self.topics.is_empty() && self.waiting.is_empty() {
                attempt = 0;
                match self.joins.recv().await {
                    Some(join) => self.waiting.push(join),
                    None => return,
                }
            }
            let begin = Instant::now();
            let end = match Arc::clone(&backend).connect().await {
                Ok(mut connection) => self.follow(connection.as_mut()).await,
                Err(error) => {
                    self.refuse(&error);
                    Err(End::Failed(error))
                }
            };
            let Err(End::Failed(error)) = end else {
                continue;
            };
            if begin.elapsed() > SETTLED {
                attempt = 0;
            }
            attempt += 1;
            self.report(&error);
            // One that came while a connection broke is let in by the next one.
            if attempt > 1 {
                self.refuse(&error);
            }
            self.rest(pause(attempt, FIRST_PAUSE, LONGEST_PAUSE)).await;
        }
    }

    /// Tells the log, once, where somebody follows; others are told themselves.
    fn report(&mut self, error: &StoreError) {
        let is_told = self.topics.is_empty() || self.is_out.swap(true, Ordering::Relaxed);
        if !is_told {
            let (name, reason) = (printable(&self.name), &error.message);
            tracing::warn!("configuration store {name} is not followed for now: {reason}");
        }
    }

    /// Waits, but for a subscriber that comes: it is told at once whether it can be let in.
    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            Some(join) = self.joins.recv() => self.waiting.push(join),
        }
    }

    fn refuse(&mut self, error: &StoreError) {
        while let Ok(join) = self.joins.try_recv() {
            self.waiting.push(join);
        }
        for Join { reply, .. } in self.waiting.drain(..) {
            drop(reply.send(Err(error.clone())));
        }
    }

    /// Follows a connection to its end.
    async fn follow(&mut self, connection: &mut dyn Connection) -> Result<(), End> {
        for (topic, followed) in &mut self.topics {
            connection.listen(topic).await?;
            followed.stale = Stale::All;
        }
        self.refresh(connection).await?;
        if self.is_out.swap(false, Ordering::Relaxed) {
            tracing::info!(
                "configuration store {} is followed again",
                printable(&self.name)
            );
        }
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(join) = self.waiting.pop() {
                self.admit(join, connection).await?;
            }
            tokio::select! {
                Some(join) = self.joins.recv() => self.waiting.push(join),
                change = connection.changed() => {
                    self.mark(&change?);
                    self.refresh(connection).await?;
                }
                _ = look.tick() => {
                    self.prune(connection).await?;
                    if self.topics.is_empty() {
                        return Err(End::Unwanted);
                    }
                    self.refresh(connection).await?;
                }
            }
        }
    }

    /// Lets a subscriber in.
    async fn admit(&mut self, join: Join, connection: &mut dyn Connection) -> Result<(), End> {
        let Join { topic, reply } = join;
        if reply.is_closed() {
            return Ok(());
        }
        let states = match self.topics.get(&topic) {
            Some(followed) if followed.stale.is_empty() => Ok(followed.states.subscribe()),
            _ => self.begin(&topic, connection).await,
        };
        match states {
            Err(error) if is_of_connection(&error) => {
                // Let in, or told why not, after the next attempt to connect.
                self.waiting.push(Join { topic, reply });
                Err(error.into())
            }
            states => {
                drop(reply.send(states));
                Ok(())
            }
        }
    }

    /// Follows a topic from now on.
    async fn begin(
        &mut self,
        topic: &Topic,
        connection: &mut dyn Connection,
    ) -> Result<watch::Receiver<Arc<Items>>, StoreError> {
        if !self.topics.contains_key(topic) {
            connection.listen(topic).await?;
        }
        let read = connection.read(&topic.keys).await;
        match self.topics.entry(topic.clone()) {
            Entry::Occupied(mut followed) => {
                followed.get_mut().show(read?, Stale::All);
                Ok(followed.get().states.subscribe())
            }
            Entry::Vacant(vacant) => {
                let items = match read {
                    Ok(items) => items,
                    Err(error) => {
                        connection.forget(topic).await?;
                        return Err(error);
                    }
                };
                let (states, state) = watch::channel(Arc::new(items));
                let stale = Stale::none();
                vacant.insert(Followed { states, stale });
                Ok(state)
            }
        }
    }

    /// Takes note of what a change may have made out of date.
    fn mark(&mut self, change: &Change) {
        for (topic, followed) in &mut self.topics {
            match (change, &mut followed.stale) {
                (_, Stale::All) => {}
                (Change::Any, stale) => *stale = Stale::All,
                (Change::Keys(keys), Stale::Keys(stale)) => {
                    stale.extend(keys.iter().filter(|key| topic.has(key)).cloned());
                }
            }
        }
    }

    /// Reads again what is out of date.
    async fn refresh(&mut self, connection: &mut dyn Connection) -> Result<(), End> {
        for (topic, followed) in &mut self.topics {
            let keys = match &followed.stale {
                Stale::Keys(keys) if keys.is_empty() => continue,
                Stale::Keys(keys) => keys.iter().cloned().collect(),
                Stale::All => topic.keys.clone(),
            };
            match connection.read(&keys).await {
                Ok(items) => {
                    let stale = std::mem::replace(&mut followed.stale, Stale::none());
                    followed.show(items, stale);
                }
                Err(error) if is_of_connection(&error) => return Err(error.into()),
                // Tried again with the next change, and each time it is looked.
                Err(error) => {
                    let (name, reason) = (printable(&self.name), &error.message);
                    tracing::debug!("configuration store {name}: a change is not read: {reason}");
                }
            }
        }
        Ok(())
    }

    /// Forgets topics that nobody follows any more.
    async fn prune(&mut self, connection: &mut dyn Connection) -> Result<(), End> {
        let gone = self
            .topics
            .extract_if(.., |_, followed| !followed.is_wanted());
        for topic in gone.map(|(topic, _)| topic).collect::<Vec<_>>() {
            connection.forget(&topic).await?;
        }
        Ok(())
    }
}

impl Followed {
    fn is_wanted(&self) -> bool {
        self.states.receiver_count() > 0
    }

    /// Shows what was read of what was stale, where it differs.
    fn show(&mut self, read: Items, stale: Stale) {
        self.stale = Stale::none();
        let items = match stale {
            Stale::All => read,
            Stale::Keys(keys) => {
                let mut items = Items::clone(&self.states.borrow());
                items.retain(|key, _| !keys.contains(key));
                items.extend(read);
                items
            }
        };
        self.states.send_if_modified(|state| {
            let is_new = **state != items;
            if is_new {
                *state = Arc::new(items);
            }
            is_new
        });
    }
}

impl Stale {
    fn none() -> Self {
        Self::Keys(BTreeSet::new())
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.is_empty())
    }
}
