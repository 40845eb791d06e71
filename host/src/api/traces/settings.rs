//! What is traced, and who is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};

use crate::secret::SecretValue;

/// What is traced, and who is told. Nothing, unless `spec.tracing` or `OTEL_*` say so.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TracesSettings {
    pub(super) rate: Option<Rate>,
    pub(super) stdout: bool,
    pub(super) zipkin: Option<Uri>,
    pub(super) otlp: Option<Otlp>,
    /// What describes the server, beside its app id.
    pub(super) resource: Vec<(String, String)>,
    pub(super) batching: Batching,
}

/// Which part of traces that begin here is recorded, as the bits of a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rate(u64);

/// A receiver of OTLP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Otlp {
    pub(super) protocol: Protocol,
    /// The whole address.
    pub(super) endpoint: Uri,
    pub(super) headers: Vec<(HeaderName, Header)>,
    /// How long it may take to take spans.
    pub(super) timeout: Duration,
    /// The authorities, in PEM, of which one must have signed its certificate.
    pub(super) authorities: Option<PathBuf>,
    /// The certificate to show it, and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

/// The value of a header, which may be a password.
#[derive(Clone)]
pub(super) struct Header(SecretValue);

/// How spans are kept and sent, as in OpenTelemetry's own libraries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Batching {
    pub(super) most_waiting: usize,
    pub(super) most_sent: usize,
    /// How long a span waits for others.
    pub(super) delay: Duration,
    /// How long a batch is tried.
    pub(super) patience: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            most_waiting: 2048,
            most_sent: 512,
            delay: Duration::from_secs(5),
            patience: Duration::from_secs(30),
        }
    }
}

impl Rate {
    /// What Dapr takes where nothing, or nothing that is a number, is said.
    pub(super) const DEFAULT: f64 = 1e-4;

    pub(super) fn new(rate: f64) -> Self {
        Self(rate.to_bits())
    }

    /// Traces whose number is below this are recorded, of 2^63.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as OpenTelemetry for Go does it; the range is looked at"
    )]
    pub(super) fn bound(self) -> u64 {
        const ALL: u64 = 1 << 63;
        let rate = self.share();
        if rate >= 1.0 {
            ALL
        } else if rate > 0.0 {
            (rate * 9_223_372_036_854_775_808.0) as u64
        } else {
            0
        }
    }

    pub(super) fn share(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl Header {
    pub(super) fn new(value: &str) -> Self {
        Self(value.into())
    }

    /// What is sent: this is what it is for.
    pub(super) fn send(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_bytes(self.0.reveal()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl PartialEq for Header {
    /// Whether a configuration has changed: nobody who could guess is told.
    fn eq(&self, other: &Self) -> bool {
        self.0.reveal() == other.0.reveal()
    }
}

impl Eq for Header {}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
