//! What configurations and the environment say of traces: `spec.tracing`, and `OTEL_*` as Dapr and
//! OpenTelemetry for Go read them.

use std::time::Duration;

use http::Uri;
use http::header::HeaderName;
use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::settings::{Header, Otlp, Protocol, Rate, TracesSettings};
use super::variables::{Unreadable, Variables};
use crate::env::Environment;
use crate::mode::Mode;

/// Where OTLP over HTTP takes spans.
const TRACES_PATH: &str = "/v1/traces";

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
            let headers = headers.iter().map(header);
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
fn header(header: &FieldHeader) -> Result<(HeaderName, Header), Unfit> {
    let hint =
        "write `name` and `value`, or `OTEL_EXPORTER_OTLP_HEADERS`; `${VARIABLE}` is filled in";
    let refused = |message| Unfit::field("headers", message, hint);
    let (name, value) = match header {
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

#[cfg(test)]
mod tests {
    use super::{Protocol, Rate, TracesFields, TracesSettings, duration};
    use crate::env::Environment;
    use crate::mode::Mode;

    fn read(
        texts: &[&str],
        variables: &[(&str, &str)],
        mode: Mode,
    ) -> Result<TracesSettings, &'static str> {
        let mut fields = TracesFields::default();
        for text in texts {
            let value = serde_yaml::from_str(text).unwrap();
            fields.set(value, mode).map_err(|unfit| unfit.name)?;
        }
        let variables = variables.iter();
        let variables: Environment = variables
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let settings = fields.settings(&variables, mode);
        settings.map_err(|unfit| unfit.name)
    }

    /// Where spans go: the address, the headers, and the seconds that it may take.
    fn told(texts: &[&str], variables: &[(&str, &str)]) -> Option<(String, Vec<String>, u64)> {
        let otlp = read(texts, variables, Mode::Dapr).unwrap().otlp?;
        let scheme = match otlp.protocol {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
        };
        let headers = otlp.headers.iter();
        let headers = headers.map(|(name, value)| {
            let value = value.send().unwrap();
            format!("{name}={}", value.to_str().unwrap())
        });
        let address = format!("{scheme} {}", otlp.endpoint);
        Some((address, headers.collect(), otlp.timeout.as_secs()))
    }

    #[test]
    fn later_fields_replace_earlier_ones() {
        let first = "{samplingRate: '0.5', otel: {endpointAddress: a:1, protocol: grpc, \
                     isSecure: false, headers: [A=b=c], timeout: 3s}}";
        let second = "{stdout: true, otel: {protocol: http, headers: [{name: D, value: e}]}}";
        let expected =
            |address: &str, header: &str| Some((address.to_owned(), vec![header.to_owned()], 3));
        let one = told(&[first], &[]);
        assert_eq!(one, expected("grpc http://a:1/", "a=b=c"));
        let both = told(&[first, second], &[]);
        assert_eq!(both, expected("http http://a:1/v1/traces", "d=e"));
        let settings = read(&[first, second], &[], Mode::Strict).unwrap();
        assert!(settings.stdout && settings.rate.unwrap().bound() == 1 << 62);
        assert!(!format!("{settings:?}").contains("\"e\""));
        assert_eq!(settings, read(&[first, second], &[], Mode::Strict).unwrap());
    }

    #[test]
    fn the_address_of_a_configuration_comes_before_the_environment_s() {
        let otel = "{otel: {endpointAddress: a:1, protocol: grpc}}";
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x=1,y=%202"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "z=3"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7000"),
        ];
        let expected = |address: &str| Some((address.to_owned(), vec!["z=3".to_owned()], 7));
        assert_eq!(told(&[otel], &variables), expected("grpc https://a:1/"));
        assert_eq!(told(&[], &variables), expected("grpc http://b:2/"));
        assert_eq!(told(&[], &variables[1..]), None);
        // Without a rate all is recorded where the environment says where to.
        let share = |texts: &[&str], variables: &[_]| {
            let settings = read(texts, variables, Mode::Strict).unwrap();
            settings.rate.map(Rate::share)
        };
        assert_eq!(share(&[], &variables), Some(1.0));
        assert_eq!(share(&[otel], &variables), Some(1e-4));
        assert_eq!(share(&["{samplingRate: 0}"], &variables), None);
        assert_eq!(share(&[], &[]), None);
    }

    #[test]
    fn a_scheme_and_a_path_count_where_nothing_else_is_said() {
        for (name, text, protocol, expected) in [
            ("ENDPOINT", "c:1", "grpc", "grpc https://c:1/"),
            ("ENDPOINT", "http://c:1", "", "grpc http://c:1/"),
            (
                "ENDPOINT",
                "https://c:1/x/",
                "http/json",
                "http https://c:1/x/v1/traces",
            ),
            (
                "TRACES_ENDPOINT",
                "http://c:1/x",
                "http",
                "http http://c:1/x",
            ),
            ("TRACES_ENDPOINT", "http://c:1", "http", "http http://c:1/"),
            (
                "TRACES_ENDPOINT",
                "c:1",
                "http",
                "http https://c:1/v1/traces",
            ),
        ] {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            let protocol = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol);
            let told = told(&[], &[(&name, text), protocol]);
            assert_eq!(told.unwrap().0, expected, "{text}");
        }
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
        let told = told(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1"), insecure]);
        assert_eq!(told.unwrap().0, "grpc http://c:1/");
    }

    #[test]
    fn what_cannot_be_honored_is_named() {
        for (text, name, in_dapr) in [
            ("3", "tracing", Some("tracing")),
            ("{x: 1}", "tracing", None),
            ("{zipkin: {endpointAddres: a}}", "zipkin", None),
            ("{otel: {x: 1}}", "otel", None),
            ("{samplingRate: '1.5'}", "samplingRate", None),
            ("{samplingRate: NaN}", "samplingRate", None),
            ("{samplingRate: x}", "samplingRate", None),
            ("{otel: {endpointAddress: a}}", "otel", None),
            (
                "{otel: {endpointAddress: a, protocol: x}}",
                "otel",
                Some("otel"),
            ),
            (
                "{otel: {endpointAddress: 'a b', protocol: grpc}}",
                "endpointAddress",
                Some("endpointAddress"),
            ),
            (
                "{zipkin: {endpointAddress: a}}",
                "endpointAddress",
                Some("endpointAddress"),
            ),
            ("{otel: {timeout: soon}}", "timeout", Some("timeout")),
            ("{otel: {headers: [x]}}", "headers", Some("headers")),
            (
                "{otel: {headers: [{name: x, secretKeyRef: {name: s}}]}}",
                "headers",
                Some("headers"),
            ),
        ] {
            let strict = read(&[text], &[], Mode::Strict);
            assert_eq!(strict.map(drop), Err(name), "{text}");
            let dapr = read(&[text], &[], Mode::Dapr);
            assert_eq!(dapr.map(drop).err(), in_dapr, "{text}");
        }
        for name in ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_HEADERS"] {
            let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1"), (name, "x")];
            assert_eq!(read(&[], &variables, Mode::Dapr).map(drop), Err(name));
        }
        let queue = [("OTEL_BSP_MAX_QUEUE_SIZE", "many")];
        let expected = Err("OTEL_BSP_MAX_QUEUE_SIZE");
        assert_eq!(read(&[], &queue, Mode::Dapr).map(drop), expected);
    }

    #[test]
    fn times_are_those_of_go() {
        for (text, expected) in [
            ("1.5s", Some(1500)),
            ("20ms", Some(20)),
            ("2m", Some(120_000)),
        ] {
            let found = duration(text).map(|time| time.as_millis());
            assert_eq!(found, expected, "{text}");
        }
        assert!(
            ["", "5", "s", "5x"]
                .iter()
                .all(|text| duration(text).is_none())
        );
    }
}
