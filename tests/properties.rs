//! What holds for every input, by proptest.

use std::collections::BTreeMap;

use keyref::stores::Memory;
use keyref::{Context, Document, Resolution, Resolver, Value};
use keyref_guest::DocumentSet;
use keyref_guest::bindings as guest;
use keyref_guest::resolve::SecretStore;
use keyref_tests::library::{block_on, resolve_with};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What manifests, and what is nearly one, are made of.
const PIECES: &[&str] = &[
    "apiVersion: dapr.io/v1alpha1\n",
    "kind: Component\n",
    "kind: HTTPEndpoint\n",
    "metadata:\n",
    "  name: a\n",
    "  name: b\n",
    "  namespace: n\n",
    "spec:\n",
    "  type: state.redis\n",
    "  type: secretstores.local.file\n",
    "  version: v1\n",
    "  metadata:\n",
    "  - name: x\n",
    "    value: on\n",
    "    value: 0x1F\n",
    "    value: [1, {a: b}]\n",
    "    secretKeyRef: {name: redis, key: password}\n",
    "    secretKeyRef:\n      name: none\n",
    "    envRef: HOME\n",
    "auth: {secretStore: vault}\n",
    "auth:\n  secretStore: none\n",
    "scopes: [app]\n",
    "---\n",
    "--- x\n",
    "\n",
    "# c\n",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "!!str ",
    "? ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "\t",
    "\u{feff}",
    "\u{2028}",
    "\\x41",
    "\\'",
    "%TAG ! tag:x:\n",
    "@",
    "`",
    "é",
    "\0",
    "  ",
    "    ",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec(select(PIECES), 0..60).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![pieces, vec(any::<u8>(), 0..400)]
}

/// The items of a component: a literal, or a reference to one of some secrets, absent ones too.
fn items() -> impl Strategy<Value = Vec<(String, bool, u8)>> {
    vec(("[a-c]", any::<bool>(), 0..6_u8), 0..5)
}

fn component(index: usize, items: &[(String, bool, u8)]) -> String {
    let mut text = vec![format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: c{index}}}\n\
         spec:\n  type: state.redis\n  version: v1\n  metadata:\n"
    )];
    for (name, secret, number) in items {
        text.push(if *secret {
            format!("  - {{name: {name}, secretKeyRef: {{name: s{number}, key: k}}}}\n")
        } else {
            format!("  - {{name: {name}, value: {number}}}\n")
        });
    }
    text.concat() + "auth: {secretStore: vault}\n"
}

fn resolver() -> Resolver {
    let secrets = (0..4).map(|number| {
        let secret = [("k", format!("value-{number}"))].into_iter().collect();
        (format!("s{number}"), secret)
    });
    let store: Memory = secrets.collect();
    Resolver::builder().store("vault", store).build().unwrap()
}

/// What each component came to: its properties, by its name.
type Properties = BTreeMap<String, Vec<(String, String)>>;

/// What each component came to, and each problem without its place.
fn outcome(resolution: &Resolution) -> (Properties, Vec<String>) {
    let components = resolution.components.iter().map(|resolved| {
        let properties = resolved.properties.iter().map(|property| {
            let value = match &property.value {
                Value::Secret(value) => value.reveal_text().unwrap(),
                Value::Plain(text) => text,
                other => panic!("{other:?}"),
            };
            (property.name.clone(), value.to_owned())
        });
        (resolved.component.name.clone(), properties.collect())
    });
    let problems = resolution
        .problems
        .iter()
        .map(|problem| problem.message.clone());
    let mut problems: Vec<_> = problems.collect();
    problems.sort();
    (components.collect(), problems)
}

fn native(texts: &[Vec<u8>]) -> DocumentSet {
    let document = |text: &Vec<u8>| guest::Document {
        name: String::new(),
        kind: guest::DocumentKind::Manifest,
        text: text.clone(),
    };
    DocumentSet::parse(&texts.iter().map(document).collect::<Vec<_>>())
}

/// What each component comes to, by the guest's own code: those of which a secret is absent are left
/// out, as in strict mode.
fn resolved_natively(texts: &[String]) -> BTreeMap<String, BTreeMap<String, String>> {
    struct Store;

    impl SecretStore for Store {
        type Secret = String;

        fn get_many(&mut self, requests: &[guest::Request]) -> Vec<Result<String, guest::Failure>> {
            let answer = |request: &guest::Request| match &request.source {
                guest::Source::Secret(key)
                    if matches!(key.name.as_str(), "s0" | "s1" | "s2" | "s3") =>
                {
                    Ok(key.name.replace('s', "value-"))
                }
                _ => Err(guest::Failure::SecretNotFound),
            };
            requests.iter().map(answer).collect()
        }
    }

    let texts: Vec<_> = texts.iter().map(|text| text.clone().into_bytes()).collect();
    let set = native(&texts);
    let all: Vec<_> = (0..)
        .zip(set.components())
        .map(|(index, _)| index)
        .collect();
    let resolution = set.resolve(&all, &mut Store);
    let text = |parts: &[guest::Part]| {
        let parts = parts.iter().map(|part| match part {
            guest::Part::Literal(text) => Some(text.clone()),
            guest::Part::Secret(answer) => resolution.answers[*answer as usize]
                .1
                .as_ref()
                .ok()
                .cloned(),
        });
        parts.collect::<Option<String>>()
    };
    let components = resolution.components.iter().filter_map(|resolved| {
        let component = &set.components()[resolved.component as usize];
        let mut values: Vec<_> = component
            .items
            .iter()
            .map(|item| item.value.clone().unwrap_or_default())
            .collect();
        for item in &resolved.items {
            values[item.item as usize] = text(&item.parts)?;
        }
        let names = component.items.iter().map(|item| item.name.clone());
        Some((component.name.clone(), names.zip(values).collect()))
    });
    components.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_input_makes_guest_or_host_panic(texts in vec(soup(), 1..4)) {
        let set = native(&texts);
        prop_assert_eq!(!set.requests().is_empty(), set.components().iter().any(|component| {
            component.items.iter().any(|item| item.request.is_some())
        }));
        let documents = texts.into_iter().map(|text| Document::new("soup.yaml", text));
        let resolution = resolve_with(&resolver(), documents.collect(), &Context::new());
        // A limit reached, or a guest that failed, is not what such a small text may end in.
        for problem in &resolution.problems {
            prop_assert!(!matches!(problem.class.code(), "internal" | "document-limit"), "{}", problem);
        }
    }

    #[test]
    fn how_a_set_is_split_and_ordered_changes_nothing(
        sets in vec(items(), 1..12),
        cuts in vec(any::<bool>(), 12),
        moves in vec(any::<Index>(), 12),
    ) {
        let texts: Vec<_> = sets.iter().enumerate().map(|(index, items)| component(index, items)).collect();
        let each = texts.iter().map(|text| Document::new("c.yaml", text.as_bytes())).collect();
        let expected = outcome(&resolve_with(&resolver(), each, &Context::new()));

        let mut shuffled = texts;
        for (at, target) in moves.iter().enumerate().take(shuffled.len()) {
            let target = target.index(shuffled.len());
            shuffled.swap(at, target);
        }
        let mut files: Vec<String> = Vec::new();
        for (text, cut) in shuffled.iter().zip(&cuts) {
            match files.last_mut() {
                Some(file) if !cut => {
                    file.push_str("---\n");
                    file.push_str(text);
                }
                _ => files.push(text.clone()),
            }
        }
        let files = files.into_iter().map(|text| Document::new("c.yaml", text)).collect();
        let found = outcome(&resolve_with(&resolver(), files, &Context::new()));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn native_and_sandboxed_resolution_agree(sets in vec(items(), 1..12)) {
        let texts: Vec<_> = sets.iter().enumerate().map(|(index, items)| component(index, items)).collect();
        let native = resolved_natively(&texts);
        let documents = texts.iter().map(|text| Document::new("c.yaml", text.as_bytes())).collect();
        let sandboxed = resolve_with(&resolver(), documents, &Context::new());
        let (components, _) = outcome(&sandboxed);
        let components: BTreeMap<String, BTreeMap<String, String>> = components
            .into_iter()
            .map(|(name, properties)| (name, properties.into_iter().collect()))
            .collect();
        prop_assert_eq!(native, components);
    }

    #[test]
    fn native_and_sandboxed_parsing_agree(texts in vec(soup(), 1..4)) {
        let set = native(&texts);
        let documents = texts.iter().map(|text| Document::new("soup.yaml", text.as_slice())).collect();
        let resolver = resolver();
        let inspection = block_on(resolver.inspect(documents, &Context::new()));
        for native in set.problems() {
            let (line, column) = (native.position.line, native.position.column);
            let is_told = inspection.problems.iter().any(|told| {
                let place = told.place.as_ref().map(|place| (place.line, place.column));
                // The host has a hint where the guest has none.
                place == Some((line, column))
                    && told.message == native.message
                    && (told.hint == native.hint || native.hint.is_empty())
            });
            prop_assert!(is_told, "{:?} is not among {:?}", native, inspection.problems);
        }
        // What has a name of its own is loaded here as there; of twins the host loads none.
        for component in set.components() {
            let same = |other: &&guest::Component| {
                (other.kind, &other.name) == (component.kind, &component.name)
            };
            let alone = set.components().iter().filter(same).count() == 1;
            let loaded = inspection.components.iter().any(|inspected| {
                inspected.component.name == component.name
                    && inspected.component.component_type == component.component_type
            });
            prop_assert!(loaded || !alone, "{} is not loaded", component.name);
        }
        for inspected in &inspection.components {
            let found = &inspected.component;
            let twin = set.components().iter().find(|component| {
                component.name == found.name && component.position.line == found.position.line
            });
            let twin = twin.expect("it is loaded natively, too");
            prop_assert_eq!(&twin.component_type, &found.component_type);
            prop_assert_eq!(&twin.secret_store, &found.secret_store);
            let items = |name: &str, value: &Option<String>| (name.to_owned(), value.clone());
            let native: Vec<_> = twin.items.iter().map(|item| items(&item.name, &item.value)).collect();
            let sandboxed: Vec<_> = found.items.iter().map(|item| items(&item.name, &item.value)).collect();
            prop_assert_eq!(native, sandboxed);
        }
    }
}
