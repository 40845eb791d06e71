//! OpenTelemetry's messages, as far as spans need them (`opentelemetry/proto`, 1.10).

use std::sync::Arc;

use super::span::Span;
use super::{RESOURCE_SCHEMA, SCOPE};

/// `SPAN_KIND_CLIENT`
const CLIENT: i32 = 3;
/// `STATUS_CODE_ERROR`
const ERROR: i32 = 2;
/// The parent was in another process, as each is: `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`, and that
/// it is.
const REMOTE: u32 = 0x300;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<OtlpSpan>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OtlpSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<SpanStatus>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SpanStatus {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

/// A value that is text.
#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    // One of several kinds: it is written even where it is empty.
    #[prost(string, optional, tag = "1")]
    string_value: Option<String>,
}

impl KeyValue {
    fn new(key: &str, value: &str) -> Self {
        let string_value = Some(value.to_owned());
        Self {
            key: key.to_owned(),
            value: Some(AnyValue { string_value }),
        }
    }
}

impl ExportTraceServiceRequest {
    /// A message with these spans, of what these attributes describe.
    pub(super) fn of(spans: &[Arc<Span>], resource: &[(String, String)]) -> Self {
        let attributes = resource.iter();
        let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
        let scope_spans = ScopeSpans {
            scope: Some(Scope {
                name: SCOPE.to_owned(),
            }),
            spans: spans.iter().map(|span| OtlpSpan::of(span)).collect(),
        };
        Self {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: attributes.collect(),
                }),
                scope_spans: vec![scope_spans],
                schema_url: RESOURCE_SCHEMA.to_owned(),
            }],
        }
    }
}

impl ExportTraceServiceResponse {
    /// How many spans were not taken, for good.
    pub(super) fn rejected(&self) -> usize {
        let rejected = self.partial_success.as_ref();
        let rejected = rejected.map_or(0, |partial| partial.rejected_spans);
        usize::try_from(rejected).unwrap_or_default()
    }
}

impl OtlpSpan {
    fn of(span: &Span) -> Self {
        let (begin, end) = span.times();
        let attributes = span.attributes.iter();
        let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
        let remote = span.parent.map_or(0, |_| REMOTE);
        Self {
            trace_id: span.context.trace.to_vec(),
            span_id: span.context.span.to_vec(),
            trace_state: span.context.state.as_deref().unwrap_or_default().to_owned(),
            parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
            name: span.name.clone(),
            kind: CLIENT,
            start_time_unix_nano: begin,
            end_time_unix_nano: end,
            attributes: attributes.collect(),
            status: Some(
                span.failure
                    .as_ref()
                    .map_or_else(SpanStatus::default, |description| SpanStatus {
                        message: description.clone(),
                        code: ERROR,
                    }),
            ),
            flags: u32::from(span.context.flags) | remote,
        }
    }
}
