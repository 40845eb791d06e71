//! A guest that misbehaves as the first line of a document says (`components/hostile-guest`), and
//! what must hold whatever it does.

use std::sync::OnceLock;
use std::time::Duration;

use keyref::component::Origin;
use keyref::guest::Guest;
use keyref::problem::{Problem, Severity};
use keyref::stores::Memory;
use keyref::{Context, Document, Limits, Resolution, Resolver, ResolverBuilder, Value};

use crate::components;
use crate::library::resolve_with;

/// The references of a document that misbehaves.
pub const REFERENCES: &str = "vault/kafka/user\nvault/kafka/password";

/// The hostile guest, compiled once.
///
/// # Panics
/// Panics where it cannot be compiled.
pub fn guest() -> Guest {
    static GUEST: OnceLock<Guest> = OnceLock::new();
    let compiled =
        GUEST.get_or_init(|| Guest::from_component(components::hostile_guest()).unwrap());
    compiled.clone()
}

/// Secrets whose values name them.
pub fn secrets() -> Memory {
    Memory::new()
        .with(
            "kafka",
            [("user", "kafka/user"), ("password", "kafka/password")],
        )
        .with(
            "redis",
            [("user", "redis/user"), ("password", "redis/password")],
        )
        .with("root", [("token", "root/token")])
}

/// A resolver with the hostile guest and a store `vault`.
pub fn builder() -> ResolverBuilder {
    Resolver::builder().guest(guest()).store("vault", secrets())
}

/// Limits that end a loop soon.
pub fn quick() -> Limits {
    let mut limits = Limits::default();
    limits.time = Duration::from_millis(200);
    limits
}

/// A document that does not misbehave, with one reference such as `vault/redis/user`.
pub fn honest(name: &str, reference: &str) -> Document {
    Document::new(name, format!("#honest {name}\n{reference}"))
}

/// A document that misbehaves, between two that do not.
pub fn among_neighbours(misbehaviour: &str) -> Vec<Document> {
    vec![
        honest("before", "vault/redis/user"),
        Document::new("hostile", format!("#{misbehaviour}\n{REFERENCES}")),
        honest("after", "vault/redis/password"),
    ]
}

/// Resolves documents; what comes out is checked for what must hold whatever the guest does.
pub fn resolve(resolver: &Resolver, documents: Vec<Document>) -> Resolution {
    let resolution = resolve_with(resolver, documents, &Context::new());
    assert_true(&resolution);
    assert_printable(&resolution.problems);
    resolution
}

/// Every value is the one that its origin names.
fn assert_true(resolution: &Resolution) {
    for component in &resolution.components {
        for property in &component.properties {
            let said = (&component.component.name, &property.name);
            match (&property.value, &property.origin) {
                (Value::Plain(_), None) => {}
                (Value::Secret(value), Some(Origin::Secret { secret, key, .. })) => {
                    assert_eq!(
                        value.reveal_text(),
                        Ok(format!("{secret}/{key}").as_str()),
                        "{said:?}"
                    );
                }
                other => panic!("{said:?} is {other:?}"),
            }
        }
    }
}

/// What is said holds nothing that a terminal would obey.
///
/// # Panics
/// Panics where it does.
pub fn assert_printable(problems: &[Problem]) {
    for problem in problems {
        for text in [&problem.message, &problem.hint] {
            let harmful = text.chars().find(|&character| {
                character.is_control()
                    || matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            });
            assert_eq!(harmful, None, "{text:?}");
        }
    }
}

/// The names of the components that were resolved.
pub fn names(resolution: &Resolution) -> Vec<&str> {
    let components = resolution.components.iter();
    components
        .map(|component| component.component.name.as_str())
        .collect()
}

/// The one problem of a document that misbehaves: its neighbours are resolved, and it is not.
pub fn refusal_with(builder: ResolverBuilder, misbehaviour: &str) -> Problem {
    let resolver = builder.build().unwrap();
    let resolution = resolve(&resolver, among_neighbours(misbehaviour));
    assert_eq!(
        names(&resolution),
        ["before", "after"],
        "{misbehaviour}: {:?}",
        resolution.problems
    );
    let [problem] = resolution.problems.as_slice() else {
        panic!("{misbehaviour}: {:?}", resolution.problems);
    };
    assert_eq!(problem.severity, Severity::Error, "{misbehaviour}");
    let place = problem.place.as_ref().unwrap();
    assert_eq!(&*place.document, "hostile", "{misbehaviour}");
    assert!(!problem.message.is_empty(), "{misbehaviour}");
    problem.clone()
}

/// The same with the usual limits.
pub fn refusal(misbehaviour: &str) -> Problem {
    refusal_with(builder(), misbehaviour)
}
