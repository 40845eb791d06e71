//! Every kind of store passes one suite. `kubernetes.rs` runs it against a cluster.

use std::path::Path;
use std::sync::Arc;

use keyref::env::Environment;
use keyref::stores::{Memory, REGISTRY, SecretStore, StoreConfig, open};
use keyref_tests::folder;
use keyref_tests::stores::{MULTI, Secrets, suite};

const SINGLE: Secrets<'static> = &[("s", &[("s", b"v")]), ("empty", &[("empty", b"")])];

#[test]
fn every_kind_passes_the_suite() {
    for registration in REGISTRY {
        match registration.kind {
            "secretstores.local.env" => local_env(),
            "secretstores.local.file" => local_file(),
            // It needs a server.
            "secretstores.kubernetes" => {}
            kind => panic!("{kind} has no preparation"),
        }
    }
    let memory = Memory::new()
        .with("s", [("k", "v"), ("l", "w: \"x\"\n")])
        .with("empty", [("k", "")]);
    suite("memory", &(Arc::new(memory) as Arc<dyn SecretStore>), MULTI);
}

fn local_env() {
    let variables = Environment::of([
        ("APP_s", "v"),
        ("APP_empty", ""),
        ("DAPR_x", "no"),
        ("OTHER", "no"),
    ]);
    let config = StoreConfig::new("env", "secretstores.local.env")
        .with_environment(variables)
        .with_property("prefix", "APP_");
    suite("local.env", &open(&config).unwrap(), SINGLE);
}

fn local_file() {
    let secret = |name: &str, data: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {data}\n")
    };
    let manifests = [
        secret("s", r#"{k: v, l: "w: \"x\"\n"}"#),
        secret("empty", r#"{k: ""}"#),
    ]
    .join("---\n");
    let work = folder(&[
        ("one.json", br#"{"s": "v", "empty": ""}"#.as_slice()),
        (
            "many.json",
            br#"{"s": {"k": "v", "l": "w: \"x\"\n"}, "empty": {"k": ""}}"#,
        ),
        ("one.yaml", b"s: v\nempty: ''\n"),
        ("one.toml", b"s = 'v'\nempty = ''\n"),
        ("one.env", b"s=v\nempty=\n"),
        ("manifests.yaml", manifests.as_bytes()),
        ("mounted/s", b"v"),
        ("mounted/empty", b""),
    ]);
    let file = |path: &str, multi: bool| {
        let path = Path::join(work.path(), path);
        let mut config = StoreConfig::new("file", "secretstores.local.file")
            .with_property("secretsFile", path.to_str().unwrap());
        if multi {
            config = config.with_property("multiValued", "true");
        }
        open(&config).unwrap()
    };
    for path in ["one.json", "one.yaml", "one.toml", "one.env", "mounted"] {
        suite(path, &file(path, false), SINGLE);
    }
    suite("many.json", &file("many.json", true), MULTI);
    suite("manifests.yaml", &file("manifests.yaml", false), MULTI);
}
