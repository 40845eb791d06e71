//! The app, which is told what its subscriptions over HTTP are for.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::api::access::TOKEN_HEADER;
use crate::api::go;
use crate::api::items;
use crate::api::service::Identity;
use crate::configuration::Items;
use crate::secret::SecretValue;

/// How much of the app's answer is read, so that its connection can be used again.
const MOST_ANSWER: usize = 64 << 10;

/// The app's HTTP server.
#[derive(Debug)]
pub(crate) struct App {
    /// Such as `127.0.0.1:5000`.
    authority: String,
    /// What it speaks.
    protocol: String,
    /// What it asks of the server, as `dapr-api-token`.
    token: Option<SecretValue>,
    /// How long it may take to answer.
    patience: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl App {
    /// The app of an identity, if it has a port.
    pub(crate) fn of(
        identity: &Identity,
        token: Option<SecretValue>,
        patience: Duration,
    ) -> Option<Self> {
        let (host, port) = (&identity.app_host, identity.app_port?);
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build_http();
        Some(Self {
            authority: format!("{host}:{port}"),
            protocol: identity.app_protocol.clone(),
            token,
            patience,
            client,
        })
    }

    /// Whether it speaks what it can be told in.
    pub(crate) fn is_reachable(&self) -> bool {
        self.protocol == "http"
    }

    /// Tells it what has changed: as in Dapr, all of it once for each key, and a failure is a line
    /// in the log.
    pub(crate) async fn tell(&self, store: &str, id: &str, items: &Items) {
        let body = items::event(id, items);
        for key in items.keys() {
            let telling = self.post(store, key, body.clone());
            let told = match tokio::time::timeout(self.patience, telling).await {
                Ok(told) => told,
                Err(_) => Err("there was no answer in time".to_owned()),
            };
            if let Err(reason) = told {
                tracing::error!(
                    store,
                    key,
                    "error sending configuration item to the app: {reason}"
                );
            }
        }
    }

    async fn post(&self, store: &str, key: &str, body: Bytes) -> Result<(), String> {
        let path = go::escape_path(&format!("/configuration/{store}/{key}"));
        let mut request = Request::post(format!("http://{}{path}", self.authority))
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            // The app's own, which it asks for.
            let value = HeaderValue::from_bytes(token.reveal());
            let mut value = value.map_err(|_| "APP_API_TOKEN is no header".to_owned())?;
            value.set_sensitive(true);
            request = request.header(TOKEN_HEADER, value);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|_| "the key is no path".to_owned())?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|_| "the app cannot be reached".to_owned())?;
        let status = answer.status();
        // Read to its end, the connection can be used again.
        drop(
            Limited::new(answer.into_body(), MOST_ANSWER)
                .collect()
                .await,
        );
        if status == StatusCode::OK {
            Ok(())
        } else {
            Err(format!("status {}", status.as_u16()))
        }
    }
}
