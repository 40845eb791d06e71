//! One instance: documents in, components out, answers in, places out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::component::ResourceAny;
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};

use super::bindings::SecretsResolver;
use super::bindings::exports::keyref::secrets::resolver::{
    Component, Configuration, Document, Part, Problem,
};
use super::bindings::keyref::secrets::secret_store::Request;
use super::import::{Answers, TooManyHandles};
use super::ticker::TICK;
use super::{Budget, Guest};

/// What an instance has as its own.
pub(super) struct State {
    answers: Answers,
    limiter: Limiter,
    #[cfg(feature = "guest")]
    wasi: (wasmtime_wasi::WasiCtx, wasmtime::component::ResourceTable),
}

impl State {
    pub(super) fn answers(&mut self) -> &mut Answers {
        &mut self.answers
    }
}

#[cfg(feature = "guest")]
impl wasmtime_wasi::WasiView for State {
    fn ctx(&mut self) -> wasmtime_wasi::WasiCtxView<'_> {
        let (ctx, table) = &mut self.wasi;
        wasmtime_wasi::WasiCtxView { ctx, table }
    }
}

/// Bounds the memory of one instance, and of all instances of one run.
#[derive(Debug)]
struct Limiter {
    memory: usize,
    shared: Arc<AtomicUsize>,
    taken: usize,
    /// Whether growth was refused, which is why the guest then fails.
    refused: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let take = |left: usize| left.checked_sub(more);
        if desired > self.memory
            || self
                .shared
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
                .is_err()
        {
            self.refused = true;
            return Ok(false);
        }
        self.taken += more;
        Ok(true)
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

impl Drop for Limiter {
    fn drop(&mut self) {
        self.shared.fetch_add(self.taken, Ordering::AcqRel);
    }
}

/// Why a guest gave no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// The answer is no longer wanted.
    #[error("the call was cancelled")]
    Cancelled,
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
    budget: Budget,
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
pub(crate) enum Slot {
    /// Text of the document.
    Literal(String),
    /// The answer with this place.
    Answer(usize),
    /// The request of the set with this index has no answer.
    Missing(usize),
}

/// An item that holds a reference, with where its value comes from.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) component: u32,
    pub(crate) item: usize,
    pub(crate) slots: Vec<Slot>,
}

impl Instance {
    /// Instantiates the guest anew and lets it parse documents.
    pub(crate) fn parse(
        guest: &Guest,
        documents: &[Document],
        budget: &Budget,
    ) -> Result<(Self, Parsed), GuestError> {
        let _call = guest.shared.ticker.during_call();
        let mut store = new_store(guest, budget);
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
                let (guest, budget) = (guest.clone(), budget.clone());
                Ok((
                    Self {
                        guest,
                        store,
                        exports,
                        set,
                        budget,
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
    ) -> Result<Vec<Placed>, GuestError> {
        let guest = self.guest.clone();
        let _call = guest.shared.ticker.during_call();
        self.store.data_mut().answers = answers;
        set_deadline(&mut self.store, &self.budget);
        let set = self.exports.keyref_secrets_resolver().document_set();
        let outcome = set
            .call_resolve(&mut self.store, self.set, components)
            .map_err(|error| classify(&error, &self.store))?;
        let answers = &self.store.data().answers;
        let mut slots = Vec::with_capacity(outcome.answers.len());
        for answer in &outcome.answers {
            slots.push(match &answer.secret {
                Ok(handle) => Slot::Answer(answers.place(handle).ok_or(GuestError::Failed)?),
                Err(_) => Slot::Missing(answer.request as usize),
            });
        }
        let mut placed = Vec::new();
        for component in outcome.components {
            for item in component.items {
                let parts = item.parts.into_iter().map(|part| match part {
                    Part::Literal(text) => Ok(Slot::Literal(text)),
                    // Guest-controlled: an index that does not exist is a guest gone wrong.
                    Part::Secret(index) => {
                        slots.get(index as usize).cloned().ok_or(GuestError::Failed)
                    }
                });
                placed.push(Placed {
                    component: component.component,
                    item: item.item as usize,
                    slots: parts.collect::<Result<_, _>>()?,
                });
            }
        }
        Ok(placed)
    }
}

fn new_store(guest: &Guest, budget: &Budget) -> Store<State> {
    let state = State {
        answers: Answers::default(),
        limiter: Limiter {
            memory: budget.memory,
            shared: Arc::clone(&budget.shared_memory),
            taken: 0,
            refused: false,
        },
        #[cfg(feature = "guest")]
        wasi: (
            wasmtime_wasi::WasiCtx::builder().build(),
            wasmtime::component::ResourceTable::new(),
        ),
    };
    let mut store = Store::new(&guest.shared.engine, state);
    store.limiter(|state| &mut state.limiter);
    // What a guest may hand over in one call is bounded as its memory is.
    store.set_hostcall_fuel(budget.memory);
    set_deadline(&mut store, budget);
    store
}

/// Ends the call after its time, or at the next tick once nobody wants its answer.
fn set_deadline(store: &mut Store<State>, budget: &Budget) {
    let mut ticks = budget.time.as_millis().div_ceil(TICK.as_millis()).max(1);
    let cancelled = Arc::clone(&budget.cancelled);
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
struct Cancelled;

/// What ended a call. The text of a trap is for the log: a guest can put a document's text there.
fn classify(error: &wasmtime::Error, store: &Store<State>) -> GuestError {
    if error.is::<Cancelled>() {
        return GuestError::Cancelled;
    }
    if error.is::<TooManyHandles>() {
        return GuestError::Limit("handles");
    }
    if store.data().limiter.refused {
        return GuestError::Limit("memory");
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => GuestError::Limit("time"),
        Some(Trap::StackOverflow) => GuestError::Limit("depth"),
        Some(trap) => {
            tracing::error!(%trap, "the guest trapped");
            GuestError::Failed
        }
        None => {
            tracing::error!("the guest's answer is not valid");
            GuestError::Failed
        }
    }
}
