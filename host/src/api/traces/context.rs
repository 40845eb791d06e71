//! Which trace a request belongs to, as it stands in headers.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(super) const GRPC_TRACE: HeaderName = HeaderName::from_static("grpc-trace-bin");

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;
/// A longer `tracestate` is not answered, as in Dapr.
const MOST_STATE: usize = 512;
/// How many members a `tracestate` may have.
const MOST_MEMBERS: usize = 32;

/// A place in a trace: this request's, or its caller's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct SpanContext {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) flags: u8,
    /// The `tracestate`, well-formed.
    pub(super) state: Option<Box<str>>,
}

impl SpanContext {
    /// The caller's place, where it names one over HTTP.
    pub(super) fn of_http(headers: &HeaderMap) -> Option<Self> {
        let mut context = Self::of_traceparent(headers.get(TRACEPARENT)?)?;
        let state = headers.get(TRACESTATE);
        context.state = state.and_then(|state| tracestate(state.to_str().ok()?));
        Some(context)
    }

    /// The same over gRPC. As in Dapr a binary one that cannot be read counts for none, and there is
    /// no `tracestate`.
    pub(super) fn of_grpc(headers: &HeaderMap) -> Option<Self> {
        match headers.get(GRPC_TRACE) {
            Some(binary) => {
                let text = binary.as_bytes().trim_ascii_end();
                let padded = text.ends_with(b"=");
                let engine = if padded { STANDARD } else { STANDARD_NO_PAD };
                Self::of_binary(&engine.decode(text).ok()?)
            }
            None => Self::of_traceparent(headers.get(TRACEPARENT)?),
        }
    }

    fn of_traceparent(header: &HeaderValue) -> Option<Self> {
        let mut parts = header.as_bytes().split(|byte| *byte == b'-');
        let mut part = || parts.next();
        let (version, trace, span, flags) = (part()?, part()?, part()?, part()?);
        let [version] = hex::<1>(version)?;
        if version == u8::MAX || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let is_lower = |text: &[u8]| !text.iter().any(u8::is_ascii_uppercase);
        if !is_lower(trace) || !is_lower(span) || flags.len() % 2 != 0 {
            return None;
        }
        let [flags] = hex::<1>(flags.get(..2)?)?;
        let context = Self {
            trace: hex(trace)?,
            span: hex(span)?,
            flags,
            state: None,
        };
        context.is_valid().then_some(context)
    }

    /// What `OpenCensus` writes.
    fn of_binary(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[0, 0])?;
        let (trace, rest) = rest.split_first_chunk::<16>()?;
        let mut context = Self {
            trace: *trace,
            ..Self::default()
        };
        let mut flags = rest;
        if let Some((span, rest)) = rest
            .strip_prefix(&[1])
            .and_then(|rest| rest.split_first_chunk::<8>())
        {
            (context.span, flags) = (*span, rest);
        }
        if let [2, found, ..] = flags {
            context.flags = *found;
        }
        Some(context)
    }

    /// Whether it is somewhere.
    pub(super) fn is_valid(&self) -> bool {
        self.has_trace() && self.span != [0; 8]
    }

    pub(super) fn has_trace(&self) -> bool {
        self.trace != [0; 16]
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Sets whether it is recorded, and leaves other flags as they are.
    pub(super) fn set_sampled(&mut self, is_sampled: bool) {
        if is_sampled {
            self.flags |= SAMPLED;
        } else {
            self.flags &= !SAMPLED;
        }
    }

    /// Says it to who asked over HTTP.
    pub(super) fn write_http(&self, headers: &mut HeaderMap) {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        write_hex(&mut text, &self.trace);
        text.push('-');
        write_hex(&mut text, &self.span);
        text.push('-');
        write_hex(&mut text, &[self.flags]);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
        let state = self.state.as_deref();
        let state = state.filter(|state| state.len() <= MOST_STATE);
        if let Some(Ok(value)) = state.map(HeaderValue::from_str) {
            headers.insert(TRACESTATE, value);
        }
    }

    /// The same over gRPC.
    pub(super) fn write_grpc(&self, headers: &mut HeaderMap) {
        let mut bytes = [0; 29];
        let (trace, span) = (self.trace.iter(), self.span.iter());
        let whole = [0, 0].iter().chain(trace).chain(&[1]).chain(span);
        let whole = whole.chain([&2, &self.flags]);
        for (byte, value) in bytes.iter_mut().zip(whole) {
            *byte = *value;
        }
        if let Ok(value) = HeaderValue::try_from(STANDARD_NO_PAD.encode(bytes)) {
            headers.insert(GRPC_TRACE, value);
        }
    }
}

pub(super) fn write_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    write_hex(&mut text, bytes);
    text
}

/// So many bytes, and no more, of hexadecimal digits.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N * 2 {
        return None;
    }
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// A `tracestate` written anew, as OpenTelemetry for Go reads it; nothing where one member is wrong.
fn tracestate(text: &str) -> Option<Box<str>> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for member in text.split(',').filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        let blank = [' ', '\t'];
        let (key, value) = (key.trim_start_matches(blank), value.trim_end_matches(blank));
        let is_new = members.iter().all(|(other, _)| *other != key);
        if !is_key(key) || !is_value(value) || !is_new || members.len() == MOST_MEMBERS {
            return None;
        }
        members.push((key, value));
    }
    let members: Vec<_> = members
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    (!members.is_empty()).then(|| members.join(",").into())
}

fn is_key(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str, may_begin: &dyn Fn(u8) -> bool, most: usize| {
        let Some((first, rest)) = part.as_bytes().split_first() else {
            return false;
        };
        let is_well = |byte: &u8| is_plain(*byte) || b"_-*/".contains(byte);
        may_begin(*first) && rest.len() <= most && rest.iter().all(is_well)
    };
    let is_lower = |byte: u8| byte.is_ascii_lowercase();
    match key.split_once('@') {
        None => part(key, &is_lower, 255),
        Some((tenant, system)) => part(tenant, &is_plain, 240) && part(system, &is_lower, 13),
    }
}

fn is_value(value: &str) -> bool {
    let is_well = |byte: &u8| (0x20..=0x7e).contains(byte) && !b",=".contains(byte);
    // Blanks at its end have been taken away.
    !value.is_empty() && value.len() <= 256 && value.as_bytes().iter().all(is_well)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{SpanContext, TRACEPARENT, tracestate};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(text: &str) -> Option<SpanContext> {
        SpanContext::of_traceparent(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn what_is_read_is_written_again_over_both_protocols() {
        let context = read(PARENT).unwrap();
        assert!(context.is_sampled());
        let mut headers = HeaderMap::new();
        context.write_http(&mut headers);
        assert_eq!(headers[TRACEPARENT], PARENT);
        assert_eq!(SpanContext::of_grpc(&headers), Some(context.clone()));
        let mut headers = HeaderMap::new();
        context.write_grpc(&mut headers);
        let binary = &headers["grpc-trace-bin"];
        assert_eq!(binary, "AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE");
        assert_eq!(SpanContext::of_grpc(&headers), Some(context));
    }

    #[test]
    fn what_dapr_does_not_read_is_none() {
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02-what";
        assert!(!read(later).unwrap().is_sampled());
    }

    #[test]
    fn a_state_is_well_formed_or_none() {
        for (text, expected) in [
            ("a=1", Some("a=1")),
            ("a=1, b@c=2 ,,", Some("a=1,b@c=2")),
            ("a=1,a=2", None),
            ("A=1", None),
            ("a", None),
            ("a=", None),
            ("", None),
        ] {
            assert_eq!(tracestate(text).as_deref(), expected, "{text}");
        }
    }
}
