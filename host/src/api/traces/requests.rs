//! The spans of requests, with Dapr's names and attributes.
//!
//! None holds a value. What a caller sends as `dapr-…` is an attribute, as in Dapr, but for the API
//! token. Where the log hides paths, which name secrets, spans do so as well.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::Status;
use tonic::body::Body;

use super::Traces;
use super::context::SpanContext;
use super::span::Recording;
use crate::api::access::TOKEN_HEADER;
use crate::api::audit::Peer;
use crate::api::fault::Code;
use crate::api::go;
use crate::api::grpc::DAPR;
use crate::api::route::{Route, route};
use crate::api::service::Service;

/// How many of a caller's own headers are attributes.
const MOST_HEADERS: usize = 32;
/// What they begin with.
const OWN: &str = "dapr-";
/// What is said of a request whose caller did not wait for the answer.
const ABANDONED: &str = "abandoned";

/// The span of a request over HTTP.
pub(crate) struct HttpSpan {
    traces: Arc<Traces>,
    place: SpanContext,
    told: Option<Box<ToldHttp>>,
}

/// What is told of it, if anybody is told.
struct ToldHttp {
    recording: Recording,
    /// The statement and the store, of a request for secrets.
    secrets: Option<(String, String)>,
}

impl HttpSpan {
    /// Nothing for what Dapr does not trace: requests for health, and those that it does not
    /// understand.
    pub(crate) fn begin<B>(service: &Service, request: &Request<B>) -> Option<Self> {
        let traces = service.traces.as_ref()?;
        let sent = request.uri().path();
        let plain = String::from_utf8_lossy(&go::path_unescape(sent)?).into_owned();
        if plain.contains("/healthz") {
            return None;
        }
        let parent = SpanContext::of_http(request.headers());
        let place = traces.place(parent.as_ref());
        let told = traces.is_told(&place).then(|| {
            let parent = parent.map(|parent| parent.span);
            let told = ToldHttp::begin(&place, parent, request, plain, hides_names(service));
            Box::new(told)
        });
        Some(Self {
            traces: Arc::clone(traces),
            place,
            told,
        })
    }

    /// Answers where the request stands, and tells of it.
    pub(crate) fn end<B>(mut self, answer: &mut Response<B>) {
        self.place.write_http(answer.headers_mut());
        if let Some(told) = self.told.take() {
            self.traces.tell(told.end(answer).end());
        }
    }
}

impl Drop for HttpSpan {
    fn drop(&mut self) {
        let Some(told) = self.told.take() else { return };
        let mut recording = told.recording;
        recording.fail(ABANDONED);
        self.traces.tell(recording.end());
    }
}

impl ToldHttp {
    fn begin<B>(
        place: &SpanContext,
        parent: Option<[u8; 8]>,
        request: &Request<B>,
        plain: String,
        hides_path: bool,
    ) -> Self {
        let (uri, method) = (request.uri(), request.method());
        let escaped = go::escaped_path(uri.path());
        let route = escaped.and_then(|escaped| route(&go::clean(&escaped)));
        let path = if hides_path {
            let api = route.as_ref().and_then(Route::api);
            format!("/{}", api.map_or("", |api| api.route))
        } else {
            plain
        };
        let mut recording = Recording::begin(&path, place.clone(), parent);
        add_own(&mut recording, request.headers(), false);
        let api = format!("{method} {path}");
        recording.set("dapr.protocol", "http");
        recording.set("dapr.api", &api);
        recording.set("http.request.method", method.as_str());
        if !hides_path {
            let full = uri.path_and_query().map_or("/", |full| full.as_str());
            recording.set("url.full", full);
        }
        // Dapr calls the client's the server's.
        if let Some(Peer(address)) = request.extensions().get() {
            recording.set("server.address", &address.ip().to_string());
            recording.set("server.port", &address.port().to_string());
        }
        let store = match route {
            Some(Route::Secret { store, .. } | Route::Secrets { store }) => Some(store),
            _ => None,
        };
        let secrets = store.filter(|_| method == Method::GET);
        Self {
            recording,
            secrets: secrets.map(|store| (api, store)),
        }
    }

    fn end<B>(self, answer: &Response<B>) -> Recording {
        let Self {
            mut recording,
            secrets,
        } = self;
        let status = answer.status();
        recording.set("dapr.status_code", status.as_str());
        // Refused before it came that far, it is no request for a secret.
        let code = answer.extensions().get::<Code>();
        let has_come = code.map_or(status == StatusCode::OK, |code| *code != Code::DirectInvoke);
        if let Some((statement, store)) = secrets.filter(|_| has_come) {
            add_secrets(&mut recording, &statement, &store);
        }
        if status.as_u16() >= 400 {
            let text = status.canonical_reason().unwrap_or("Unknown");
            recording.fail(&format!("Code({}): {text}", status.as_u16()));
        }
        recording
    }
}

/// The store that a call over gRPC asks, once its message has been read.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskedStore(Arc<OnceLock<String>>);

impl AskedStore {
    /// Takes note of it, where somebody wants to know.
    pub(crate) fn note(extensions: &Extensions, store: &str) {
        if let Some(Self(asked)) = extensions.get() {
            asked.get_or_init(|| store.to_owned());
        }
    }
}

/// The span of a call over gRPC.
pub(crate) struct GrpcSpan {
    traces: Arc<Traces>,
    place: SpanContext,
    /// Whether several messages may be the answer.
    is_stream: bool,
    is_answered: bool,
    told: Option<Box<ToldGrpc>>,
}

struct ToldGrpc {
    recording: Recording,
    method: String,
    store: AskedStore,
    hides_names: bool,
}

impl GrpcSpan {
    /// Nothing for what is none of Dapr's methods.
    pub(crate) fn begin<B>(service: &Service, request: &mut Request<B>) -> Option<Self> {
        let traces = service.traces.as_ref()?;
        let name = request.uri().path().strip_prefix(DAPR)?;
        let is_stream = name.starts_with("SubscribeConfiguration");
        let parent = SpanContext::of_grpc(request.headers());
        let place = traces.place(parent.as_ref());
        let told = traces.is_told(&place).then(|| {
            let method = request.uri().path().to_owned();
            let parent = parent.filter(SpanContext::is_valid);
            let parent = parent.map(|parent| parent.span);
            let mut recording = Recording::begin(&method, place.clone(), parent);
            add_own(&mut recording, request.headers(), true);
            recording.set("dapr.protocol", "grpc");
            recording.set("dapr.api", &method);
            let store = AskedStore::default();
            request.extensions_mut().insert(store.clone());
            Box::new(ToldGrpc {
                recording,
                method,
                store,
                hides_names: hides_names(service),
            })
        });
        Some(Self {
            traces: Arc::clone(traces),
            place,
            is_stream,
            is_answered: false,
            told,
        })
    }

    /// Answers where the call stands, and tells of it once its answer is whole.
    pub(crate) fn end(mut self, mut answer: Response<Body>) -> Response<Body> {
        self.is_answered = true;
        let has_failed = answer.headers().contains_key(Status::GRPC_STATUS);
        if self.is_stream && !has_failed {
            // As in Dapr the head of a stream says nothing: it is on its way before.
            return answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    self.look(&frame);
                    frame
                }))
            });
        }
        self.place.write_grpc(answer.headers_mut());
        self.note(answer.headers());
        answer
    }

    fn look(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.note(trailers);
        }
    }

    /// Takes note of a status, which stands in headers or in trailers.
    fn note(&mut self, headers: &HeaderMap) {
        let Some(told) = &mut self.told else { return };
        let status = Status::from_header_map(headers);
        let failed = status.filter(|status| status.code() != tonic::Code::Ok);
        if let Some(status) = failed {
            let hidden = status.code().description();
            let description = if told.hides_names {
                hidden
            } else {
                status.message()
            };
            told.recording.fail(description);
        }
    }
}

impl Drop for GrpcSpan {
    fn drop(&mut self) {
        let Some(told) = self.told.take() else { return };
        let ToldGrpc {
            mut recording,
            method,
            store,
            ..
        } = *told;
        if !self.is_answered {
            recording.fail(ABANDONED);
        }
        if let Some(store) = store.0.get() {
            recording.set("rpc.service", "Dapr");
            add_secrets(&mut recording, &method, store);
        }
        self.traces.tell(recording.end());
    }
}

/// Whether names of secrets are hidden.
fn hides_names(service: &Service) -> bool {
    service.settings().log.hides_paths
}

fn add_secrets(recording: &mut Recording, statement: &str, store: &str) {
    recording.set("db.system", "secrets");
    recording.set("db.connection_string", "secrets");
    recording.set("db.statement", statement);
    recording.set("db.name", store);
}

/// What the caller says of its request: the last of each name over HTTP, and the first over gRPC.
fn add_own(recording: &mut Recording, headers: &HeaderMap, is_grpc: bool) {
    let is_own = |name: &str| {
        name.starts_with(OWN) && name != TOKEN_HEADER && !(is_grpc && name.ends_with("-bin"))
    };
    let names = headers.keys().filter(|name| is_own(name.as_str()));
    for name in names.take(MOST_HEADERS) {
        let mut values = headers.get_all(name).iter();
        let value = if is_grpc {
            values.next()
        } else {
            values.next_back()
        };
        let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
        recording.set(name.as_str().to_owned(), &value.unwrap_or_default());
    }
}
