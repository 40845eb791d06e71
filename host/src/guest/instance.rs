//! One instance: documents in, components out, answers in, places out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::ResourceAny;
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};

use super::bindings::SecretsResolver;
use super::bindings::exports::keyref::secrets::resolver::{
    Component, Configuration, Document, Part as WitPart, Problem,
};
use super::bindings::keyref::secrets::secret_store::Request;
use super::import::{Answers, TooManyHandles};
use super::ticker::TICK;
use super::{Budget, Guest, Held};

/// What an instance has as its own.
pub(super) struct State {
    answers: Answers,
    limiter: Limiter,
    #[cfg(feature = "guest")]
    wasi: super::wasi::Wasi,
}

impl State {
    pub(super) fn answers(&mut self) -> &mut Answers {
        &mut self.answers
    }

    #[cfg(feature = "guest")]
    pub(super) fn wasi(&mut self) -> &mut super::wasi::Wasi {
        &mut self.wasi
    }
}

/// Bounds the memory of one instance, and of all instances of one run.
#[derive(Debug)]
struct Limiter {
    memory: usize,
    held: Held,
    /// Why growth was refused, which is why the guest then fails.
    refused: Option<GuestError>,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.memory {
            self.refused = Some(GuestError::Limit("memory"));
        } else if !self.held.take(desired.saturating_sub(current)) {
            self.refused = Some(GuestError::CROWDED);
        }
        Ok(self.refused.is_none())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= 1024)
    }
}

/// Why a guest gave no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// The answer is no longer wanted.
    #[error("the call was cancelled")]
    Cancelled,
    /// The caller's deadline came first.
    #[error("the deadline came before the guest was done")]
    Late,
    /// It used up one of its limits.
    #[error("the limit on {0} was reached")]
    Limit(&'static str),
    /// It trapped, or answered with what cannot be.
    #[error("the guest failed")]
    Failed,
    /// It cannot be loaded: it is of another version or target, or memory cannot be reserved.
    #[error("the guest cannot be loaded")]
    Unusable,
}

impl GuestError {
    /// What the documents of one run may take together was taken by others.
    pub(crate) const CROWDED: Self = Self::Limit("memory for all documents");

    /// Whether the same call could end well once others have given their memory back.
    pub(crate) fn is_crowded(self) -> bool {
        self == Self::CROWDED
    }

    /// An error at loading time, whose text is for the log.
    #[expect(clippy::needless_pass_by_value, reason = "used with `map_err`")]
    pub(super) fn unusable(error: wasmtime::Error) -> Self {
        tracing::error!(error = format!("{error:#}"), "the guest cannot be loaded");
        Self::Unusable
    }
}

/// A live instance that holds parsed documents.
pub(crate) struct Instance {
    guest: Guest,
    store: Store<State>,
    exports: SecretsResolver,
    set: ResourceAny,
    cancelled: Arc<AtomicBool>,
}

/// An instance that lives on after its call.
pub(crate) struct Kept {
    pub(crate) instance: Instance,
    _permit: OwnedSemaphorePermit,
}

impl Instance {
    /// Keeps the instance, where there is room for it; else it is gone.
    pub(crate) fn keep(self, budget: &Budget) -> Option<Kept> {
        let permit = self.guest.keep().filter(|_| budget.is_roomy())?;
        Some(Kept {
            instance: self,
            _permit: permit,
        })
    }
}

/// What a guest says of documents.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) components: Vec<Component>,
    pub(crate) configurations: Vec<Configuration>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) requests: Vec<Request>,
}

/// A part of a value.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Text of the document.
    Literal(String),
    /// The answer to the request of the set with this index.
    Answer(usize),
}

/// An item that holds a reference, with what its value is made of.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) component: u32,
    pub(crate) item: usize,
    pub(crate) parts: Vec<Part>,
}

impl Instance {
    /// Instantiates the guest anew and lets it parse documents, all within this time.
    pub(crate) fn parse(
        guest: &Guest,
        documents: &[Document],
        budget: &Budget,
        time: Duration,
    ) -> Result<(Self, Parsed), GuestError> {
        let _call = guest.shared.ticker.during_call();
        let mut store = new_store(guest, budget, time);
        let parsed = (|| {
            let exports = guest.shared.pre.instantiate(&mut store)?;
            let set = exports.keyref_secrets_resolver().document_set();
            let handle = set.call_constructor(&mut store, documents)?;
            let parsed = Parsed {
                components: set.call_components(&mut store, handle)?,
                configurations: set.call_configurations(&mut store, handle)?,
                problems: set.call_problems(&mut store, handle)?,
                requests: set.call_requests(&mut store, handle)?,
            };
            Ok((exports, handle, parsed))
        })();
        match parsed {
            Ok((exports, set, parsed)) => {
                let (guest, cancelled) = (guest.clone(), Arc::clone(&budget.cancelled));
                Ok((
                    Self {
                        guest,
                        store,
                        exports,
                        set,
                        cancelled,
                    },
                    parsed,
                ))
            }
            Err(error) => Err(classify(&error, &store)),
        }
    }

    /// Lets the guest place answers in the components with these indices.
    ///
    /// What it says is checked: indices that do not exist are a failure of the guest.
    pub(crate) fn resolve(
        &mut self,
        components: &[u32],
        answers: Answers,
        time: Duration,
    ) -> Result<Vec<Placed>, GuestError> {
        let guest = self.guest.clone();
        let _call = guest.shared.ticker.during_call();
        self.store.data_mut().answers = answers;
        set_deadline(&mut self.store, &self.cancelled, time);
        let set = self.exports.keyref_secrets_resolver().document_set();
        let outcome = set
            .call_resolve(&mut self.store, self.set, components)
            .map_err(|error| classify(&error, &self.store))?;
        let answers = &self.store.data().answers;
        let mut requests = Vec::with_capacity(outcome.answers.len());
        for answer in &outcome.answers {
            requests.push(match &answer.secret {
                Ok(handle) => answers.request(handle).ok_or(GuestError::Failed)?,
                Err(_) => answer.request as usize,
            });
        }
        let part = |part| match part {
            WitPart::Literal(text) => Ok(Part::Literal(text)),
            // Guest-controlled: an index that does not exist is a guest gone wrong.
            WitPart::Secret(index) => {
                let request = requests.get(index as usize).copied();
                request.map(Part::Answer).ok_or(GuestError::Failed)
            }
        };
        let mut placed = Vec::new();
        for component in outcome.components {
            for item in component.items {
                let parts = item.parts.into_iter().map(part);
                placed.push(Placed {
                    component: component.component,
                    item: item.item as usize,
                    parts: parts.collect::<Result<_, _>>()?,
                });
            }
        }
        Ok(placed)
    }
}

fn new_store(guest: &Guest, budget: &Budget, time: Duration) -> Store<State> {
    let state = State {
        answers: Answers::default(),
        limiter: Limiter {
            memory: budget.memory,
            held: budget.nothing_held(),
            refused: None,
        },
        #[cfg(feature = "guest")]
        wasi: super::wasi::Wasi::new(),
    };
    let mut store = Store::new(&guest.shared.engine, state);
    store.limiter(|state| &mut state.limiter);
    // What a guest says in one call may take half of what its memory may: an honest one has it
    // twice at that time.
    store.set_hostcall_fuel(budget.memory / 2);
    set_deadline(&mut store, &budget.cancelled, time);
    store
}

/// Ends the call after its time, or at the next tick once nobody wants its answer.
fn set_deadline(store: &mut Store<State>, cancelled: &Arc<AtomicBool>, time: Duration) {
    #[cfg(feature = "guest")]
    store.data_mut().wasi.set_deadline(cancelled, time);
    let mut ticks = time.as_millis().div_ceil(TICK.as_millis()).max(1);
    let cancelled = Arc::clone(cancelled);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        ticks = ticks.saturating_sub(1);
        if cancelled.load(Ordering::Acquire) {
            return Err(wasmtime::Error::new(Cancelled));
        }
        if ticks == 0 {
            return Err(wasmtime::Error::new(Trap::Interrupt));
        }
        Ok(UpdateDeadline::Continue(1))
    });
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cancelled")]
pub(super) struct Cancelled;

/// What ended a call. The text of a trap is for the log: a guest can put a document's text there.
fn classify(error: &wasmtime::Error, store: &Store<State>) -> GuestError {
    if error.is::<Cancelled>() {
        return GuestError::Cancelled;
    }
    if error.is::<TooManyHandles>() {
        return GuestError::Limit("handles");
    }
    // Others have the instances for now: those of a call that was cancelled live on for a tick.
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return GuestError::CROWDED;
    }
    if let Some(refused) = store.data().limiter.refused {
        return refused;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => GuestError::Limit("time"),
        Some(Trap::StackOverflow) => GuestError::Limit("depth"),
        Some(trap) => {
            tracing::error!(%trap, "the guest trapped");
            GuestError::Failed
        }
        // wasmtime has no type for this.
        None if error
            .root_cause()
            .to_string()
            .contains("fuel allocated for hostcalls") =>
        {
            GuestError::Limit("the size of an answer")
        }
        None => {
            tracing::error!("the guest's answer is not valid");
            GuestError::Failed
        }
    }
}
