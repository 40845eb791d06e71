//! What configurations and the environment say of traces: `spec.tracing`, and `OTEL_*` as Dapr and
//! OpenTelemetry for Go read them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::variables::{Unreadable, Variables};
use crate::env::Environment;
use crate::mode::Mode;
use crate::secret::SecretValue;

/// Where OTLP over HTTP takes spans.
const TRACES_PATH: &str = "/v1/traces";

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
    const DEFAULT: f64 = 1e-4;

    fn new(rate: f64) -> Self {
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

/// Why `spec.tracing`, or a variable, cannot be honored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unfit {
    /// The field of `spec.tracing`, or the variable.
    pub(crate) name: &'static str,
    pub(crate) message: &'static str,
    pub(crate) hint: &'static str,
}

impl Unfit {
    fn field(name: &'static str, message: &'static str, hint: &'static str) -> Self {
        Self {
            name,
            message,
            hint,
        }
    }

    fn unreadable(name: &'static str) -> Self {
        let hint = "compare it with `spec.tracing` of Dapr's Configuration schema";
        Self::field(name, "the field cannot be read", hint)
    }

    fn endpoint() -> Self {
        Self::field(
            "endpointAddress",
            "`endpointAddress` is no address",
            "write HOST:PORT, and for Zipkin http://HOST:PORT/api/v2/spans",
        )
    }
}

impl From<Unreadable> for Unfit {
    fn from(Unreadable(name): Unreadable) -> Self {
        let hint = "OpenTelemetry's specification of the SDK's environment variables has its form";
        Self::field(name, "the variable cannot be read", hint)
    }
}

/// The field as it has been read so far: of several configurations, each field of its own counts as
/// the last one has it.
#[derive(Debug, Default)]
pub(crate) struct TracesFields {
    rate: Option<String>,
    stdout: bool,
    zipkin: String,
    protocol: String,
    endpoint: String,
    is_secure: Option<bool>,
    headers: Vec<(HeaderName, Header)>,
    timeout: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Number(f64),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FieldHeader {
    Text(String),
    #[serde(rename_all = "camelCase")]
    Pair {
        name: String,
        value: Option<String>,
        secret_key_ref: Option<Value>,
        env_ref: Option<Value>,
    },
}

const FIELDS: &[&str] = &["samplingRate", "stdout", "zipkin", "otel"];
const ZIPKIN_FIELDS: &[&str] = &["endpointAddress"];
const OTEL_FIELDS: &[&str] = &[
    "protocol",
    "endpointAddress",
    "isSecure",
    "headers",
    "timeout",
];

impl TracesFields {
    /// Lays `spec.tracing` upon what was read of it before.
    ///
    /// # Errors
    /// Names what cannot be read.
    pub(crate) fn set(&mut self, value: Value, mode: Mode) -> Result<(), Unfit> {
        let mut fields = mapping(value, "tracing", FIELDS, mode)?;
        if let Some(rate) = take::<Text>(&mut fields, "samplingRate")? {
            self.rate = Some(match rate {
                Text::Text(text) => text,
                Text::Number(number) => number.to_string(),
            });
        }
        if let Some(stdout) = take(&mut fields, "stdout")? {
            self.stdout = stdout;
        }
        let zipkin = fields.remove("zipkin").unwrap_or_default();
        let mut zipkin = mapping(zipkin, "zipkin", ZIPKIN_FIELDS, mode)?;
        if let Some(endpoint) = take(&mut zipkin, "endpointAddress")? {
            self.zipkin = endpoint;
        }
        let otel = fields.remove("otel").unwrap_or_default();
        self.set_otel(mapping(otel, "otel", OTEL_FIELDS, mode)?)
    }

    fn set_otel(&mut self, mut otel: Mapping) -> Result<(), Unfit> {
        if let Some(protocol) = take(&mut otel, "protocol")? {
            self.protocol = protocol;
        }
        if let Some(endpoint) = take(&mut otel, "endpointAddress")? {
            self.endpoint = endpoint;
        }
        if let Some(is_secure) = take(&mut otel, "isSecure")? {
            self.is_secure = Some(is_secure);
        }
        if let Some(headers) = take::<Vec<FieldHeader>>(&mut otel, "headers")? {
            let headers = headers.into_iter().map(header);
            self.headers = headers.collect::<Result<_, _>>()?;
        }
        if let Some(timeout) = take::<Text>(&mut otel, "timeout")? {
            let timeout = match timeout {
                Text::Text(text) => duration(&text),
                // As in Dapr, nanoseconds.
                Text::Number(number) => Duration::try_from_secs_f64(number / 1e9).ok(),
            };
            let timeout = timeout.ok_or_else(|| {
                let hint = "write a time such as `10s` or `500ms`";
                Unfit::field("timeout", "`timeout` is no time", hint)
            })?;
            self.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        }
        Ok(())
    }

    /// What they say together, and the environment beside them: as in Dapr, its address counts where
    /// configurations have none.
    ///
    /// # Errors
    /// Names what cannot be honored.
    pub(crate) fn settings(
        self,
        environment: &Environment,
        mode: Mode,
    ) -> Result<TracesSettings, Unfit> {
        let variables = Variables(environment);
        let otlp = self.otlp(&variables, mode)?;
        let by_default = otlp.is_some() && self.endpoint.is_empty();
        let rate = self.rate.filter(|rate| !rate.is_empty());
        let rate = match rate {
            Some(text) => Some(sampling(&text, mode)?),
            None => by_default.then(|| Rate::new(1.0)),
        };
        let zipkin = match self.zipkin.as_str() {
            "" => None,
            text => Some(whole(text).ok_or_else(Unfit::endpoint)?),
        };
        let has_exporter = otlp.is_some() || zipkin.is_some() || self.stdout;
        let rate = rate.or_else(|| has_exporter.then(|| Rate::new(Rate::DEFAULT)));
        Ok(TracesSettings {
            // Zero turns all of it off, as in Dapr.
            rate: rate.filter(|rate| rate.share() != 0.0),
            stdout: self.stdout,
            zipkin,
            otlp,
            resource: variables.resource(),
            batching: variables.batching()?,
        })
    }

    fn otlp(&self, variables: &Variables<'_>, mode: Mode) -> Result<Option<Otlp>, Unfit> {
        let (protocol, endpoint) = if self.endpoint.is_empty() {
            let Some((endpoint, is_whole)) = variables.endpoint() else {
                return Ok(None);
            };
            let protocol = variables.protocol();
            let says_plain = self.is_secure == Some(false) || variables.is_plain(&endpoint);
            let unreadable = Unreadable(variables.endpoint_name());
            let endpoint = address(&endpoint, Some(!says_plain), protocol, is_whole);
            (protocol, endpoint.ok_or(unreadable)?)
        } else {
            let protocol = match self.protocol.as_str() {
                "http" => Protocol::Http,
                "grpc" => Protocol::Grpc,
                // Without one Dapr sends nothing, and does not say so.
                "" if mode == Mode::Dapr => return Ok(None),
                _ => {
                    let hint = "write `protocol: http` or `protocol: grpc`";
                    let message = "`protocol` is neither `http` nor `grpc`";
                    return Err(Unfit::field("otel", message, hint));
                }
            };
            let endpoint = address(&self.endpoint, self.is_secure, protocol, false);
            (protocol, endpoint.ok_or_else(Unfit::endpoint)?)
        };
        let mut headers = self.headers.clone();
        // Beside an address of its own a configuration's headers stand alone.
        if self.endpoint.is_empty() || headers.is_empty() {
            for (name, value) in variables.headers()? {
                headers.retain(|(other, _)| *other != name);
                headers.push((name, value));
            }
        }
        let of_variables = variables.timeout()?;
        let timeout = if self.endpoint.is_empty() {
            of_variables.or(self.timeout)
        } else {
            self.timeout.or(of_variables)
        };
        Ok(Some(Otlp {
            protocol,
            endpoint,
            headers,
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
            authorities: variables.file("CERTIFICATE"),
            identity: variables
                .file("CLIENT_CERTIFICATE")
                .zip(variables.file("CLIENT_KEY")),
        }))
    }
}

/// The fields of a mapping. In strict mode others than these are refused.
fn mapping(value: Value, name: &'static str, known: &[&str], mode: Mode) -> Result<Mapping, Unfit> {
    let mapping = match value {
        Value::Null => return Ok(Mapping::new()),
        Value::Mapping(mapping) => mapping,
        _ => return Err(Unfit::unreadable(name)),
    };
    let is_known = |key: &Value| key.as_str().is_some_and(|key| known.contains(&key));
    if mode == Mode::Strict && !mapping.keys().all(is_known) {
        let hint = "compare it with `spec.tracing` of Dapr's Configuration schema";
        return Err(Unfit::field(name, "a field in it is not known", hint));
    }
    Ok(mapping)
}

fn take<T: serde::de::DeserializeOwned>(
    fields: &mut Mapping,
    name: &'static str,
) -> Result<Option<T>, Unfit> {
    let value = fields.remove(name).unwrap_or_default();
    serde_yaml::from_value(value).map_err(|_| Unfit::unreadable(name))
}

/// `name=value`, or the two as the Kubernetes resource has them. That it may refer to a secret Dapr
/// does not honor.
fn header(header: FieldHeader) -> Result<(HeaderName, Header), Unfit> {
    let hint =
        "write `name` and `value`, or `OTEL_EXPORTER_OTLP_HEADERS`; `${VARIABLE}` is filled in";
    let refused = |message| Unfit::field("headers", message, hint);
    let (name, value) = match &header {
        FieldHeader::Text(text) => {
            let pair = text.split_once('=');
            pair.ok_or_else(|| refused("a header of `headers` has no `=`"))?
        }
        FieldHeader::Pair {
            name,
            value: Some(value),
            secret_key_ref: None,
            env_ref: None,
        } => (name.as_str(), value.as_str()),
        FieldHeader::Pair { .. } => return Err(refused("a header of `headers` has no `value`")),
    };
    let unreadable = || refused("a header of `headers` cannot be sent");
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| unreadable())?;
    let value = Header::new(value);
    value.send().ok_or_else(unreadable)?;
    Ok((name, value))
}

/// A share of all traces. Dapr takes its default for what is no number.
fn sampling(text: &str, mode: Mode) -> Result<Rate, Unfit> {
    let rate: Option<f64> = text.parse().ok();
    let rate = match mode {
        Mode::Strict => rate.filter(|rate| (0.0..=1.0).contains(rate)),
        Mode::Dapr => Some(rate.unwrap_or(Rate::DEFAULT)),
    };
    let hint = "write the share of traces that is recorded, such as \"0.1\"";
    let message = "`samplingRate` is no number from 0 to 1";
    let rate = rate.ok_or_else(|| Unfit::field("samplingRate", message, hint))?;
    Ok(Rate::new(rate))
}

/// A time as Go writes it, of one unit.
fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ns" => number / 1e9,
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// The address of a receiver of OTLP. A scheme says whether it speaks TLS, where nothing else does;
/// a path is where the receiver's own begins, or all of it.
fn address(text: &str, is_secure: Option<bool>, protocol: Protocol, is_whole: bool) -> Option<Uri> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None => (None, text),
    };
    let by_scheme = match scheme.as_deref() {
        Some("http") => false,
        None | Some("https") => true,
        Some(_) => return None,
    };
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let path = match protocol {
        Protocol::Grpc => String::new(),
        Protocol::Http if is_whole && scheme.is_some() => path.to_owned(),
        Protocol::Http => {
            let base = path.trim_end_matches('/');
            format!(
                "{}{TRACES_PATH}",
                base.strip_suffix(TRACES_PATH).unwrap_or(base)
            )
        }
    };
    let is_secure = is_secure.unwrap_or(by_scheme);
    let scheme = if is_secure { "https" } else { "http" };
    whole(&format!("{scheme}://{authority}{path}"))
}

/// An address that is whole. One with a password is none: addresses are logged.
fn whole(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority()?;
    let is_well = is_http && !authority.host().is_empty() && !authority.as_str().contains('@');
    is_well.then_some(uri)
}
