//! What the guest says of the documents, and what of it cannot be.

use crate::Set;
use crate::bindings::exports::keyref::secrets::resolver::{
    Component, ComponentKind, Item, ItemPlace, Position, Problem, ProblemClass, SecretKeyRef,
    Severity,
};
use crate::bindings::keyref::secrets::secret_store::{Request, SecretKey, Source};
use crate::memory;
use crate::parse::Text;

/// Red, a bell, a change of direction, and lines that look like the host's own.
pub const ESCAPES: &str = "\u{1b}[31m\u{7}\u{202e}\u{9b}2J\r\nerror: all is lost\u{2028}";

const BEGINNING: Position = Position { line: 1, column: 1 };

pub fn components(set: &Set) -> Vec<Component> {
    let described = (0..).zip(&set.texts).map(|(document, text)| {
        let mut component = describe(set, text, document);
        misdescribe(text, &mut component);
        component
    });
    described.collect()
}

fn misdescribe(text: &Text, component: &mut Component) {
    let first = component.items.first_mut();
    match text.misbehaviour.as_str() {
        "document-out-of-range" => component.document = u32::MAX,
        "position-out-of-range" => {
            let (line, column) = (0, u32::MAX);
            component.position = Position { line, column };
            for item in &mut component.items {
                item.position = Position { line, column };
            }
        }
        "request-out-of-range" => {
            if let Some(item) = first {
                item.request = Some(u32::MAX);
            }
        }
        "terminal-escapes" => {
            component.name.push_str(ESCAPES);
            component.component_type.push_str(ESCAPES);
            component.version.push_str(ESCAPES);
            for item in &mut component.items {
                item.name.push_str(ESCAPES);
            }
        }
        "terminal-escapes-in-store" => {
            component.name.push_str(ESCAPES);
            component.component_type = format!("secretstores.{ESCAPES}");
        }
        "huge-answer" => component.scopes = memory::same_text(60).collect(),
        "endless-answer" => component.scopes = memory::same_text(100_000).collect(),
        _ => {}
    }
}

fn describe(set: &Set, text: &Text, document: u32) -> Component {
    let references = (0..).zip(&text.references);
    let mut items: Vec<Item> = references
        .map(|(index, &request)| {
            let position = Position {
                line: index + 2,
                column: 1,
            };
            let (secret_key_ref, env_ref) = match source(&set.references[request as usize]) {
                Source::Secret(SecretKey { name, key, .. }) => {
                    let reference = SecretKeyRef {
                        name,
                        key,
                        key_position: position,
                    };
                    (Some(reference), String::new())
                }
                Source::Environment(name) => (None, name),
            };
            Item {
                name: format!("item-{index}"),
                place: ItemPlace::Metadata,
                value: None,
                secret_key_ref,
                env_ref,
                request: Some(request),
                position,
                unknown_field: None,
            }
        })
        .collect();
    items.push(Item {
        name: "sets".to_owned(),
        place: ItemPlace::Metadata,
        value: Some(text.sets.to_string()),
        secret_key_ref: None,
        env_ref: String::new(),
        request: None,
        position: BEGINNING,
        unknown_field: None,
    });
    Component {
        kind: ComponentKind::Component,
        name: text.name.clone(),
        namespace: String::new(),
        labels: Vec::new(),
        annotations: Vec::new(),
        component_type: "state.test".to_owned(),
        version: "v1".to_owned(),
        ignore_errors: false,
        init_timeout: String::new(),
        secret_store: String::new(),
        scopes: Vec::new(),
        items,
        document,
        position: BEGINNING,
        type_position: BEGINNING,
        secret_store_position: BEGINNING,
    }
}

pub fn problems(set: &Set) -> Vec<Problem> {
    let texts = (0..).zip(&set.texts);
    let described = texts.flat_map(|(document, text)| {
        let problem = |document, message: &str| Problem {
            class: ProblemClass::Schema,
            severity: Severity::Warning,
            document,
            position: BEGINNING,
            message: message.to_owned(),
            hint: message.to_owned(),
        };
        match text.misbehaviour.as_str() {
            "terminal-escapes" => vec![problem(document, ESCAPES)],
            "problem-without-document" => vec![problem(u32::MAX, "of no document")],
            "many-problems" => vec![problem(document, "again"); 100_000],
            _ => Vec::new(),
        }
    });
    described.collect()
}

pub fn requests(set: &Set) -> Vec<Request> {
    set.references.iter().map(|text| request(text)).collect()
}

/// The request that a reference makes.
pub fn request(reference: &str) -> Request {
    Request {
        source: source(reference),
        options: Vec::new(),
    }
}

fn source(reference: &str) -> Source {
    if let Some(variable) = reference.strip_prefix('$') {
        return Source::Environment(variable.to_owned());
    }
    let (path, namespace) = reference.split_once('@').unwrap_or((reference, ""));
    let mut parts = path.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Source::Secret(SecretKey {
        store: next(),
        name: next(),
        key: next(),
        namespace: namespace.to_owned(),
    })
}
