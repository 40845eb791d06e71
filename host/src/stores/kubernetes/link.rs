//! Finds the API server when it is first wanted, and keeps the way to it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::runtime::{self, Handle};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{access, connect, plugin};
use crate::error::Class;
use crate::stores::{StoreConfig, StoreError};

/// How long before they end credentials are renewed.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);
/// How long the outcome of a search stands at least, be it a failure or a link that does not work: a
/// plugin must not run once for each secret.
const STANDING: Duration = Duration::from_secs(2);

/// A client that knows its server and its credentials.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: kube::Client,
    /// Where the server is, for messages: ` at ...`, or empty.
    pub(super) server: Arc<str>,
    /// When the credentials end.
    valid_until: Option<Timestamp>,
    /// The runtime that has its connections, which end with it.
    runtime: Option<runtime::Id>,
}

/// Where links come from.
pub(super) enum Links {
    Given(Link),
    Found {
        settings: Arc<StoreConfig>,
        last: Mutex<Option<Found>>,
    },
}

/// The last outcome of a search.
pub(super) struct Found {
    link: Result<Link, StoreError>,
    at: Instant,
}

impl Links {
    pub(super) fn of_client(client: kube::Client) -> Self {
        Self::Given(Link {
            client,
            server: "".into(),
            valid_until: None,
            runtime: None,
        })
    }

    pub(super) fn of_settings(settings: StoreConfig) -> Self {
        Self::Found {
            settings: Arc::new(settings),
            last: Mutex::new(None),
        }
    }

    /// The link: the last one, while it is good.
    pub(super) async fn link(&self) -> Result<Link, StoreError> {
        let (settings, last) = match self {
            Self::Given(link) => return Ok(link.clone()),
            Self::Found { settings, last } => (settings, last),
        };
        let mut last = last.lock().await;
        if let Some(found) = last.as_ref().filter(|found| found.stands()) {
            return found.link.clone();
        }
        let link = find(Arc::clone(settings)).await;
        *last = Some(Found {
            link: link.clone(),
            at: Instant::now(),
        });
        link
    }

    /// Drops a link that may be out of date, so that the next request reads everything anew: the
    /// cluster's address and certificates, and the credentials.
    pub(super) async fn forget(&self, link: &Link) {
        if let Self::Found { last, .. } = self {
            let mut last = last.lock().await;
            last.take_if(|found| {
                let is_same = |known: &Link| Arc::ptr_eq(&known.server, &link.server);
                found.at.elapsed() >= STANDING && found.link.as_ref().is_ok_and(is_same)
            });
        }
    }
}

impl Found {
    fn stands(&self) -> bool {
        match &self.link {
            Ok(link) => {
                let valid_until = link.valid_until;
                link.runtime == this_runtime()
                    && valid_until.is_none_or(|end| Timestamp::now() + MARGIN < end)
            }
            Err(_) => self.at.elapsed() < STANDING,
        }
    }
}

async fn find(settings: Arc<StoreConfig>) -> Result<Link, StoreError> {
    let mut access = blocking(move || access::access(&settings)).await?;
    let credentials = &mut access.credentials;
    if let Some(plugin) = credentials.plugin.take() {
        plugin::run(&plugin, credentials).await?;
    }
    let valid_until = credentials.valid_until;
    let server = access.place().into();
    let client = blocking(move || connect::client(access)).await?;
    Ok(Link {
        client,
        server,
        valid_until,
        runtime: this_runtime(),
    })
}

fn this_runtime() -> Option<runtime::Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}

/// Reads files off the caller's executor.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(StoreError::new(
            Class::Internal,
            "the way to the API server cannot be read",
        ))
    })
}
