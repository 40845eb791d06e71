//! The command from outside: exit status, standard output and standard error.

use std::io::Write as _;
use std::process::{Command, Stdio};

use keyref_tests::library::manifest;
use keyref_tests::{Run, folder, json, keyref, workspace};
use serde_json::Value;

const STORE: &str = "kubernetes-secrets=local.file:examples/secrets.yaml";

fn tutorial(arguments: &[&str]) -> std::process::Output {
    Run::new(workspace(), &[arguments, &["--store", STORE]].concat()).output()
}

fn stdout(output: &std::process::Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &std::process::Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

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
fn a_store_that_is_given_is_not_read_as_a_document() {
    let secrets = b"s: v\n";
    let component = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "vault");
    let work = folder(&[
        ("r/secrets.yaml", secrets),
        ("r/c.yaml", component.as_bytes()),
    ]);
    let arguments = [
        "resolve",
        "r",
        "--store",
        "vault=local.file:r/secrets.yaml",
        "--reveal",
        "--format",
        "json",
    ];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(
        json(&output)["components"][0]["properties"]["p"],
        "v",
        "{output:?}"
    );
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
fn standard_input_is_a_document() {
    let mut child = Command::new(keyref())
        .args(["inspect", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = manifest("c", &["{name: p, value: yes}"], "");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let inspected = json(&child.wait_with_output().unwrap());
    assert_eq!(inspected["components"][0]["metadata"][0]["value"], "true");
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
fn what_no_variable_can_hold_keeps_its_component_out_of_the_environment() {
    let plain = |name: &str, value: &str| format!("{{name: {name}, value: {value}}}");
    let nul = manifest("nul", &[&plain("p", "\"a\\0b\"")], "");
    let twice = manifest("twice", &[&plain("a-b", "x"), &plain("a.b", "y")], "");
    let good = manifest("good", &[&plain("p", "\"it's\"")], "");
    let absent = manifest("absent", &["{name: p, secretKeyRef: {name: s}}"], "none");
    let texts = [
        ("1.yaml", &nul),
        ("2.yaml", &twice),
        ("3.yaml", &good),
        ("4.yaml", &absent),
    ];
    let work = folder(&texts.map(|(name, text)| (name, text.as_bytes())));
    let arguments = ["resolve", ".", "--reveal", "--format", "env"];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stdout(&output), "GOOD_P='it'\\''s'\n");
    let errors = stderr(&output);
    for told in [
        "has a NUL",
        "both be the variable `TWICE_A_B`",
        "no secret store `none`",
    ] {
        assert!(errors.contains(told), "{told}: {errors}");
    }
}

#[test]
fn a_header_and_a_document_of_one_name_are_not_mixed_up() {
    let endpoint = "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: e}\nspec:\n  \
        baseUrl: http://x\n  headers: [{name: rootCA, value: a}]\n  clientTLS: {rootCA: {value: b}}\n";
    let work = folder(&[("e.yaml", endpoint.as_bytes())]);
    let output = Run::new(work.path(), &["resolve", "e.yaml", "--format", "json"]).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shape: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shape["components"], serde_json::json!([]));
    assert_eq!(shape["problems"][0]["class"], "document-schema");
    assert_eq!(shape["problems"][0]["property"], "rootCA");
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
fn a_log_for_code_scanning_names_files_by_their_uri() {
    let work = folder(&[("a b.yaml", b"a: b: c\n")]);
    let whole = work.path().join("a b.yaml");
    let whole = whole.to_str().unwrap();
    let uri = format!("file://{}", whole.replace(' ', "%20"));
    for (path, expected) in [("a b.yaml", "a%20b.yaml"), (whole, uri.as_str())] {
        let output = Run::new(work.path(), &["check", path, "--format", "sarif"]).output();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let log: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let result = &run["results"][0];
        assert_eq!(result["ruleId"], "document-syntax");
        assert_eq!(result["level"], "error");
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], expected);
        assert_eq!(place["region"]["startLine"], 1);
    }
}

#[test]
fn yaml_is_the_same_as_json() {
    for verb in ["resolve", "check", "inspect"] {
        let shape = |format: &str| {
            let output = tutorial(&[verb, "examples/tutorial", "--format", format]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            match format {
                "json" => serde_json::from_slice::<Value>(&output.stdout).unwrap(),
                _ => serde_yaml::from_slice(&output.stdout).unwrap(),
            }
        };
        assert_eq!(shape("yaml"), shape("json"), "{verb}");
    }
}

#[test]
fn files_folders_and_patterns_are_read_together_and_once_each_in_order() {
    let component = |name: &str| manifest(name, &[], "");
    let texts = [
        ("a/2.yaml", component("two")),
        ("a/1.yml", component("one")),
        ("a/below/3.yaml", component("three")),
        ("a/notes.txt", component("notes")),
        ("4.yaml", component("four")),
    ];
    let files: Vec<_> = texts
        .iter()
        .map(|(path, text)| (*path, text.as_bytes()))
        .collect();
    let work = folder(&files);
    let names = |arguments: &[&str]| {
        let all = [&["inspect", "--format", "json"], arguments].concat();
        let output = Run::new(work.path(), &all).output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shape: Value = serde_json::from_slice(&output.stdout).unwrap();
        let components = shape["components"].as_array().unwrap().iter();
        let names = components.map(|component| component["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&["a"]), ["one", "two"]);
    assert_eq!(names(&["4.yaml", "a"]), ["four", "one", "two"]);
    assert_eq!(names(&["a/*.yaml"]), ["two"]);
    assert_eq!(names(&["a/**/*.yaml"]), ["two", "three"]);
    assert_eq!(names(&["a/[0-9].y*ml", "4.yaml"]), ["one", "two", "four"]);
    let output = Run::new(work.path(), &["inspect", "b*.yaml"]).output();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        stderr(&output).contains("no file matches `b*.yaml`"),
        "{output:?}"
    );
}

#[test]
fn output_for_programs_fits_its_schema() {
    let runs: [(&str, &[&str]); 7] = [
        ("resolve", &["resolve", "examples/tutorial"]),
        ("resolve", &["resolve", "examples/tutorial", "--reveal"]),
        ("inspect", &["inspect", "examples/tutorial"]),
        ("check", &["check", "examples/tutorial"]),
        ("stores", &["stores", "examples/tutorial"]),
        ("get", &["get", "kubernetes-secrets", "redis-password"]),
        ("bulk", &["bulk", "kubernetes-secrets"]),
    ];
    for (verb, arguments) in runs {
        let output = json(&tutorial(&[arguments, &["--format", "json"]].concat()));
        assert_fits(verb, &output);
    }
    let broken = folder(&[("c.yaml", b"a: b: c\n---\nkind: Component\n")]);
    for verb in ["resolve", "inspect", "check"] {
        let output = Run::new(broken.path(), &[verb, "c.yaml", "--format", "json"]).output();
        assert_eq!(output.status.code(), Some(1));
        assert_fits(verb, &json(&output));
    }
}

fn assert_fits(verb: &str, output: &Value) {
    let path = workspace().join(format!("docs/schema/{verb}.json"));
    let mut schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    close(&mut schema);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(output)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{verb}: {errors:?}\n{output}");
}

/// Lets a schema refuse what it does not name. As published it does not, because fields may be added;
/// what is printed today must all stand in it.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.contains_key("properties") && fields.get("type") == Some(&"object".into()) {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn names_that_a_terminal_would_obey_are_escaped() {
    let name = "a\\e[31mb\\u202ec";
    let item = format!("{{name: \"{name}\", secretKeyRef: {{name: \"{name}\"}}}}");
    let text = manifest(
        "c",
        &[&item, &format!("{{name: p, value: \"{name}\"}}")],
        "vault",
    );
    let text = text.replace("{name: c}", &format!("{{name: \"{name}\"}}"));
    let work = folder(&[("c.yaml", text.as_bytes()), ("s.json", b"{}")]);
    for verb in ["inspect", "resolve", "check", "stores"] {
        let arguments = [
            verb,
            "c.yaml",
            "--store",
            "vault=local.file:s.json",
            "--mode",
            "dapr",
        ];
        let output = Run::new(work.path(), &arguments).output();
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{verb}: {text}");
        }
    }
}

#[test]
fn a_binary_value_keeps_only_itself_out_of_bulk() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: binary}\ndata: {k: //8=}\n---\n\
                  apiVersion: v1\nkind: Secret\nmetadata: {name: text}\nstringData: {k: v}\n";
    let work = folder(&[("s.yaml", secret.as_bytes())]);
    let arguments = [
        "bulk",
        "vault",
        "--store",
        "vault=local.file:s.yaml",
        "--format",
        "json",
    ];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap(),
        serde_json::json!({ "text": { "k": "v" } })
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("binary"));
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
fn a_pattern_may_begin_with_this_folder() {
    let text = manifest("c", &[], "");
    let work = folder(&[("r/c.yaml", text.as_bytes())]);
    let output = Run::new(work.path(), &["check", "./r/*.yaml"]).output();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
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
