//! WASI, for guests that import it: nothing is granted, and waiting ends with the time of a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::Trap;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::sync::io::poll::{self, Host, HostPollable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::instance::{Cancelled, State};

/// Resources of WASI that an instance may have at a time: they take memory of the host.
const MOST_RESOURCES: usize = 1024;
/// How soon a guest that waits learns that it need not.
const PAUSE: Duration = Duration::from_millis(1);

/// What an instance has of WASI.
pub(super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    /// Until when it may wait, where there is an end: epochs do not end a function of the host.
    until: Option<Instant>,
    cancelled: Arc<AtomicBool>,
}

impl Wasi {
    pub(super) fn new() -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_RESOURCES);
        Self {
            ctx: WasiCtx::builder().build(),
            table,
            until: None,
            cancelled: Arc::default(),
        }
    }

    /// Sets how long a call may wait, and what ends that earlier.
    pub(super) fn set_deadline(&mut self, cancelled: &Arc<AtomicBool>, time: Duration) {
        self.until = Instant::now().checked_add(time);
        self.cancelled = Arc::clone(cancelled);
    }

    fn is_ready(&mut self, pollable: &Resource<DynPollable>) -> wasmtime::Result<bool> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(wasmtime::Error::new(Cancelled));
        }
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(wasmtime::Error::new(Trap::Interrupt));
        }
        self.table.ready(Resource::new_borrow(pollable.rep()))
    }
}

/// Adds WASI to a linker.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    // Its own would wait for as long as a guest wishes.
    linker.allow_shadowing(true);
    poll::add_to_linker::<_, Wasi>(linker, State::wasi)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl HasData for Wasi {
    type Data<'a> = &'a mut Self;
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { ctx, table, .. } = self.wasi();
        WasiCtxView { ctx, table }
    }
}

impl Host for Wasi {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        if pollables.is_empty() {
            wasmtime::bail!("nothing to wait for");
        }
        loop {
            let mut ready = Vec::new();
            for (index, pollable) in (0..).zip(&pollables) {
                if self.is_ready(pollable)? {
                    ready.push(index);
                }
            }
            if !ready.is_empty() {
                return Ok(ready);
            }
            thread::sleep(PAUSE);
        }
    }
}

impl HostPollable for Wasi {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.is_ready(&pollable)
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        while !self.is_ready(&pollable)? {
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        HostPollable::drop(&mut self.table, pollable)
    }
}
