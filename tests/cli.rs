//! The command from outside: exit status, standard output and standard error.

use std::process::{Command, Stdio};

use keyref_tests::library::manifest;
use keyref_tests::{Run, folder, json, keyref, stderr, stdout, tutorial, workspace};

#[test]
fn the_tutorial_resolves_masked() {
    let output = tutorial(&["resolve", "examples/tutorial"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stderr(&output), "");
    assert_eq!(
        stdout(&output),
        "kafka-pubsub (pubsub.kafka/v1)
  brokers       kafka-cluster.kafka.svc.cluster.local:9092
  authType      password
  saslUsername  ***  <- kubernetes-secrets: kafka-credentials, username
  saslPassword  ***  <- kubernetes-secrets: kafka-credentials, password

kubernetes-secrets (secretstores.kubernetes/v1)

tasks-db (state.postgresql/v1)
  host      postgres.default.svc.cluster.local
  user      ***  <- kubernetes-secrets: database-credentials, username
  password  ***  <- kubernetes-secrets: database-credentials, password

statestore (state.redis/v1)
  redisHost      redis-master.default.svc.cluster.local:6379
  redisPassword  ***  <- kubernetes-secrets: redis-password, password
"
    );
}

#[test]
fn the_tutorial_resolves_revealed() {
    let output = tutorial(&[
        "resolve",
        "examples/tutorial",
        "--reveal",
        "--format",
        "json",
    ]);
    let resolved = json(&output);
    let properties = |index: usize| &resolved["components"][index]["properties"];
    assert_eq!(properties(0)["saslUsername"], "tasks-producer");
    assert_eq!(properties(0)["saslPassword"], "kafka-secret-pass");
    assert_eq!(properties(2)["user"], "tasks");
    assert_eq!(properties(3)["redisPassword"], "redis-secret-pass");
    assert_eq!(
        resolved["components"][3]["secret"],
        serde_json::json!(["redisPassword"])
    );
    let output = tutorial(&[
        "resolve",
        "examples/tutorial/statestore.yaml",
        "--reveal",
        "--format",
        "env",
    ]);
    assert_eq!(
        stdout(&output),
        "STATESTORE_REDISHOST='redis-master.default.svc.cluster.local:6379'\n\
         STATESTORE_REDISPASSWORD='redis-secret-pass'\n"
    );
}

#[test]
fn secrets_of_the_tutorial_are_read_by_name() {
    let output = tutorial(&[
        "get",
        "kubernetes-secrets",
        "api-credentials",
        "--format",
        "json",
    ]);
    assert_eq!(
        json(&output),
        serde_json::json!({ "api-key": "my-secret-key-123", "api-secret": "my-secret-value-456" })
    );
    let output = tutorial(&["get", "kubernetes-secrets", "api-credentials", "api-key"]);
    assert_eq!(stdout(&output), "my-secret-key-123");
    let output = tutorial(&["bulk", "kubernetes-secrets", "--format", "json"]);
    assert_eq!(json(&output).as_object().unwrap().len(), 5);
}

#[test]
fn a_problem_shows_its_line_masked_and_a_hint() {
    let text = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: c\nspec:\n  \
                type: state.redis\n  version: v1\n  metadata:\n  - name: p\n    secretKeyRef: \
                {name: redis-password, key: pasword} # hunter2\nauth:\n  secretStore: \
                kubernetes-secrets\n";
    let work = folder(&[("c.yaml", text.as_bytes())]);
    let store = format!(
        "kubernetes-secrets=local.file:{}",
        workspace().join("examples/secrets.yaml").display()
    );
    let output = Run::new(work.path(), &["check", "c.yaml", "--store", &store]).output();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    assert_eq!(
        stderr(&output),
        "error[key-absent]: secret `redis-password` has no key `pasword` (`p` of `c`)
  --> c.yaml:10:47
   |
10 |     secretKeyRef: {name: redis-password, key: pasword} # ***
   |                                               ^^^^^^^
   |
   = hint: did you mean `password`? keys: `password`

"
    );
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["nonsense"][..],
        &["resolve"],
        &["resolve", "none.yaml"],
        &["resolve", "-", "--format", "env"],
        &["resolve", "-", "--store", "x"],
        &["resolve", "-", "--store", "x=nonsense:y"],
        &["resolve", "none*.yaml"],
        &["check", "-", "--config", "none.yaml"],
    ] {
        let work = folder(&[]);
        let output = Run::new(work.path(), arguments).output();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(
            stderr(&output).starts_with("error: "),
            "{arguments:?}: {output:?}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(keyref())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_reader_that_goes_away_does_not_hide_a_failure() {
    let component = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "none");
    let work = folder(&[("c.yaml", component.as_bytes())]);
    for arguments in [
        &["resolve", "c.yaml"][..],
        &["check", "c.yaml", "--format", "sarif"],
    ] {
        let mut child = Command::new(keyref())
            .args(arguments)
            .current_dir(work.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        // A log for programs is the one place for what is wrong.
        let told = stderr(&output).contains("no secret store `none`");
        assert_eq!(told, arguments[0] == "resolve", "{output:?}");
        assert!(!stderr(&output).contains("pipe"), "{output:?}");
    }
}

#[test]
fn a_scope_for_a_store_that_does_not_exist_is_told_by_every_verb_that_reads() {
    let config = "spec: {secrets: {scopes: [{storeName: vualt, defaultAccess: deny}]}}";
    let component = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "vault");
    let work = folder(&[
        ("config.yaml", config.as_bytes()),
        ("c.yaml", component.as_bytes()),
        ("s.json", br#"{"s": "v"}"#),
    ]);
    let second = format!("spec: {{}}\n---\n{config}\n");
    std::fs::write(work.path().join("second.yaml"), second).unwrap();
    for verb in [
        &["resolve", "c.yaml"][..],
        &["check", "c.yaml"],
        &["inspect", "c.yaml"],
        &["get", "vault", "s"],
        &["bulk", "vault"],
    ] {
        let store = ["--store", "vault=local.file:s.json"];
        let config = ["--config", "second.yaml"];
        let output = Run::new(work.path(), &[verb, &store, &config].concat()).output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let warning = "a second document begins here, and only the first is read";
        assert!(stderr(&output).contains(warning), "{verb:?}: {output:?}");
        let common = [
            "--store",
            "vault=local.file:s.json",
            "--config",
            "config.yaml",
        ];
        let output = Run::new(work.path(), &[verb, &common].concat()).output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let warning = "this scope is for store `vualt`, which does not exist";
        assert!(stderr(&output).contains(warning), "{verb:?}: {output:?}");
        assert!(
            stderr(&output).contains("did you mean `vault`?"),
            "{output:?}"
        );
    }
}

#[test]
fn a_store_given_under_nearly_the_right_name_is_told() {
    let component = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "vault");
    let work = folder(&[
        ("c.yaml", component.as_bytes()),
        ("s.json", br#"{"s": "v"}"#),
    ]);
    for verb in ["resolve", "check", "inspect"] {
        let arguments = [verb, "c.yaml", "--store", "vualt=local.file:s.json"];
        let output = Run::new(work.path(), &arguments).output();
        let hint = "did you mean `--store vault=…`?";
        assert!(stderr(&output).contains(hint), "{output:?}");
    }
}

#[test]
fn a_wrong_setting_of_a_store_is_shown_where_it_stands() {
    let store = |items: &[&str]| {
        manifest("vault", items, "").replace("state.redis", "secretstores.local.file")
    };
    let work = folder(&[
        (
            "misspelt.yaml",
            store(&["{name: secretFile, value: s.json}"]).as_bytes(),
        ),
        (
            "absent.yaml",
            store(&["{name: secretsFile, value: none.json}"]).as_bytes(),
        ),
        ("missing.yaml", store(&[]).as_bytes()),
    ]);
    for (file, place, hint) in [
        ("misspelt.yaml", "8:5", "did you mean `secretsFile`?"),
        ("absent.yaml", "8:5", "none.json"),
        ("missing.yaml", "5:9", "set the property `secretsFile`"),
    ] {
        let output = Run::new(work.path(), &["check", file]).output();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            stderr(&output).contains(&format!("{file}:{place}")),
            "{output:?}"
        );
        assert!(stderr(&output).contains(hint), "{output:?}");
    }
}

#[test]
fn policy_is_checked_offline_and_its_slips_are_reported() {
    let work = folder(&[(
        "config.yaml",
        b"kind: Configuration\nspec:\n  secrets:\n    scopes:\n    - storeName: \
          kubernetes-secrets\n      deniedSecrets: [redis-password, kafka-credential]\n    - \
          storeName: kubernetes-secret\n",
    )]);
    let config = work.path().join("config.yaml");
    let arguments = [
        "check",
        "examples/tutorial",
        "--offline",
        "--format",
        "json",
        "--config",
        config.to_str().unwrap(),
    ];
    let output = tutorial(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let checked = json(&output);
    let problems: Vec<_> = checked["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            (
                problem["class"].as_str().unwrap(),
                problem["hint"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        problems,
        [
            (
                "policy-denied",
                "remove `redis-password` from `deniedSecrets` of scope `kubernetes-secrets`"
            ),
            (
                "document-schema",
                "did you mean `kubernetes-secrets`? stores: `kubernetes-secrets`"
            ),
            ("document-schema", "did you mean `kafka-credentials`?"),
        ]
    );
}

#[test]
fn stores_that_need_each_other_are_shown_as_a_circle() {
    let store = |name: &str, needs: &str| {
        manifest(
            name,
            &["{name: secretsFile, secretKeyRef: {name: s}}"],
            needs,
        )
        .replace("state.redis", "secretstores.local.file")
    };
    let text = [store("a", "b"), store("b", "a")].join("---\n");
    let work = folder(&[("c.yaml", text.as_bytes())]);
    for more in [&[][..], &["--offline"]] {
        let arguments = [&["check", "c.yaml", "--format", "json"], more].concat();
        let output = Run::new(work.path(), &arguments).output();
        assert_eq!(output.status.code(), Some(1));
        let checked = json(&output);
        let messages: Vec<_> = checked["problems"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|problem| problem["message"].as_str())
            .collect();
        for circle in ["a -> b -> a", "b -> a -> b"] {
            let shows = |message: &&str| message.ends_with(circle);
            assert!(messages.iter().any(shows), "{more:?}: {messages:?}");
        }
    }
}

#[test]
fn a_misspelt_secret_is_told_unless_its_right_name_is_denied() {
    let secrets = r#"{"redis-password": "v"}"#;
    let config = "kind: Configuration\nspec: {secrets: {scopes: [{storeName: vault, \
                  deniedSecrets: [redis-password]}]}}\n";
    let component = manifest(
        "c",
        &["{name: p, secretKeyRef: {name: redis-pasword}}"],
        "vault",
    );
    let work = folder(&[
        ("c.yaml", component.as_bytes()),
        ("s.json", secrets.as_bytes()),
        ("config.yaml", config.as_bytes()),
    ]);
    let arguments = ["check", "c.yaml", "--store", "vault=local.file:s.json"];
    let told = |more: &[&str]| {
        let output = Run::new(work.path(), &[&arguments, more].concat()).output();
        let error = stderr(&output);
        assert!(error.contains("no secret `redis-pasword`"), "{error}");
        error.contains("did you mean `redis-password`?")
    };
    assert!(told(&[]));
    assert!(!told(&["--config", "config.yaml"]));
}

#[test]
fn every_verb_that_reads_documents_says_what_it_took() {
    let runs: [(&[&str], u32); 6] = [
        (&["resolve", "examples/tutorial"], 3),
        (&["check", "examples/tutorial"], 3),
        (&["check", "examples/tutorial", "--offline"], 0),
        (&["inspect", "examples/tutorial"], 0),
        (&["get", "kubernetes-secrets", "redis-password"], 1),
        (&["bulk", "kubernetes-secrets"], 1),
    ];
    let common = [
        "--store",
        "kubernetes-secrets=local.file:examples/secrets.yaml",
        "--stats",
    ];
    for (arguments, calls) in runs {
        let output = Run::new(workspace(), &[arguments, &common].concat()).output();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let told = stderr(&output);
        let expected = format!("backend calls: {calls}, ");
        assert!(told.contains(&expected), "{arguments:?}: {told}");
    }
}

#[test]
fn an_unknown_kind_of_store_is_told_with_the_nearest() {
    let arguments = ["check", "c.yaml", "--store", "vault=local.fil:x"];
    let output = Run::new(folder(&[]).path(), &arguments).output();
    assert_eq!(output.status.code(), Some(2));
    let error = stderr(&output);
    assert!(error.contains("did you mean `local.file`?"), "{error}");
}

#[test]
fn a_misspelt_type_is_told_with_the_nearest() {
    let text = manifest("c", &[], "").replace("state.redis", "secretstore.local.file");
    let work = folder(&[("c.yaml", text.as_bytes())]);
    for verb in ["check", "inspect", "resolve"] {
        let output = Run::new(work.path(), &[verb, "c.yaml"]).output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stderr(&output).contains("c.yaml:5:9"), "{output:?}");
        let hint = "did you mean `secretstores`?";
        assert!(stderr(&output).contains(hint), "{output:?}");
    }
}

#[test]
fn what_is_wrong_with_a_declared_store_is_told_where_it_is_read_from() {
    let declared = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: v}\nspec:\n  type: \
                    secretstores.local.env\n  version: v1\n  metadata:\n  - {name: prefix, vaule: P_}\n";
    let work = folder(&[("store.yaml", declared.as_bytes())]);
    let output = Run::new(work.path(), &["get", "v", "s", "-r", "store.yaml"]).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("store.yaml:8:20"), "{output:?}");
    assert!(
        stderr(&output).contains("this field is not known"),
        "{output:?}"
    );
}

#[test]
fn problems_come_in_the_order_of_the_documents() {
    let slip = manifest("c", &["{name: p, vaule: x}"], "");
    let work = folder(&[("a.yaml", slip.as_bytes()), ("b.yaml", b"a: [\n")]);
    for arguments in [&["inspect"][..], &["check"], &["check", "--offline"]] {
        let arguments = [arguments, &["a.yaml", "b.yaml", "--format", "json"]].concat();
        let problems = json(&Run::new(work.path(), &arguments).output());
        assert_eq!(
            problems["problems"][0]["document"], "a.yaml",
            "{arguments:?}"
        );
    }
}

#[test]
fn a_type_that_dapr_ends_at_is_told() {
    for (kind, told) in [
        ("", "the component has no type, and Dapr ends at it"),
        ("foo.bar", "Dapr knows no component type of this category"),
        ("State.redis", "no component type begins with `State`"),
    ] {
        let text = manifest("c", &[], "").replace("state.redis", kind);
        let work = folder(&[("c.yaml", text.as_bytes())]);
        let output = Run::new(work.path(), &["check", "c.yaml"]).output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stderr(&output).contains(told), "{output:?}");
    }
}

#[test]
fn offline_and_online_checks_end_alike() {
    let component = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "none");
    let work = folder(&[("c.yaml", component.as_bytes())]);
    for (mode, status) in [("strict", 1), ("dapr", 0)] {
        for arguments in [&["check"][..], &["check", "--offline"]] {
            let all = [arguments, &["c.yaml", "--mode", mode]].concat();
            let output = Run::new(work.path(), &all).output();
            assert_eq!(output.status.code(), Some(status), "{mode}: {output:?}");
            assert!(
                stderr(&output).contains("no secret store `none`"),
                "{output:?}"
            );
        }
    }
}

#[test]
fn a_key_that_is_absent_ends_with_1_and_lists_the_others() {
    let work = folder(&[("s.json", br#"{"s": "v"}"#)]);
    let arguments = [
        "get",
        "vault",
        "s",
        "k",
        "--store",
        "vault=local.file:s.json",
    ];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("keys: `s`"));
}

#[test]
fn the_longest_timeout_is_none() {
    let work = folder(&[("s.json", br#"{"s": "v"}"#)]);
    let arguments = [
        "get",
        "vault",
        "s",
        "s",
        "--store",
        "vault=local.file:s.json",
        "--timeout",
    ];
    let longest = u64::MAX.to_string();
    let arguments = [&arguments[..], &[longest.as_str()]].concat();
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(stdout(&output), "v");
}

#[test]
fn a_setting_of_a_store_that_is_a_secret_is_not_shown() {
    let store = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: inner}\n\
                 spec:\n  type: secretstores.local.file\n  version: v1\n  metadata:\n  \
                 - {name: secretsFile, secretKeyRef: {name: s}}\nauth: {secretStore: vault}\n---\n";
    let user = manifest("c", &["{name: p, secretKeyRef: {name: x}}"], "inner");
    let work = folder(&[
        ("c.yaml", format!("{store}{user}").as_bytes()),
        ("s.json", br#"{"s": "p4ssword"}"#),
    ]);
    for format in ["text", "json", "sarif"] {
        let arguments = [
            "check",
            "c.yaml",
            "--store",
            "vault=local.file:s.json",
            "--format",
        ];
        let output = Run::new(work.path(), &[&arguments[..], &[format]].concat()).output();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!format!("{output:?}").contains("p4ssword"), "{output:?}");
    }
}
