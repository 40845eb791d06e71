//! The components over gRPC.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::{Request, Response};
use prost::Message as _;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service as _;
use zeroize::Zeroize as _;

use crate::api::asked_host::WRONG_HOST;
use crate::api::components::proto::components_server::{Components, ComponentsServer};
use crate::api::components::proto::{self, watch_response};
use crate::api::components::recipient::Recipient;
use crate::api::components::state::{Key, Shown};
use crate::api::components::watching::{Event, Watching};
use crate::api::components::{Inner, Refusal, WRONG_TOKEN};
use crate::api::grpc::{Bounded, Sent};
use crate::api::service::Service;
use crate::component::{ItemPlace, Property, Value};
use crate::problem::Problem;

/// How calls are served.
#[derive(Clone)]
pub(crate) struct Grpc {
    service: Arc<Service>,
    components: ComponentsServer<Calls>,
}

impl Grpc {
    pub(super) fn new(inner: Arc<Inner>, most_message: usize) -> Self {
        let service = Arc::clone(&inner.service);
        let calls = Calls {
            inner,
            most_message,
        };
        let components = ComponentsServer::new(calls).max_decoding_message_size(most_message);
        Self {
            service,
            components,
        }
    }

    /// Answers a call.
    pub(super) async fn answer<B>(
        &self,
        mut request: Request<B>,
        recipient: Recipient,
        refusal: Option<Refusal>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        match refusal {
            Some(Refusal::Token) => return Status::unauthenticated(WRONG_TOKEN).into_http(),
            Some(Refusal::Host) => return Status::permission_denied(WRONG_HOST).into_http(),
            None => {}
        }
        request.extensions_mut().insert(recipient);
        let request = request.map(|body| Bounded::new(body, &self.service));
        let answer: Result<_, Infallible> = self.components.clone().call(request).await;
        match answer {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc").finish_non_exhaustive()
    }
}

/// The methods.
struct Calls {
    inner: Arc<Inner>,
    most_message: usize,
}

#[tonic::async_trait]
impl Components for Calls {
    type WatchStream = BoxStream<'static, Result<proto::WatchResponse, Status>>;

    async fn list(
        &self,
        request: tonic::Request<proto::ListRequest>,
    ) -> Result<tonic::Response<proto::ListResponse>, Status> {
        let state = self.inner.state().await;
        let state = state.ok_or_else(|| Status::unavailable("not resolved yet"))?;
        let recipient = recipient(&request)?;
        let components = state.iter().map(|(key, shown)| component(key, shown));
        let list = proto::ListResponse {
            components: components.collect(),
        };
        let length = list.encoded_len();
        if length > self.most_message {
            let text = "the list does not fit into one message: watch instead";
            return Err(Status::resource_exhausted(text));
        }
        state.values().for_each(|shown| recipient.receives(shown));
        let mut response = tonic::Response::new(list);
        response.extensions_mut().insert(Sent(length));
        Ok(response)
    }

    async fn watch(
        &self,
        request: tonic::Request<proto::WatchRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let watching = self.inner.watch(recipient(&request)?.clone());
        let watching = watching.ok_or_else(|| Status::resource_exhausted("too many watch"))?;
        let events = stream::unfold(watching, async |mut watching: Watching| {
            let event = message(watching.next().await?);
            Some((event, watching))
        });
        let end = stream::once(async { Err(Status::unavailable("the server ends")) });
        Ok(tonic::Response::new(events.chain(end).boxed()))
    }
}

/// Who calls.
fn recipient<M>(request: &tonic::Request<M>) -> Result<&Recipient, Status> {
    let recipient = request.extensions().get();
    recipient.ok_or_else(|| Status::internal("the caller is not known"))
}

fn message(event: Event) -> Result<proto::WatchResponse, Status> {
    let event = match event {
        Event::Component(key, shown) => watch_response::Event::Component(component(&key, &shown)),
        Event::Complete => watch_response::Event::Complete(proto::Complete {}),
        Event::Removed(Key { kind, name }) => {
            let kind = kind.to_owned();
            watch_response::Event::Removed(proto::Removed { kind, name })
        }
        Event::Refused => return Err(Status::unauthenticated(WRONG_TOKEN)),
    };
    Ok(proto::WatchResponse { event: Some(event) })
}

fn component(key: &Key, shown: &Shown) -> proto::Component {
    let properties = shown.properties.as_ref().map(|properties| {
        let items = properties.iter().map(property).collect();
        proto::Properties { items }
    });
    proto::Component {
        kind: key.kind.to_owned(),
        name: key.name.clone(),
        namespace: shown.namespace.clone(),
        r#type: shown.component_type.clone(),
        version: shown.version.clone(),
        scopes: shown.scopes.clone(),
        revision: shown.revision.to_string(),
        properties,
        problems: shown.problems.iter().map(problem).collect(),
    }
}

fn property(property: &Property) -> proto::Property {
    let (value, secret) = match &property.value {
        Value::Plain(text) => (text.as_bytes(), false),
        // This is the answer that was asked for.
        Value::Secret(value) => (value.reveal(), true),
    };
    let place = match property.place {
        ItemPlace::Metadata => proto::Place::Metadata,
        ItemPlace::Header => proto::Place::Header,
        ItemPlace::ClientTls => proto::Place::ClientTls,
    };
    proto::Property {
        name: property.name.clone(),
        value: value.to_vec(),
        secret,
        place: place.into(),
    }
}

fn problem(problem: &Problem) -> proto::Problem {
    let place = problem.place.as_ref();
    let subject = problem.subject.as_ref();
    proto::Problem {
        class: problem.class.code().to_owned(),
        message: problem.message.clone(),
        hint: problem.hint.clone(),
        document: place.map_or_else(String::new, |place| place.document.to_string()),
        line: place.map_or(0, |place| place.line),
        column: place.map_or(0, |place| place.column),
        property: subject.map_or_else(String::new, |subject| subject.property.clone()),
        retryable: problem.class.retry_helps(),
    }
}

impl Drop for proto::Property {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}
