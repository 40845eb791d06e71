//! Dapr's HTTP API: routes, escapes, statuses and bodies to the byte.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use zeroize::Zeroizing;

use crate::api::access::{ApiLists, TOKEN_HEADER};
use crate::api::asked_host::{WRONG_HOST, is_local, is_of_page};
use crate::api::audit::{AuditRecord, Caller};
use crate::api::cors::Origins;
use crate::api::fault::{CLASS, Code, Fault};
use crate::api::grant::Grant;
use crate::api::json::Json;
use crate::api::metrics::{self, Denial, Place};
use crate::api::route::{
    Ask, CONFIGURATION, CONFIGURATION_ALPHA, DAPR_APIS, DAPR_VERSIONS, INVOKE, Route, Version,
    route,
};
use crate::api::service::{STALE, Service};
use crate::api::traces::HttpSpan;
use crate::api::{configuration, go, items, malformed, metadata};
use crate::cache::Cache;
use crate::secret::Secret;

/// A request without its body.
type Head = Request<()>;

/// An answer, whole.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What a listener serves over HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Surface {
    /// Everything.
    Whole,
    /// Health and metadata alone, and no token asked for: Dapr's public port.
    Public,
    /// Metrics at every path, as in Dapr, and no token asked for.
    Metrics,
}

/// How requests are served.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) service: Arc<Service>,
    pub(crate) surface: Surface,
    /// How many bytes a body may have.
    pub(crate) most_body: usize,
    /// The pages in a browser that may call.
    pub(crate) origins: Option<Origins>,
    /// Whether other pages must be kept from asking under a name of theirs: nothing else does.
    pub(crate) checks_host: bool,
}

impl Http {
    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        if self.surface == Surface::Metrics {
            return self.metrics();
        }
        // The head stays here, until there is an answer: each step would take a copy of it along.
        let (head, body) = request.into_parts();
        let head = Request::from_parts(head, ());
        let span = HttpSpan::begin(&self.service, &head);
        let mut answer = self.answer_origin(&head, body).await;
        if let Some(span) = span {
            span.end(&mut answer);
        }
        answer
    }

    /// Answers a page in a browser by where it comes from, and everybody else.
    async fn answer_origin(&self, request: &Head, body: Incoming) -> Answer {
        let origins = self.origins.as_ref();
        // Go's server refuses a broken path before anything else.
        let Some(origins) = origins.filter(|_| go::escaped_path(request.uri().path()).is_some())
        else {
            return self.log_call(request, body).await;
        };
        if let Some(answer) = origins.preflight(request) {
            return answer;
        }
        let said = origins.headers(request);
        said.on(self.log_call(request, body).await)
    }

    async fn log_call(&self, request: &Head, body: Incoming) -> Answer {
        let path = request.uri().path();
        let known = || route(&go::clean(&go::escaped_path(path)?));
        let log = self.service.settings().log;
        let route = log.is_on.then(known).flatten();
        let is_left_out = log.omits_health && route.as_ref().is_some_and(Route::is_health);
        if !log.is_on || is_left_out {
            return self.count(request, body).await;
        }
        let begin = Instant::now();
        let method = if log.hides_paths {
            route.as_ref().map_or("", Route::name).to_owned()
        } else {
            format!("{} {path}", request.method())
        };
        let agent = request.headers().get(USER_AGENT);
        let agent = agent
            .and_then(|agent| agent.to_str().ok())
            .map(str::to_owned);
        let answer = self.count(request, body).await;
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

    /// Answers a request and counts it.
    async fn count(&self, request: &Head, body: Incoming) -> Answer {
        let mut place = Place::default();
        let Some(metrics) = &self.service.metrics else {
            return self.dispatch(request, body, &mut place).await;
        };
        let begin = Instant::now();
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let answer = self.dispatch(request, body, &mut place).await;
        let asked = (place, request.method(), answer.status().as_u16());
        let size = http_body::Body::size_hint(answer.body()).exact();
        let sizes = (length.unwrap_or_default(), size.unwrap_or_default());
        metrics.requests.count(asked, sizes, begin.elapsed());
        match answer.extensions().get::<Code>() {
            // As in Dapr, which writes this one without counting it.
            None | Some(Code::AppChannelNil) => {}
            Some(code) => metrics.error(*code),
        }
        answer
    }

    /// All that is recorded.
    fn metrics(&self) -> Answer {
        let subscriptions = self.service.subscriptions.count();
        let metrics = self.service.metrics.as_ref();
        let audit = self.service.audit_counts();
        let loaded = self.service.loaded();
        let cache = loaded.as_ref().map(|loaded| loaded.resolver.cache());
        // Off, it is not spoken of.
        let cache = cache.filter(|cache| cache.named().next().is_some());
        let cache = cache.map(Cache::stats);
        let policies = loaded.as_ref().map(|loaded| &loaded.policies);
        let text =
            metrics.map(|metrics| metrics.text(subscriptions, audit, cache.as_ref(), policies));
        let text = Zeroizing::new(text.unwrap_or_default().into_bytes());
        answer(StatusCode::OK, metrics::CONTENT_TYPE, text)
    }

    /// Answers a request, and says what its path is called.
    async fn dispatch(&self, request: &Head, body: Incoming, place: &mut Place) -> Answer {
        let sent = request.uri().path();
        let (Some(escaped), Some(plain)) = (go::escaped_path(sent), go::path_unescape(sent)) else {
            return bad_request();
        };
        let is_health = request.method() == Method::GET
            && matches!(
                go::trim_slashes(&plain),
                b"v1.0/healthz" | b"v1.0/healthz/outbound"
            );
        let path = go::clean(&escaped);
        let route = route(&path);
        let metrics = self.service.metrics.as_ref();
        if let Some(metrics) = metrics {
            let plain = String::from_utf8_lossy(&plain);
            *place = metrics.requests.place(&plain, route.as_ref());
        }
        let token = request.headers().get(TOKEN_HEADER);
        let token = token.map(HeaderValue::as_bytes);
        let is_open = self.surface == Surface::Public || is_health;
        if !is_open && !self.service.access.admits(token) {
            self.note_denied(Denial::Token, route.as_ref(), request);
            return plain_text(StatusCode::UNAUTHORIZED, "invalid api token\n");
        }
        if !is_open && self.is_of_strange_page(request) {
            self.note_denied(Denial::Host, route.as_ref(), request);
            return plain_text(StatusCode::FORBIDDEN, WRONG_HOST);
        }
        let Some(route) = route else {
            return self.unknown(&path);
        };
        if !self.serves(&route) {
            self.note_denied(Denial::Api, Some(&route), request);
            return self.unknown(&path);
        }
        if *request.method() != route.method() {
            return self.wrong_method(&route);
        }
        match self.serve(route, request, body).await {
            Ok(answer) => answer,
            Err(fault) => faulty(&fault),
        }
    }

    /// Whether a page may have pointed a name of its own to this machine, to read here as at home, or
    /// asks for what it need not read to have done: that the server ends, for one.
    fn is_of_strange_page(&self, request: &Head) -> bool {
        let is_allowed = || {
            self.origins
                .as_ref()
                .is_some_and(|pages| pages.have(request))
        };
        let acts = || !request.method().is_safe() && request.headers().contains_key(ORIGIN);
        self.checks_host
            && is_of_page(request.headers())
            && (!is_local(request) || acts())
            && !is_allowed()
    }

    /// Who asks, where that is wanted.
    fn caller(&self, request: &Head) -> Option<Caller> {
        self.service.audit.as_ref()?;
        let token = request.headers().get(TOKEN_HEADER);
        let token = self.service.access.proves(token.map(HeaderValue::as_bytes));
        let (extensions, headers) = (request.extensions(), request.headers());
        Some(Caller::of("http", extensions, headers, token))
    }

    /// Takes note of a request that is refused before anything is asked.
    fn note_denied(&self, denial: Denial, route: Option<&Route>, request: &Head) {
        let service = &self.service;
        if let Some(metrics) = &service.metrics {
            metrics.deny(denial);
        }
        let (operation, store, name) = match route {
            Some(Route::Secret { store, name }) => ("get", store, Some(name)),
            Some(Route::Secrets { store }) => ("bulk", store, None),
            _ => return,
        };
        if let (Some(audit), Some(caller)) = (&service.audit, self.caller(request)) {
            let mut record = AuditRecord::of(&caller, &service.identity.app_id, operation);
            record.store = Some(store);
            record.secret = name.map(String::as_str);
            record.deny(denial.name());
            audit.record(&record);
        }
    }

    fn serves(&self, route: &Route) -> bool {
        let is_allowed = || {
            let api = route.api();
            api.is_none_or(|api| self.service.settings().api.allows_http(api))
        };
        match self.surface {
            Surface::Whole => is_allowed(),
            Surface::Public => route.is_public() && is_allowed(),
            Surface::Metrics => false,
        }
    }

    async fn serve(&self, route: Route, request: &Head, body: Incoming) -> Result<Answer, Fault> {
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
                let caller = self.caller(request);
                self.read_object(body).await?;
                let secret = service.secret(&store, &name, metadata, caller).await?;
                Ok(one_secret(&secret))
            }
            Route::Secrets { store } => {
                let metadata = metadata_of(request.uri().query());
                let caller = self.caller(request);
                self.read_object(body).await?;
                let secrets = service.secrets(&store, metadata, caller).await?;
                let mut json = Json::default();
                let secrets = secrets.iter();
                json.object(
                    secrets.map(|(name, secret)| (name.as_str(), secret)),
                    write_secret,
                );
                Ok(data(json))
            }
            Route::Configuration(version, ask) => self.configuration(version, ask, request).await,
            Route::Metadata => {
                // Without a token nobody's body is read.
                if self.surface == Surface::Whole {
                    self.read_object(body).await?;
                }
                let mut json = Json::default();
                json.raw(&metadata::json(service));
                Ok(data(json))
            }
            Route::SetMetadata { name } => {
                let body = self.read(body).await?;
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

    async fn configuration(
        &self,
        version: Version,
        ask: Ask,
        request: &Head,
    ) -> Result<Answer, Fault> {
        let query = request.uri().query();
        let service = &self.service;
        let wanted = || {
            let pairs = go::query_pairs(query.unwrap_or_default());
            configuration::request_of(pairs, metadata_of(query))
        };
        let mut json = Json::default();
        match ask {
            Ask::Get { store } => {
                let found = service.items(&store, &wanted()).await?;
                if found.is_empty() {
                    return Ok(no_content());
                }
                items::write(&mut json, &found);
            }
            Ask::Subscribe { store } => {
                let is_open: fn(&ApiLists) -> bool = match version {
                    Version::V1 => |lists| lists.allows_http(CONFIGURATION),
                    Version::V1Alpha1 => |lists| lists.allows_http(CONFIGURATION_ALPHA),
                };
                let grant = Grant::of_app(service).with_api(is_open);
                let id = service.subscribe_app(&store, wanted(), grant).await?;
                json.object([("id", id.as_str())], Json::text);
            }
            Ask::Unsubscribe { store, id } => {
                if !service.unsubscribe(&store, &id)? {
                    let message = format!(
                        "failed to unsubscribe to configuration request {id}: subscription with \
                         id {id} does not exist"
                    );
                    json.object([("message", message.as_str())], Json::text);
                    json.raw("\n");
                    let status = StatusCode::INTERNAL_SERVER_ERROR;
                    return Ok(answer(status, "application/json", json.finish()));
                }
                json.raw("{\"ok\":true}");
            }
        }
        Ok(data(json))
    }

    /// Reads a body to its end.
    async fn read(&self, body: Incoming) -> Result<Bytes, Fault> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let reading = self.read_all(Limited::new(body, self.most_body));
        let read = tokio::time::timeout(self.service.timeout, Box::pin(reading)).await;
        let read = read.unwrap_or_else(|_| Err("there was no end of it in time"));
        read.map_err(|reason| {
            let message = format!("failed to read request body: {reason}");
            Fault::new(Code::BodyRead, message)
        })
    }

    /// Waits where too much of bodies is held already.
    async fn read_all(&self, body: Limited<Incoming>) -> Result<Bytes, &'static str> {
        let mut body = std::pin::pin!(body);
        let (mut whole, mut held) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    "stream too large"
                } else {
                    "unexpected EOF"
                }
            })?;
            if let Ok(part) = frame.into_data() {
                let bytes = u32::try_from(part.len()).unwrap_or(u32::MAX);
                // The semaphore is never closed.
                held.push(self.service.bodies.acquire_many(bytes).await.ok());
                whole.extend_from_slice(&part);
            }
        }
        Ok(whole.into())
    }

    /// Reads a body that must be empty or a JSON object. Dapr merges it into the request and then
    /// overrides all that it can hold, so nothing of it counts.
    async fn read_object(&self, body: Incoming) -> Result<(), Fault> {
        let body = self.read(body).await?;
        match malformed::reason(&body) {
            None => Ok(()),
            Some(reason) => {
                let message = format!("failed deserializing HTTP body: proto: {reason}");
                Err(Fault::new(Code::MalformedRequest, message))
            }
        }
    }

    /// What Dapr's API of service invocation says of a path that it does not know either.
    fn unknown(&self, path: &str) -> Answer {
        let mut parts = path.split('/').skip(1);
        if let (Some(version), Some(api)) = (parts.next(), parts.next())
            && self.surface == Surface::Whole
            && DAPR_VERSIONS.contains(&version)
            && DAPR_APIS.contains(&api)
        {
            self.service.note_unserved(&format!("{version}/{api}"));
        }
        let invokes =
            self.surface == Surface::Whole && self.service.settings().api.allows_http(INVOKE);
        if invokes {
            let message =
                "failed getting app id either from the URL path or the header dapr-app-id";
            faulty(&Fault::new(Code::DirectInvoke, message))
        } else {
            plain_text(StatusCode::NOT_FOUND, "404 page not found\n")
        }
    }

    fn wrong_method(&self, route: &Route) -> Answer {
        let invokes =
            self.surface == Surface::Whole && self.service.settings().api.allows_http(INVOKE);
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

/// One secret as an answer, which says whether its store can be reached.
fn one_secret(secret: &Secret) -> Answer {
    let mut json = Json::default();
    write_secret(&mut json, secret);
    let mut answer = data(json);
    if secret.is_stale() {
        let stale = HeaderValue::from_static("true");
        answer.headers_mut().insert(STALE, stale);
    }
    answer
}

/// Reveals a secret: this is the answer that was asked for.
fn write_secret(json: &mut Json, secret: &Secret) {
    json.object(secret.iter(), |json, value| json.bytes(value.reveal()));
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
    // Dapr writes this one with its other encoder.
    if fault.code == Code::AppChannelNil {
        json.raw("\n");
    }
    let status = StatusCode::from_u16(fault.code.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    fault.log();
    let mut answer = answer(status, "application/json", json.finish());
    if let Some(class) = fault.class {
        let class = HeaderValue::from_static(class.code());
        answer.headers_mut().insert(CLASS, class);
    }
    answer.extensions_mut().insert(fault.code);
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
    use super::metadata_of;

    #[test]
    fn the_first_metadata_of_a_name_counts_and_the_prefix_has_one_case() {
        let metadata = metadata_of(Some("metadata.x=1&metadata.x=2&Metadata.y=3&metadata.z"));
        let expected = [("x", "1"), ("z", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(metadata.into_iter().collect::<Vec<_>>(), expected);
    }
}
