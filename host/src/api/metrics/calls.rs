//! Calls over gRPC: how many, how long, how large.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::api::metrics::definitions;
use crate::api::metrics::family::{Family, Metric};
use crate::api::metrics::requests::bytes;
use crate::api::metrics::series::{Bounds, Counter, Histogram};
use crate::api::metrics::settings::MetricsSettings;
use crate::api::metrics::{SIZES, whole_milliseconds};

/// The methods that answer once. Dapr counts no stream.
const METHODS: &[&str] = &[
    "/dapr.proto.runtime.v1.Dapr/GetSecret",
    "/dapr.proto.runtime.v1.Dapr/GetBulkSecret",
    "/dapr.proto.runtime.v1.Dapr/GetConfiguration",
    "/dapr.proto.runtime.v1.Dapr/GetConfigurationAlpha1",
    "/dapr.proto.runtime.v1.Dapr/UnsubscribeConfiguration",
    "/dapr.proto.runtime.v1.Dapr/UnsubscribeConfigurationAlpha1",
    "/dapr.proto.runtime.v1.Dapr/GetMetadata",
    "/dapr.proto.runtime.v1.Dapr/SetMetadata",
    "/dapr.proto.runtime.v1.Dapr/Shutdown",
];

/// The statuses by their numbers, in Go's words.
const STATUSES: &[&str] = &[
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A method, by its place in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method(usize);

/// How many calls ended so, and how long they took.
type Ended = OnceLock<(Arc<Counter>, Arc<Histogram>)>;

/// The series of a method.
#[derive(Debug, Default)]
struct OfMethod {
    received: OnceLock<Arc<Histogram>>,
    sent: OnceLock<Arc<Histogram>>,
    /// By status.
    ended: [Ended; STATUSES.len()],
}

/// What is counted of calls over gRPC.
#[derive(Debug)]
pub(crate) struct Calls {
    app_id: String,
    received_bytes: Family<Histogram>,
    sent_bytes: Family<Histogram>,
    latency: Family<Histogram>,
    completed: Family<Counter>,
    methods: [OfMethod; METHODS.len()],
}

impl Calls {
    pub(crate) fn new(app_id: &str, settings: &MetricsSettings, latencies: &Bounds) -> Self {
        let (sizes, rules) = (Bounds::from(SIZES), settings.rules.as_slice());
        let histograms = |definition, bounds| Family::histograms(definition, rules, bounds);
        Self {
            app_id: app_id.to_owned(),
            received_bytes: histograms(definitions::GRPC_RECEIVED_BYTES, &sizes),
            sent_bytes: histograms(definitions::GRPC_SENT_BYTES, &sizes),
            latency: histograms(definitions::GRPC_LATENCY, latencies),
            completed: Family::counters(definitions::GRPC_COMPLETED, rules),
            methods: Default::default(),
        }
    }

    /// The method of a path, where its calls are counted.
    pub(crate) fn method(path: &str) -> Option<Method> {
        let mut methods = METHODS.iter();
        methods.position(|method| *method == path).map(Method)
    }

    /// Counts the bytes of a request's message.
    pub(crate) fn received(&self, Method(method): Method, size: u64) {
        let (Some(series), Some(name)) = (self.methods.get(method), METHODS.get(method)) else {
            return;
        };
        let received = || self.received_bytes.with(&[&self.app_id, name]);
        series.received.get_or_init(received).observe(bytes(size));
    }

    /// Counts a call that has ended with a status and a message of so many bytes.
    pub(crate) fn ended(
        &self,
        Method(method): Method,
        status: usize,
        size: u64,
        elapsed: Duration,
    ) {
        // What gRPC calls a status that it does not know.
        const UNKNOWN: usize = 2;
        let status = if status < STATUSES.len() {
            status
        } else {
            UNKNOWN
        };
        let (Some(series), Some(name)) = (self.methods.get(method), METHODS.get(method)) else {
            return;
        };
        let sent = || self.sent_bytes.with(&[&self.app_id, name]);
        series.sent.get_or_init(sent).observe(bytes(size));
        if let (Some(ended), Some(status)) = (series.ended.get(status), STATUSES.get(status)) {
            let (completed, latency) = ended.get_or_init(|| {
                let values = [self.app_id.as_str(), name, status];
                (self.completed.with(&values), self.latency.with(&values))
            });
            completed.increment();
            latency.observe(whole_milliseconds(elapsed));
        }
    }

    pub(crate) fn metrics(&self) -> [&dyn Metric; 4] {
        [
            &self.received_bytes,
            &self.sent_bytes,
            &self.latency,
            &self.completed,
        ]
    }
}
