//! Traces of requests for OpenTelemetry and Zipkin, as Dapr has them. Not to be confused with the
//! crate `tracing`, whose events are the log.

mod collector;
mod context;
mod exporter;
mod fields;
mod ids;
mod otlp;
mod queue;
mod requests;
mod settings;
mod span;
mod variables;
mod zipkin;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::collector::Collector;
use self::context::SpanContext;
use self::exporter::{Exporter, Receiver};
pub(crate) use self::fields::{TracesFields, Unfit};
use self::ids::Ids;
use self::queue::Queue;
pub(crate) use self::requests::{AskedStore, GrpcSpan, HttpSpan};
pub use self::settings::TracesSettings;
use self::span::Span;

/// The name of Dapr's tracer.
const SCOPE: &str = "dapr-diagnostics";
/// Whose names the attributes of the server have.
const RESOURCE_SCHEMA: &str = "https://opentelemetry.io/schemas/1.25.0";
/// How long an end may wait for spans to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// Makes spans of requests, and sends them.
#[derive(Debug)]
pub(crate) struct Traces {
    ids: Ids,
    /// Traces whose number is below this are recorded, of 2^63.
    bound: u64,
    queues: Vec<Arc<Queue>>,
    /// Until the server runs.
    exporters: Mutex<Vec<Exporter>>,
    is_ending: watch::Sender<bool>,
}

impl Traces {
    /// Nothing where no traces are wanted; a failure says why in words.
    pub(crate) fn of(settings: &TracesSettings, app_id: &str) -> Result<Option<Self>, String> {
        let Some(rate) = settings.rate else {
            return Ok(None);
        };
        let mut resource = settings.resource.clone();
        if !resource.iter().any(|(name, _)| name == "service.name") {
            resource.push(("service.name".to_owned(), app_id.to_owned()));
        }
        let resource: Arc<[_]> = resource.into();
        let mut receivers = Vec::new();
        if settings.stdout {
            receivers.push(Receiver::Log);
        }
        if let Some(endpoint) = &settings.zipkin {
            let zipkin = Collector::zipkin(endpoint, Arc::clone(&resource))?;
            receivers.push(Receiver::Collector(Box::new(zipkin)));
        }
        if let Some(otlp) = &settings.otlp {
            let otlp = Collector::otlp(otlp, resource)?;
            receivers.push(Receiver::Collector(Box::new(otlp)));
        }
        let is_ending = watch::Sender::new(false);
        let exporter = |receiver| {
            let queue = Arc::new(Queue::new(settings.batching));
            let patience = settings.batching.patience;
            Exporter::new(receiver, queue, patience, is_ending.subscribe())
        };
        let exporters: Vec<_> = receivers.into_iter().map(exporter).collect();
        tracing::info!(
            "Dapr trace sampler initialized: ParentBased{{root:TraceIDRatioBased{{{}}},\
             remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,\
             localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}}",
            rate.share()
        );
        Ok(Some(Self {
            ids: Ids::new(),
            bound: rate.bound(),
            queues: exporters.iter().map(Exporter::queue).collect(),
            exporters: Mutex::new(exporters),
            is_ending,
        }))
    }

    /// Sends spans from now on.
    pub(crate) fn run(&self) -> JoinSet<()> {
        let mut exporters = self
            .exporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        exporters.drain(..).map(Exporter::run).collect()
    }

    /// Sends what is there, as far as that is possible in a short time.
    pub(crate) async fn finish(&self, mut running: JoinSet<()>) {
        self.is_ending.send_replace(true);
        let finished = async { while running.join_next().await.is_some() {} };
        // Those that are late end with the set.
        drop(tokio::time::timeout(FLUSH, finished).await);
        let lost: u64 = self.queues.iter().map(|queue| queue.lost()).sum();
        if lost > 0 {
            tracing::warn!(count = lost, "spans were not sent");
        }
    }

    /// A request's place in its caller's trace, or in one that begins with it.
    fn place(&self, parent: Option<&SpanContext>) -> SpanContext {
        let mut place = parent.cloned().unwrap_or_default();
        let is_sampled = place.is_valid().then(|| place.is_sampled());
        if !place.has_trace() {
            place.trace = self.ids.of_trace();
        }
        let number = place.trace.last_chunk().copied().unwrap_or_default();
        let number = u64::from_be_bytes(number) >> 1;
        place.set_sampled(is_sampled.unwrap_or(number < self.bound));
        place.span = self.ids.of_span();
        place
    }

    /// Whether anybody is told of this place.
    fn is_told(&self, place: &SpanContext) -> bool {
        place.is_sampled() && !self.queues.is_empty()
    }

    fn tell(&self, span: Span) {
        let span = Arc::new(span);
        for queue in &self.queues {
            queue.add(&span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fields::TracesFields;
    use super::{SpanContext, Traces};
    use crate::env::Environment;
    use crate::mode::Mode;

    fn traces(rate: &str) -> Option<Traces> {
        let mut fields = TracesFields::default();
        let value = serde_yaml::from_str(&format!("samplingRate: '{rate}'"));
        fields.set(value.unwrap(), Mode::Strict).unwrap();
        let settings = fields.settings(&Environment::none(), Mode::Strict).unwrap();
        Traces::of(&settings, "a").unwrap()
    }

    #[test]
    fn a_share_of_traces_is_sampled_and_the_caller_s_decision_counts() {
        assert!(traces("0").is_none() && traces("").is_none());
        for (rate, range) in [("1", 1000..=1000), ("0.5", 400..=600), ("0.01", 0..=40)] {
            let traces = traces(rate).unwrap();
            let sampled = (0..1000).filter(|_| traces.place(None).is_sampled());
            assert!(range.contains(&sampled.count()), "{rate}");
        }
        let (all, few) = (traces("1").unwrap(), traces("0.000001").unwrap());
        for is_sampled in [true, false] {
            let mut parent = all.place(None);
            parent.set_sampled(is_sampled);
            parent.flags |= 2;
            parent.state = Some("a=1".into());
            for traces in [&all, &few] {
                let place = traces.place(Some(&parent));
                assert_ne!(place.span, parent.span);
                let span = parent.span;
                assert_eq!(SpanContext { span, ..place }, parent);
            }
        }
    }
}
