//! The tutorial, and what a cluster adds, against a real API server with RBAC.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{PoisonError, RwLock};

use keyref::env::Environment;
use keyref::stores::{StoreConfig, open};
use keyref_tests::backends::{Backend as _, ConfigMap};
use keyref_tests::configuration;
use keyref_tests::kubernetes::{Server, server};
use keyref_tests::library::manifest;
use keyref_tests::stores::{MULTI, suite};
use keyref_tests::{Run, folder, json, keyref, workspace};

/// The server's counters are for all of it, so tests that count run alone, and one that restarts it.
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
        let gone = ["delete", "secret", name, "--namespace", "default"];
        server.kubectl(&[&gone[..], &["--ignore-not-found"]].concat());
        server.secret("default", name, literals);
    }
    let tutorial = |arguments: &[&str]| run(&server.kubeconfig, workspace(), arguments);
    // Step 2: the store is listed, and nobody is asked.
    let nowhere = Path::new("/nonexistent/kubeconfig");
    let arguments = ["stores", "examples/tutorial", "--format", "json"];
    let listed = json(&run(nowhere, workspace(), &arguments));
    assert_eq!(
        listed["stores"],
        serde_json::json!([{
            "name": "kubernetes-secrets",
            "type": "secretstores.kubernetes",
            "declared": "examples/tutorial/kubernetes-secrets.yaml:1:1",
        }])
    );
    // Step 6.
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
    // Steps 3 to 5.
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
    let bulk = json(&bulk);
    for name in ["api-credentials", "redis-password", "notification-api"] {
        assert!(bulk.get(name).is_some(), "{name}");
    }
    assert_eq!(bulk["kafka-credentials"]["username"], "tasks-producer");
    assert_eq!(bulk["database-credentials"]["username"], "tasks");
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
fn an_account_with_rights_to_one_secret_reads_that_one_alone() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = server.namespace("rights");
    for name in ["mine", "other"] {
        server.secret(&namespace, name, &["k=v"]);
    }
    let account = server.service_account(&namespace, "reader");
    let here = ["-n", &namespace];
    let role = ["create", "role", "one", "--verb=get", "--resource=secrets"];
    server.kubectl(&[&role[..], &["--resource-name=mine"], &here].concat());
    let binding = ["create", "rolebinding", "one", "--role=one"];
    let subject = format!("--serviceaccount={namespace}:reader");
    server.kubectl(&[&binding[..], &[&subject], &here].concat());
    let component = manifest(
        "c",
        &[
            "{name: a, secretKeyRef: {name: mine, key: k}}",
            "{name: b, secretKeyRef: {name: other, key: k}}",
        ],
        "cluster",
    );
    let text = format!("{}---\n{component}", store(&namespace));
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
    let namespace = server.namespace("values");
    let large = vec![b'x'; 1_000_000];
    let work = folder(&[
        ("binary", &[0, 255, 10, 195, 40]),
        ("empty", b""),
        ("large", &large),
        ("c.yaml", store(&namespace).as_bytes()),
    ]);
    for key in ["binary", "empty", "large"] {
        let file = format!("--from-file=k={}", work.path().join(key).display());
        server.kubectl(&["create", "secret", "generic", key, &file, "-n", &namespace]);
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
    let namespace = server.namespace("pages");
    let secrets: Vec<_> = (0..620)
        .map(|index| {
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: s{index}}}\nstringData: {{k: v}}\n"
            )
        })
        .collect();
    let work = folder(&[
        ("all.yaml", secrets.join("---\n").as_bytes()),
        ("c.yaml", store(&namespace).as_bytes()),
    ]);
    let all = work.path().join("all.yaml");
    server.kubectl(&["create", "-n", &namespace, "-f", all.to_str().unwrap()]);
    let arguments = ["bulk", "cluster", "-r", "c.yaml", "--format", "json"];
    let bulk = json(&run(&server.kubeconfig, work.path(), &arguments));
    assert_eq!(bulk.as_object().unwrap().len(), 620);
}

#[test]
fn a_hundred_references_to_keys_of_one_secret_cost_one_get() {
    let Some(server) = server() else { return };
    let _alone = COUNTING.write().unwrap_or_else(PoisonError::into_inner);
    let namespace = server.namespace("counting");
    let literals: Vec<_> = (0..100).map(|key| format!("k{key}=v{key}")).collect();
    let literals: Vec<_> = literals.iter().map(String::as_str).collect();
    server.secret(&namespace, "s", &literals);
    let items: Vec<_> = (0..100)
        .map(|key| format!("{{name: p{key}, secretKeyRef: {{name: s, key: k{key}}}}}"))
        .collect();
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    let text = format!(
        "{}---\n{}",
        store(&namespace),
        manifest("c", &items, "cluster")
    );
    let work = folder(&[("c.yaml", text.as_bytes())]);
    let before = own_reads(server);
    let arguments = ["resolve", "c.yaml", "--reveal", "--format", "json"];
    let resolved = json(&run(&server.kubeconfig, work.path(), &arguments));
    assert_eq!(
        resolved["components"][1]["properties"]["p99"], "v99",
        "{resolved}"
    );
    assert!((own_reads(server) - before - 1.0).abs() < 0.5);
}

#[test]
fn a_cluster_passes_the_suite_of_all_stores() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = server.namespace("suite");
    server.secret(&namespace, "s", &["k=v", "l=w: \"x\"\n"]);
    server.secret(&namespace, "empty", &["k="]);
    let kubeconfig = server.kubeconfig.to_str().unwrap();
    let config = StoreConfig::new("cluster", "secretstores.kubernetes")
        .with_environment(Environment::of([("KUBECONFIG", kubeconfig)]))
        .with_property("defaultNamespace", namespace.as_str());
    suite("kubernetes", &open(&config).unwrap(), MULTI);
}

/// Runs a command with what Kubernetes mounts into a pod: `/var/run` is this process's alone.
const IN_A_POD: &str = "mount -t tmpfs none /run && mkdir -p \"$ACCOUNT\" && \
    printf %s \"$TOKEN\" >\"$ACCOUNT/token\" && cp \"$AUTHORITY\" \"$ACCOUNT/ca.crt\" && exec \"$@\"";

#[test]
#[expect(clippy::print_stderr, reason = "says why it did not run")]
fn a_pod_reads_with_its_own_service_account() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    let private = Command::new("unshare").args(["-rm", "true"]).status();
    if !private.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a mount of its own is not allowed here (`unshare -rm`)");
        return;
    }
    let namespace = server.namespace("pod");
    server.secret(&namespace, "s", &["k=v"]);
    server.service_account(&namespace, "pod");
    let here = ["-n", &namespace];
    let role = ["create", "role", "all", "--verb=get", "--resource=secrets"];
    server.kubectl(&[&role[..], &here].concat());
    let binding = ["create", "rolebinding", "all", "--role=all"];
    let subject = format!("--serviceaccount={namespace}:pod");
    server.kubectl(&[&binding[..], &[&subject], &here].concat());
    let (host, port) = server.address.rsplit_once(':').unwrap();
    let component = manifest("c", &["{name: p, secretKeyRef: {name: s, key: k}}"], "");
    let work = folder(&[("c.yaml", component.as_bytes())]);
    let run = |token: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", IN_A_POD, "sh"]);
        command
            .arg(keyref())
            .args(["resolve", "c.yaml", "--kubernetes"]);
        command.args(["--reveal", "--format", "json"]);
        command.current_dir(work.path());
        command.env_remove("KUBECONFIG");
        command.env("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount");
        command
            .env("TOKEN", token)
            .env("AUTHORITY", &server.authority);
        command.env(
            "KUBERNETES_SERVICE_HOST",
            host.trim_start_matches("https://"),
        );
        command.env("KUBERNETES_SERVICE_PORT", port);
        command.env("NAMESPACE", &namespace);
        command.output().unwrap()
    };
    let resolved = json(&run(&server.token(&namespace, "pod")));
    assert_eq!(
        resolved["components"][0]["properties"]["p"], "v",
        "{resolved}"
    );
    let refused = run("none");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let refused: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(refused["problems"][0]["class"], "backend-denied");
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

#[test]
fn a_config_map_passes_the_suite_of_configuration_stores() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    let mut map = ConfigMap::new(server, "followed-map");
    let namespace = map.namespace.clone();
    configuration::suite(&mut map, &[("NAMESPACE", &namespace)]);
}

#[test]
fn a_config_map_is_followed_over_a_restart_of_the_server() {
    let Some(server) = server() else { return };
    let _alone = COUNTING.write().unwrap_or_else(PoisonError::into_inner);
    let map = ConfigMap::new(server, "restarted");
    map.patch(&serde_json::json!({ "data": { "a": "one", "b": "two" } }));
    let variables = [("NAMESPACE", map.namespace.as_str())];
    let (_work, keyref) = configuration::serve(&map.component(), &variables);
    let mut stream = configuration::subscribe(&keyref, &[]);
    assert_eq!(configuration::told(&mut stream).len(), 2);
    server.restart();
    map.patch(&serde_json::json!({ "data": { "a": "new", "b": null } }));
    let told = configuration::told(&mut stream);
    let told: Vec<_> = told
        .iter()
        .map(|(key, item)| (key.as_str(), item.value.as_str()))
        .collect();
    assert_eq!(told, [("a", "new"), ("b", "")]);
    assert!(stream.is_silent(std::time::Duration::from_millis(1_500)));
}

#[test]
fn a_config_map_tells_bytes_and_its_own_end() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    let map = ConfigMap::new(server, "bytes-map");
    let variables = [("NAMESPACE", map.namespace.as_str())];
    let (_work, keyref) = configuration::serve(&map.component(), &variables);
    map.patch(&serde_json::json!({ "data": { "text": "one" }, "binaryData": { "bytes": "AP8=" } }));
    let items = configuration::get(&keyref, "cfg", &[])
        .message
        .unwrap()
        .items;
    assert_eq!(
        (items["text"].value.as_str(), items["bytes"].value.as_str()),
        ("one", "AP8=")
    );
    assert_eq!(items["bytes"].metadata["encoding"], "base64");
    assert!(items["text"].metadata.is_empty());
    let mut stream = configuration::subscribe(&keyref, &[]);
    assert_eq!(configuration::told(&mut stream).len(), 2);
    // What has not changed is not told, though its version has.
    map.patch(&serde_json::json!({ "data": { "text": "two" } }));
    let changed = configuration::told(&mut stream);
    assert_eq!(changed.keys().collect::<Vec<_>>(), ["text"]);
    assert_ne!(changed["text"].version, items["text"].version);
    server.kubectl(&[
        "delete",
        "configmap",
        "settings",
        "--namespace",
        &map.namespace,
    ]);
    let gone = configuration::told(&mut stream);
    assert_eq!(gone.len(), 2);
    for item in gone.values() {
        assert_eq!(
            (item.value.as_str(), item.metadata["deleted"].as_str()),
            ("", "true")
        );
        assert_ne!(item.version, changed["text"].version);
    }
    assert!(configuration::values(&keyref, &[]).is_empty());
    server.kubectl(&[
        "create",
        "configmap",
        "settings",
        "--namespace",
        &map.namespace,
        "--from-literal=text=new",
    ]);
    assert_eq!(configuration::told(&mut stream)["text"].value, "new");
}

#[test]
fn a_config_map_that_may_not_be_read_says_what_to_grant() {
    let Some(server) = server() else { return };
    let _others = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = server.namespace("no-config-map");
    let kubeconfig = server.service_account(&namespace, "app");
    let kubeconfig = kubeconfig.to_str().unwrap();
    let metadata = [
        ("configMapName", "settings"),
        ("kubeconfigPath", kubeconfig),
    ];
    let yaml = keyref_tests::backends::component("configuration.kubernetes", &metadata);
    let (_work, keyref) = configuration::serve(&yaml, &[("NAMESPACE", &namespace)]);
    let reply = configuration::get(&keyref, "cfg", &[]);
    let expected =
        format!("the API server refuses to list config map `settings` in namespace `{namespace}`");
    assert!(reply.text.ends_with(&expected), "{reply:?}");
    // To list and to watch it is enough.
    let role = [
        "create",
        "role",
        "app",
        "--verb",
        "list,watch",
        "--resource",
        "configmaps",
    ];
    let only = ["--resource-name", "settings", "--namespace", &namespace];
    server.kubectl(&[&role[..], &only].concat());
    let account = format!("{namespace}:app");
    let bind = [
        "create",
        "rolebinding",
        "app",
        "--role",
        "app",
        "--serviceaccount",
        &account,
    ];
    server.kubectl(&[&bind[..], &["--namespace", &namespace]].concat());
    keyref_tests::backends::wait_until("the right", || {
        configuration::get(&keyref, "cfg", &[]).status == 0
    });
    drop(configuration::subscribe(&keyref, &[]));
}
