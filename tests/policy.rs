//! Policy and grants: nothing passes the door that they do not let through.

use std::sync::Arc;

use keyref::env::Environment;
use keyref::policy::{Policy, SecretsScope};
use keyref::problem::Severity;
use keyref::stores::{BulkRequest, Grants, Memory, SecretRequest};
use keyref::{BuildError, Context, Document, Mode, Resolver};
use keyref_tests::folder;
use keyref_tests::library::{
    Counting, Namespaced, block_on, codes, manifest, property, resolve, resolve_with,
};

const REFERENCE: &str = "{name: p, secretKeyRef: {name: s, key: k}}";

fn secrets() -> Memory {
    Memory::new()
        .with("s", [("k", "v")])
        .with("t", [("k", "w")])
}

#[test]
fn a_denied_secret_is_never_fetched() {
    for mode in [Mode::Strict, Mode::Dapr] {
        let store = Counting::new(secrets());
        let scope = SecretsScope::new("vault").deny("s");
        let resolver = Resolver::builder()
            .shared_store("vault", Arc::new(store.clone()))
            .policy(Policy::open().with_scope(scope).unwrap())
            .mode(mode)
            .build()
            .unwrap();
        let resolution = resolve(&resolver, &manifest("c", &[REFERENCE], "vault"));
        assert_eq!(codes(&resolution), ["policy-denied"], "{mode:?}");
        assert_ne!(property(&resolution, "p").as_deref(), Some("v"));
        let read = block_on(resolver.get("vault", SecretRequest::new("s"), &Context::new()));
        assert_eq!(read.unwrap_err().class.code(), "policy-denied");
        assert_eq!(store.calls(), 0, "{mode:?}");
    }
}

#[test]
fn bulk_leaves_out_what_is_denied() {
    let scope = SecretsScope::new("vault").allow("t");
    let resolver = Resolver::builder()
        .store("vault", secrets())
        .policy(Policy::open().with_scope(scope).unwrap())
        .build()
        .unwrap();
    let all = block_on(resolver.bulk("vault", BulkRequest::default(), &Context::new())).unwrap();
    assert_eq!(all.into_keys().collect::<Vec<_>>(), ["t"]);
}

#[test]
fn a_store_of_which_nothing_is_allowed_is_not_asked_for_all() {
    let store = Counting::new(secrets());
    let scope = SecretsScope::new("vault").deny_by_default();
    let resolver = Resolver::builder()
        .shared_store("vault", Arc::new(store.clone()))
        .policy(Policy::open().with_scope(scope).unwrap())
        .build()
        .unwrap();
    let all = block_on(resolver.bulk("vault", BulkRequest::default(), &Context::new())).unwrap();
    assert!(all.is_empty());
    assert_eq!(store.calls(), 0);
}

#[test]
fn a_configuration_is_the_policy() {
    let configuration = |scopes: &str| {
        let text = format!("kind: Configuration\nspec: {{secrets: {{scopes: {scopes}}}}}\n");
        Resolver::builder()
            .store("vault", secrets())
            .configuration(Document::new("config.yaml", text))
            .build()
    };
    let resolver =
        configuration("[{storeName: vault, defaultAccess: DENY, allowedSecrets: [t]}]").unwrap();
    let resolution = resolve(&resolver, &manifest("c", &[REFERENCE], "vault"));
    assert_eq!(codes(&resolution), ["policy-denied"]);
    for broken in [
        "[{storeName: vault, defaultAccess: none}]",
        "[{storeName: vault}, {storeName: vault}]",
        "{storeName: vault}",
        "[{storeName: vault, storeName: x}]",
    ] {
        match configuration(broken) {
            Err(BuildError::Configuration(problems)) => assert_eq!(problems.len(), 1, "{broken}"),
            other => panic!("{broken}: {other:?}"),
        }
    }
}

#[test]
fn a_document_reads_no_variable_unless_the_builder_grants_them() {
    let resolver = Resolver::builder().build().unwrap();
    let resolution = resolve(&resolver, &manifest("c", &["{name: p, envRef: PATH}"], ""));
    assert_eq!(codes(&resolution), ["secret-absent"]);
}

#[test]
fn a_document_opens_no_store_unless_the_builder_grants_it() {
    let folder = folder(&[
        ("in/secrets.json", br#"{"s": "v"}"#),
        ("out.json", br#"{"s": "v"}"#),
    ]);
    let document = |path: &std::path::Path| {
        let store = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: mine}}\nspec:\n  \
             type: secretstores.local.file\n  version: v1\n  metadata:\n  - {{name: secretsFile, \
             value: '{}'}}\n",
            path.display()
        );
        format!(
            "{store}---\n{}",
            manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "mine")
        )
    };
    let inside = folder.path().join("in/secrets.json");
    let outside = folder.path().join("out.json");
    let around = folder.path().join("in/../out.json");

    let nothing = Resolver::builder().build().unwrap();
    assert_eq!(
        codes(&resolve(&nothing, &document(&inside))),
        ["store-unknown"]
    );

    let kind = Grants::none().kind("secretstores.local.env");
    let other_kind = Resolver::builder()
        .allow_document_stores(kind)
        .build()
        .unwrap();
    let resolution = resolve(&other_kind, &document(&inside));
    assert_eq!(codes(&resolution), ["policy-denied", "policy-denied"]);

    let grants = Grants::none()
        .kind("secretstores.local.file")
        .folder(folder.path().join("in"));
    let granted = Resolver::builder()
        .allow_document_stores(grants)
        .build()
        .unwrap();
    let resolution = resolve(&granted, &document(&inside));
    assert_eq!(codes(&resolution), Vec::<&str>::new());
    for path in [outside, around, folder.path().join("in/none.json")] {
        let resolution = resolve(&granted, &document(&path));
        assert!(!resolution.is_complete(), "{}", path.display());
        assert!(
            resolution.problems[0]
                .message
                .contains("not in a folder that documents may read")
        );
    }
    #[cfg(unix)]
    {
        let link = folder.path().join("in/link.json");
        std::os::unix::fs::symlink("../out.json", &link).unwrap();
        assert!(!resolve(&granted, &document(&link)).is_complete());
    }
}

#[test]
fn a_document_names_no_namespace_that_is_not_granted() {
    let text =
        manifest("c", &[REFERENCE], "vault").replace("{name: c}", "{name: c, namespace: foreign}");
    let documents = || vec![Document::new("c.yaml", text.clone())];
    let resolver = Resolver::builder()
        .store("vault", Namespaced)
        .build()
        .unwrap();
    let resolution = resolve_with(&resolver, documents(), &Context::new());
    assert_eq!(codes(&resolution), ["policy-denied"]);
    let own = Context::new().with_namespace("foreign");
    let resolution = resolve_with(&resolver, documents(), &own);
    assert_eq!(property(&resolution, "p").as_deref(), Some("foreign"));
    let other = Context::new().with_namespace("own");
    assert!(
        resolve_with(&resolver, documents(), &other)
            .components
            .is_empty()
    );
    let granted = Resolver::builder()
        .store("vault", Namespaced)
        .allow_namespace("foreign")
        .build()
        .unwrap();
    assert!(resolve_with(&granted, documents(), &Context::new()).is_complete());
}

#[test]
fn a_variable_of_the_builder_is_read() {
    let resolver = Resolver::builder()
        .environment(Environment::of([("A", "x")]))
        .build()
        .unwrap();
    let resolution = resolve(&resolver, &manifest("c", &["{name: p, envRef: A}"], ""));
    assert_eq!(property(&resolution, "p").as_deref(), Some("x"));
}

#[test]
fn a_slip_in_a_configuration_is_refused_where_it_would_leave_a_store_open() {
    let configurations = [
        "spec: {secrets: {scopes: [{storeName: vault, defaultAcces: deny}]}}",
        "spec: {secrets: {scopes: [{storeName: vault, allowedSecret: [s]}]}}",
        "spec: {secrets: {scope: [{storeName: vault, defaultAccess: deny}]}}",
        "spec: {secret: {scopes: [{storeName: vault, defaultAccess: deny}]}}",
        "specs: {secrets: {scopes: [{storeName: vault, defaultAccess: deny}]}}",
        "kind: Secret",
    ];
    for configuration in configurations {
        let build = |mode| {
            Resolver::builder()
                .mode(mode)
                .configuration(Document::new("config.yaml", configuration))
                .build()
        };
        let Err(BuildError::Configuration(problems)) = build(Mode::Strict) else {
            panic!("{configuration}");
        };
        assert_eq!(problems.len(), 1, "{configuration}: {problems:?}");
        assert!(!problems[0].hint.is_empty(), "{configuration}");
        // Dapr ignores it without a word.
        let slips = build(Mode::Dapr).unwrap().configuration_slips().to_vec();
        let (strict, dapr) = (&problems[0], &slips[0]);
        assert_eq!(dapr.severity, Severity::Warning);
        assert_eq!(
            (&strict.message, &strict.place),
            (&dapr.message, &dapr.place)
        );
    }
    let whole = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n\
                 spec: {tracing: {}, secrets: {scopes: [{storeName: vault, defaultAccess: deny}]}}";
    let resolver = Resolver::builder()
        .configuration(Document::new("config.yaml", whole))
        .build();
    assert!(resolver.is_ok(), "{resolver:?}");
}

#[test]
fn a_variable_in_a_configuration_moves_no_place_and_is_not_shown() {
    let text = "spec:\n  secrets:\n    scopes:\n    - {storeName: \"$NAME\", allowedSecret: [s]}\n    \
                - {storeName: $NAME, allowedSecrets: [s]}\n";
    let build = |mode| {
        Resolver::builder()
            .mode(mode)
            .store("vault", secrets())
            .environment(Environment::of([("NAME", "h1dden\t \t\t\tname")]))
            .configuration(Document::new(
                "config.yaml",
                text.replace("- {storeName: $NAME, a", "- {storeName: x, a"),
            ))
            .build()
    };
    let Err(BuildError::Configuration(problems)) = build(Mode::Strict) else {
        panic!("it is refused");
    };
    let place = problems[0].place.as_ref().unwrap();
    assert_eq!((place.line, place.column), (4, 28), "{problems:?}");
    assert!(!format!("{problems:?}").contains("h1dden"), "{problems:?}");
    let resolver = build(Mode::Dapr).unwrap();
    let unknown = resolver.unknown_scopes(&resolver.stores());
    let messages: Vec<_> = unknown
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(
        messages[0],
        "this scope is for store [from a variable], which does not exist"
    );
    assert!(!format!("{unknown:?} {resolver:?} {:?}", resolver.policy()).contains("h1dden"));
}

#[test]
fn all_that_is_wrong_with_configurations_is_told_at_once() {
    let first = "spec:\n  secrets:\n    scopes:\n    - {storeName: a, defaultAccess: no}\n    \
                 - {storeName: b, defaultAccess: none}\n    - {storeName: c}\n    - {storeName: c}\n";
    let built = Resolver::builder()
        .configuration(Document::new("1.yaml", first))
        .configuration(Document::new("2.yaml", "spec: ["))
        .build();
    let Err(BuildError::Configuration(problems)) = built else {
        panic!("it is refused");
    };
    let places = problems
        .iter()
        .map(|problem| problem.place.as_ref().unwrap());
    let places: Vec<_> = places.map(ToString::to_string).collect();
    assert_eq!(places[..3], ["1.yaml:4:7", "1.yaml:5:7", "1.yaml:7:7"]);
    assert_eq!(places.len(), 4);
}

#[test]
fn a_closed_policy_binds_a_store_that_documents_declare_under_a_name_of_their_own() {
    let work = folder(&[("s.json", br#"{"s": "v"}"#)]);
    let declared = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: mine}}\nspec:\n  type: \
         secretstores.local.file\n  version: v1\n  metadata:\n  - {{name: secretsFile, value: {}}}\n",
        work.path().join("s.json").display()
    );
    let resolved = |policy: Policy| {
        let scope = SecretsScope::new("vault").deny("s");
        let resolver = Resolver::builder()
            .policy(policy.with_scope(scope).unwrap())
            .allow_document_stores(
                Grants::none()
                    .kind("secretstores.local.file")
                    .folder(work.path()),
            )
            .build()
            .unwrap();
        let component = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "mine");
        let documents = vec![
            Document::new("c.yaml", component),
            Document::new("store.yaml", declared.as_str()),
        ];
        resolve_with(&resolver, documents, &Context::new())
    };
    let open = resolved(Policy::open());
    assert_eq!(property(&open, "p").as_deref(), Some("v"));
    let closed = resolved(Policy::closed());
    assert_eq!(codes(&closed), ["policy-denied"]);
    assert_eq!(closed.problems[0].hint, "add a scope for store `mine`");
}

#[test]
fn what_stands_for_an_access_is_not_shown() {
    let text = "spec: {secrets: {scopes: [{storeName: vault, defaultAccess: p4ssword}]}}";
    let built = Resolver::builder()
        .configuration(Document::new("config.yaml", text))
        .build();
    let Err(BuildError::Configuration(problems)) = built else {
        panic!("it is refused");
    };
    assert!(
        !format!("{problems:?}").contains("p4ssword"),
        "{problems:?}"
    );
}

#[test]
fn a_configuration_that_would_be_no_policy_is_refused() {
    let empty = "---\n# nothing\n---\nspec: {secrets: {scopes: [{storeName: vault, defaultAccess: deny}]}}\n";
    for text in ["", "# nothing\n", "null\n", "{}\n", empty] {
        let builder = |mode| {
            let document = Document::new("config.yaml", text.as_bytes());
            Resolver::builder()
                .configuration(document)
                .mode(mode)
                .build()
        };
        let Err(BuildError::Configuration(problems)) = builder(Mode::Strict) else {
            panic!("it is refused: {text:?}");
        };
        assert_eq!(problems.len(), 1, "{problems:?}");
        // Dapr takes it for one that says nothing.
        assert!(builder(Mode::Dapr).is_ok(), "{text:?}");
    }
}
