//! What is new to a watcher.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::api::components::Refusal;
use crate::api::components::recipient::Recipient;
use crate::api::components::state::{Key, Shown, State};
use crate::api::end::Phase;
use crate::api::service::Service;

/// One thing that a watcher is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// A component that is there, or has changed.
    Component(Key, Arc<Shown>),
    /// All that was there at the beginning has been told.
    Complete,
    /// A component that is gone.
    Removed(Key),
    /// The watcher may know no more: its token is no longer one. Nothing follows.
    Refused,
}

/// Someone who is told what the components are, each time the newest.
pub(crate) struct Watching {
    service: Arc<Service>,
    recipient: Recipient,
    states: watch::Receiver<Option<Arc<State>>>,
    /// The revisions that it was told last.
    known: BTreeMap<Key, Arc<str>>,
    /// What may have changed since.
    pending: VecDeque<Key>,
    begun: Begun,
    is_refused: bool,
    /// There are only so many watchers.
    _turn: OwnedSemaphorePermit,
}

/// How far the beginning has been told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Begun {
    /// No state is there.
    Not,
    /// The first state is being told.
    Partly,
    Wholly,
}

impl Watching {
    pub(crate) fn new(
        service: Arc<Service>,
        recipient: Recipient,
        mut states: watch::Receiver<Option<Arc<State>>>,
        turn: OwnedSemaphorePermit,
    ) -> Self {
        states.mark_changed();
        Self {
            service,
            recipient,
            states,
            known: BTreeMap::new(),
            pending: VecDeque::new(),
            begun: Begun::Not,
            is_refused: false,
            _turn: turn,
        }
    }

    /// Waits for what is new; nothing where the server ends, or after a refusal.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if self.is_refused || self.service.end.has_reached(Phase::Ending) {
                return None;
            }
            if !self.recipient.grant.holds() {
                self.recipient.is_refused(Refusal::Token);
                self.is_refused = true;
                return Some(Event::Refused);
            }
            while let Some(key) = self.pending.pop_front() {
                if let Some(event) = self.difference(key) {
                    return Some(event);
                }
            }
            if self.begun == Begun::Partly {
                self.begun = Begun::Wholly;
                return Some(Event::Complete);
            }
            tokio::select! {
                biased;
                () = self.service.end.reaches(Phase::Ending) => return None,
                _ = self.recipient.grant.withdrawn() => continue,
                changed = self.states.changed() => changed.ok()?,
            }
            let Some(state) = self.states.borrow_and_update().clone() else {
                continue;
            };
            if self.begun == Begun::Not {
                self.begun = Begun::Partly;
            }
            let is_new =
                |(key, shown): &(&Key, &Arc<Shown>)| self.known.get(*key) != Some(&shown.revision);
            let changed = state.iter().filter(is_new).map(|(key, _)| key);
            let gone = self.known.keys().filter(|key| !state.contains_key(key));
            self.pending = changed.chain(gone).cloned().collect();
        }
    }

    /// What is new of a component in the newest state. The watcher knows it from then on.
    fn difference(&mut self, key: Key) -> Option<Event> {
        let newest = self.states.borrow();
        let shown = newest.as_ref().and_then(|state| state.get(&key)).cloned();
        drop(newest);
        match shown {
            Some(shown) => {
                let known = self.known.insert(key.clone(), Arc::clone(&shown.revision));
                let is_new = known.as_ref() != Some(&shown.revision);
                is_new.then(|| {
                    self.recipient.receives(&shown);
                    Event::Component(key, shown)
                })
            }
            None => self.known.remove(&key).map(|_| Event::Removed(key)),
        }
    }
}
