//! A gateway that keyref configures: the messages of `keyref.components.v1`, as JSON has them, and
//! a watcher over HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// The path of the service's methods.
pub const COMPONENTS: &str = "keyref.components.v1.Components";

/// What `List` answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct List {
    /// The components.
    #[prost(message, repeated, tag = "1")]
    pub components: Vec<Component>,
}

/// A component.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Component {
    /// The kind of resource.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// The name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// The type.
    #[prost(string, tag = "4")]
    pub of_type: String,
    /// The version of the type.
    #[prost(string, tag = "5")]
    pub version: String,
    /// The app ids.
    #[prost(string, repeated, tag = "6")]
    pub scopes: Vec<String>,
    /// The revision.
    #[prost(string, tag = "7")]
    pub revision: String,
    /// The properties, where it could be resolved.
    #[prost(message, optional, tag = "8")]
    pub properties: Option<Properties>,
    /// Why it could not be.
    #[prost(message, repeated, tag = "9")]
    pub problems: Vec<Problem>,
}

/// The properties of a component.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Properties {
    /// The properties.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Property>,
}

/// A property.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Property {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    /// Whether it is secret.
    #[prost(bool, tag = "3")]
    pub secret: bool,
    /// Where it stands.
    #[prost(int32, tag = "4")]
    pub place: i32,
}

/// A problem.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Problem {
    /// The class.
    #[prost(string, tag = "1")]
    pub class: String,
    /// What is wrong.
    #[prost(string, tag = "2")]
    pub message: String,
    /// What to do about it.
    #[prost(string, tag = "3")]
    pub hint: String,
    /// The document.
    #[prost(string, tag = "4")]
    pub document: String,
    /// The line.
    #[prost(uint32, tag = "5")]
    pub line: u32,
    /// The column.
    #[prost(uint32, tag = "6")]
    pub column: u32,
    /// The property.
    #[prost(string, tag = "7")]
    pub property: String,
    /// Whether it may pass.
    #[prost(bool, tag = "8")]
    pub retryable: bool,
}

/// What `Watch` sends: one of these.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// A component that is there.
    #[prost(message, optional, tag = "1")]
    pub component: Option<Component>,
    /// That the beginning is over.
    #[prost(message, optional, tag = "2")]
    pub complete: Option<crate::dapr::Empty>,
    /// A component that is gone.
    #[prost(message, optional, tag = "3")]
    pub removed: Option<Removed>,
}

/// A component that is gone.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Removed {
    /// Its kind.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
}

impl Event {
    /// As it stands in a line over HTTP.
    pub fn to_json(&self) -> Value {
        if let Some(component) = &self.component {
            json!({"component": component.to_json()})
        } else if let Some(removed) = &self.removed {
            json!({"removed": {"kind": removed.kind, "name": removed.name}})
        } else {
            assert!(self.complete.is_some(), "an event says what it is");
            json!({"complete": {}})
        }
    }
}

impl Component {
    /// As it stands in an answer over HTTP.
    pub fn to_json(&self) -> Value {
        let mut shape = json!({
            "kind": self.kind,
            "name": self.name,
            "namespace": self.namespace,
            "type": self.of_type,
            "version": self.version,
            "scopes": self.scopes,
            "revision": self.revision,
            "problems": self.problems.iter().map(Problem::to_json).collect::<Vec<_>>(),
        });
        if let Some(properties) = &self.properties {
            let items = properties.items.iter().map(Property::to_json);
            shape["properties"] = items.collect();
        }
        shape
    }
}

impl Property {
    fn to_json(&self) -> Value {
        let place = ["", "metadata", "header", "clientTLS"];
        let place = usize::try_from(self.place)
            .ok()
            .and_then(|index| place.get(index));
        let mut shape = json!({"name": self.name, "secret": self.secret, "place": place});
        match std::str::from_utf8(&self.value) {
            Ok(text) => shape["value"] = text.into(),
            Err(_) => shape["base64"] = crate::encoding::to_base64(&self.value).into(),
        }
        shape
    }
}

impl Problem {
    fn to_json(&self) -> Value {
        json!({
            "class": self.class,
            "message": self.message,
            "hint": self.hint,
            "document": self.document,
            "line": self.line,
            "column": self.column,
            "property": self.property,
            "retryable": self.retryable,
        })
    }
}

/// A watcher over HTTP/1.1.
#[derive(Debug)]
pub struct Lines {
    stream: BufReader<TcpStream>,
    /// What has come of the next line.
    rest: Vec<u8>,
}

impl Lines {
    /// Begins to watch.
    pub fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let time = Duration::from_secs(30);
        stream.set_read_timeout(Some(time)).expect("it is a time");
        let head = "GET /v1/components?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut lines = Self {
            stream: BufReader::new(stream),
            rest: Vec::new(),
        };
        assert_eq!(lines.head_line(), "HTTP/1.1 200 OK");
        while !lines.head_line().is_empty() {}
        lines
    }

    fn head_line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    /// The next event, or nothing at the end of the stream.
    pub fn receive(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a line is JSON"));
            }
            let length = self.head_line();
            let length = usize::from_str_radix(&length, 16).expect("a chunk has a length");
            if length == 0 {
                return None;
            }
            let mut chunk = vec![0; length + 2];
            self.stream
                .read_exact(&mut chunk)
                .expect("a chunk is whole");
            self.rest.extend_from_slice(&chunk[..length]);
        }
    }
}

/// A component with a password from a secret, after a host.
pub fn component(name: &str, secret: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  \
         type: state.redis\n  version: v1\n  metadata:\n  - {{name: host, value: h}}\n  \
         - {{name: password, secretKeyRef: {{name: {secret}, key: {secret}}}}}\n\
         auth: {{secretStore: vault}}\n"
    )
}

/// The name of a component, and the value of its password where there is one.
pub fn brief(component: &Value) -> (&str, Option<&str>) {
    let name = component["name"].as_str().unwrap();
    let properties = component.get("properties").and_then(Value::as_array);
    let mut properties = properties.into_iter().flatten();
    let password = properties.find(|property| property["name"] == "password");
    (name, password.map(|found| found["value"].as_str().unwrap()))
}

/// The classes of the problems of a component.
pub fn classes(component: &Value) -> Vec<&str> {
    let problems = component["problems"].as_array().unwrap();
    let classes = problems.iter().map(|problem| problem["class"].as_str());
    classes.map(Option::unwrap).collect()
}
