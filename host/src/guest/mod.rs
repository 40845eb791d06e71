//! The guest: the sandbox that parses documents and places handles.
//!
//! Everything that names wasmtime is in this folder. [`add_to_linker`] is for those who run
//! wasmtime themselves; everybody else uses [`Resolver`](crate::Resolver).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use self::bindings::SecretsResolverPre;
use self::instance::State;
use self::ticker::Ticker;
use crate::limits::Limits;

pub(crate) mod bindings;
mod config;
mod import;
mod instance;
mod ticker;

pub(crate) use self::config::INSTANCES;
pub(crate) use self::import::requested;
pub use self::import::{Answers, Handle, add_to_linker};
pub use self::instance::GuestError;
pub(crate) use self::instance::{Instance, Placed, Slot};

/// The embedded guest, compiled by the build script for this version of wasmtime and this target.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keyref_guest.cwasm"));

/// A guest that is ready to be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Guest {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    pre: SecretsResolverPre<State>,
    ticker: Ticker,
}

impl Guest {
    /// The guest that is part of this crate.
    ///
    /// # Errors
    /// Fails where the process cannot reserve the memory for its instances, or start a thread.
    #[expect(
        unsafe_code,
        reason = "code compiled ahead of time is trusted as this crate's own"
    )]
    pub fn embedded() -> Result<Self, GuestError> {
        let engine = Engine::new(&config::config()).map_err(GuestError::unusable)?;
        // SAFETY: the bytes were made by this crate's build script and are part of its code.
        let component =
            unsafe { Component::deserialize(&engine, EMBEDDED) }.map_err(GuestError::unusable)?;
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, State::answers).map_err(GuestError::unusable)?;
        Self::new(engine, &linker, &component)
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
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(GuestError::unusable)?;
        Self::new(engine, &linker, &component)
    }

    fn new(
        engine: Engine,
        linker: &Linker<State>,
        component: &Component,
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
            }),
        })
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}

/// What a call may use up.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Linear memory of one instance, in bytes.
    pub(crate) memory: usize,
    /// Linear memory that all instances of one run may still take, in bytes.
    pub(crate) shared_memory: Arc<AtomicUsize>,
    /// How long one call may take.
    pub(crate) time: Duration,
    /// Set when the answer is no longer wanted.
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Budget {
    /// What one call may use up.
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            memory: limits.memory.min(config::MEMORY),
            shared_memory: Arc::new(AtomicUsize::new(limits.total_memory)),
            time: limits.time,
            cancelled: Arc::default(),
        }
    }
}
