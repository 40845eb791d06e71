//! A collector of traces: the receiver of OpenTelemetry's own, built by `tests/servers/`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::kubernetes::required;
use crate::workspace;

/// How long anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A collector, which ends when dropped.
#[derive(Debug)]
pub struct Collector {
    /// Where OTLP over gRPC is taken.
    pub grpc: SocketAddr,
    /// Where OTLP over HTTP is taken.
    pub http: SocketAddr,
    lines: Receiver<Value>,
    child: Child,
}

impl Collector {
    /// Starts one, with TLS where there is a folder with `NAME.pem` and `NAME.key`; nothing where it
    /// cannot be had here.
    ///
    /// # Panics
    /// Panics where it cannot be had and `KEYREF_REQUIRE_SERVERS` is 1.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub fn start(tls: Option<(&Path, &str)>) -> Option<Self> {
        let built = Command::new(workspace().join("tests/servers/build-collector.sh"));
        let built = { built }.stderr(Stdio::inherit()).output();
        let built = built.expect("the script can be run");
        if !built.status.success() {
            let is_missing = built.status.code() == Some(3) && !required();
            assert!(is_missing, "the collector cannot be built");
            eprintln!("skipped: the collector cannot be had here (see above)");
            return None;
        }
        let path = String::from_utf8(built.stdout).expect("it is a path");
        let mut command = Command::new(path.trim());
        if let Some((folder, name)) = tls {
            command
                .arg(folder.join(format!("{name}.pem")))
                .arg(folder.join(format!("{name}.key")));
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it can be run");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("it prints JSON");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let first: Value = lines.recv_timeout(PATIENCE).expect("it starts");
        let address = |name: &str| {
            let text = first[name].as_str().expect("it says where it listens");
            text.parse().expect("it is an address")
        };
        Some(Self {
            grpc: address("grpc"),
            http: address("http"),
            lines,
            child,
        })
    }

    /// Waits for spans, each with the headers and the resource that it came with.
    pub fn spans(&self, count: usize) -> Vec<Sent> {
        let mut spans = Vec::new();
        while spans.len() < count {
            let line = self.lines.recv_timeout(PATIENCE);
            spans.extend(sent(&line.expect("spans are sent")));
        }
        assert_eq!(spans.len(), count, "{spans:?}");
        spans
    }

    /// Whether nothing is sent for a while.
    pub fn is_silent(&self, time: Duration) -> bool {
        self.lines.recv_timeout(time).is_err()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A span as it was sent, in OpenTelemetry's JSON.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The span.
    pub span: Value,
    /// The attributes of the server.
    pub resource: Value,
    /// The headers of the request that brought it.
    pub headers: Value,
    /// The name of the tracer.
    pub scope: String,
}

impl Sent {
    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.span["attributes"], name)
    }

    /// A field that is text, or nothing where it is absent.
    pub fn text(&self, field: &str) -> &str {
        self.span[field].as_str().unwrap_or_default()
    }

    /// The names of its attributes, sorted.
    pub fn attributes(&self) -> Vec<&str> {
        let attributes = self.span["attributes"].as_array().into_iter().flatten();
        let mut names: Vec<_> = attributes
            .map(|attribute| attribute["key"].as_str().unwrap_or_default())
            .collect();
        names.sort_unstable();
        names
    }
}

/// The value of one of several attributes.
pub fn attribute<'v>(attributes: &'v Value, name: &str) -> Option<&'v str> {
    let mut attributes = attributes.as_array()?.iter();
    attributes.find(|attribute| attribute["key"] == name)?["value"]["stringValue"].as_str()
}

/// The spans of a line that the collector prints.
fn sent(line: &Value) -> Vec<Sent> {
    let list = |value: &Value, field: &str| {
        let list = value[field].as_array();
        list.cloned().unwrap_or_default()
    };
    let mut spans = Vec::new();
    for resource in list(&line["traces"], "resourceSpans") {
        for scope in list(&resource, "scopeSpans") {
            spans.extend(list(&scope, "spans").into_iter().map(|span| {
                Sent {
                    span,
                    resource: resource["resource"]["attributes"].clone(),
                    headers: line["headers"].clone(),
                    scope: scope["scope"]["name"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                }
            }));
        }
    }
    spans
}
