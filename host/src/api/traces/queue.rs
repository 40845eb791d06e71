//! Spans that wait to be sent: so many, and no more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::settings::Batching;
use super::span::Span;

/// How much memory they may take.
const MOST_BYTES: usize = 4 << 20;

/// The spans for one receiver. Adding one never waits: where there is no room it is dropped.
#[derive(Debug)]
pub(super) struct Queue {
    batching: Batching,
    waiting: Mutex<Waiting>,
    /// There are enough for a batch.
    is_batch: Notify,
    dropped: AtomicU64,
    /// What was dropped, or is not sent yet: it is lost where nobody sends it.
    unsent: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<Arc<Span>>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(batching: Batching) -> Self {
        Self {
            batching,
            waiting: Mutex::default(),
            is_batch: Notify::new(),
            dropped: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, span: &Arc<Span>) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.lock();
        let bytes = waiting.bytes + span.size();
        if waiting.spans.len() >= self.batching.most_waiting || bytes > MOST_BYTES {
            drop(waiting);
            self.drop_one();
            return;
        }
        waiting.bytes = bytes;
        waiting.spans.push_back(Arc::clone(span));
        if waiting.spans.len() >= self.batching.most_sent {
            self.is_batch.notify_one();
        }
    }

    fn drop_one(&self) {
        // Once: how many there were is told when they can be sent again, or at the end.
        if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("spans are dropped: they come faster than they can be sent");
        }
    }

    /// Takes note of a batch that was taken, of which so many could not be sent.
    pub(super) fn done(&self, count: usize, lost: usize) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.dropped.fetch_add(number(lost), Ordering::Relaxed);
        let sent = number(count.saturating_sub(lost));
        self.unsent.fetch_sub(sent, Ordering::Relaxed);
    }

    /// How many were dropped, or are still not sent, since the beginning.
    pub(super) fn lost(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// How many were dropped since this was last asked.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// The oldest, as many as are sent at a time.
    pub(super) fn take(&self) -> Vec<Arc<Span>> {
        let mut waiting = self.lock();
        let count = waiting.spans.len().min(self.batching.most_sent);
        let taken: Vec<_> = waiting.spans.drain(..count).collect();
        let bytes: usize = taken.iter().map(|span| span.size()).sum();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        taken
    }

    /// Waits until there is a batch, or it is time.
    pub(super) async fn is_due(&self) {
        tokio::select! {
            () = self.is_batch.notified() => {}
            () = tokio::time::sleep(self.batching.delay) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Queue;
    use crate::api::traces::context::SpanContext;
    use crate::api::traces::settings::Batching;
    use crate::api::traces::span::Recording;

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let batching = Batching {
            most_waiting: 3,
            most_sent: 2,
            ..Batching::default()
        };
        let queue = Queue::new(batching);
        let span = Arc::new(Recording::begin("a", SpanContext::default(), None).end());
        for _ in 0..5 {
            queue.add(&span);
        }
        assert_eq!((queue.dropped(), queue.dropped()), (2, 0));
        assert_eq!([(); 3].map(|()| queue.take().len()), [2, 1, 0]);
        queue.done(2, 1);
        assert_eq!((queue.dropped(), queue.lost()), (1, 4));
        queue.add(&span);
        assert_eq!((queue.dropped(), queue.take().len()), (0, 1));
    }

    #[test]
    fn large_spans_find_less_room() {
        let queue = Queue::new(Batching::default());
        let mut large = Recording::begin("a", SpanContext::default(), None);
        for number in 0..200 {
            large.set(format!("dapr-{number}"), &"x".repeat(1 << 20));
        }
        let large = Arc::new(large.end());
        for _ in 0..10 {
            queue.add(&large);
        }
        assert_eq!((queue.take().len(), queue.dropped()), (7, 3));
    }
}
