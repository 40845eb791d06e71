//! The clock of epoch deadlines: a thread that ticks while guests run and sleeps otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// How long a tick is.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Advances an engine's epoch while at least one call is under way.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicUsize,
    stopped: AtomicBool,
}

impl Ticker {
    /// Starts the thread, which sleeps until there is a call.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, watched) = (engine.clone(), Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("keyref-epoch".to_owned())
            .spawn(move || {
                while !watched.stopped.load(Ordering::Acquire) {
                    if watched.calls.load(Ordering::Acquire) == 0 {
                        thread::park();
                    } else {
                        thread::sleep(TICK);
                        engine.increment_epoch();
                    }
                }
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ticks until what it returns is dropped.
    pub(super) fn during_call(&self) -> Call<'_> {
        if self.shared.calls.fetch_add(1, Ordering::AcqRel) == 0 {
            self.wake();
        }
        Call(&self.shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.wake();
        // The thread ends within a tick; nobody waits for it.
    }
}

/// A call that may take no longer than its deadline.
#[derive(Debug)]
pub(super) struct Call<'t>(&'t Shared);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}
