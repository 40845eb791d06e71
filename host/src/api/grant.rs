//! What lets a stream go on. A call is asked for its token and its API once, a stream for as long as
//! it lasts.

use std::future::pending;
use std::sync::Arc;

use crate::api::access::{Access, ApiLists};
use crate::api::metrics::Denial;
use crate::api::service::Service;
use crate::secret::SecretValue;

/// What a caller was let in by.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    service: Arc<Service>,
    access: Access,
    /// The token that it sent.
    sent: Option<SecretValue>,
    is_open: Option<fn(&ApiLists) -> bool>,
}

impl Grant {
    /// A caller that sent this token.
    pub(crate) fn of(service: &Arc<Service>, access: Access, sent: Option<&[u8]>) -> Self {
        Self {
            service: Arc::clone(service),
            access,
            sent: sent.map(SecretValue::new),
            is_open: None,
        }
    }

    /// Nobody in particular: what is sent goes to the app, wherever the wish came from.
    pub(crate) fn of_app(service: &Arc<Service>) -> Self {
        Self::of(service, Access::default(), None)
    }

    /// For an API that lists may take away.
    pub(crate) fn with_api(self, is_open: fn(&ApiLists) -> bool) -> Self {
        Self {
            is_open: Some(is_open),
            ..self
        }
    }

    /// Whether it holds now.
    pub(crate) fn holds(&self) -> bool {
        // What the caller sent is compared, and shown to nobody.
        let is_admitted = self
            .access
            .admits(self.sent.as_ref().map(SecretValue::reveal));
        let lists = &self.service.settings().api;
        is_admitted && self.is_open.is_none_or(|is_open| is_open(lists))
    }

    /// Waits until it no longer holds, and counts that.
    pub(crate) async fn withdrawn(&self) -> Denial {
        // What the caller sent is compared, and shown to nobody.
        let sent = self.sent.as_ref().map(SecretValue::reveal);
        let closed = async {
            match self.is_open {
                Some(is_open) => self.service.closes(is_open).await,
                None => pending().await,
            }
        };
        let denial = tokio::select! {
            () = self.access.refuses(sent) => Denial::Token,
            () = closed => Denial::Api,
        };
        if let Some(metrics) = &self.service.metrics {
            metrics.deny(denial);
        }
        denial
    }
}
