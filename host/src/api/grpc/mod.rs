//! Dapr's gRPC API: the same requests, with its statuses and details.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::header::USER_AGENT;
use http::{Extensions, HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service as _;
use tonic::metadata::MetadataValue;
use tonic_types::StatusExt as _;

pub(crate) use self::bounded::Bounded;
use self::messages::{items_of, reveal};
use self::proto::dapr_server::{Dapr, DaprServer};
use self::status::{MISMATCH, unauthenticated, unavailable};
use crate::api::access::{Api, ApiLists, TOKEN_HEADER};
use crate::api::audit::{AuditRecord, Caller};
use crate::api::fault::Code;
use crate::api::grant::Grant;
use crate::api::metadata::{self, PLACEMENT};
use crate::api::metrics::{self, Denial, Metrics};
use crate::api::service::{self, DAPR_VERSION, NOT_TEXT, STALE, Service};
use crate::api::traces::{AskedStore, GrpcSpan};
use crate::configuration::ItemsRequest;

mod bounded;
#[expect(
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::empty_structs_with_brackets,
    unused_qualifications,
    missing_debug_implementations,
    unnameable_types,
    unreachable_pub,
    reason = "generated from proto/dapr/runtime.proto"
)]
#[rustfmt::skip]
mod proto;
mod messages;
mod reflection;
mod status;

/// The beginning of the paths of Dapr's own methods.
pub(crate) const DAPR: &str = "/dapr.proto.runtime.v1.Dapr/";

/// How calls are served.
#[derive(Clone)]
pub(crate) struct Grpc {
    service: Arc<Service>,
    dapr: DaprServer<Calls>,
}

impl Grpc {
    /// Messages may have this many bytes, both ways.
    pub(crate) fn new(service: Arc<Service>, most_message: usize) -> Self {
        let calls = Calls {
            service: Arc::clone(&service),
            most_message,
        };
        // The limit is that of what has been decompressed.
        let dapr = DaprServer::new(calls)
            .max_decoding_message_size(most_message)
            .accept_compressed(CompressionEncoding::Gzip);
        Self { service, dapr }
    }

    /// Answers a call.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        if !self.service.settings().log.is_on {
            return self.dispatch(request).await;
        }
        let begin = Instant::now();
        let method = request.uri().path().to_owned();
        let agent = text(request.headers(), USER_AGENT.as_str());
        let answer = self.dispatch(request).await;
        tracing::info!(
            scope = "dapr.runtime.grpc.api-info",
            method,
            useragent = agent,
            duration = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
            "gRPC API Called"
        );
        answer
    }

    async fn dispatch<B>(&self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        if let Err((status, denial)) = self.admit(&request) {
            self.note_denied(denial, &request);
            return status.into_http();
        }
        if reflection::has(request.uri().path()) {
            return reflection::answer(Arc::clone(&self.service), request).await;
        }
        let caller = caller(&self.service, request.extensions(), request.headers());
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let Some(span) = GrpcSpan::begin(&self.service, &mut request) else {
            return self.count(request).await;
        };
        span.end(self.count(request).await)
    }

    /// Answers a call and counts it.
    async fn count<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let path = request.uri().path();
        let method = metrics::Calls::method(path).zip(self.service.metrics.as_ref());
        let Some((method, metrics)) = method else {
            return self.call(request).await;
        };
        let begin = Instant::now();
        let mut received = Received {
            service: Arc::clone(&self.service),
            method,
            size: 0,
        };
        let request = request.map(|body| {
            body.map_frame(move |frame| {
                received.add(frame.data_ref().map_or(0, Bytes::len));
                frame
            })
        });
        let answer = self.call(request).await;
        let sent = answer.extensions().get::<Sent>();
        let sent = sent.map_or(0, |Sent(size)| *size);
        let status = status_of(answer.headers());
        let (sent, elapsed) = (sent.try_into().unwrap_or(u64::MAX), begin.elapsed());
        metrics.calls.ended(method, status, sent, elapsed);
        if status != 0 {
            count_error(metrics, answer.headers());
        }
        answer
    }

    async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let mut dapr = self.dapr.clone();
        let request = request.map(|body| Bounded::new(body, &self.service));
        let mut answer = match dapr.call(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        // What a message that is too large ends with, in Dapr's own status and nearly its words.
        let headers = answer.headers_mut();
        if headers
            .get("grpc-status")
            .is_some_and(|status| status == "11")
        {
            headers.insert("grpc-status", HeaderValue::from_static("8"));
            let text = HeaderValue::from_static("grpc: received message larger than max");
            headers.insert("grpc-message", text);
        }
        answer
    }

    /// Takes note of a call that is refused before its message is read.
    fn note_denied<B>(&self, denial: Denial, request: &Request<B>) {
        let service = &self.service;
        if let Some(metrics) = &service.metrics {
            metrics.deny(denial);
        }
        let operation = match request.uri().path().strip_prefix(DAPR) {
            Some("GetSecret") => "get",
            Some("GetBulkSecret") => "bulk",
            _ => return,
        };
        let caller = caller(service, request.extensions(), request.headers());
        if let (Some(audit), Some(caller)) = (&service.audit, caller) {
            let mut record = AuditRecord::of(&caller, &service.identity.app_id, operation);
            record.deny(denial.name());
            audit.record(&record);
        }
    }

    /// Whether the caller may call this method.
    fn admit<B>(&self, request: &Request<B>) -> Result<(), (Status, Denial)> {
        let access = &self.service.access;
        let token = request.headers().get(TOKEN_HEADER);
        if !access.admits(token.map(HeaderValue::as_bytes)) {
            let detail = match token {
                None => "missing api token in request metadata",
                Some(_) => MISMATCH,
            };
            return Err((unauthenticated(detail), Denial::Token));
        }
        let Some(method) = request.uri().path().strip_prefix(DAPR) else {
            return Ok(());
        };
        let api = api(method);
        let is_open = self
            .service
            .settings()
            .api
            .allows_grpc(api.unwrap_or(UNKNOWN));
        if !is_open {
            return Err((unavailable(), Denial::Api));
        }
        let is_name = method.len() < 64 && method.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if api.is_none() && is_name {
            self.service.note_unserved(method);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Grpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grpc").finish_non_exhaustive()
    }
}

/// What a list of allowed APIs leaves out.
const UNKNOWN: Api = Api {
    name: "",
    version: "",
    route: "",
};

/// The API that a method belongs to, where it is served.
fn api(method: &str) -> Option<Api> {
    let (name, version) = match method {
        "GetSecret" | "GetBulkSecret" => ("secrets", "v1"),
        "GetConfiguration" | "SubscribeConfiguration" | "UnsubscribeConfiguration" => {
            ("configuration", "v1")
        }
        "GetConfigurationAlpha1"
        | "SubscribeConfigurationAlpha1"
        | "UnsubscribeConfigurationAlpha1" => ("configuration", "v1alpha1"),
        "GetMetadata" | "SetMetadata" => ("metadata", "v1"),
        "Shutdown" => ("shutdown", "v1"),
        _ => return None,
    };
    Some(Api {
        name,
        version,
        route: "",
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Who calls, where that is wanted.
fn caller(service: &Service, extensions: &Extensions, headers: &HeaderMap) -> Option<Caller> {
    service.audit.as_ref()?;
    let token = headers.get(TOKEN_HEADER).map(HeaderValue::as_bytes);
    let token = service.access.proves(token);
    Some(Caller::of("grpc", extensions, headers, token))
}

/// The methods.
struct Calls {
    service: Arc<Service>,
    most_message: usize,
}

impl Calls {
    /// An answer, where it is not larger than a message may be.
    fn respond<M: Message>(&self, message: M) -> Result<tonic::Response<M>, Status> {
        let (length, most) = (message.encoded_len(), self.most_message);
        if length > most {
            let text = format!("trying to send message larger than max ({length} vs. {most})");
            return Err(Status::resource_exhausted(text));
        }
        let mut response = tonic::Response::new(message);
        response.extensions_mut().insert(Sent(length));
        Ok(response)
    }

    /// Subscribes, for as long as the caller may.
    async fn changes(
        &self,
        request: tonic::Request<proto::SubscribeConfigurationRequest>,
        is_open: fn(&ApiLists) -> bool,
    ) -> Result<tonic::Response<Changes>, Status> {
        let token = request.metadata().get(TOKEN_HEADER);
        let token = token.map(MetadataValue::as_encoded_bytes);
        let access = self.service.access.clone();
        let grant = Grant::of(&self.service, access, token).with_api(is_open);
        let proto::SubscribeConfigurationRequest {
            store_name,
            mut keys,
            metadata,
        } = request.into_inner();
        // As in Dapr, whose errors name them.
        keys.sort();
        let request = ItemsRequest::new(keys, metadata);
        let subscription = self.service.subscribe(&store_name, request).await?;
        let id = subscription.id().to_owned();
        let first = proto::SubscribeConfigurationResponse {
            id,
            items: BTreeMap::new(),
        };
        let changes = stream::unfold(Some((subscription, grant)), async |open| {
            let (mut subscription, grant) = open?;
            tokio::select! {
                biased;
                denial = grant.withdrawn() => {
                    let status = match denial {
                        Denial::Api => unavailable(),
                        Denial::Token | Denial::Host | Denial::Policy => unauthenticated(MISMATCH),
                    };
                    Some((Err(status), None))
                }
                items = subscription.next() => {
                    let (id, items) = (subscription.id().to_owned(), items_of(items?));
                    let change = proto::SubscribeConfigurationResponse { id, items };
                    Some((Ok(change), Some((subscription, grant))))
                }
            }
        });
        let changes = stream::once(std::future::ready(Ok(first))).chain(changes);
        Ok(tonic::Response::new(changes.boxed()))
    }
}

/// How many bytes the message of an answer has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent(pub(crate) usize);

/// What has come of a request's body, counted once that has been read.
struct Received {
    service: Arc<Service>,
    method: metrics::Method,
    size: usize,
}

impl Received {
    fn add(&mut self, size: usize) {
        self.size = self.size.saturating_add(size);
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // What stands before a message.
        const PREFIX: usize = 5;
        let size = self.size.saturating_sub(PREFIX);
        if let Some(metrics) = &self.service.metrics {
            let size = size.try_into().unwrap_or(u64::MAX);
            metrics.calls.received(self.method, size);
        }
    }
}

/// The status of an answer to a single message: it stands in the headers where it is an error.
fn status_of(headers: &HeaderMap) -> usize {
    let status = headers.get(Status::GRPC_STATUS);
    let status = status.and_then(|status| status.to_str().ok()?.parse().ok());
    status.unwrap_or_default()
}

/// Counts the code of Dapr's that an answer has in its details.
fn count_error(metrics: &Metrics, headers: &HeaderMap) {
    if !metrics.counts_errors() {
        return;
    }
    let info = Status::from_header_map(headers).and_then(|status| status.get_details_error_info());
    if let Some(code) = info.and_then(|info| Code::of(&info.reason)) {
        metrics.error(code);
    }
}

/// What a subscription sends.
type Changes = BoxStream<'static, Result<proto::SubscribeConfigurationResponse, Status>>;

#[tonic::async_trait]
impl Dapr for Calls {
    type SubscribeConfigurationStream = Changes;
    type SubscribeConfigurationAlpha1Stream = Changes;

    async fn get_configuration(
        &self,
        request: tonic::Request<proto::GetConfigurationRequest>,
    ) -> Result<tonic::Response<proto::GetConfigurationResponse>, Status> {
        let proto::GetConfigurationRequest {
            store_name,
            keys,
            metadata,
        } = request.into_inner();
        let request = ItemsRequest::new(keys, metadata);
        let items = self.service.items(&store_name, &request).await?;
        self.respond(proto::GetConfigurationResponse {
            items: items_of(items),
        })
    }

    async fn get_configuration_alpha1(
        &self,
        request: tonic::Request<proto::GetConfigurationRequest>,
    ) -> Result<tonic::Response<proto::GetConfigurationResponse>, Status> {
        self.get_configuration(request).await
    }

    async fn subscribe_configuration(
        &self,
        request: tonic::Request<proto::SubscribeConfigurationRequest>,
    ) -> Result<tonic::Response<Changes>, Status> {
        self.changes(request, |lists| {
            api("SubscribeConfiguration").is_some_and(|api| lists.allows_grpc(api))
        })
        .await
    }

    async fn subscribe_configuration_alpha1(
        &self,
        request: tonic::Request<proto::SubscribeConfigurationRequest>,
    ) -> Result<tonic::Response<Changes>, Status> {
        self.changes(request, |lists| {
            api("SubscribeConfigurationAlpha1").is_some_and(|api| lists.allows_grpc(api))
        })
        .await
    }

    async fn unsubscribe_configuration(
        &self,
        request: tonic::Request<proto::UnsubscribeConfigurationRequest>,
    ) -> Result<tonic::Response<proto::UnsubscribeConfigurationResponse>, Status> {
        let id = request.into_inner().id;
        let ok = self.service.unsubscribe_any(&id);
        if let Some(metrics) = self.service.metrics.as_ref().filter(|_| !ok) {
            metrics.error(Code::ConfigurationUnsubscribe);
        }
        let message = if ok {
            String::new()
        } else {
            format!(
                "failed to unsubscribe to configuration request {id}: subscription does not exist"
            )
        };
        self.respond(proto::UnsubscribeConfigurationResponse { ok, message })
    }

    async fn unsubscribe_configuration_alpha1(
        &self,
        request: tonic::Request<proto::UnsubscribeConfigurationRequest>,
    ) -> Result<tonic::Response<proto::UnsubscribeConfigurationResponse>, Status> {
        self.unsubscribe_configuration(request).await
    }

    async fn get_secret(
        &self,
        mut request: tonic::Request<proto::GetSecretRequest>,
    ) -> Result<tonic::Response<proto::GetSecretResponse>, Status> {
        let caller = request.extensions_mut().remove();
        if self.service.traces.is_some() {
            AskedStore::note(request.extensions(), &request.get_ref().store_name);
        }
        let proto::GetSecretRequest {
            store_name,
            key,
            metadata,
        } = request.into_inner();
        let reading = self.service.secret(&store_name, &key, metadata, caller);
        let secret = reading.await?;
        let data = reveal(&secret)
            .map_err(|class| service::get_failed(&store_name, &key, class, NOT_TEXT))?;
        let mut answer = self.respond(proto::GetSecretResponse { data })?;
        if secret.is_stale() {
            let stale = MetadataValue::from_static("true");
            answer.metadata_mut().insert(STALE, stale);
        }
        Ok(answer)
    }

    async fn get_bulk_secret(
        &self,
        mut request: tonic::Request<proto::GetBulkSecretRequest>,
    ) -> Result<tonic::Response<proto::GetBulkSecretResponse>, Status> {
        let caller = request.extensions_mut().remove();
        let proto::GetBulkSecretRequest {
            store_name,
            metadata,
        } = request.into_inner();
        let reading = self.service.secrets(&store_name, metadata, caller);
        let secrets = reading.await?;
        let mut data = BTreeMap::new();
        for (name, secret) in &secrets {
            let secrets = reveal(secret)
                .map_err(|class| service::bulk_failed(&store_name, class, NOT_TEXT))?;
            data.insert(name.clone(), proto::SecretResponse { secrets });
        }
        self.respond(proto::GetBulkSecretResponse { data })
    }

    async fn get_metadata(
        &self,
        _request: tonic::Request<proto::GetMetadataRequest>,
    ) -> Result<tonic::Response<proto::GetMetadataResponse>, Status> {
        let service = &self.service;
        let loaded = service.loaded();
        let components = loaded.iter().flat_map(|loaded| &loaded.components);
        let registered_components = components.map(|component| proto::RegisteredComponents {
            name: component.name.clone(),
            r#type: component.component_type.clone(),
            version: component.version.clone(),
            capabilities: component.capabilities.clone(),
        });
        let identity = &service.identity;
        let health =
            metadata::health(identity).map(|health| proto::AppConnectionHealthProperties {
                health_check_path: health.health_check_path.to_owned(),
                health_probe_interval: health.health_probe_interval,
                health_probe_timeout: health.health_probe_timeout,
                health_threshold: health.health_threshold.try_into().unwrap_or(i32::MAX),
            });
        self.respond(proto::GetMetadataResponse {
            id: identity.app_id.clone(),
            registered_components: registered_components.collect(),
            extended_metadata: service.extended(),
            app_connection_properties: Some(proto::AppConnectionProperties {
                port: identity.app_port.map_or(0, i32::from),
                protocol: identity.app_protocol.clone(),
                channel_address: identity.app_host.clone(),
                max_concurrency: 0,
                health,
            }),
            runtime_version: DAPR_VERSION.to_owned(),
            enabled_features: metadata::features(service),
            actor_runtime: Some(proto::ActorRuntime {
                runtime_status: proto::actor_runtime::ActorRuntimeStatus::Disabled.into(),
                host_ready: false,
                placement: PLACEMENT.to_owned(),
            }),
        })
    }

    async fn set_metadata(
        &self,
        request: tonic::Request<proto::SetMetadataRequest>,
    ) -> Result<tonic::Response<()>, Status> {
        let proto::SetMetadataRequest { key, value } = request.into_inner();
        self.service.extend(key, value)?;
        Ok(tonic::Response::new(()))
    }

    async fn shutdown(
        &self,
        request: tonic::Request<proto::ShutdownRequest>,
    ) -> Result<tonic::Response<()>, Status> {
        let force = request.metadata().get("dapr-force-shutdown");
        let is_forced =
            force.is_some_and(|force| force.as_encoded_bytes().eq_ignore_ascii_case(b"true"));
        self.service.shut_down(is_forced);
        Ok(tonic::Response::new(()))
    }
}
