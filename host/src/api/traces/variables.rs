//! `OTEL_*`, as Dapr and OpenTelemetry for Go read them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::header::HeaderName;

use super::settings::{Batching, Header, Protocol};
use crate::api::go;
use crate::env::{self, Environment};
use crate::secret::SecretValue;

/// A variable that cannot be read. Its value can be secret, so nothing of it is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unreadable(pub(super) &'static str);

/// The environment.
pub(super) struct Variables<'e>(pub(super) &'e Environment);

impl Variables<'_> {
    /// A variable that is not empty.
    fn get(&self, name: &str) -> Option<SecretValue> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.text(name).filter(|text| !text.is_empty())
    }

    /// The variable for traces, or the one for all signals.
    fn either(&self, names: [&'static str; 2]) -> Option<(&'static str, SecretValue)> {
        let mut names = names.into_iter();
        names.find_map(|name| Some((name, self.get(name)?)))
    }

    fn either_text(&self, names: [&'static str; 2]) -> Option<String> {
        names.into_iter().find_map(|name| self.text(name))
    }

    /// Where spans go, and whether that is where traces alone go.
    pub(super) fn endpoint(&self) -> Option<(String, bool)> {
        let of_traces = self.text(env::OTLP_TRACES_ENDPOINT);
        let of_traces = of_traces.map(|text| (text, true));
        of_traces.or_else(|| Some((self.text(env::OTLP_ENDPOINT)?, false)))
    }

    /// The variable that says where.
    pub(super) fn endpoint_name(&self) -> &'static str {
        match self.text(env::OTLP_TRACES_ENDPOINT) {
            Some(_) => env::OTLP_TRACES_ENDPOINT,
            None => env::OTLP_ENDPOINT,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        let protocol = self.either_text([env::OTLP_TRACES_PROTOCOL, env::OTLP_PROTOCOL]);
        if protocol.is_some_and(|protocol| protocol.starts_with("http")) {
            Protocol::Http
        } else {
            Protocol::Grpc
        }
    }

    /// Whether this endpoint speaks no TLS.
    pub(super) fn is_plain(&self, endpoint: &str) -> bool {
        let said = self.either_text([env::OTLP_TRACES_INSECURE, env::OTLP_INSECURE]);
        match said {
            Some(said) => said.eq_ignore_ascii_case("true"),
            None => endpoint.to_ascii_lowercase().starts_with("http://"),
        }
    }

    /// What receivers ask for, such as a password.
    pub(super) fn headers(&self) -> Result<Vec<(HeaderName, Header)>, Unreadable> {
        let names = [env::OTLP_TRACES_HEADERS, env::OTLP_HEADERS];
        let Some((variable, value)) = self.either(names) else {
            return Ok(Vec::new());
        };
        let unreadable = || Unreadable(variable);
        // It is taken apart, and kept as what it is.
        let text = value.reveal_text().map_err(|_| unreadable())?;
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            let value = zeroize::Zeroizing::new(go::path_unescape(value)?.into_owned());
            let header = Header::new(std::str::from_utf8(&value).ok()?.trim());
            header.send()?;
            Some((name, header))
        };
        let pairs = text
            .split(',')
            .map(|pair| header(pair).ok_or_else(unreadable));
        pairs.collect()
    }

    /// How long a receiver may take.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, Unreadable> {
        let names = [env::OTLP_TRACES_TIMEOUT, env::OTLP_TIMEOUT];
        let Some((variable, _)) = self.either(names) else {
            return Ok(None);
        };
        let timeout = self.milliseconds(variable)?;
        Ok(timeout.filter(|timeout| !timeout.is_zero()))
    }

    fn milliseconds(&self, variable: &'static str) -> Result<Option<Duration>, Unreadable> {
        let number = self.number(variable)?;
        Ok(number.map(Duration::from_millis))
    }

    fn number(&self, variable: &'static str) -> Result<Option<u64>, Unreadable> {
        let text = self.text(variable);
        let number = text.map(|text| text.trim().parse());
        number.transpose().map_err(|_| Unreadable(variable))
    }

    /// A file of TLS.
    pub(super) fn file(&self, what: &str) -> Option<PathBuf> {
        let names = [
            format!("OTEL_EXPORTER_OTLP_TRACES_{what}"),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ];
        names
            .iter()
            .find_map(|name| self.text(name))
            .map(Into::into)
    }

    pub(super) fn batching(&self) -> Result<Batching, Unreadable> {
        /// More of them would be more memory than anybody means to give.
        const MOST: u64 = 1 << 16;
        let mut batching = Batching::default();
        let count = |number: u64| usize::try_from(number.clamp(1, MOST)).unwrap_or(usize::MAX);
        if let Some(most) = self.number("OTEL_BSP_MAX_QUEUE_SIZE")? {
            batching.most_waiting = count(most);
        }
        if let Some(most) = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")? {
            batching.most_sent = count(most);
        }
        batching.most_sent = batching.most_sent.min(batching.most_waiting);
        if let Some(delay) = self.milliseconds("OTEL_BSP_SCHEDULE_DELAY")? {
            batching.delay = delay.max(Duration::from_millis(1));
        }
        if let Some(patience) = self.milliseconds("OTEL_BSP_EXPORT_TIMEOUT")? {
            batching.patience = patience;
        }
        Ok(batching)
    }

    /// What describes the server. A pair without `=` is left out, as in Dapr.
    pub(super) fn resource(&self) -> Vec<(String, String)> {
        let mut resource = BTreeMap::new();
        let pairs = self.text(env::OTEL_RESOURCE_ATTRIBUTES).unwrap_or_default();
        for (name, value) in pairs.split(',').filter_map(|pair| pair.split_once('=')) {
            let plain = go::path_unescape(value.trim());
            let plain = plain.and_then(|plain| String::from_utf8(plain.into_owned()).ok());
            let value = plain.map_or(Cow::Borrowed(value), Cow::Owned);
            resource.insert(name.trim().to_owned(), value.into_owned());
        }
        resource.remove("");
        if let Some(name) = self.text(env::OTEL_SERVICE_NAME) {
            let name = name.trim();
            if !name.is_empty() {
                resource.insert("service.name".to_owned(), name.to_owned());
            }
        }
        resource.into_iter().collect()
    }
}
