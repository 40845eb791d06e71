//! A receiver of spans over the network.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message as _;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::otlp::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use super::settings::{Header, Otlp, Protocol};
use super::span::Span;
use super::zipkin;
use crate::client_tls::{self, Authorities, Check, Identity, Unfit};
use crate::reason::Reason;

/// How much of an answer is read.
const MOST_ANSWER: usize = 64 << 10;
/// How long a connection may take to be made, before TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a connection of gRPC that is in use is asked for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long Zipkin may take.
const ZIPKIN_TIME: Duration = Duration::from_secs(10);
const EXPORT: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    OtlpHttp,
    OtlpGrpc,
    Zipkin,
}

/// A receiver of spans.
#[derive(Debug)]
pub(super) struct Collector {
    form: Form,
    endpoint: Uri,
    headers: Vec<(HeaderName, Header)>,
    timeout: Duration,
    resource: Arc<[(String, String)]>,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

/// Why spans were not taken.
#[derive(Debug)]
pub(super) struct Failure {
    /// Whether they may be taken later.
    pub(super) may_pass: bool,
    pub(super) reason: String,
}

impl Failure {
    fn passing(reason: impl Into<String>) -> Self {
        Self {
            may_pass: true,
            reason: reason.into(),
        }
    }
}

impl Collector {
    /// A receiver of OTLP; a failure says why in words.
    pub(super) fn otlp(otlp: &Otlp, resource: Arc<[(String, String)]>) -> Result<Self, String> {
        let form = match otlp.protocol {
            Protocol::Http => Form::OtlpHttp,
            Protocol::Grpc => Form::OtlpGrpc,
        };
        let (authorities, identity) = (otlp.authorities.as_deref(), otlp.identity.as_ref());
        let tls = tls(
            &otlp.endpoint,
            authorities,
            identity.map(|(a, b)| (&**a, &**b)),
        );
        Ok(Self {
            form,
            endpoint: otlp.endpoint.clone(),
            headers: otlp.headers.clone(),
            timeout: otlp.timeout,
            resource,
            client: client(tls?, form == Form::OtlpGrpc),
        })
    }

    /// Zipkin; a failure says why in words.
    pub(super) fn zipkin(
        endpoint: &Uri,
        resource: Arc<[(String, String)]>,
    ) -> Result<Self, String> {
        Ok(Self {
            form: Form::Zipkin,
            endpoint: endpoint.clone(),
            headers: Vec::new(),
            timeout: ZIPKIN_TIME,
            resource,
            client: client(tls(endpoint, None, None)?, false),
        })
    }

    /// Its host and port. The rest of its address may hold a key.
    pub(super) fn name(&self) -> &str {
        let authority = self.endpoint.authority();
        authority.map_or("", |authority| authority.as_str())
    }

    /// Sends spans; how many were not taken for good.
    pub(super) async fn send(&self, spans: &[Arc<Span>]) -> Result<usize, Failure> {
        let sending = async {
            match self.form {
                Form::OtlpGrpc => self.call(spans).await,
                Form::OtlpHttp | Form::Zipkin => self.post(spans).await,
            }
        };
        let sent = tokio::time::timeout(self.timeout, sending).await;
        sent.unwrap_or_else(|_| Err(Failure::passing("there was no answer in time")))
    }

    fn headers(&self) -> HeaderMap {
        let headers = self.headers.iter();
        let headers = headers.filter_map(|(name, value)| Some((name.clone(), value.send()?)));
        headers.collect()
    }

    async fn post(&self, spans: &[Arc<Span>]) -> Result<usize, Failure> {
        let (content_type, body) = if self.form == Form::Zipkin {
            ("application/json", zipkin::body(spans, &self.resource))
        } else {
            let message = ExportTraceServiceRequest::of(spans, &self.resource);
            ("application/x-protobuf", message.encode_to_vec())
        };
        let mut request = Request::new(Body::new(Full::new(body.into())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers();
        let content_type = HeaderValue::from_static(content_type);
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| Failure::passing(Reason::of(&error).text))?;
        let status = answer.status();
        // Read to its end, the connection can be used again.
        let body = Limited::new(answer.into_body(), MOST_ANSWER);
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        if status.is_success() {
            let said = body.ok().filter(|_| self.form == Form::OtlpHttp);
            let said = said.and_then(|body| ExportTraceServiceResponse::decode(body).ok());
            return Ok(said.map_or(0, |said| said.rejected()));
        }
        Err(Failure {
            may_pass: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            reason: format!("status {}", status.as_u16()),
        })
    }

    async fn call(&self, spans: &[Arc<Span>]) -> Result<usize, Failure> {
        let message = ExportTraceServiceRequest::of(spans, &self.resource);
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers());
        let mut client = Grpc::with_origin(self.client.clone(), self.endpoint.clone())
            .max_decoding_message_size(MOST_ANSWER);
        let ready = client.ready().await;
        ready.map_err(|error| Failure::passing(Reason::of(&error).text))?;
        let codec = ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
        let answer = client.unary(request, EXPORT, codec).await;
        match answer {
            Ok(answer) => Ok(answer.into_inner().rejected()),
            Err(status) => Err(refusal(&status)),
        }
    }
}

/// What a status means. Its message is the receiver's, and not told.
fn refusal(status: &Status) -> Failure {
    // What the client's connection has met is told as this.
    if let Some(error) = std::error::Error::source(status) {
        return Failure::passing(Reason::of(error).text);
    }
    let may_pass = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    );
    Failure {
        may_pass,
        reason: format!("status {}", status.code() as i32),
    }
}

fn client(tls: ClientConfig, is_grpc: bool) -> Client<HttpsConnector<HttpConnector>, Body> {
    let mut tls = tls;
    let protocol: &[u8] = if is_grpc { b"h2" } else { b"http/1.1" };
    tls.alpn_protocols = vec![protocol.to_vec()];
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(is_grpc)
        // A receiver that is gone without a word is not written to for as long as TCP would.
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(CONNECT)
        .build(HttpsConnector::from((tcp, tls)))
}

/// TLS towards a receiver: its certificate must be for its name, and signed by one of these
/// authorities, or of the operating system's.
fn tls(
    endpoint: &Uri,
    authorities: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<ClientConfig, String> {
    let read = |path: &Path| {
        let text = fs::read(path);
        text.map_err(|error| format!("`{}`: {}", path.display(), error.kind()))
    };
    let chain = |path: &Path| {
        let text = read(path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.ok().filter(|found| !found.is_empty());
        found.ok_or_else(|| format!("`{}` holds no certificate", path.display()))
    };
    let is_tls = endpoint.scheme_str() == Some("https");
    let check = match authorities {
        // It is not used, and the operating system's authorities take time and memory.
        _ if !is_tls => Check::Nothing,
        Some(path) => Check::Name(Authorities::Given(chain(path)?)),
        None => Check::Name(Authorities::System),
    };
    let identity = identity.filter(|_| is_tls).map(|(certificate, key)| {
        let path = key.display();
        let read = zeroize::Zeroizing::new(read(key)?);
        let key = PrivateKeyDer::from_pem_slice(&read);
        let key = key.map_err(|_| format!("`{path}` holds no private key"))?;
        let chain = chain(certificate)?;
        Ok::<_, String>(Identity { chain, key })
    });
    let config = client_tls::config(check, identity.transpose()?);
    config.map_err(|unfit| {
        let reason = match unfit {
            Unfit::System => "the operating system has no certificate authorities",
            Unfit::Authorities => "no authority can be used",
            Unfit::Key => "the private key cannot be used",
            Unfit::Version => "there is no version of TLS to use",
        };
        reason.to_owned()
    })
}
