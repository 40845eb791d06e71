//! What a connection failed of, told without a word of the other side.

use std::error::Error;
use std::io;
use std::iter;

use rustls::CertificateError;

use crate::error::Class;

/// How the standard library begins to say that a name is not known.
const UNRESOLVED: &str = "failed to lookup address information";

/// What a connection failed of.
pub(crate) struct Reason {
    /// [`Class::Unreachable`] or [`Class::TimedOut`].
    #[cfg_attr(
        not(any(
            feature = "configuration-postgresql",
            feature = "configuration-redis",
            feature = "kubernetes"
        )),
        expect(dead_code, reason = "traces have no classes")
    )]
    pub(crate) class: Class,
    /// The reason, to stand behind a colon.
    pub(crate) text: String,
    /// Whether another attempt can help soon.
    #[cfg_attr(
        not(any(feature = "configuration-postgresql", feature = "kubernetes")),
        expect(dead_code, reason = "Redis and traces are always tried again")
    )]
    pub(crate) may_pass: bool,
}

impl Reason {
    /// The reason that an error, or one that lies behind it, has.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        causes(error).find_map(reason).unwrap_or_default()
    }
}

/// An error with what lies behind it. [`io::Error`] hides the one that it is made of.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    iter::from_fn(move || {
        let error = next?;
        next = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
        Some(error)
    })
    .take(16)
}

impl Default for Reason {
    fn default() -> Self {
        Self {
            class: Class::Unreachable,
            text: "the connection broke".to_owned(),
            may_pass: true,
        }
    }
}

/// What an error says of it, if it is one that does.
fn reason(cause: &(dyn Error + 'static)) -> Option<Reason> {
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        let text = format!("no TLS, because {}", tls_reason(error));
        return Some(Reason {
            text,
            may_pass: false,
            ..Reason::default()
        });
    }
    let unresolved = || Reason {
        text: "its name cannot be resolved".to_owned(),
        ..Reason::default()
    };
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        // The kind of this one has no public name.
        if error.to_string().starts_with(UNRESOLVED) {
            return Some(unresolved());
        }
        let class = match error.kind() {
            // These only wrap another one.
            io::ErrorKind::Other | io::ErrorKind::InvalidData => return None,
            io::ErrorKind::TimedOut => Class::TimedOut,
            _ => Class::Unreachable,
        };
        return Some(Reason {
            class,
            text: error.kind().to_string(),
            ..Reason::default()
        });
    }
    // Nor has the type of this one.
    (cause.to_string() == "dns error").then(unresolved)
}

fn tls_reason(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate is expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::UnknownIssuer => "its certificate is of an authority not known here",
            _ => "its certificate is not accepted",
        },
        rustls::Error::AlertReceived(_) => "it refuses this client or its certificate",
        _ => "the two sides do not agree",
    }
}
