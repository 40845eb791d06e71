//! Asks the API server, with patience.

#[cfg(feature = "serve")]
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource as _;
#[cfg(feature = "serve")]
use kube::api::WatchParams;
use kube::api::{GetParams, ListParams, Request};
use kube::client::Body;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zeroize::Zeroizing;

#[cfg(feature = "serve")]
use super::events::Events;
use super::failure::{self, Again, Failure};
use super::link::{Link, Links};
use super::question::Question;
use crate::context::Context;
use crate::pause::pause;
use crate::stores::{StoreConfig, StoreError};

/// How often one thing is asked for.
const ATTEMPTS: u32 = 4;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a call may take that names no deadline.
const CALL: Duration = Duration::from_secs(30);
/// The first pause between attempts; each is twice as long as the one before it.
const PAUSE: Duration = Duration::from_millis(200);
/// How many requests are under way at a time. Each takes a connection of its own.
const AT_ONCE: usize = 16;
/// How many secrets a page of a list holds.
const PAGE: u32 = 500;
/// The largest answer: a Secret or a ConfigMap holds at most 1 MiB, a page of them is seldom full of such.
const LARGEST_SECRET: usize = 8 << 20;
const LARGEST_PAGE: usize = 256 << 20;
const LARGEST_STATUS: usize = 64 << 10;
/// How many answers larger than a secret are read at a time: each may take the memory of all others.
const LARGE_AT_ONCE: usize = 1;

/// A way to an API server.
pub(crate) struct Api {
    links: Links,
    permits: Semaphore,
    large: Semaphore,
}

/// What the API server says.
pub(crate) enum Answer {
    /// The object, in JSON.
    Found(Zeroizing<Vec<u8>>),
    /// There is no such thing, or there no longer is.
    Absent,
}

/// When a call ends.
pub(crate) fn until(context: &Context) -> Instant {
    let until = Instant::now() + CALL;
    context
        .deadline
        .map_or(until, |deadline| deadline.min(until))
}

impl Api {
    pub(super) fn of_client(client: kube::Client) -> Self {
        Self {
            links: Links::of_client(client),
            permits: Semaphore::new(AT_ONCE),
            large: Semaphore::new(LARGE_AT_ONCE),
        }
    }

    pub(crate) fn of_settings(settings: StoreConfig) -> Self {
        Self {
            links: Links::of_settings(settings),
            permits: Semaphore::new(AT_ONCE),
            large: Semaphore::new(LARGE_AT_ONCE),
        }
    }

    /// Asks until there is an answer, or nothing more can help.
    pub(crate) async fn ask(
        &self,
        question: Question<'_>,
        until: Instant,
    ) -> Result<Answer, StoreError> {
        timeout_at(until, self.ask_patiently(question, until))
            .await
            .unwrap_or_else(|_| Err(failure::late(question)))
    }

    async fn ask_patiently(
        &self,
        question: Question<'_>,
        until: Instant,
    ) -> Result<Answer, StoreError> {
        let mut attempt = 1;
        loop {
            let link = self.links.link().await?;
            let failure = match self.ask_once(&link, question).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if failure.suspects_link {
                self.links.forget(&link).await;
            }
            let pause = match failure.again {
                Again::After(least) if attempt < ATTEMPTS => {
                    pause(attempt, PAUSE, ATTEMPT).max(least)
                }
                _ => return Err(failure.error),
            };
            // What happened tells more than that time ran out while waiting for nothing.
            if pause >= until.saturating_duration_since(Instant::now()) {
                return Err(failure.error);
            }
            tracing::debug!(class = %failure.error.class, attempt, ?pause, "asking again");
            sleep(pause).await;
            attempt += 1;
        }
    }

    /// What happens from a version on to what was asked for.
    #[cfg(feature = "serve")]
    pub(crate) async fn follow(
        &self,
        question: Question<'_>,
        version: &str,
    ) -> Result<Events, StoreError> {
        let link = self.links.link().await?;
        let following = timeout(ATTEMPT, follow(&link, question, version)).await;
        let following = following.unwrap_or_else(|_| Err(Failure::of_silence(&link.server)));
        match following {
            Ok(events) => Ok(events),
            Err(failure) => {
                if failure.suspects_link {
                    self.links.forget(&link).await;
                }
                Err(failure.error)
            }
        }
    }

    async fn ask_once(&self, link: &Link, question: Question<'_>) -> Result<Answer, Failure> {
        // It is never closed; without a permit the request is one too many, and no more.
        let _permit = self.permits.acquire().await.ok();
        timeout(ATTEMPT, exchange(link, question, &self.large))
            .await
            .unwrap_or_else(|_| Err(Failure::of_silence(&link.server)))
    }
}

/// One request and its answer. kube's own functions for it write the body to the log when they
/// cannot read it, so here it is read by hand.
async fn exchange(
    link: &Link,
    question: Question<'_>,
    large: &Semaphore,
) -> Result<Answer, Failure> {
    let path = path(question);
    let request = match question {
        Question::ConfigMap { name, .. } => path.list(&ListParams::default().fields(&only(name))),
        Question::Get { name, .. } => path.get(name, &GetParams::default()),
        Question::List { next: None, .. } => path.list(&ListParams::default().limit(PAGE)),
        Question::List {
            next: Some(token), ..
        } => path.list(&ListParams::default().limit(PAGE).continue_token(token)),
    };
    let request = request
        .map_err(|_| Failure::of_request(question))?
        .map(Body::from);
    let response = link.client.send(request).await;
    let response = response.map_err(|error| Failure::of_connection(&error, &link.server))?;

    let headers = response.headers();
    let number = |header| headers.get(header)?.to_str().ok()?.parse::<u64>().ok();
    let largest = match (response.status().as_u16(), question) {
        (200, Question::Get { .. } | Question::ConfigMap { .. }) => LARGEST_SECRET,
        (200, Question::List { .. }) => LARGEST_PAGE,
        (410, Question::List { next: Some(_), .. }) => return Ok(Answer::Absent),
        (404, Question::Get { .. }) => {
            let body = collect(response.into_body(), (0, LARGEST_STATUS), large).await;
            return match body.map_err(|error| Failure::of_connection(&error, &link.server))? {
                Some(body) if says_not_found(&body) => Ok(Answer::Absent),
                _ => Err(Failure::of_status(404, None, question)),
            };
        }
        (status, _) => {
            let retry_after = number("retry-after").map(Duration::from_secs);
            return Err(Failure::of_status(status, retry_after, question));
        }
    };
    let length = number("content-length").and_then(|length| usize::try_from(length).ok());
    let lengths = (length.unwrap_or_default(), largest);
    let whole = collect(response.into_body(), lengths, large).await;
    match whole.map_err(|error| Failure::of_connection(&error, &link.server))? {
        Some(whole) => Ok(Answer::Found(whole)),
        None => Err(Failure::of_size(question)),
    }
}

/// Begins to follow. An answer that is not 200 has nothing to follow.
#[cfg(feature = "serve")]
async fn follow(link: &Link, question: Question<'_>, version: &str) -> Result<Events, Failure> {
    let Question::ConfigMap { name, .. } = question else {
        return Err(Failure::of_request(question));
    };
    let wanted = WatchParams::default().fields(&only(name));
    let request = path(question).watch(&wanted, version);
    let request = request
        .map_err(|_| Failure::of_request(question))?
        .map(Body::from);
    let response = link.client.send(request).await;
    let response = response.map_err(|error| Failure::of_connection(&error, &link.server))?;
    match response.status().as_u16() {
        200 => Ok(Events::new(response.into_body(), Arc::clone(&link.server))),
        status => Err(Failure::of_status(status, None, question)),
    }
}

fn path(question: Question<'_>) -> Request {
    let namespace = Some(question.namespace());
    Request::new(match question {
        Question::Get { .. } | Question::List { .. } => Secret::url_path(&(), namespace),
        Question::ConfigMap { .. } => ConfigMap::url_path(&(), namespace),
    })
}

/// The selector of one object.
fn only(name: &str) -> String {
    format!("metadata.name={name}")
}

/// Whether this is how an API server says that there is no such thing: a proxy before it says 404 for
/// reasons of its own, and a secret must not seem absent because of those.
fn says_not_found(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Status {
        kind: String,
        reason: String,
    }
    serde_json::from_slice(body)
        .is_ok_and(|Status { kind, reason }| kind == "Status" && reason == "NotFound")
}

/// The whole of a body; `None` where it is too large. It is wiped when dropped, and no copy is left
/// behind in memory but for the parts that HTTP and TLS had.
async fn collect(
    mut body: Body,
    (length, largest): (usize, usize),
    large: &Semaphore,
) -> Result<Option<Zeroizing<Vec<u8>>>, kube::Error> {
    let mut whole = Zeroizing::new(Vec::with_capacity(length.min(LARGEST_SECRET)));
    let mut turn = None;
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame?.into_data() else {
            continue;
        };
        let length = whole.len() + part.len();
        if length > largest {
            return Ok(None);
        }
        if length > LARGEST_SECRET && turn.is_none() {
            // It is never closed.
            turn = large.acquire().await.ok();
        }
        if length > whole.capacity() {
            // A vector that grows by itself does not wipe its former place.
            let mut larger = Zeroizing::new(Vec::with_capacity(length.max(2 * whole.capacity())));
            larger.extend_from_slice(&whole);
            whole = larger;
        }
        whole.extend_from_slice(&part);
    }
    Ok(Some(whole))
}
