//! Components with their references resolved, as a service of keyref's own over HTTP and gRPC.
//!
//! It gives out every secret that a component refers to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tonic::body::Body;

use self::grpc::Grpc;
use self::recipient::Recipient;
use self::refreshing::Refreshing;
pub(crate) use self::state::{Key, State};
use self::watching::Watching;
use crate::api::access::Access;
use crate::api::asked_host::is_local;
use crate::api::audit::Caller;
use crate::api::grant::Grant;
use crate::api::service::Service;
use crate::api::status::Resolved;
use crate::api::token::Token;

mod grpc;
mod http;
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
    reason = "generated from proto/keyref/components/v1/components.proto"
)]
#[rustfmt::skip]
mod proto;
mod recipient;
mod refreshing;
mod state;
mod watching;

/// How many may watch at a time: each takes memory for the revisions that it knows.
const MOST_WATCHERS: usize = 1_000;

/// How long a list is waited for that has not been resolved for the first time.
const FIRST_STATE: Duration = Duration::from_secs(5);

/// What a caller is told who may not know.
const WRONG_TOKEN: &str = "the token of `authorization: Bearer TOKEN` is missing or wrong";

/// Why a caller may not know.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Token,
    /// It was asked for under a name that anybody can point here.
    Host,
}

/// Where and how resolved components are served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComponentsOptions {
    /// Where HTTP/1 and HTTP/2, with gRPC, are served.
    pub address: SocketAddr,
    /// What a caller must send as `authorization: Bearer TOKEN`; nothing where everyone may call.
    pub token: Option<Token>,
    /// How often all is resolved again, a tenth more or less: every minute. What is loaded anew is
    /// resolved at once.
    pub refresh: Duration,
}

impl ComponentsOptions {
    /// Serves at an address, and asks for no token.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
            refresh: Duration::from_mins(1),
        }
    }
}

/// What the components are, and who may know. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Components {
    inner: Arc<Inner>,
    grpc: Grpc,
}

#[derive(Debug)]
struct Inner {
    service: Arc<Service>,
    access: Access,
    /// Whether it is for this machine alone, and for everybody there.
    is_local: bool,
    refresh: Duration,
    states: watch::Sender<Option<Arc<State>>>,
    /// When all was resolved last.
    refreshed: Mutex<Option<SystemTime>>,
    watchers: Arc<Semaphore>,
}

impl Components {
    /// Messages of gRPC may have this many bytes, but for a single component.
    pub(crate) fn new(
        service: Arc<Service>,
        options: ComponentsOptions,
        most_message: usize,
    ) -> Self {
        let ComponentsOptions {
            address,
            token,
            refresh,
        } = options;
        let inner = Arc::new(Inner {
            service,
            is_local: address.ip().is_loopback() && token.is_none(),
            access: Access { token },
            refresh,
            states: watch::Sender::default(),
            refreshed: Mutex::default(),
            watchers: Arc::new(Semaphore::new(MOST_WATCHERS)),
        });
        let grpc = Grpc::new(Arc::clone(&inner), most_message);
        Self { inner, grpc }
    }

    /// Keeps up with what is loaded and with the secrets, for ever.
    pub(crate) async fn refresh(&self) {
        let inner = &self.inner;
        let refreshing = Refreshing {
            service: &inner.service,
            states: &inner.states,
            refreshed: &inner.refreshed,
            interval: inner.refresh,
        };
        refreshing.run().await;
    }

    /// What came of resolving them, for the status page.
    pub(crate) fn resolved(&self) -> Resolved {
        let inner = &self.inner;
        let refreshed = inner.refreshed.lock();
        Resolved {
            state: inner.states.borrow().clone(),
            refreshed: *refreshed.unwrap_or_else(PoisonError::into_inner),
            every: inner.refresh,
        }
    }

    /// Answers a request of either protocol.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let log = self.inner.service.settings().log;
        let method = log.is_on.then(|| request.uri().path().to_owned());
        let answer = self.dispatch(request).await;
        if let Some(method) = method {
            let code = answer.status().as_u16();
            tracing::info!(
                scope = "keyref.components",
                method,
                code,
                "components called"
            );
        }
        answer
    }

    async fn dispatch<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let headers = request.headers();
        let is_admitted = self.inner.access.admits(bearer(headers));
        let refusal = if !is_admitted {
            Some(Refusal::Token)
        } else if self.inner.is_local && !is_local(&request) {
            Some(Refusal::Host)
        } else {
            None
        };
        let content_type = headers.get(CONTENT_TYPE);
        let is_grpc =
            content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let protocol = if is_grpc { "grpc" } else { "http" };
        let (inner, extensions) = (&self.inner, request.extensions());
        let caller = inner.service.audit.as_ref().map(|_| {
            let has_token = is_admitted && inner.access.token.is_some();
            Caller::of(protocol, extensions, headers, has_token)
        });
        let grant = Grant::of(&inner.service, inner.access.clone(), bearer(headers));
        let recipient = Recipient::new(&inner.service, caller, grant);
        if let Some(refusal) = refusal {
            recipient.is_refused(refusal);
        }
        if is_grpc {
            self.grpc.answer(request, recipient, refusal).await
        } else {
            let (head, _) = request.into_parts();
            http::answer(&self.inner, &head, recipient, refusal).await
        }
    }
}

impl Inner {
    /// The components as they are now. Just after the start, they are waited for; nothing where
    /// that takes too long.
    async fn state(&self) -> Option<Arc<State>> {
        let mut states = self.states.subscribe();
        let first = states.wait_for(Option::is_some);
        let state = tokio::time::timeout(FIRST_STATE, first).await;
        state.ok()?.ok()?.clone()
    }

    /// Begins to watch; nothing where too many do.
    fn watch(&self, recipient: Recipient) -> Option<Watching> {
        let turn = Arc::clone(&self.watchers).try_acquire_owned().ok()?;
        let (service, states) = (Arc::clone(&self.service), self.states.subscribe());
        Some(Watching::new(service, recipient, states, turn))
    }
}

/// The token that a caller sent.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let sent = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = sent.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}
