//! Dapr's HTTP API: routes, escapes, statuses and bodies to the byte.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::api::access::{Api, TOKEN_HEADER};
use crate::api::fault::{CLASS, Code, Fault};
use crate::api::json::Json;
use crate::api::service::Service;
use crate::api::{go, metadata};
use crate::secret::Secret;

/// An answer, whole.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What a listener serves over HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Surface {
    /// Everything.
    Whole,
    /// Health and metadata alone, and no token asked for: Dapr's public port.
    Public,
}

/// How requests are served.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) service: Arc<Service>,
    pub(crate) surface: Surface,
    /// How many bytes a body may have.
    pub(crate) most_body: usize,
    /// Whether each call is logged.
    pub(crate) log_calls: bool,
}

/// What a path and method ask for, parameters unescaped.
#[derive(Debug, Eq, PartialEq)]
enum Route {
    Secret { store: String, name: String },
    Secrets { store: String },
    Health,
    OutboundHealth,
    Metadata,
    SetMetadata { name: String },
    Shutdown,
}

const SECRET: Api = secrets("v1.0/secrets/{secretStoreName}/{key}");
const SECRETS: Api = secrets("v1.0/secrets/{secretStoreName}/bulk");
const METADATA: Api = metadata("v1.0/metadata");
const SET_METADATA: Api = metadata("v1.0/metadata/{key}");
const SHUTDOWN: Api = Api {
    name: "shutdown",
    version: "v1",
    route: "v1.0/shutdown",
};
/// The API that takes what no route does.
const INVOKE: Api = Api {
    name: "invoke",
    version: "v1",
    route: "v1.0/invoke/*",
};

/// Dapr's APIs over HTTP that are not here.
const DAPR_APIS: &[&str] = &[
    "actors",
    "bindings",
    "configuration",
    "conversation",
    "crypto",
    "invoke",
    "jobs",
    "lock",
    "publish",
    "state",
    "subscribe",
    "subtlecrypto",
    "unlock",
    "workflows",
];

const fn secrets(route: &'static str) -> Api {
    Api {
        name: "secrets",
        version: "v1",
        route,
    }
}

const fn metadata(route: &'static str) -> Api {
    Api {
        name: "metadata",
        version: "v1",
        route,
    }
}

impl Route {
    /// The API that rules name; `None` for health, which is always there.
    fn api(&self) -> Option<Api> {
        match self {
            Self::Secret { .. } => Some(SECRET),
            Self::Secrets { .. } => Some(SECRETS),
            Self::Health | Self::OutboundHealth => None,
            Self::Metadata => Some(METADATA),
            Self::SetMetadata { .. } => Some(SET_METADATA),
            Self::Shutdown => Some(SHUTDOWN),
        }
    }

    fn method(&self) -> Method {
        match self {
            Self::SetMetadata { .. } => Method::PUT,
            Self::Shutdown => Method::POST,
            _ => Method::GET,
        }
    }

    /// Whether Dapr's public port has it.
    fn is_public(&self) -> bool {
        matches!(self, Self::Health | Self::OutboundHealth | Self::Metadata)
    }
}

/// What a cleaned, still escaped path names; each parameter is unescaped once.
fn route(path: &str) -> Option<Route> {
    let parameter = |text: &str| {
        let plain = go::query_unescape(text)?;
        Some(String::from_utf8_lossy(&plain).into_owned())
    };
    let mut parts = path.strip_prefix('/')?.split('/');
    let parts = [
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ];
    let route = match parts {
        [
            Some("v1.0"),
            Some("secrets"),
            Some(store),
            Some("bulk"),
            None,
        ] => Route::Secrets {
            store: parameter(store)?,
        },
        [Some("v1.0"), Some("secrets"), Some(store), Some(name), None] => Route::Secret {
            store: parameter(store)?,
            name: parameter(name)?,
        },
        [Some("v1.0"), Some("healthz"), None, None, None] => Route::Health,
        [Some("v1.0"), Some("healthz"), Some("outbound"), None, None] => Route::OutboundHealth,
        [Some("v1.0"), Some("metadata"), None, None, None] => Route::Metadata,
        [Some("v1.0"), Some("metadata"), Some(name), None, None] => Route::SetMetadata {
            name: parameter(name)?,
        },
        [Some("v1.0"), Some("shutdown"), None, None, None] => Route::Shutdown,
        _ => return None,
    };
    Some(route)
}

impl Http {
    /// Answers a request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.log_calls {
            return self.dispatch(request).await;
        }
        let begin = Instant::now();
        let method = format!("{} {}", request.method(), request.uri().path());
        let agent = request.headers().get(USER_AGENT);
        let agent = agent
            .and_then(|agent| agent.to_str().ok())
            .map(str::to_owned);
        let answer = self.dispatch(request).await;
        let size = http_body::Body::size_hint(answer.body()).exact();
        tracing::info!(
            scope = "dapr.runtime.http-info",
            method,
            useragent = agent,
            code = answer.status().as_u16(),
            size,
            duration = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
            "HTTP API Called"
        );
        answer
    }

    async fn dispatch<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let sent = request.uri().path();
        let (Some(escaped), Some(plain)) = (go::escaped_path(sent), go::path_unescape(sent)) else {
            return bad_request();
        };
        let is_health = request.method() == Method::GET
            && matches!(
                trim_slashes(&plain),
                b"v1.0/healthz" | b"v1.0/healthz/outbound"
            );
        let token = request.headers().get(TOKEN_HEADER);
        let token = token.map(HeaderValue::as_bytes);
        let is_open = self.surface == Surface::Public || is_health;
        if !is_open && !self.service.access.admits(token) {
            return plain_text(StatusCode::UNAUTHORIZED, "invalid api token\n");
        }
        let path = go::clean(&escaped);
        let Some(route) = route(&path).filter(|route| self.serves(route)) else {
            return self.unknown(&path);
        };
        if *request.method() != route.method() {
            return self.wrong_method(&route);
        }
        match self.serve(route, request).await {
            Ok(answer) => answer,
            Err(fault) => faulty(&fault),
        }
    }

    fn serves(&self, route: &Route) -> bool {
        let is_allowed = || {
            let api = route.api();
            api.is_none_or(|api| self.service.access.allows_http(api))
        };
        match self.surface {
            Surface::Whole => is_allowed(),
            Surface::Public => route.is_public() && is_allowed(),
        }
    }

    async fn serve<B>(&self, route: Route, request: Request<B>) -> Result<Answer, Fault>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let service = &self.service;
        match route {
            Route::Health => {
                service.health()?;
                let pairs = go::query_pairs(request.uri().query().unwrap_or_default());
                let asked = pairs.into_iter().find(|(name, _)| name == "appid");
                if asked.is_some_and(|(_, id)| id != service.identity.app_id) {
                    let message = "dapr app-id does not match";
                    return Err(Fault::new(Code::HealthAppIdNotMatch, message));
                }
                Ok(no_content())
            }
            Route::OutboundHealth => service.outbound_health().map(|()| no_content()),
            Route::Secret { store, name } => {
                let metadata = metadata_of(request.uri().query());
                self.read_object(request).await?;
                let secret = service.secret(&store, &name, metadata).await?;
                let mut json = Json::default();
                write_secret(&mut json, &secret);
                Ok(data(json))
            }
            Route::Secrets { store } => {
                let metadata = metadata_of(request.uri().query());
                self.read_object(request).await?;
                let secrets = service.secrets(&store, metadata).await?;
                let mut json = Json::default();
                let secrets = secrets.iter();
                json.object(
                    secrets.map(|(name, secret)| (name.as_str(), secret)),
                    write_secret,
                );
                Ok(data(json))
            }
            Route::Metadata => {
                self.read_object(request).await?;
                let mut json = Json::default();
                json.raw(&metadata::json(service));
                Ok(data(json))
            }
            Route::SetMetadata { name } => {
                let body = self.read(request).await?;
                let value = String::from_utf8_lossy(&body).into_owned();
                service.extend(name, value)?;
                Ok(no_content())
            }
            Route::Shutdown => {
                let force = request.headers().get("dapr-force-shutdown");
                let is_forced =
                    force.is_some_and(|force| force.as_bytes().eq_ignore_ascii_case(b"true"));
                service.shut_down(is_forced);
                Ok(no_content())
            }
        }
    }

    /// Reads a body to its end.
    async fn read<B>(&self, request: Request<B>) -> Result<Bytes, Fault>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = Limited::new(request.into_body(), self.most_body);
        match Box::pin(body).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => {
                let reason = if error.is::<LengthLimitError>() {
                    "stream too large"
                } else {
                    "unexpected EOF"
                };
                let message = format!("failed to read request body: {reason}");
                Err(Fault::new(Code::BodyRead, message))
            }
        }
    }

    /// Reads a body that must be empty or a JSON object. Dapr merges it into the request and then
    /// overrides all that it can hold, so nothing of it counts.
    async fn read_object<B>(&self, request: Request<B>) -> Result<(), Fault>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = self.read(request).await?;
        if body.is_empty() {
            return Ok(());
        }
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let (line, column) = match serde_json::from_slice::<AnyObject>(&body) {
            Ok(_) if is_object => return Ok(()),
            Ok(_) => (1, 1),
            Err(error) => (error.line().max(1), error.column().max(1)),
        };
        let token = token_at(&body, line, column);
        let reason = if token.is_empty() {
            "syntax error: unexpected EOF".to_owned()
        } else {
            format!("syntax error (line {line}:{column}): invalid value {token}")
        };
        let message = format!("failed deserializing HTTP body: proto: {reason}");
        Err(Fault::new(Code::MalformedRequest, message))
    }

    /// What Dapr's API of service invocation says of a path that it does not know either.
    fn unknown(&self, path: &str) -> Answer {
        let mut parts = path.split('/').skip(1);
        if let (Some(version), Some(api)) = (parts.next(), parts.next())
            && version.starts_with("v1.0")
            && DAPR_APIS.contains(&api)
        {
            self.service.note_unserved(&format!("{version}/{api}"));
        }
        let invokes = self.surface == Surface::Whole && self.service.access.allows_http(INVOKE);
        if invokes {
            let message =
                "failed getting app id either from the URL path or the header dapr-app-id";
            faulty(&Fault::new(Code::DirectInvoke, message))
        } else {
            plain_text(StatusCode::NOT_FOUND, "404 page not found\n")
        }
    }

    fn wrong_method(&self, route: &Route) -> Answer {
        let invokes = self.surface == Surface::Whole && self.service.access.allows_http(INVOKE);
        if invokes {
            return self.unknown("");
        }
        let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
        if let Ok(method) = HeaderValue::from_str(route.method().as_str()) {
            answer.headers_mut().insert(ALLOW, method);
        }
        answer
    }
}

/// An object, of which nothing is kept.
#[derive(Deserialize)]
struct AnyObject {
    #[serde(rename = "storeName")]
    _store_name: Option<IgnoredAny>,
}

/// What stands at a place of a body, as Dapr's JSON decoder names it: up to 32 characters of a word,
/// or one.
fn token_at(body: &[u8], line: usize, column: usize) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.split('\n').nth(line - 1).unwrap_or_default();
    let rest = line.chars().skip(column - 1);
    let is_word =
        |character: &char| character.is_ascii_alphanumeric() || "-+._".contains(*character);
    let word: String = rest.clone().take_while(is_word).take(32).collect();
    if word.is_empty() {
        rest.take(1).collect()
    } else {
        word
    }
}

/// `metadata.x=y` of a query as metadata: the first of a name counts.
fn metadata_of(query: Option<&str>) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    for (name, value) in go::query_pairs(query.unwrap_or_default()) {
        if let Some(name) = name.strip_prefix("metadata.") {
            metadata.entry(name.to_owned()).or_insert(value);
        }
    }
    metadata
}

/// Reveals a secret: this is the answer that was asked for.
fn write_secret(json: &mut Json, secret: &Secret) {
    json.object(secret.iter(), |json, value| json.bytes(value.reveal()));
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let is_slash = |byte: &u8| *byte == b'/';
    let begin = path.iter().take_while(|byte| is_slash(byte)).count();
    let path = path.get(begin..).unwrap_or_default();
    let end = path.iter().rev().take_while(|byte| is_slash(byte)).count();
    path.get(..path.len() - end).unwrap_or_default()
}

/// JSON with a line break at its end, wiped once it is sent.
fn data(mut json: Json) -> Answer {
    json.raw("\n");
    answer(StatusCode::OK, "application/json", json.finish())
}

fn faulty(fault: &Fault) -> Answer {
    let mut json = Json::default();
    let members = [
        ("errorCode", fault.code.name()),
        ("message", fault.message.as_str()),
    ];
    json.object(members, Json::text);
    let status = StatusCode::from_u16(fault.code.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    tracing::debug!(code = fault.code.name(), "{}", fault.message);
    let mut answer = answer(status, "application/json", json.finish());
    if let Some(class) = fault.class {
        let class = HeaderValue::from_static(class.code());
        answer.headers_mut().insert(CLASS, class);
    }
    answer
}

/// What Go's server says before it closes the connection.
fn bad_request() -> Answer {
    let mut answer = plain_text(StatusCode::BAD_REQUEST, "400 Bad Request");
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

fn plain_text(status: StatusCode, text: &str) -> Answer {
    let text = Zeroizing::new(text.as_bytes().to_vec());
    answer(status, "text/plain; charset=utf-8", text)
}

fn no_content() -> Answer {
    empty(StatusCode::NO_CONTENT)
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: Zeroizing<Vec<u8>>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_owner(body)));
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

#[cfg(test)]
mod tests {
    use super::{Route, metadata_of, route, token_at, trim_slashes};

    #[test]
    fn bulk_is_a_route_only_where_it_is_written_so() {
        let secrets = Some(Route::Secrets {
            store: "s".to_owned(),
        });
        assert_eq!(route("/v1.0/secrets/s/bulk"), secrets);
        let secret = Some(Route::Secret {
            store: "s".to_owned(),
            name: "bulk".to_owned(),
        });
        assert_eq!(route("/v1.0/secrets/s/%62ulk"), secret);
        for other in [
            "/",
            "/v1.0/secrets/s",
            "/v1.0/secrets/s/a/b",
            "/v1.0/Secrets/s/a",
        ] {
            assert_eq!(route(other), None, "{other}");
        }
    }

    #[test]
    fn the_first_metadata_of_a_name_counts_and_the_prefix_has_one_case() {
        let metadata = metadata_of(Some("metadata.x=1&metadata.x=2&Metadata.y=3&metadata.z"));
        let expected = [("x", "1"), ("z", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(metadata.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_wrong_in_a_body_is_named_as_dapr_does() {
        assert_eq!(token_at(b"{bad json", 1, 2), "bad");
        assert_eq!(token_at(b"\n[", 2, 1), "[");
        assert_eq!(token_at(b"{", 1, 2), "");
    }

    #[test]
    fn slashes_around_are_trimmed() {
        assert_eq!(trim_slashes(b"//a/b/"), b"a/b");
        assert_eq!(trim_slashes(b"//"), b"");
    }
}
