//! The app, which is told what its subscriptions over HTTP are for.

mod delivery;
mod health;
mod trust;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

pub(crate) use self::delivery::deliver;
pub use self::health::AppHealthCheck;
pub(crate) use self::health::{Health, watch};
use crate::api::access::TOKEN_HEADER;
use crate::api::identity::Identity;
use crate::api::token::Token;
use crate::api::{go, items};
use crate::configuration::Items;
use crate::resiliency::Execution;

/// How much of the app's answer is read, so that its connection can be used again.
const MOST_ANSWER: usize = 64 << 10;
/// How long a connection may take to be made, before TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// How many requests the app has at a time, as many as Dapr has connections.
const MOST_REQUESTS: usize = 1024;
/// Dapr's method of apps that speak gRPC.
const ON_INVOKE: PathAndQuery =
    PathAndQuery::from_static("/dapr.proto.runtime.v1.AppCallback/OnInvoke");

/// What the app speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Protocol {
    is_tls: bool,
    is_grpc: bool,
    /// HTTP/2 from the first byte on.
    is_http2: bool,
}

impl Protocol {
    fn parse(name: &str) -> Option<Self> {
        let (is_tls, is_grpc, is_http2) = match name {
            "" | "http" => (false, false, false),
            "https" => (true, false, false),
            "h2c" => (false, false, true),
            "grpc" => (false, true, true),
            "grpcs" => (true, true, true),
            _ => return None,
        };
        Some(Self {
            is_tls,
            is_grpc,
            is_http2,
        })
    }
}

/// The app's server.
#[derive(Debug)]
pub(crate) struct App {
    /// Such as `http://127.0.0.1:5000`.
    origin: String,
    protocol: Protocol,
    /// What it asks of the server, as `dapr-api-token`.
    token: Option<Token>,
    /// How long it may take to answer.
    patience: Duration,
    turns: Arc<Semaphore>,
    /// Whether it is healthy.
    pub(crate) health: Health,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

/// Why the app does not know of a change.
#[derive(Debug)]
struct Untold {
    /// It may have gone away, or be too busy: it is to be told later.
    is_away: bool,
    reason: String,
}

/// What the app does not know, and why.
#[derive(Debug)]
struct Left {
    items: Items,
    why: Untold,
}

impl Untold {
    fn away(reason: &str) -> Self {
        Self {
            is_away: true,
            reason: reason.to_owned(),
        }
    }

    /// It has answered, and as in Dapr that is all.
    fn refused(reason: impl Display) -> Self {
        Self {
            is_away: false,
            reason: reason.to_string(),
        }
    }
}

impl App {
    /// The app of an identity, if it has a port; a failure says why in words.
    pub(crate) fn of(
        identity: &Identity,
        token: Option<Token>,
        patience: Duration,
    ) -> Result<Option<Self>, String> {
        let Some(protocol) = Protocol::parse(&identity.app_protocol) else {
            let name = &identity.app_protocol;
            return Err(format!("invalid value for 'app-protocol': {name}"));
        };
        let (host, Some(port)) = (&identity.app_host, identity.app_port) else {
            return Ok(None);
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = trust::config(identity, protocol.is_tls, protocol.is_http2)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(protocol.is_http2)
            .build(HttpsConnector::from((tcp, tls)));
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let scheme = if protocol.is_tls { "https" } else { "http" };
        Ok(Some(Self {
            origin: format!("{scheme}://{host}:{port}"),
            protocol,
            token,
            patience,
            turns: Arc::new(Semaphore::new(MOST_REQUESTS)),
            health: Health::new(identity.app_health.is_some()),
            client,
        }))
    }

    /// Tells it what has changed: as in Dapr, all of it once for each key. Returns what it does not
    /// know after that: what it is to be told later, and what it has refused where that is tried
    /// again.
    async fn tell(
        &self,
        store: &str,
        id: &str,
        mut items: Items,
        mut execution: Option<&mut Execution>,
    ) -> Option<Left> {
        if self.health.is_refused() {
            let why = Untold::away("app is not in a healthy state");
            return Some(Left { items, why });
        }
        let keeps_refused = execution.as_ref().is_some_and(|one| one.has_retry());
        let mut refusal = None;
        let body = items::event(id, &items);
        let keys: Vec<_> = items.keys().cloned().collect();
        for key in keys {
            // The semaphore is never closed.
            let _turn = self.turns.acquire().await.ok();
            let path = format!("/configuration/{store}/{key}");
            let telling = async {
                let telling = self.send(&path, body.clone());
                let told = tokio::time::timeout(self.patience, telling).await;
                told.unwrap_or_else(|_| Err(Untold::away("there was no answer in time")))
            };
            let told = match &mut execution {
                None => telling.await,
                Some(execution) => {
                    let told = execution.attempt(telling, |_| true).await;
                    told.unwrap_or_else(|cut| Err(Untold::away(cut.text())))
                }
            };
            match told {
                Ok(()) => {}
                Err(why) if why.is_away => return Some(Left { items, why }),
                Err(why) if keeps_refused => {
                    refusal = Some(why);
                    continue;
                }
                Err(untold) => {
                    let reason = untold.reason;
                    tracing::error!(
                        store,
                        key,
                        "error sending configuration item to the app: {reason}"
                    );
                }
            }
            items.remove(&key);
        }
        refusal.map(|why| Left { items, why })
    }

    async fn send(&self, path: &str, body: Bytes) -> Result<(), Untold> {
        if self.protocol.is_grpc {
            self.invoke(path, body).await
        } else {
            self.post(path, body).await
        }
    }

    async fn post(&self, path: &str, body: Bytes) -> Result<(), Untold> {
        let uri = format!("{}{}", self.origin, go::escape_path(path));
        let mut request = Request::post(uri).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(TOKEN_HEADER, token.header().ok_or_else(no_token)?);
        }
        let request = request.body(Body::new(Full::new(body)));
        let request = request.map_err(|_| Untold::refused("the key is no path"))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|_| Untold::away("the app cannot be reached"))?;
        let status = answer.status();
        // Read to its end, the connection can be used again.
        drop(
            Limited::new(answer.into_body(), MOST_ANSWER)
                .collect()
                .await,
        );
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Err(Untold::away(&format!("status {}", status.as_u16())))
            }
            _ => Err(Untold::refused(format_args!("status {}", status.as_u16()))),
        }
    }

    async fn invoke(&self, path: &str, body: Bytes) -> Result<(), Untold> {
        let origin = self.origin.parse::<Uri>();
        let origin = origin.map_err(|_| Untold::refused("the app's host is no host"))?;
        let mut request = tonic::Request::new(InvokeRequest::post(path, body));
        if let Some(token) = &self.token {
            let header = token.header().ok_or_else(no_token)?;
            let headers = HeaderMap::from_iter([(HeaderName::from_static(TOKEN_HEADER), header)]);
            *request.metadata_mut() = MetadataMap::from_headers(headers);
        }
        let mut client =
            Grpc::with_origin(self.client.clone(), origin).max_decoding_message_size(MOST_ANSWER);
        let unreachable = || Untold::away("the app cannot be reached");
        client.ready().await.map_err(|_| unreachable())?;
        let answer = client
            .unary(
                request,
                ON_INVOKE,
                ProstCodec::<InvokeRequest, ()>::default(),
            )
            .await;
        let failed = |status: Status| match status.code() {
            Code::Unavailable => unreachable(),
            Code::ResourceExhausted => Untold::away("the app is too busy"),
            // What the client's connection has met is told as this.
            Code::Unknown if std::error::Error::source(&status).is_some() => unreachable(),
            code => Untold::refused(format_args!("status {}", code as i32)),
        };
        answer.map(drop).map_err(failed)
    }
}

fn no_token() -> Untold {
    Untold::away("there is no token to send to it")
}

/// `dapr.proto.common.v1.InvokeRequest`
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct InvokeRequest {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(message, optional, tag = "2")]
    data: Option<Data>,
    #[prost(string, tag = "3")]
    content_type: String,
    #[prost(message, optional, tag = "4")]
    http_extension: Option<HttpExtension>,
}

/// `google.protobuf.Any`, without a type as Dapr sends bytes.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct Data {
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `dapr.proto.common.v1.HTTPExtension`
#[derive(Clone, PartialEq, prost::Message)]
struct HttpExtension {
    #[prost(int32, tag = "1")]
    verb: i32,
}

impl InvokeRequest {
    /// What Dapr makes of a request over HTTP.
    fn post(path: &str, body: Bytes) -> Self {
        const POST: i32 = 3;
        Self {
            method: path.to_owned(),
            data: Some(Data { value: body }),
            content_type: "application/json".to_owned(),
            http_extension: Some(HttpExtension { verb: POST }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::App;
    use crate::api::identity::Identity;

    #[test]
    fn an_app_speaks_what_dapr_knows() {
        let app = |protocol: &str, port| {
            let mut identity = Identity::new("a");
            identity.app_port = port;
            identity.app_protocol = protocol.to_owned();
            identity.app_host = "::1".to_owned();
            App::of(&identity, None, Duration::from_secs(1))
        };
        for (protocol, origin) in [
            ("", "http://[::1]:5"),
            ("http", "http://[::1]:5"),
            ("h2c", "http://[::1]:5"),
            ("https", "https://[::1]:5"),
            ("grpc", "http://[::1]:5"),
            ("grpcs", "https://[::1]:5"),
        ] {
            assert_eq!(app(protocol, Some(5)).unwrap().unwrap().origin, origin);
            assert!(app(protocol, None).unwrap().is_none());
        }
        let reason = app("spdy", None).unwrap_err();
        assert_eq!(reason, "invalid value for 'app-protocol': spdy");
    }
}
