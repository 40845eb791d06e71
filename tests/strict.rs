//! Strict mode fails closed where Dapr goes on silently, and Dapr mode copies Dapr.

use keyref::env::Environment;
use keyref::problem::Severity;
use keyref::stores::{Grants, Memory};
use keyref::{Context, Document, Mode, Resolver};
use keyref_tests::library::{block_on, codes, manifest, property, resolve, resolve_with};

fn store() -> Memory {
    Memory::new()
        .with("s", [("k", "v"), ("other", "o")])
        .with("empty", [("empty", "")])
        .with("quoted", [("quoted", "\"q\"")])
        .with("template", [("template", "{appID}")])
}

fn resolver(mode: Mode) -> Resolver {
    Resolver::builder()
        .store("vault", store())
        .environment(Environment::of([("SET", "\"e\""), ("DAPR_X", "x")]))
        .mode(mode)
        .build()
        .unwrap()
}

/// Resolves one item in both modes: strict's problems or value, and Dapr's value.
fn both(item: &str, store: &str) -> (Result<String, Vec<&'static str>>, Option<String>) {
    let text = manifest("c", &[item], store);
    let strict = resolve(&resolver(Mode::Strict), &text);
    let dapr = resolve(&resolver(Mode::Dapr), &text);
    let strict = property(&strict, "p").ok_or_else(|| codes(&strict));
    (strict, property(&dapr, "p"))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what a component has, if it has anything"
)]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn an_absent_key_is_an_error_that_lists_the_keys() {
    let item = "{name: p, secretKeyRef: {name: s, key: kk}}";
    assert_eq!(both(item, "vault"), (Err(vec!["key-absent"]), text("")));
    let resolution = resolve(&resolver(Mode::Strict), &manifest("c", &[item], "vault"));
    let problem = &resolution.problems[0];
    assert!(
        problem
            .hint
            .contains("did you mean `k`? keys: `k`, `other`"),
        "{}",
        problem.hint
    );
    assert_eq!(
        problem.to_string(),
        "c.yaml:8:44: secret `s` has no key `kk`"
    );
}

#[test]
fn problems_come_in_the_order_of_the_documents() {
    let broken = |name: &str| Document::new(name, "a: [");
    let documents = ["c", "a", "b"].map(broken).to_vec();
    let resolution = resolve_with(&resolver(Mode::Strict), documents, &Context::new());
    let problems = resolution.problems.iter();
    let places = problems.filter_map(|problem| problem.place.as_ref());
    let names: Vec<_> = places.map(|place| &*place.document).collect();
    assert_eq!(names, ["c", "a", "b"]);
}

#[test]
fn a_literal_does_not_stand_in_for_a_secret() {
    let item = "{name: p, value: d, secretKeyRef: {name: s, key: nokey}}";
    assert_eq!(both(item, "vault"), (Err(vec!["key-absent"]), text("d")));
    let item = "{name: p, value: d, secretKeyRef: {name: none}}";
    assert_eq!(both(item, "vault"), (Err(vec!["secret-absent"]), text("d")));
}

#[test]
fn an_absent_secret_is_an_error() {
    let item = "{name: p, secretKeyRef: {name: none}}";
    assert_eq!(both(item, "vault"), (Err(vec!["secret-absent"]), text("")));
}

#[test]
fn an_empty_secret_is_a_value() {
    let item = "{name: p, value: d, secretKeyRef: {name: empty}}";
    assert_eq!(both(item, "vault"), (Ok(String::new()), text("d")));
}

#[test]
fn quotes_and_templates_in_a_secret_stay() {
    let item = "{name: p, secretKeyRef: {name: quoted}}";
    assert_eq!(both(item, "vault"), (Ok("\"q\"".to_owned()), text("q")));
    let item = "{name: p, secretKeyRef: {name: template}}";
    assert_eq!(
        both(item, "vault"),
        (Ok("{appID}".to_owned()), text("{appID}"))
    );
    let context = Context::new().with_app_id("app");
    let documents = || vec![Document::new("c.yaml", manifest("c", &[item], "vault"))];
    let strict = resolve_with(&resolver(Mode::Strict), documents(), &context);
    let dapr = resolve_with(&resolver(Mode::Dapr), documents(), &context);
    assert_eq!(property(&strict, "p"), text("{appID}"));
    assert_eq!(property(&dapr, "p"), text("app"));
}

#[test]
fn a_reference_that_names_no_store_is_an_error() {
    let item = "{name: p, secretKeyRef: {name: s, key: k}}";
    assert_eq!(both(item, ""), (Err(vec!["store-unknown"]), text("")));
}

#[test]
fn an_unknown_store_is_an_error_where_dapr_waits_for_ever() {
    let item = "{name: p, secretKeyRef: {name: s, key: k}}";
    assert_eq!(both(item, "valut"), (Err(vec!["store-unknown"]), None));
}

#[test]
fn a_variable_that_cannot_be_read_is_an_error() {
    assert_eq!(
        both("{name: p, envRef: SET}", ""),
        (Ok("\"e\"".to_owned()), text("e"))
    );
    assert_eq!(
        both("{name: p, envRef: UNSET}", ""),
        (Err(vec!["secret-absent"]), text(""))
    );
    assert_eq!(
        both("{name: p, envRef: DAPR_X}", ""),
        (Err(vec!["policy-denied"]), text(""))
    );
}

#[test]
fn every_failure_is_reported_at_once() {
    let items = [
        "{name: a, secretKeyRef: {name: none}}",
        "{name: b, secretKeyRef: {name: s, key: nokey}}",
        "{name: c, envRef: UNSET}",
    ];
    let text = format!(
        "{}---\n{}---\nkind: [\n",
        manifest("x", &items, "vault"),
        manifest(
            "y",
            &["{name: a, secretKeyRef: {name: s, key: k}}"],
            "nowhere"
        )
    );
    let resolution = resolve(&resolver(Mode::Strict), &text);
    assert_eq!(
        codes(&resolution),
        [
            "secret-absent",
            "key-absent",
            "secret-absent",
            "store-unknown",
            "document-syntax"
        ]
    );
    assert!(resolution.components.is_empty());
}

#[test]
fn every_wrong_field_of_a_document_is_reported_once() {
    let document = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: a/b, labels: [x]}
spec:
  type: [state.redis]
  version: {v: 1}
  metadata:
  - {name: [x], value: .inf}
  - {name: y, secretKeyRef: text}
scopes: [1]
";
    let resolution = resolve(&resolver(Mode::Strict), document);
    let mut places: Vec<_> = resolution
        .problems
        .iter()
        .filter_map(|problem| problem.place.as_ref())
        .map(|place| (place.line, place.column))
        .collect();
    let told = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(told, places.len(), "{:?}", resolution.problems);
    let expected = [
        (4, 18),
        (4, 31),
        (6, 9),
        (7, 12),
        (9, 12),
        (9, 24),
        (10, 29),
        (11, 10),
    ];
    assert_eq!(places, expected, "{:?}", resolution.problems);
}

#[test]
fn a_document_that_is_all_wrong_is_told_in_twenty_problems() {
    let items = vec!["[]"; 1000];
    let resolution = resolve(&resolver(Mode::Strict), &manifest("x", &items, "vault"));
    assert_eq!(codes(&resolution), vec!["document-schema"; 20]);
}

#[test]
fn a_reference_that_names_no_secret_is_an_error() {
    for item in [
        "{name: p, secretKeyRef: {key: k}}",
        "{name: p, secretKeyRef: {nam: s, key: k}}",
        "{name: p, secretKeyRef: {nam: s}}",
        "{name: p, secretKeyRef: }",
        "{name: s, key: k, secretKeyRef: }",
        "{name: p, secretRef: {name: s}}",
        "{name: p, valueFrom: {secretKeyRef: {name: s}}}",
        "{name: p, value: x, secretKeyRef: {key: k}}",
    ] {
        let text = manifest("c", &[item], "vault");
        let resolution = resolve(&resolver(Mode::Strict), &text);
        assert_eq!(codes(&resolution), ["document-schema"], "{item}");
        assert!(resolution.components.is_empty(), "{item}");
        let documents = vec![Document::new("c.yaml", text)];
        let inspection = block_on(resolver(Mode::Strict).inspect(documents, &Context::new()));
        assert_eq!(inspection.problems, resolution.problems, "{item}");
    }
    // What Go writes for no reference.
    let item = "{name: p, value: x, secretKeyRef: {name: \"\", key: \"\"}}";
    let resolution = resolve(&resolver(Mode::Strict), &manifest("c", &[item], "vault"));
    assert_eq!(property(&resolution, "p").as_deref(), Some("x"));
    assert!(resolution.problems.is_empty(), "{:?}", resolution.problems);
}

#[test]
fn an_item_with_nothing_is_a_warning() {
    for item in ["{name: p}", "{name: p, value: }"] {
        let resolution = resolve(&resolver(Mode::Strict), &manifest("c", &[item], "vault"));
        assert_eq!(property(&resolution, "p").as_deref(), Some(""), "{item}");
        assert_eq!(codes(&resolution), ["document-schema"], "{item}");
        assert_eq!(resolution.problems[0].severity, Severity::Warning, "{item}");
    }
}

#[test]
fn a_field_that_dapr_ignores_beside_a_value_is_a_warning() {
    for mode in [Mode::Strict, Mode::Dapr] {
        let item = "{name: p, value: x, secretRef: {name: s}}";
        let resolution = resolve(&resolver(mode), &manifest("c", &[item], "vault"));
        assert_eq!(property(&resolution, "p").as_deref(), Some("x"));
        assert_eq!(codes(&resolution), ["document-schema"]);
        let problem = &resolution.problems[0];
        assert_eq!(problem.severity, Severity::Warning);
        let place = problem.place.as_ref().unwrap();
        assert_eq!((place.line, place.column), (8, 25));
    }
}

const ENDPOINT: &str = "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: e}\nspec:\n  \
     baseUrl: http://x\n  headers:\n  - {name: h, value: \"{appID}{podName}\"}\n  - {name: p, value: x, \
     secretKeyRef: {name: s, key: k}}\nauth: {secretStore: none}\n";

#[test]
fn dapr_takes_an_endpoint_without_its_secret_where_a_component_would_wait() {
    let context = Context::new().with_app_id("app");
    let documents = || vec![Document::new("e.yaml", ENDPOINT)];
    let dapr = resolve_with(&resolver(Mode::Dapr), documents(), &context);
    assert_eq!(property(&dapr, "p").as_deref(), Some("x"));
    // It has templates in the metadata of components alone.
    assert_eq!(property(&dapr, "h").as_deref(), Some("{appID}{podName}"));
    let strict = resolve_with(&resolver(Mode::Strict), documents(), &context);
    assert_eq!(codes(&strict), ["store-unknown"]);
}

#[test]
fn settings_of_a_store_that_differ_only_in_case_are_refused() {
    let items = [
        "{name: secretsFile, value: a.json}",
        "{name: secretsfile, value: b.json}",
    ];
    let text = manifest("c", &items, "").replace("state.redis", "secretstores.local.file");
    for mode in [Mode::Strict, Mode::Dapr] {
        let resolver = Resolver::builder()
            .allow_document_stores(Grants::all())
            .mode(mode);
        let resolution = resolve(&resolver.build().unwrap(), &text);
        assert_eq!(codes(&resolution), ["store-misconfigured"]);
        let message = &resolution.problems[0].message;
        assert!(
            message.contains("key secretsfile is duplicate in the metadata"),
            "{message}"
        );
    }
}

#[test]
fn a_store_that_needs_a_misspelt_one_is_told_of_those_that_are_declared() {
    let items = ["{name: prefix, secretKeyRef: {name: s}}"];
    let store = |name: &str, items: &[&str], needs: &str| {
        manifest(name, items, needs).replace("state.redis", "secretstores.local.env")
    };
    let documents = vec![
        Document::new("a.yaml", store("first", &items, "vualt")),
        Document::new("b.yaml", store("vault", &[], "")),
    ];
    let resolver = Resolver::builder().allow_document_stores(Grants::all());
    let resolution = resolve_with(&resolver.build().unwrap(), documents, &Context::new());
    assert_eq!(codes(&resolution), ["store-unknown"]);
    let hint = &resolution.problems[0].hint;
    assert!(hint.contains("did you mean `vault`?"), "{hint}");
}

#[test]
fn what_is_left_open_is_told_with_where_it_begins() {
    let resolution = resolve(&resolver(Mode::Strict), "a: b\n---\nc: d\ne:   \"f\ng: h\n");
    let message = &resolution.problems[0].message;
    assert_eq!(
        message,
        "found unexpected end of stream while scanning a quoted scalar that begins at line 4, column 6"
    );
}

#[test]
fn a_document_of_client_tls_knows_no_field_but_two() {
    let endpoint = |document: &str| {
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {{name: e}}\nspec:\n  baseUrl: \
             http://x\n  clientTLS:\n    rootCA: {document}\nauth: {{secretStore: vault}}\n"
        )
    };
    for document in [
        "{secretRef: {name: s}}",
        "{envRef: SET}",
        "{secretKeyRef: }",
    ] {
        let resolution = resolve(&resolver(Mode::Strict), &endpoint(document));
        assert_eq!(codes(&resolution), ["document-schema"], "{document}");
        assert!(resolution.components.is_empty(), "{document}");
        // Dapr takes none of them for a document.
        let resolution = resolve(&resolver(Mode::Dapr), &endpoint(document));
        assert_eq!(property(&resolution, "rootCA"), None, "{document}");
    }
    let both = endpoint("{secretKeyRef: {name: s, key: k}, envRef: SET}");
    for mode in [Mode::Strict, Mode::Dapr] {
        let resolution = resolve(&resolver(mode), &both);
        assert_eq!(
            property(&resolution, "rootCA").as_deref(),
            Some("v"),
            "{mode:?}"
        );
    }
}

#[test]
fn a_field_of_a_reference_that_is_not_known_is_told() {
    let item = "{name: p, secretKeyRef: {name: s, kee: other, key: k}}";
    let resolution = resolve(&resolver(Mode::Strict), &manifest("c", &[item], "vault"));
    assert_eq!(property(&resolution, "p").as_deref(), Some("v"));
    assert_eq!(codes(&resolution), ["document-schema"]);
    assert_eq!(resolution.problems[0].severity, Severity::Warning);
}

#[test]
fn keys_are_listed_as_long_as_there_is_room() {
    let long = |n: usize| format!("{}{n}", "k".repeat(110));
    let wordy: Vec<String> = (0..20).map(long).collect();
    let wordy = wordy.iter().map(|key| (key.as_str(), "v"));
    let resolver = Resolver::builder()
        .store("vault", Memory::new().with("wordy", wordy))
        .build()
        .unwrap();
    let items =
        (0..5_000).map(|n| format!("{{name: n, secretKeyRef: {{name: wordy, key: x{n}}}}}"));
    let items: Vec<_> = items.collect();
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    let problems = resolve(&resolver, &manifest("c", &items, "vault")).problems;
    assert_eq!(problems.len(), items.len());
    assert!(problems[0].hint.contains(&long(19)), "{}", problems[0].hint);
    assert!(problems.iter().all(|problem| !problem.hint.is_empty()));
    let hints: usize = problems.iter().map(|problem| problem.hint.len()).sum();
    assert!((1 << 20..5 << 20).contains(&hints), "{hints}");
}
