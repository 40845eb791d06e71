//! Finds the API server when it is first wanted, and keeps the way to it.

use std::collections::VecDeque;
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
}

/// Of so many runtimes links are kept: those that are gone are not known.
const MOST_RUNTIMES: usize = 8;

/// Where links come from.
pub(super) enum Links {
    Given(Link),
    Found {
        settings: Arc<StoreConfig>,
        /// One for each runtime that asked last.
        found: Mutex<VecDeque<Found>>,
    },
}

/// The outcome of a search.
pub(super) struct Found {
    link: Result<Link, StoreError>,
    at: Instant,
    /// The runtime that has its connections, which end with it.
    runtime: Option<runtime::Id>,
}

impl Links {
    pub(super) fn of_client(client: kube::Client) -> Self {
        Self::Given(Link {
            client,
            server: "".into(),
            valid_until: None,
        })
    }

    pub(super) fn of_settings(settings: StoreConfig) -> Self {
        Self::Found {
            settings: Arc::new(settings),
            found: Mutex::default(),
        }
    }

    /// The link that this runtime found last, while it is good.
    pub(super) async fn link(&self) -> Result<Link, StoreError> {
        let (settings, found) = match self {
            Self::Given(link) => return Ok(link.clone()),
            Self::Found { settings, found } => (settings, found),
        };
        let runtime = Handle::try_current().ok().map(|handle| handle.id());
        // Held while it is looked for, so that all who ask meanwhile share the outcome.
        let mut found = found.lock().await;
        let known = found.iter().position(|found| found.runtime == runtime);
        if let Some(known) = known.and_then(|known| found.get(known))
            && known.stands()
        {
            return known.link.clone();
        }
        let link = find(Arc::clone(settings)).await;
        found.retain(|found| found.runtime != runtime);
        found.truncate(MOST_RUNTIMES - 1);
        found.push_front(Found {
            link: link.clone(),
            at: Instant::now(),
            runtime,
        });
        link
    }

    /// Drops a link that may be out of date, so that the next request reads everything anew: the
    /// cluster's address and certificates, and the credentials.
    pub(super) async fn forget(&self, link: &Link) {
        if let Self::Found { found, .. } = self {
            let is_same = |known: &Link| Arc::ptr_eq(&known.server, &link.server);
            found
                .lock()
                .await
                .retain(|found| found.is_new() || !found.link.as_ref().is_ok_and(is_same));
        }
    }
}

impl Found {
    fn stands(&self) -> bool {
        let is_valid = |link: &Link| {
            let valid_until = link.valid_until;
            valid_until.is_none_or(|end| Timestamp::now() + MARGIN < end)
        };
        self.is_new() || self.link.as_ref().is_ok_and(is_valid)
    }

    fn is_new(&self) -> bool {
        self.at.elapsed() < STANDING
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
    })
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
