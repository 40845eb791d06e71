//! A span: what is told of one request.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::context::SpanContext;

/// How many bytes are kept of one text that a caller has sent.
const MOST_TEXT: usize = 4 << 10;
/// How many attributes a span has at most, as in OpenTelemetry's own libraries.
const MOST_ATTRIBUTES: usize = 128;

/// A request that has been answered. Its kind is that of a client, as in Dapr.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) context: SpanContext,
    /// The caller's span.
    pub(super) parent: Option<[u8; 8]>,
    pub(super) begin: SystemTime,
    pub(super) duration: Duration,
    pub(super) attributes: Vec<(Cow<'static, str>, String)>,
    /// What is said of its failure, if it has failed.
    pub(super) failure: Option<String>,
}

impl Span {
    /// About how much memory it takes.
    pub(super) fn size(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(name, value)| name.len() + value.len() + 48);
        let state = self.context.state.as_deref().map_or(0, str::len);
        let failure = self.failure.as_ref().map_or(0, String::len);
        size_of::<Self>() + self.name.len() + state + failure + attributes.sum::<usize>()
    }

    /// Since when it lasted, in nanoseconds since 1970, and until when.
    pub(super) fn times(&self) -> (u64, u64) {
        let begin = self.begin.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (begin, duration) = (nanoseconds(begin), nanoseconds(self.duration));
        (begin, begin.saturating_add(duration))
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A span of a request that is under way.
#[derive(Debug)]
pub(super) struct Recording {
    span: Span,
    since: Instant,
}

impl Recording {
    pub(super) fn begin(name: &str, context: SpanContext, parent: Option<[u8; 8]>) -> Self {
        let span = Span {
            name: cut(name).to_owned(),
            context,
            parent,
            begin: SystemTime::now(),
            duration: Duration::ZERO,
            attributes: Vec::new(),
            failure: None,
        };
        let since = Instant::now();
        Self { span, since }
    }

    /// Sets an attribute. As in Dapr one that is empty is left out, and a later one counts.
    pub(super) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: &str) {
        let name = name.into();
        let attributes = &mut self.span.attributes;
        attributes.retain(|(other, _)| *other != name);
        if !value.is_empty() && attributes.len() < MOST_ATTRIBUTES {
            attributes.push((name, cut(value).to_owned()));
        }
    }

    pub(super) fn fail(&mut self, description: &str) {
        self.span.failure = Some(cut(description).to_owned());
    }

    pub(super) fn end(mut self) -> Span {
        self.span.duration = self.since.elapsed();
        self.span
    }
}

/// The beginning of a text.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
