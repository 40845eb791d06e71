//! The guest: the sandbox that parses documents and places handles.
//!
//! Everything that names wasmtime is in this folder. [`add_to_linker`] is for those who run
//! wasmtime themselves; everybody else uses [`Resolver`](crate::Resolver).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use self::bindings::SecretsResolverPre;
use self::instance::State;
use self::ticker::Ticker;

pub(crate) mod bindings;
mod budget;
mod config;
mod import;
mod instance;
mod ticker;
#[cfg(feature = "guest")]
mod wasi;

pub(crate) use self::budget::{Budget, Held};
pub(crate) use self::import::requested;
pub use self::import::{Answers, Handle, add_to_linker};
pub use self::instance::GuestError;
pub(crate) use self::instance::{Instance, Kept, Part, Placed};

/// The embedded guest, compiled by the build script for this version of wasmtime and this target.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keyref_guest.cwasm"));

/// The guest that is part of this crate, as a component: for those who run wasmtime themselves, or
/// another runtime.
pub const COMPONENT: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/guest/keyref_guest.wasm"
));

/// A guest that is ready to be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Guest {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    pre: SecretsResolverPre<State>,
    ticker: Ticker,
    /// Permits for the instances that are at work, which is never for long.
    working: Arc<Semaphore>,
    /// Permits for those that are kept while their secrets are fetched, which can be.
    kept: Arc<Semaphore>,
    /// The right to the one instance without a permit, for those who cannot wait for one.
    last_instance: Mutex<()>,
    /// Whether its calls may block, as those of WASI may.
    may_block: bool,
}

const KEPT: u32 = config::INSTANCES / 2;
const WORKING: u32 = config::INSTANCES - KEPT - 1;

impl Guest {
    /// The guest that is part of this crate. All who have it at a time share one engine with its
    /// instances, since those take address space.
    ///
    /// # Errors
    /// Fails where the process cannot reserve the memory for its instances, or start a thread.
    #[expect(
        unsafe_code,
        reason = "code compiled ahead of time is trusted as this crate's own"
    )]
    pub fn embedded() -> Result<Self, GuestError> {
        static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
        let mut known = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = known.upgrade() {
            return Ok(Self { shared });
        }
        let engine = Engine::new(&config::config()).map_err(GuestError::unusable)?;
        // SAFETY: the bytes were made by this crate's build script and are part of its code.
        let component =
            unsafe { Component::deserialize(&engine, EMBEDDED) }.map_err(GuestError::unusable)?;
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, State::answers).map_err(GuestError::unusable)?;
        let guest = Self::new(engine, &linker, &component, false)?;
        *known = Arc::downgrade(&guest.shared);
        Ok(guest)
    }

    /// Another implementation of the world `secrets-resolver`, compiled now. It may import WASI,
    /// of which it is granted nothing: no file, no variable, no argument, no network.
    ///
    /// # Errors
    /// Fails where the bytes are no such component.
    #[cfg(feature = "guest")]
    pub fn from_component(component: &[u8]) -> Result<Self, GuestError> {
        let engine = Engine::new(&config::config()).map_err(GuestError::unusable)?;
        let component = Component::new(&engine, component).map_err(GuestError::unusable)?;
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, State::answers).map_err(GuestError::unusable)?;
        wasi::add_to_linker(&mut linker).map_err(GuestError::unusable)?;
        Self::new(engine, &linker, &component, true)
    }

    fn new(
        engine: Engine,
        linker: &Linker<State>,
        component: &Component,
        may_block: bool,
    ) -> Result<Self, GuestError> {
        let pre = linker
            .instantiate_pre(component)
            .and_then(SecretsResolverPre::new)
            .map_err(GuestError::unusable)?;
        let ticker = Ticker::start(&engine).map_err(|_| GuestError::Unusable)?;
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                pre,
                ticker,
                working: Arc::new(Semaphore::new(WORKING as usize)),
                kept: Arc::new(Semaphore::new(KEPT as usize)),
                last_instance: Mutex::default(),
                may_block,
            }),
        })
    }

    /// Waits until this many instances may work, at most as many as there are; they may until what
    /// it returns is dropped. All at once, so that two runs cannot wait for each other.
    ///
    /// # Errors
    /// Fails where the run's deadline comes first.
    pub(crate) async fn working(
        &self,
        instances: usize,
        budget: &Budget,
    ) -> Result<Permits, GuestError> {
        let count = u32::try_from(instances).unwrap_or(WORKING).min(WORKING);
        let permits = Arc::clone(&self.shared.working).acquire_many_owned(count);
        // Without a runtime there are no timers.
        let timers = budget
            .deadline
            .filter(|_| tokio::runtime::Handle::try_current().is_ok());
        let permits = match timers {
            None => permits.await,
            Some(deadline) => timeout_at(deadline, permits)
                .await
                .map_err(|_| GuestError::Late)?,
        };
        Ok(Permits {
            count: count as usize,
            _permits: permits.ok(),
        })
    }

    /// The right to keep an instance, where not too many are kept.
    pub(super) fn keep(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.kept).try_acquire_owned().ok()
    }

    /// Whether its calls may run on an executor's thread.
    pub(crate) fn runs_inline(&self) -> bool {
        !self.shared.may_block
    }

    /// Takes the one instance that is kept for those who cannot wait on a permit.
    pub(crate) fn last_instance(&self) -> MutexGuard<'_, ()> {
        let last = self.shared.last_instance.lock();
        last.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of this many instances to work.
pub(crate) struct Permits {
    pub(crate) count: usize,
    _permits: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}
