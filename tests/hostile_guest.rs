//! A guest gone wrong can do no more than a document.
//!
//! The guest here is another one than keyref's: it misbehaves as the first line of a document says
//! (`components/hostile-guest`). Whatever it does, every value that comes out is the one that its
//! origin names, and what is said of it can be printed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use keyref::error::Class;
use keyref::guest::{Guest, GuestError};
use keyref::policy::{Policy, SecretsScope};
use keyref::problem::Problem;
use keyref::secret::Secret;
use keyref::stores::{BulkRequest, Grants, SecretRequest, SecretStore, StoreError};
use keyref::{Context, Document, Mode, Resolution, Resolver, Value};
use keyref_tests::components;
use keyref_tests::hostile_guest::{
    REFERENCES, among_neighbours, assert_printable, builder, guest, honest, names, quick, refusal,
    resolve, secrets,
};
use keyref_tests::library::{Counting, block_on, resolve_with};

/// The neighbours are resolved; the other is refused as a defect of the guest.
fn assert_refused(misbehaviours: &[&str]) {
    for misbehaviour in misbehaviours {
        assert_eq!(
            refusal(misbehaviour).class,
            Class::Internal,
            "{misbehaviour}"
        );
    }
}

#[test]
fn another_implementation_of_the_world_is_a_guest() {
    let resolver = builder().build().unwrap();
    let resolution = resolve(&resolver, among_neighbours("honest"));
    assert!(resolution.problems.is_empty(), "{:?}", resolution.problems);
    assert_eq!(names(&resolution), ["before", "honest", "after"]);
    assert_eq!(resolution.components[1].properties.len(), 3);
}

#[test]
fn what_does_not_implement_the_world_is_no_guest() {
    let unusable = |component: &[u8]| Guest::from_component(component).unwrap_err();
    assert_eq!(unusable(components::static_store()), GuestError::Unusable);
    assert_eq!(unusable(b"\0asm"), GuestError::Unusable);
    assert_eq!(unusable(b""), GuestError::Unusable);
}

#[test]
fn a_denied_secret_is_never_fetched() {
    let scope = SecretsScope::new("vault").deny("root");
    let policy = Policy::open().with_scope(scope).unwrap();
    for mode in [Mode::Strict, Mode::Dapr] {
        for misbehaviour in ["honest", "swap", "forge", "unrequested", "endless-get-many"] {
            let store = Counting::new(secrets());
            let resolver = Resolver::builder()
                .guest(guest())
                .shared_store("vault", Arc::new(store.clone()))
                .policy(policy.clone())
                .mode(mode)
                .limits(quick())
                .build()
                .unwrap();
            let text = format!("#{misbehaviour}\nvault/root/token\nvault/kafka/user");
            let documents = vec![Document::new("hostile", text)];
            let resolution = resolve_with(&resolver, documents, &Context::new());
            assert_eq!(store.asked().get("root"), None, "{misbehaviour}");
            assert!(!holds(&resolution, "root/token"), "{misbehaviour}");
            assert!(!resolution.problems.is_empty(), "{misbehaviour}");
        }
    }
}

/// Whether any component holds a value.
fn holds(resolution: &Resolution, wanted: &str) -> bool {
    let mut properties = resolution
        .components
        .iter()
        .flat_map(|component| &component.properties);
    properties.any(|property| match &property.value {
        Value::Secret(value) => value.reveal() == wanted.as_bytes(),
        Value::Plain(text) => text == wanted,
        _ => false,
    })
}

#[test]
fn a_secret_that_no_document_asks_for_is_neither_fetched_nor_given() {
    let store = Counting::new(secrets());
    let resolver = Resolver::builder()
        .guest(guest())
        .shared_store("vault", Arc::new(store.clone()))
        .build()
        .unwrap();
    let hostile = || vec![Document::new("hostile", "#unrequested\nvault/kafka/user")];
    let resolution = resolve_with(&resolver, hostile(), &Context::new());
    assert_eq!(store.asked().get("root"), None);
    assert!(!holds(&resolution, "root/token"));
    // Nor does it help that another caller has just asked for it.
    let context = Context::new();
    let (other, resolution) = block_on(async {
        let other = vec![honest("other", "vault/root/token")];
        tokio::join!(
            resolver.resolve(other, &context),
            resolver.resolve(hostile(), &context)
        )
    });
    assert!(holds(&other, "root/token"));
    assert!(!holds(&resolution, "root/token"));
}

#[test]
fn what_a_guest_remembers_of_one_caller_the_next_does_not_find() {
    let resolver = builder().build().unwrap();
    for _ in 0..3 {
        let resolution = resolve(&resolver, among_neighbours("honest"));
        for component in &resolution.components {
            let sets = &component.property("sets").unwrap().value;
            assert!(
                matches!(sets, Value::Plain(sets) if sets == "0"),
                "{sets:?}"
            );
        }
    }
}

/// A store whose secrets differ by namespace, and which remembers for which it was asked.
#[derive(Clone, Debug, Default)]
struct Namespaced {
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

#[async_trait]
impl SecretStore for Namespaced {
    async fn get(
        &self,
        request: &SecretRequest,
        context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        let caller = context.caller.clone().unwrap_or_default();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push((caller, request.namespace.clone()));
        Ok(Some(
            [("key", request.namespace.as_str())].into_iter().collect(),
        ))
    }

    async fn bulk(
        &self,
        _: &BulkRequest,
        _: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Ok(BTreeMap::new())
    }

    fn is_namespaced(&self) -> bool {
        true
    }
}

#[test]
fn nothing_of_another_callers_namespace_is_reachable() {
    let store = Namespaced::default();
    let resolver = Resolver::builder()
        .guest(guest())
        .store("vault", store.clone())
        .build()
        .unwrap();
    let context = |name: &str| Context::new().with_caller(name).with_namespace(name);
    let (a, b) = (context("a"), context("b"));
    let ours = || vec![honest("ours", "vault/secret/key")];
    let theirs = |misbehaviour: &str| {
        let text = format!("#{misbehaviour}\nvault/secret/key\nvault/secret/key@a");
        vec![Document::new("theirs", text)]
    };
    for misbehaviour in [
        "honest",
        "swap",
        "forge",
        "nothing",
        "invented-handle",
        "repeat-handle",
    ] {
        let (first, second) = block_on(async {
            tokio::join!(
                resolver.resolve(ours(), &a),
                resolver.resolve(theirs(misbehaviour), &b)
            )
        });
        assert!(holds(&first, "a"), "{misbehaviour}: {:?}", first.problems);
        assert!(!holds(&second, "a"), "{misbehaviour}");
        assert!(!second.problems.is_empty(), "{misbehaviour}");
        assert_printable(&second.problems);
    }
    let asked = store.asked.lock().unwrap();
    assert!(
        asked.iter().all(|(caller, namespace)| caller == namespace),
        "{asked:?}"
    );
}

#[test]
fn handles_of_one_call_mean_nothing_in_the_next() {
    let resolver = builder().build().unwrap();
    let first = resolve(&resolver, vec![honest("first", "vault/root/token")]);
    assert!(holds(&first, "root/token"));
    for misbehaviour in ["invented-handle", "repeat-handle", "answer-out-of-range"] {
        let text = format!("#{misbehaviour}\n{REFERENCES}");
        let second = resolve(&resolver, vec![Document::new("hostile", text)]);
        assert!(!holds(&second, "root/token"), "{misbehaviour}");
        assert!(!second.is_complete(), "{misbehaviour}");
    }
}

#[test]
fn a_trap_in_one_document_leaves_its_neighbours_resolved() {
    assert_refused(&["trap-in-parse", "trap-in-resolve"]);
}

#[test]
fn a_trap_among_many_documents_leaves_all_others_resolved() {
    const NEIGHBOURS: usize = 300;
    for misbehaviour in ["trap-in-parse", "trap-in-resolve"] {
        let resolver = builder().build().unwrap();
        let neighbours =
            (0..NEIGHBOURS).map(|index| honest(&format!("n{index}"), "vault/redis/user"));
        let mut documents: Vec<_> = neighbours.collect();
        documents.insert(
            40,
            Document::new("hostile", format!("#{misbehaviour}\n{REFERENCES}")),
        );
        let resolution = resolve(&resolver, documents);
        let resolved = resolution.components.len();
        let problems: Vec<_> = resolution
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            resolved,
            NEIGHBOURS,
            "{misbehaviour}: {} {:?}",
            problems.len(),
            problems.last()
        );
        assert_eq!(problems.len(), 1, "{misbehaviour}");
    }
}

#[test]
fn an_index_that_does_not_exist_is_refused() {
    assert_refused(&[
        "answer-out-of-range",
        "component-out-of-range",
        "document-out-of-range",
        "index-out-of-range",
        "item-out-of-range",
        "problem-without-document",
        "request-out-of-range",
    ]);
}

#[test]
fn a_place_that_was_not_asked_for_is_refused() {
    assert_refused(&[
        "plain-item",
        "repeat-component",
        "repeat-index",
        "wrong-component-index",
    ]);
}

#[test]
fn a_place_that_is_left_out_is_refused() {
    for misbehaviour in ["leave-out", "leave-out-component"] {
        let resolver = builder().build().unwrap();
        let resolution = resolve(&resolver, among_neighbours(misbehaviour));
        assert_eq!(names(&resolution), ["before", "after"], "{misbehaviour}");
        // One for each reference that has no value.
        let classes: Vec<_> = resolution
            .problems
            .iter()
            .map(|problem| problem.class)
            .collect();
        assert_eq!(classes, [Class::Internal; 2], "{misbehaviour}");
    }
    assert_refused(&["leave-out-answers"]);
}

#[test]
fn a_handle_that_was_not_given_is_refused() {
    assert_refused(&["invented-handle", "repeat-handle"]);
}

#[test]
fn a_secret_in_the_place_of_another_is_refused() {
    assert_refused(&["swap"]);
    let resolver = builder().build().unwrap();
    let resolution = resolve(&resolver, among_neighbours("swap-with-neighbour"));
    assert!(
        names(&resolution).ends_with(&["after"]),
        "{:?}",
        resolution.problems
    );
}

#[test]
fn a_text_in_the_place_of_a_secret_is_refused() {
    assert_refused(&["forge"]);
}

#[test]
fn a_place_without_any_part_is_no_empty_secret() {
    assert_refused(&["nothing"]);
}

#[test]
fn a_position_that_does_not_exist_does_no_harm() {
    let resolver = builder().build().unwrap();
    let mut documents = among_neighbours("position-out-of-range");
    let text = "#position-out-of-range again\nvault/none/key".to_owned();
    documents.push(Document::new("absent", text));
    let resolution = resolve(&resolver, documents);
    assert_eq!(
        names(&resolution),
        ["before", "position-out-of-range", "after"]
    );
    assert_eq!(resolution.problems.len(), 1);
    assert_eq!(resolution.problems[0].class, Class::SecretAbsent);
}

#[test]
fn no_message_holds_what_a_terminal_would_obey() {
    const ESCAPES: &str = "\u{1b}[31m\u{202e}\u{9b}2J";
    let texts = [
        "#terminal-escapes a\nvault/kafka/user".to_owned(),
        // Twice, so that its name clashes.
        "#terminal-escapes a\nvault/kafka/user".to_owned(),
        "#terminal-escapes-in-store b\nvault/kafka/user".to_owned(),
        "#terminal-escapes-in-store c\nvault/none/user".to_owned(),
        format!("#honest d\nvault/{ESCAPES}/user"),
        format!("#honest e\nvault/kafka/{ESCAPES}"),
        format!("#honest f\n{ESCAPES}/kafka/user"),
        format!("#honest g\nvault/kafka/user@{ESCAPES}"),
        format!("#honest h\n${ESCAPES}"),
        format!("#honest i\nvault/root{ESCAPES}/user"),
        // A store that stands in the documents has a name of the guest's.
        format!("#honest j\nb{ESCAPES}/kafka/user"),
        format!("#forge {ESCAPES}\nvault/kafka/user"),
        format!("#trap-in-resolve {ESCAPES}\nvault/kafka/user"),
    ];
    let scope = SecretsScope::new("vault").deny(format!("root{ESCAPES}"));
    let policy = Policy::open().with_scope(scope).unwrap();
    for mode in [Mode::Strict, Mode::Dapr] {
        for (index, text) in texts.iter().enumerate() {
            let resolver = builder()
                .store("namespaced", Namespaced::default())
                .policy(policy.clone())
                .mode(mode)
                .allow_document_stores(Grants::none().kind("secretstores.local.env"))
                .build()
                .unwrap();
            let documents = vec![
                Document::new("one", text.as_bytes()),
                Document::new("two", texts[index.saturating_sub(1)].as_bytes()),
            ];
            let context = Context::new();
            let inspection = block_on(resolver.inspect(documents.clone(), &context));
            assert_printable(&inspection.problems);
            for component in &inspection.components {
                for reference in &component.references {
                    let refusal = reference.refusal.as_ref();
                    let refusal = refusal
                        .map(|error| Problem::new(error.class, None, &error.message, &error.hint));
                    assert_printable(refusal.as_slice());
                }
            }
            let resolution = resolve_with(&resolver, documents, &context);
            assert_printable(&resolution.problems);
        }
    }
}

#[test]
fn names_of_documents_in_messages_obey_the_same_rule() {
    let resolver = builder().build().unwrap();
    let name = "a\u{1b}[31m\u{202e}.yaml";
    let resolution = resolve_with(
        &resolver,
        vec![Document::new(name, "#trap-in-parse")],
        &Context::new(),
    );
    let [problem] = resolution.problems.as_slice() else {
        panic!("{:?}", resolution.problems);
    };
    let printed = problem.to_string();
    assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{printed:?}");
}
