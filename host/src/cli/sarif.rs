//! Problems as SARIF 2.1.0, which code scanning services read.

use std::sync::Arc;

use keyref::error::Class;
use keyref::problem::{Place, Problem};
use serde_json::{Value, json};

use super::diagnostics;

/// A log with one run. What has no place of its own is told of the first document, since services
/// leave out what has none.
pub(super) fn log(problems: &[Problem], first: Option<&str>) -> Value {
    let rules: Vec<_> = Class::ALL
        .iter()
        .map(|class| json!({ "id": class.code(), "shortDescription": { "text": class.code() } }))
        .collect();
    let first = first.map(|name| Place::new(&Arc::from(name), 1, 1));
    let results: Vec<_> = problems
        .iter()
        .map(|problem| result(problem, problem.place.as_ref().or(first.as_ref())))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "keyref",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(problem: &Problem, place: Option<&Place>) -> Value {
    let text = if problem.hint.is_empty() {
        problem.message.clone()
    } else {
        format!("{}\n{}", problem.message, problem.hint)
    };
    let locations: Vec<_> = place
        .iter()
        .map(|place| {
            json!({ "physicalLocation": {
                "artifactLocation": { "uri": uri(&place.document) },
                "region": { "startLine": place.line, "startColumn": place.column },
            } })
        })
        .collect();
    json!({
        "ruleId": problem.class.code(),
        "level": if diagnostics::is_error(problem) { "error" } else { "warning" },
        "message": { "text": text },
        "locations": locations,
    })
}

/// A path as a URI: one of its own where it is absolute, else relative.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let digits = [byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16));
            let digits = digits
                .into_iter()
                .flatten()
                .map(|digit| digit.to_ascii_uppercase());
            uri.push('%');
            uri.extend(digits);
        }
    }
    uri
}
