//! A page for operators, that can only be looked at: what is loaded, how stores answer, who has asked
//! for what. No value is on it.
//!
//! ```text
//! service, kept -> facts -> page (HTML), JSON
//! ```

mod answers;
mod facts;
mod guard;
mod history;
mod listing;
mod markup;
mod page;
mod recent;
mod reference;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use self::answers::Answers;
use self::facts::Facts;
use self::guard::Refusal;
pub use self::history::Reload;
use self::history::{History, Last};
use self::listing::{Listing, Listings};
use self::recent::Recent;
pub(crate) use self::reference::Resolved;
use crate::api::access::Access;
use crate::api::ascii_json::ascii_json;
use crate::api::audit::Audit;
use crate::api::components::Components;
use crate::api::go;
use crate::api::http::Answer;
use crate::api::loaded::Loaded;
use crate::api::service::Service;
use crate::api::token::Token;

/// How many pages are made at a time: each takes memory for all that is on it.
const MOST_PAGES: usize = 2;
/// The longest time after which a page may ask to be shown again, in seconds.
const LONGEST_REFRESH: u32 = 3_600;

/// Where and to whom the status page is shown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatusOptions {
    /// Where HTTP is served.
    pub address: SocketAddr,
    /// What must be sent as the password of `authorization: Basic`, whatever the name, or as
    /// `authorization: Bearer TOKEN`. Without it everyone may look who asks for an address or for
    /// `localhost`, and not for another name.
    pub token: Option<Token>,
}

impl StatusOptions {
    /// Serves at an address, and asks for no token.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
        }
    }
}

/// What is kept for the page while the server runs.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) history: History,
    pub(crate) recent: Arc<Recent>,
    /// How configuration stores have answered.
    pub(crate) answers: Answers,
}

impl Kept {
    /// Keeps what goes to this trail, too.
    pub(crate) fn new(trail: Option<Arc<dyn Audit>>) -> Self {
        Self {
            history: History::default(),
            recent: Arc::new(Recent::new(trail)),
            answers: Answers::default(),
        }
    }
}

/// What is shown, and to whom. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Status(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Arc<Service>,
    kept: Arc<Kept>,
    components: Option<Components>,
    access: Access,
    listings: Listings,
    turns: Arc<Semaphore>,
    /// What a browser may do with the page: nothing but show it in its own style.
    policy: HeaderValue,
}

impl Status {
    pub(crate) fn new(
        service: Arc<Service>,
        kept: Arc<Kept>,
        components: Option<Components>,
        token: Option<Token>,
    ) -> Self {
        let digest = STANDARD.encode(Sha256::digest(page::STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        let strictest = HeaderValue::from_static("default-src 'none'");
        Self(Arc::new(Inner {
            service,
            kept,
            components,
            access: Access { token },
            listings: Listings::default(),
            turns: Arc::new(Semaphore::new(MOST_PAGES)),
            policy: HeaderValue::try_from(policy).unwrap_or(strictest),
        }))
    }

    /// Answers a request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer {
        let method = request.method().clone();
        let log = self.0.service.settings().log;
        let path = log.is_on.then(|| request.uri().path().to_owned());
        let mut answer = self.0.dispatch(&request).await;
        if let Some(path) = path {
            let code = answer.status().as_u16();
            tracing::info!(scope = "keyref.status", method = path, code, "status shown");
        }
        let size = http_body::Body::size_hint(answer.body()).exact();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_LENGTH, size.unwrap_or_default().into());
        headers.insert(CONTENT_SECURITY_POLICY, self.0.policy.clone());
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if method == Method::HEAD {
            *answer.body_mut() = Full::default();
        }
        answer
    }
}

/// What each answer says beside its content.
const HEADERS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

impl Inner {
    async fn dispatch<B>(self: &Arc<Self>, request: &Request<B>) -> Answer {
        match guard::decide(&self.access, request) {
            Ok(()) => {}
            Err(Refusal::Host) => {
                let text =
                    "the host must be an address or localhost, unless a token is asked for\n";
                return plain(StatusCode::FORBIDDEN, text);
            }
            Err(Refusal::Token) => {
                let text = "the token, as the password of any name, is missing or wrong\n";
                let answer = plain(StatusCode::UNAUTHORIZED, text);
                let challenge = "Basic realm=\"keyref\", charset=\"UTF-8\"";
                return with_header(answer, WWW_AUTHENTICATE, challenge);
            }
        }
        let path = request.uri().path();
        if !matches!(path, "/" | "/status.json") {
            return plain(StatusCode::NOT_FOUND, "no such page\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let answer = plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "the page is only looked at\n",
            );
            return with_header(answer, ALLOW, "GET, HEAD");
        }
        let is_json = path != "/";
        let refresh = refresh(request.uri().query());
        // The semaphore is never closed. Who goes away has the turn until the page is made.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        // First: what it tells of is then among what is loaded.
        let last = self.kept.history.last();
        let listed = match self.service.loaded() {
            Some(loaded) => {
                let listing = self.listings.of(&self.service, &loaded).await;
                Some((loaded, listing))
            }
            None => None,
        };
        let inner = Arc::clone(self);
        // There may be thousands of components.
        let writing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let facts = inner.facts(last, listed.as_ref());
            if is_json {
                json(&facts)
            } else {
                whole(
                    StatusCode::OK,
                    "text/html; charset=utf-8",
                    page::page(&facts, refresh),
                )
            }
        });
        let failed = |_| {
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the page cannot be made\n",
            )
        };
        writing.await.unwrap_or_else(failed)
    }

    fn facts(&self, last: Last, listed: Option<&(Arc<Loaded>, Arc<Listing>)>) -> Facts {
        let resolved = self.components.as_ref().map(Components::resolved);
        let listed = listed.map(|(loaded, listing)| (loaded, &**listing));
        Facts::of(&self.service, &self.kept, last, listed, resolved.as_ref())
    }
}

/// After how many seconds the page is to be shown again, if it is.
fn refresh(query: Option<&str>) -> Option<u32> {
    let mut pairs = go::query_pairs(query.unwrap_or_default());
    let (_, value) = pairs.find(|(name, _)| name == "refresh")?;
    let seconds = value.parse().ok()?;
    (1..=LONGEST_REFRESH).contains(&seconds).then_some(seconds)
}

fn json(facts: &Facts) -> Answer {
    match ascii_json(facts, 0) {
        Ok(mut text) => {
            text.push('\n');
            whole(StatusCode::OK, "application/json", text)
        }
        Err(_) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the facts cannot be written\n",
        ),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    whole(status, "text/plain; charset=utf-8", text)
}

fn whole(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    with_header(answer, CONTENT_TYPE, content_type)
}

fn with_header(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    let value = HeaderValue::from_static(value);
    answer.headers_mut().insert(name, value);
    answer
}
