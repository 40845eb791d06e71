//! Where batches are worked on: at once where that takes a moment, else on threads of their own,
//! and one after the other where memory is short.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::aside;
use crate::batch::{Batch, Texts};
use crate::guest::{Answers, Budget, Guest, GuestError, Permits};
use crate::placement::Placement;

/// Up to this much text takes about a millisecond, so it is worked on by the caller's thread, for
/// as long as a moment lasts.
const INLINE_BYTES: usize = 16 << 10;

/// Parses texts, each list of them in an instance of its own. Where the guest fails, each text of
/// the list is tried alone, so that only the one at fault is lost.
pub(crate) async fn parse(guest: &Guest, mut texts: Vec<Texts>, budget: &Budget) -> Vec<Batch> {
    if let [only] = texts.as_slice()
        && only.bytes() <= INLINE_BYTES
        && guest.runs_inline()
        && let Ok(_permits) = guest.working(1, budget).await
        && let Some(only) = texts.pop()
    {
        match Batch::parse(guest, only, &budget.brief()) {
            Ok(batch) => return vec![batch],
            Err((only, _)) => texts.push(only),
        }
    }
    let permits = match guest.working(budget.workers.min(texts.len()), budget).await {
        Ok(permits) => permits,
        Err(error) => {
            let refused = texts.iter().map(|texts| Batch::refused(texts, error));
            return refused.collect();
        }
    };
    let (shared, own) = (guest.clone(), budget.clone());
    let work = move |texts| Batch::parse_or_each(&shared, texts, &own);
    let parsed = on_threads(permits, texts, budget, work).await;
    let mut parsed: Vec<_> = parsed.into_iter().flatten().collect();
    if parsed.iter().all(Result::is_ok) {
        return parsed.into_iter().filter_map(Result::ok).collect();
    }
    // Those that found no memory have all of it now, one after the other.
    for batch in parsed.iter_mut().flatten() {
        batch.release();
    }
    let permits = match guest.working(1, budget).await {
        Ok(permits) => permits,
        Err(error) => {
            let refused = |texts: Texts| Batch::refused(&texts, error);
            let parsed = parsed.into_iter();
            return parsed
                .map(|parsed| parsed.unwrap_or_else(refused))
                .collect();
        }
    };
    let (shared, own) = (guest.clone(), budget.clone());
    let refused = |texts: Texts| Batch::refused(&texts, GuestError::CROWDED);
    let again = move |parsed| match parsed {
        Ok(batch) => vec![batch],
        Err(texts) => {
            let parsed = Batch::parse_or_each(&shared, texts, &own).into_iter();
            let mut parsed: Vec<_> = parsed
                .map(|parsed| parsed.unwrap_or_else(refused))
                .collect();
            parsed.iter_mut().for_each(Batch::release);
            parsed
        }
    };
    let parsed = on_threads(permits, parsed, budget, again).await;
    parsed.into_iter().flatten().collect()
}

/// A batch to place answers in.
pub(crate) struct Placing {
    pub(crate) batch: Batch,
    /// The indices of its components that are meant.
    pub(crate) indices: Vec<u32>,
    pub(crate) answers: Answers,
    /// Whether more is to be placed later, so that its instance is kept.
    pub(crate) more: bool,
}

impl Placing {
    fn place(mut self, guest: &Guest, budget: &Budget) -> (Self, Placement) {
        let placement = self
            .batch
            .place(guest, &self.indices, &self.answers, budget);
        if !self.more {
            self.batch.release();
        }
        (self, placement)
    }

    /// Without a turn in the sandbox.
    fn refused(self, error: GuestError) -> (Batch, Placement) {
        let mut placement = Placement::default();
        for index in self.indices {
            placement.fail(index, error);
        }
        (self.batch, placement)
    }
}

/// Lets the guest place answers.
pub(crate) async fn place(
    guest: &Guest,
    mut work: Vec<Placing>,
    budget: &Budget,
) -> Vec<(Batch, Placement)> {
    if let [only] = work.as_mut_slice()
        && only.batch.bytes() <= INLINE_BYTES
        && guest.runs_inline()
    {
        let (batch, brief) = (&mut only.batch, budget.brief());
        if let Ok(_permits) = guest.working(1, budget).await
            && let Ok(placed) = batch.attempt(guest, &only.indices, &only.answers, &brief)
            && let Some(only) = work.pop()
        {
            return vec![(only.batch, Placement::of(placed))];
        }
    }
    let permits = match guest.working(budget.workers.min(work.len()), budget).await {
        Ok(permits) => permits,
        Err(error) => return work.into_iter().map(|work| work.refused(error)).collect(),
    };
    let (shared, own) = (guest.clone(), budget.clone());
    let first = move |work: Placing| work.place(&shared, &own);
    let placed = on_threads(permits, work, budget, first).await;
    let crowded = |(_, placement): &(Placing, Placement)| placement.crowded();
    if !placed.iter().any(crowded) {
        return without_work(placed);
    }
    let Ok(permits) = guest.working(1, budget).await else {
        // What was placed stays so; the others have said why not.
        return without_work(placed);
    };
    let (shared, own) = (guest.clone(), budget.clone());
    let again = move |(work, placement): (Placing, Placement)| {
        if placement.crowded() {
            work.place(&shared, &own)
        } else {
            (work, placement)
        }
    };
    without_work(on_threads(permits, placed, budget, again).await)
}

fn without_work(placed: Vec<(Placing, Placement)>) -> Vec<(Batch, Placement)> {
    let placed = placed.into_iter();
    placed
        .map(|(work, placement)| (work.batch, placement))
        .collect()
}

/// Does work on each item on as many threads as there are permits, so that the caller's executor
/// goes on meanwhile. Dropping the future ends it.
async fn on_threads<T: Send + 'static, R: Send + 'static>(
    permits: Permits,
    items: Vec<T>,
    budget: &Budget,
    work: impl Fn(T) -> R + Send + Sync + 'static,
) -> Vec<R> {
    let count = items.len();
    let threads = permits.count;
    let queue: VecDeque<_> = items.into_iter().enumerate().collect();
    // The permits are given back when the last thread is done, even where nobody waits for it.
    let shared = Arc::new((Mutex::new(queue), work, permits));
    let mut cancel = CancelOnDrop {
        flag: Arc::clone(&budget.cancelled),
        armed: true,
    };
    let mut results: Vec<(usize, R)> = Vec::with_capacity(count);
    let begun = (0..threads).filter_map(|_| {
        let shared = Arc::clone(&shared);
        let cancelled = Arc::clone(&budget.cancelled);
        aside::begin(move || drain(&shared.0, &shared.1, &cancelled))
    });
    let begun: Vec<_> = begun.collect();
    if begun.is_empty() {
        results.extend(drain(&shared.0, &shared.1, &budget.cancelled));
    }
    for work in begun {
        results.extend(aside::end(work).await);
    }
    cancel.armed = false;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn drain<T, R>(
    queue: &Mutex<VecDeque<(usize, T)>>,
    work: &impl Fn(T) -> R,
    cancelled: &AtomicBool,
) -> Vec<(usize, R)> {
    let mut results = Vec::new();
    loop {
        // Nobody waits for what is left.
        if cancelled.load(Ordering::Acquire) {
            return results;
        }
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        match next {
            Some((index, item)) => results.push((index, work(item))),
            None => return results,
        }
    }
}

/// Tells running guests that nobody waits for them any more.
struct CancelOnDrop {
    flag: Arc<AtomicBool>,
    armed: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.armed {
            self.flag.store(true, Ordering::Release);
        }
    }
}
