//! Sends what waits in a queue, again and again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::collector::Collector;
use super::context::hex_of;
use super::queue::Queue;
use super::span::Span;

/// How long to wait before a batch is tried again. Doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest of these waits.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Whoever is told of spans.
#[derive(Debug)]
pub(super) enum Receiver {
    /// The log, which Dapr calls standard output.
    Log,
    Collector(Box<Collector>),
}

/// Sends spans to one receiver.
#[derive(Debug)]
pub(super) struct Exporter {
    receiver: Receiver,
    queue: Arc<Queue>,
    /// How long a batch is tried.
    patience: Duration,
    is_ending: watch::Receiver<bool>,
    /// Whether the receiver could not be told last time.
    is_failing: bool,
}

impl Exporter {
    pub(super) fn new(
        receiver: Receiver,
        queue: Arc<Queue>,
        patience: Duration,
        is_ending: watch::Receiver<bool>,
    ) -> Self {
        Self {
            receiver,
            queue,
            patience,
            is_ending,
            is_failing: false,
        }
    }

    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Sends until the end, and then what is left.
    pub(super) async fn run(mut self) {
        loop {
            let is_last = tokio::select! {
                () = self.queue.is_due() => false,
                // The sender is there for as long as anybody could make spans.
                _ = self.is_ending.wait_for(|is_ending| *is_ending) => true,
            };
            loop {
                let spans = self.queue.take();
                if spans.is_empty() {
                    break;
                }
                let count = spans.len();
                let lost = self.send(spans).await;
                self.queue.done(count, lost);
            }
            if is_last {
                return;
            }
        }
    }

    /// Sends a batch, and tries again where that may help; how many of it are lost.
    async fn send(&mut self, spans: Vec<Arc<Span>>) -> usize {
        let begin = Instant::now();
        let mut wait = FIRST_WAIT;
        let collector = match &self.receiver {
            Receiver::Log => {
                for span in &spans {
                    log(span);
                }
                return 0;
            }
            Receiver::Collector(collector) => collector,
        };
        loop {
            let failure = match collector.send(&spans).await {
                Ok(rejected) => {
                    if std::mem::take(&mut self.is_failing) {
                        let dropped = self.queue.dropped();
                        let name = collector.name();
                        tracing::info!(dropped, "spans are sent to {name} again");
                    }
                    return rejected;
                }
                Err(failure) => failure,
            };
            // Once for each time that it is away.
            if !std::mem::replace(&mut self.is_failing, true) {
                let (name, reason) = (collector.name(), &failure.reason);
                tracing::warn!("spans cannot be sent to {name}: {reason}");
            }
            let is_over = begin.elapsed() + wait > self.patience || *self.is_ending.borrow();
            if !failure.may_pass || is_over {
                return spans.len();
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.is_ending.wait_for(|is_ending| *is_ending) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Logs a span in Dapr's words.
fn log(span: &Span) {
    let (begin, end) = span.times();
    let time = |nanoseconds: u64| {
        let time = Timestamp::from_nanosecond(i128::from(nanoseconds));
        let time = time.unwrap_or_default();
        time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
    };
    let parent = span.parent.unwrap_or_default();
    tracing::info!(
        scope = "dapr.runtime.trace",
        "[{}] Trace: {} Span: {}/{} Time: [{} ->  {}] Annotations: []",
        span.name,
        hex_of(&span.context.trace),
        hex_of(&parent),
        hex_of(&span.context.span),
        time(begin),
        time(end),
    );
}
