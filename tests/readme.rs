//! The program of the README compiles and does what it is there for.

use keyref::policy::{Policy, SecretsScope};
use keyref::stores::LocalFile;
use keyref::{Context, Document, Resolver, Value};

const MANIFEST: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: db}
spec:
  type: state.postgresql
  version: v1
  metadata:
  - {name: connectionString, secretKeyRef: {name: 'db:connection'}}
auth: {secretStore: vault}
";

/// Calls `connect_with` with each secret value of `db.yaml`.
///
/// What stands in the README stands here line by line.
#[expect(clippy::print_stderr, reason = "the README shows it so")]
async fn embedding(mut connect_with: impl FnMut(&[u8])) -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::open().with_scope(SecretsScope::new("vault").deny("root-token"))?;
    let resolver = Resolver::builder()
        .store("vault", LocalFile::open("secrets.json")?)
        .policy(policy)
        .build()?;
    let documents = vec![Document::new("db.yaml", std::fs::read("db.yaml")?)];
    let resolution = resolver
        .resolve(documents, &Context::new().with_app_id("orders"))
        .await;
    for problem in &resolution.problems {
        eprintln!("{problem} ({})", problem.class);
    }
    for component in &resolution.components {
        for property in &component.properties {
            if let Value::Secret(value) = &property.value {
                connect_with(value.reveal()); // the one way to the bytes
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_program_of_the_readme_resolves() {
    // Not multi-valued, so what is nested has a name of two parts.
    let secrets = br#"{"db": {"connection": "host=db password=hunter2"}}"#;
    let folder =
        keyref_tests::folder(&[("secrets.json", secrets), ("db.yaml", MANIFEST.as_bytes())]);
    // The other test of this process asks for no file.
    std::env::set_current_dir(folder.path()).unwrap();
    let mut connections = Vec::new();
    embedding(|secret| connections.push(secret.to_vec()))
        .await
        .unwrap();
    assert_eq!(connections, [b"host=db password=hunter2".to_vec()]);
}

#[test]
fn the_program_is_the_one_of_the_readme() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("```rust\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    let here = words(include_str!("readme.rs"));
    for part in program.split("\n\n") {
        assert!(here.contains(&words(part)), "{part}");
    }
}
