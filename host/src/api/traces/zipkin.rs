//! Zipkin's JSON, version 2, as OpenTelemetry for Go writes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::SCOPE;
use super::context::hex_of;
use super::span::Span;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ZipkinSpan<'s> {
    trace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    name: String,
    kind: &'static str,
    /// In microseconds.
    timestamp: u64,
    duration: u64,
    local_endpoint: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<Endpoint>,
    tags: BTreeMap<&'s str, &'s str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_name: String,
}

impl Endpoint {
    fn new(name: &str) -> Self {
        Self {
            service_name: name.to_lowercase(),
        }
    }
}

/// A body with these spans, of what these attributes describe.
pub(super) fn body(spans: &[Arc<Span>], resource: &[(String, String)]) -> Vec<u8> {
    let spans: Vec<_> = spans.iter().map(|span| of(span, resource)).collect();
    // Nothing in it can fail.
    serde_json::to_vec(&spans).unwrap_or_default()
}

fn of<'s>(span: &'s Span, resource: &'s [(String, String)]) -> ZipkinSpan<'s> {
    const MICROSECOND: u64 = 1000;
    let (begin, end) = span.times();
    let duration = end.saturating_sub(begin);
    let mut tags: BTreeMap<_, _> = span
        .attributes
        .iter()
        .map(|(name, value)| (name.as_ref(), value.as_str()))
        .collect();
    let resource = resource.iter();
    let resource = resource.map(|(name, value)| (name.as_str(), value.as_str()));
    tags.extend(resource.clone());
    tags.remove("error");
    if let Some(description) = &span.failure {
        tags.insert("otel.status_code", "ERROR");
        tags.insert("error", description);
    }
    tags.insert("otel.scope.name", SCOPE);
    let mut service = resource.filter(|(name, _)| *name == "service.name");
    let remote = span.attribute("server.address");
    let remote = remote.or_else(|| span.attribute("db.name"));
    ZipkinSpan {
        trace_id: hex_of(&span.context.trace),
        id: hex_of(&span.context.span),
        parent_id: span.parent.map(|id| hex_of(&id)),
        name: span.name.to_lowercase(),
        kind: "CLIENT",
        timestamp: begin.saturating_add(MICROSECOND / 2) / MICROSECOND,
        duration: (duration.saturating_add(MICROSECOND / 2) / MICROSECOND).max(1),
        local_endpoint: Endpoint::new(service.next().map_or("", |(_, name)| name)),
        remote_endpoint: remote.map(Endpoint::new),
        tags,
    }
}
