//! The tutorial, and what a cluster adds, against a real API server with RBAC.

use std::path::Path;
use std::process::Output;
use std::sync::{PoisonError, RwLock};

use keyref_tests::kubernetes::{Server, server};
use keyref_tests::library::manifest;
use keyref_tests::{Run, folder, json, workspace};

/// The server's counters are for all of it, so tests that count run alone.
static COUNTING: RwLock<()> = RwLock::new(());

fn run(kubeconfig: &Path, work: &Path, arguments: &[&str]) -> Output {
    Run::new(work, arguments)
        .env("KUBECONFIG", kubeconfig.to_str().unwrap())
        .output()
}

/// A store of a namespace, declared as in the tutorial.
fn store(namespace: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: cluster}}\nspec:\n  type: \
         secretstores.kubernetes\n  version: v1\n  metadata:\n  - {{name: defaultNamespace, value: \
         {namespace}}}\n"
    )
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a lesson from its first step to its last"
)]
fn the_tutorial_resolves_against_a_cluster() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    for (name, literals) in [
        (
            "api-credentials",
            &[
                "api-key=my-secret-key-123",
                "api-secret=my-secret-value-456",
            ][..],
        ),
        ("redis-password", &["password=redis-secret-pass"]),
        ("notification-api", &["api-key=notif-key-abc123"]),
        (
            "kafka-credentials",
            &["username=tasks-producer", "password=kafka-secret-pass"],
        ),
        (
            "database-credentials",
            &["username=tasks", "password=postgres-secret-pass"],
        ),
    ] {
        let literals: Vec<_> = literals
            .iter()
            .map(|literal| format!("--from-literal={literal}"))
            .collect();
        let literals: Vec<_> = literals.iter().map(String::as_str).collect();
        server.kubectl(
            &[
                &[
                    "create",
                    "secret",
                    "generic",
                    name,
                    "--namespace",
                    "default",
                ],
                &literals[..],
            ]
            .concat(),
        );
    }
    let tutorial = |arguments: &[&str]| run(&server.kubeconfig, workspace(), arguments);
    let resolved = json(&tutorial(&[
        "resolve",
        "examples/tutorial",
        "--reveal",
        "--format",
        "json",
    ]));
    let properties = |index: usize| &resolved["components"][index]["properties"];
    assert_eq!(
        properties(0)["saslPassword"],
        "kafka-secret-pass",
        "{resolved}"
    );
    assert_eq!(properties(2)["password"], "postgres-secret-pass");
    assert_eq!(properties(3)["redisPassword"], "redis-secret-pass");
    let resources = [
        "--resources",
        "examples/tutorial",
        "--namespace",
        "default",
        "--format",
        "json",
    ];
    let get = tutorial(
        &[
            &["get", "kubernetes-secrets", "api-credentials"],
            &resources[..],
        ]
        .concat(),
    );
    assert_eq!(
        json(&get),
        serde_json::json!({ "api-key": "my-secret-key-123", "api-secret": "my-secret-value-456" })
    );
    let bulk = tutorial(&[&["bulk", "kubernetes-secrets"], &resources[..]].concat());
    assert_eq!(json(&bulk).as_object().unwrap().len(), 5);
    // Step 7: no `auth.secretStore`.
    let without = std::fs::read_to_string(workspace().join("examples/tutorial/statestore.yaml"))
        .unwrap()
        .replace("auth:\n  secretStore: kubernetes-secrets\n", "");
    let work = folder(&[("c.yaml", without.as_bytes())]);
    let inside = run(
        &server.kubeconfig,
        work.path(),
        &[
            "resolve",
            "c.yaml",
            "--kubernetes",
            "--reveal",
            "--format",
            "json",
        ],
    );
    assert_eq!(
        json(&inside)["components"][0]["properties"]["redisPassword"],
        "redis-secret-pass"
    );
    let outside = run(
        &server.kubeconfig,
        work.path(),
        &["check", "c.yaml", "--format", "json"],
    );
    assert_eq!(json(&outside)["problems"][0]["class"], "store-unknown");
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "an account from its making to its limits"
)]
fn an_account_with_rights_to_one_secret_reads_that_one_alone() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    server.namespace("rights");
    for name in ["mine", "other"] {
        server.kubectl(&[
            "create",
            "secret",
            "generic",
            name,
            "--from-literal=k=v",
            "-n",
            "rights",
        ]);
    }
    let account = server.service_account("rights", "reader");
    server.kubectl(&[
        "create",
        "role",
        "one",
        "--verb=get",
        "--resource=secrets",
        "--resource-name=mine",
        "-n",
        "rights",
    ]);
    server.kubectl(&[
        "create",
        "rolebinding",
        "one",
        "--role=one",
        "--serviceaccount=rights:reader",
        "-n",
        "rights",
    ]);
    let component = manifest(
        "c",
        &[
            "{name: a, secretKeyRef: {name: mine, key: k}}",
            "{name: b, secretKeyRef: {name: other, key: k}}",
        ],
        "cluster",
    );
    let text = format!("{}---\n{component}", store("rights"));
    let work = folder(&[("c.yaml", text.as_bytes())]);
    let output = run(
        &account,
        work.path(),
        &["check", "c.yaml", "--format", "json"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let checked = json(&output);
    let problems = checked["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["class"], "backend-denied");
    assert!(problems[0]["message"].as_str().unwrap().contains("`other`"));
    let get = run(
        &account,
        work.path(),
        &["get", "cluster", "mine", "k", "-r", "c.yaml"],
    );
    assert_eq!(get.stdout, b"v", "{get:?}");
}

#[test]
fn binary_empty_and_large_values_are_exact() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    server.namespace("values");
    let large = vec![b'x'; 1_000_000];
    let work = folder(&[
        ("binary", &[0, 255, 10, 195, 40]),
        ("empty", b""),
        ("large", &large),
        ("c.yaml", store("values").as_bytes()),
    ]);
    for key in ["binary", "empty", "large"] {
        let file = format!("--from-file=k={}", work.path().join(key).display());
        server.kubectl(&["create", "secret", "generic", key, &file, "-n", "values"]);
    }
    let get = |name: &str| {
        run(
            &server.kubeconfig,
            work.path(),
            &["get", "cluster", name, "k", "-r", "c.yaml"],
        )
    };
    assert_eq!(get("binary").stdout, [0, 255, 10, 195, 40]);
    let empty = get("empty");
    assert_eq!(
        (empty.status.code(), empty.stdout.as_slice()),
        (Some(0), &b""[..])
    );
    assert_eq!(get("large").stdout, large);
    let absent = get("absent");
    assert_eq!(absent.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&absent.stderr).contains("error[secret-absent]"),
        "{absent:?}"
    );
}

#[test]
fn bulk_reads_more_than_one_page() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    server.namespace("pages");
    let secrets: Vec<_> = (0..620)
        .map(|index| {
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: s{index}}}\nstringData: {{k: v}}\n"
            )
        })
        .collect();
    let work = folder(&[
        ("all.yaml", secrets.join("---\n").as_bytes()),
        ("c.yaml", store("pages").as_bytes()),
    ]);
    let all = work.path().join("all.yaml");
    server.kubectl(&["create", "-n", "pages", "-f", all.to_str().unwrap()]);
    let arguments = ["bulk", "cluster", "-r", "c.yaml", "--format", "json"];
    let bulk = json(&run(&server.kubeconfig, work.path(), &arguments));
    assert_eq!(bulk.as_object().unwrap().len(), 620);
}

#[test]
fn a_hundred_references_to_keys_of_one_secret_cost_one_get() {
    let Some(server) = server() else { return };
    server.namespace("counting");
    let literals: Vec<_> = (0..100)
        .map(|key| format!("--from-literal=k{key}=v{key}"))
        .collect();
    let literals: Vec<_> = literals.iter().map(String::as_str).collect();
    server.kubectl(
        &[
            &["create", "secret", "generic", "s", "-n", "counting"],
            &literals[..],
        ]
        .concat(),
    );
    let items: Vec<_> = (0..100)
        .map(|key| format!("{{name: p{key}, secretKeyRef: {{name: s, key: k{key}}}}}"))
        .collect();
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    let text = format!(
        "{}---\n{}",
        store("counting"),
        manifest("c", &items, "cluster")
    );
    let work = folder(&[("c.yaml", text.as_bytes())]);
    let _alone = COUNTING.write().unwrap_or_else(PoisonError::into_inner);
    let before = own_reads(server);
    let arguments = ["resolve", "c.yaml", "--reveal", "--format", "json"];
    let resolved = json(&run(&server.kubeconfig, work.path(), &arguments));
    assert_eq!(
        resolved["components"][1]["properties"]["p99"], "v99",
        "{resolved}"
    );
    assert!((own_reads(server) - before - 1.0).abs() < 0.5);
}

/// The counter, once no other test moves it.
fn own_reads(server: &Server) -> f64 {
    let mut last = server.secret_reads();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = server.secret_reads();
        if (now - last).abs() < 0.5 {
            return now;
        }
        last = now;
    }
}
