//! What the calls of one run may use up together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::config;
use crate::context::Context;
use crate::limits::Limits;

/// As long as the caller's executor may be held: one or two ticks of the epoch.
const MOMENT: Duration = Duration::from_millis(10);

/// What the calls of one run may use up together.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Linear memory of one instance, in bytes.
    pub(super) memory: usize,
    /// Memory that this run may still take, in bytes: that of its instances, and of what they said.
    pub(super) left: Arc<AtomicUsize>,
    total_memory: usize,
    /// How long one call may take.
    time: Duration,
    /// Until when a call may wait for its turn.
    pub(super) deadline: Option<Instant>,
    /// Microseconds that went into calls which failed.
    wasted: Arc<AtomicU64>,
    /// How many threads may work at a time.
    pub(crate) workers: usize,
    /// Set when the answer is no longer wanted.
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Budget {
    /// What one run may use up.
    pub(crate) fn new(limits: &Limits, context: &Context) -> Self {
        Self {
            memory: limits.memory.min(config::MEMORY),
            left: Arc::new(AtomicUsize::new(limits.total_memory)),
            total_memory: limits.total_memory,
            time: limits.time,
            deadline: context.deadline,
            wasted: Arc::default(),
            workers: thread::available_parallelism().map_or(1, usize::from),
            cancelled: Arc::default(),
        }
    }

    /// The same for a call that may take but a moment, and whose failure is not the last word.
    pub(crate) fn brief(&self) -> Self {
        Self {
            time: self.time.min(MOMENT),
            wasted: Arc::default(),
            ..self.clone()
        }
    }

    /// How long a call over this many bytes may take.
    ///
    /// # Errors
    /// Fails after the caller's deadline, and once failing calls have used up what a run may waste.
    ///
    /// A call that fails is repeated with fewer documents, so those at fault could cost their
    /// number times the limit. Once they have wasted more than one call may take, each gets what
    /// an honest one needs ten times over.
    pub(crate) fn allowance(&self, bytes: usize) -> Result<Duration, super::GuestError> {
        let wasted = Duration::from_micros(self.wasted.load(Ordering::Relaxed));
        let enough = self.time.saturating_add(self.time / 2);
        let fair = Duration::from_millis(20) + Duration::from_micros(bytes as u64 / 4);
        // So that a run ends within twice the time of a call, on however many cores.
        let workers = u32::try_from(self.workers).unwrap_or(u32::MAX);
        if wasted > self.time.saturating_mul(workers.saturating_add(1)) {
            return Err(super::GuestError::Limit("time"));
        }
        let allowed = self.time.min(enough.saturating_sub(wasted).max(fair));
        match self.deadline {
            None => Ok(allowed),
            Some(_) if self.is_late() => Err(super::GuestError::Late),
            Some(deadline) => Ok(allowed.min(deadline.duration_since(Instant::now()))),
        }
    }

    /// Whether the caller's deadline is over.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Counts the time of a call that failed.
    pub(crate) fn waste(&self, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.wasted.fetch_add(micros, Ordering::Relaxed);
    }

    /// Whether there is memory to keep an instance: what is left must do for those at work.
    pub(super) fn is_roomy(&self) -> bool {
        self.left.load(Ordering::Acquire) > self.total_memory / 4
    }

    /// Counts memory of the host that goes to what a guest said. A quarter is left for the instances
    /// that place answers later.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held, super::GuestError> {
        let mut held = self.nothing_held();
        if held.take_leaving(bytes, self.total_memory / 4) {
            Ok(held)
        } else {
            Err(super::GuestError::CROWDED)
        }
    }

    /// Nothing held yet.
    pub(super) fn nothing_held(&self) -> Held {
        Held {
            bytes: 0,
            left: Arc::clone(&self.left),
        }
    }
}

/// Memory of a run's budget, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: usize,
    left: Arc<AtomicUsize>,
}

impl Held {
    /// Takes more; says whether there was as much.
    pub(super) fn take(&mut self, more: usize) -> bool {
        self.take_leaving(more, 0)
    }

    /// The same where so much is left afterwards.
    fn take_leaving(&mut self, more: usize, reserve: usize) -> bool {
        let take = |left: usize| left.checked_sub(more).filter(|left| *left >= reserve);
        let taken = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok();
        self.bytes += if taken { more } else { 0 };
        taken
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::AcqRel);
    }
}
