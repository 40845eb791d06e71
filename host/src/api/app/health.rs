//! Whether the app is healthy, as it says itself when it is asked.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::{App, MOST_ANSWER};
use crate::api::metrics::Metrics;

/// Dapr's method of apps that speak gRPC.
const HEALTH_CHECK: PathAndQuery =
    PathAndQuery::from_static("/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck");

/// How the app is asked for its health, once it listens on its port.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AppHealthCheck {
    /// What an app over HTTP is asked for: `/healthz`. A status of 200 to 299 is healthy.
    pub path: String,
    /// How often: every 5 s.
    pub interval: Duration,
    /// How long an answer may take: 500 ms.
    pub timeout: Duration,
    /// How many failures in a row make it unhealthy: 3. It is so, too, until it first says that it is
    /// healthy.
    pub threshold: u32,
}

impl Default for AppHealthCheck {
    fn default() -> Self {
        Self {
            path: "/healthz".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            threshold: 3,
        }
    }
}

/// Whether the app is healthy: once it listens, and, where it is asked, while it says so.
#[derive(Debug)]
pub(crate) struct Health {
    is_healthy: watch::Sender<bool>,
    /// Whether the app is asked; where not, it may be told something before it is seen to listen.
    is_asked: bool,
}

impl Health {
    /// An app that has not been seen yet.
    pub(crate) fn new(is_asked: bool) -> Self {
        Self {
            is_healthy: watch::Sender::new(false),
            is_asked,
        }
    }

    /// Takes note of what the app is now.
    pub(crate) fn set(&self, is_healthy: bool) {
        self.is_healthy.send_replace(is_healthy);
    }

    /// Whether the app is asked and has not said that it is healthy.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_asked && !*self.is_healthy.borrow()
    }

    /// Waits until the app is not healthy.
    pub(crate) async fn is_lost(&self) {
        let mut changes = self.is_healthy.subscribe();
        // The sender is there for as long as this is.
        drop(changes.wait_for(|is_healthy| !is_healthy).await);
    }
}

/// Asks the app for its health, for ever.
pub(crate) async fn watch(app: &App, check: &AppHealthCheck, metrics: Option<&Metrics>) {
    tracing::info!(scope = "dapr.apphealth", "App health probes starting");
    let mut failures = check.threshold;
    let mut turns = tokio::time::interval(check.interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        match app.probe(check, metrics).await {
            Ok(()) if failures >= check.threshold => {
                tracing::info!(scope = "dapr.apphealth", "App entered healthy status");
                app.health.set(true);
                failures = 0;
            }
            Ok(()) => failures = 0,
            Err(reason) => {
                failures = failures.saturating_add(1);
                if failures == check.threshold {
                    tracing::warn!(
                        scope = "dapr.apphealth",
                        "App entered un-healthy status: {reason}"
                    );
                    app.health.set(false);
                }
            }
        }
    }
}

impl App {
    /// Asks once; why the app is not healthy.
    async fn probe(&self, check: &AppHealthCheck, metrics: Option<&Metrics>) -> Result<(), String> {
        let begin = Instant::now();
        let asking = async {
            if self.protocol.is_grpc {
                return self.call_health().await.map(|()| 200);
            }
            self.get_health(&check.path).await
        };
        let late = || Err("there was no answer in time".to_owned());
        let status = tokio::time::timeout(check.timeout, asking).await;
        let status = status.unwrap_or_else(|_| late());
        // As in Dapr, apps that speak gRPC are not counted, and what fails counts as this status.
        if let Some(metrics) = metrics.filter(|_| !self.protocol.is_grpc) {
            metrics.probed(*status.as_ref().unwrap_or(&500), begin.elapsed());
        }
        match status? {
            200..=299 => Ok(()),
            status => Err(format!("Health check failed with status code: {status}")),
        }
    }

    async fn get_health(&self, path: &str) -> Result<u16, String> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let request = Request::get(format!("{}/{path}", self.origin));
        let request = request.body(Body::new(Full::new(Bytes::new())));
        let request = request.map_err(|_| "the path cannot be asked for".to_owned())?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|_| "the app cannot be reached".to_owned())?;
        let status = answer.status().as_u16();
        // Read to its end, the connection can be used again.
        let body = Limited::new(answer.into_body(), MOST_ANSWER);
        drop(body.collect().await);
        Ok(status)
    }

    async fn call_health(&self) -> Result<(), String> {
        let origin = self.origin.parse();
        let origin = origin.map_err(|_| "the app's host is no host".to_owned())?;
        let mut client =
            Grpc::with_origin(self.client.clone(), origin).max_decoding_message_size(MOST_ANSWER);
        let ready = client.ready().await;
        ready.map_err(|_| "the app cannot be reached".to_owned())?;
        let request = tonic::Request::new(());
        let codec = ProstCodec::<(), ()>::default();
        let answer = client.unary(request, HEALTH_CHECK, codec).await;
        let failed = |status: tonic::Status| format!("status {}", status.code() as i32);
        answer.map(drop).map_err(failed)
    }
}
