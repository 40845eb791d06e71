use std::ffi::OsString;

use super::flags::{FLAGS, REWRITTEN};
use super::{Invocation, Question};

fn of(arguments: &[&str]) -> anyhow::Result<Invocation> {
    Invocation::of(arguments.iter().map(OsString::from).collect())
}

/// What `keyref serve` gets.
fn translated(arguments: &[&str]) -> Vec<String> {
    let invocation = of(&[&["daprd"], arguments].concat()).unwrap();
    let arguments = invocation.arguments.into_iter().skip(2);
    arguments
        .map(|argument| argument.into_string().unwrap())
        .collect()
}

#[test]
fn flags_are_sorted_and_what_is_rewritten_is_a_flag() {
    assert!(FLAGS.is_sorted_by_key(|flag| flag.name));
    for name in REWRITTEN {
        assert!(super::flags::find(name).is_some(), "{name}");
    }
}

#[test]
fn defaults_can_be_read() {
    for flag in FLAGS {
        let read = flag.kind.read(flag.default);
        assert_eq!(read.as_deref(), Some(flag.default), "{}", flag.name);
        assert!(flag.is_default(flag.default), "{}", flag.name);
    }
}

#[test]
fn a_name_or_flags_alone_stand_in_for_daprd() {
    let stands_in = |arguments: &[&str]| of(arguments).unwrap().without_meaning.is_some();
    for arguments in [
        &["daprd"][..],
        &["/usr/bin/daprd", "serve"],
        &["keyref", "-app-id", "x"],
        &["keyref", "--app-id", "serve"],
        &["keyref", "--app-id=x", "--version"],
        &["keyref", "--enable-mtls", "--", "serve"],
        &["keyref", "--store", "x=local.env:Y"],
        &["keyref", "-q"],
    ] {
        assert!(stands_in(arguments), "{arguments:?}");
    }
    for arguments in [
        &["keyref"][..],
        &["keyref", "serve", "--app-id", "x"],
        &["keyref", "--app-id", "x", "serve"],
        &["keyref", "-q", "check", "c.yaml"],
        &["keyref", "--enable-mtls", "resolve"],
        &["keyref", "--no-such-flag", "resolve"],
        &["keyref", "--version"],
        &["keyref", "--help"],
        &["keyref", "-V"],
        &["keyref", "--", "x"],
        &["keyref", "-"],
        &["daprd-not", "x"],
    ] {
        assert!(!stands_in(arguments), "{arguments:?}");
    }
}

#[test]
fn flags_have_the_spellings_of_go() {
    for arguments in [
        &["--app-id", "a", "--log-as-json", "--dapr-http-port=1"][..],
        &["-app-id", "a", "-log-as-json", "-dapr-http-port=1"],
        &["-app-id=a", "--log-as-json=T", "--dapr-http-port", "1"],
        &[
            "--app-id=b",
            "--app-id=a",
            "--log-as-json=0",
            "-log-as-json=1",
            "-dapr-http-port=1",
        ],
    ] {
        let expected = ["--app-id=a", "--dapr-http-port=1", "--log-as-json"];
        assert_eq!(translated(arguments), expected, "{arguments:?}");
    }
    // keyref's own switches as well.
    assert_eq!(translated(&["-stats"]), ["--stats"]);
    // A value is never taken for a flag, a boolean never takes the next argument.
    assert_eq!(
        translated(&["--app-id", "--version"]),
        ["--app-id=--version"]
    );
    assert_eq!(translated(&["--log-as-json", "false"]), ["--log-as-json"]);
    assert_eq!(translated(&["--app-max-concurrency", "-1"]), [""; 0]);
}

#[test]
fn what_has_another_form_is_rewritten() {
    for (arguments, expected) in [
        (
            &["--resources-path", "a,b", "--resources-path=c"][..],
            "--resources-path=a --resources-path=b --resources-path=c",
        ),
        (&["--components-path", "a"], "--resources=a"),
        (
            &["--components-path", "a", "--resources-path", "b"],
            "--resources-path=b",
        ),
        (&["--config=a,b"], "--config=a --config=b"),
        (
            &["--dapr-http-max-request-size", "16"],
            "--max-body-size=16Mi",
        ),
        (
            &["--dapr-http-max-request-size", "16", "--max-body-size=8Mi"],
            "--max-body-size=8Mi",
        ),
        (
            &["--dapr-http-read-buffer-size=0x10"],
            "--read-buffer-size=16Ki",
        ),
        (&["--max-body-size", "-1", "--read-buffer-size", "-1"], ""),
        (&["--dapr-graceful-shutdown-seconds", "-1"], ""),
        (
            &[
                "--app-port",
                "",
                "--dapr-listen-addresses=",
                "--dapr-public-port",
                "",
            ],
            "",
        ),
        (
            &["--enable-api-logging=false"],
            "--enable-api-logging=false",
        ),
        (&["--enable-api-logging"], "--enable-api-logging=true"),
        (
            &["--mode=dapr", "--", "app", "--mode"],
            "--mode=dapr -- app --mode",
        ),
        (
            &["--store", "x=local.env:Y", "-r=z"],
            "--store=x=local.env:Y -r=z",
        ),
    ] {
        assert_eq!(translated(arguments).join(" "), expected, "{arguments:?}");
    }
}

#[test]
fn modes_say_where_it_runs_and_how_strict_it_is() {
    for (arguments, expected) in [
        (&["--mode", "standalone"][..], ""),
        (&["--mode", "kubernetes"], "--kubernetes"),
        (
            &["--mode", "kubernetes", "--mode", "dapr"],
            "--kubernetes --mode=dapr",
        ),
        (
            &["--mode", "kubernetes", "--disable-builtin-k8s-secret-store"],
            "",
        ),
        (&["--mode", "kubernetes", "--mode=standalone"], ""),
    ] {
        assert_eq!(translated(arguments).join(" "), expected, "{arguments:?}");
    }
}

#[test]
fn a_protocol_with_tls_has_a_name_of_its_own() {
    let protocol = |arguments: &[&str]| translated(arguments).pop().unwrap();
    for (arguments, expected) in [
        (&["--app-protocol", "HTTP", "--app-ssl"][..], "https"),
        (&["--app-protocol", "grpc", "--app-ssl"], "grpcs"),
        (&["--app-protocol", "h2c", "--app-ssl"], "h2c"),
        (&["--app-protocol="], "http"),
        (&["--app-ssl=false"], "http"),
    ] {
        let expected = format!("--app-protocol={expected}");
        assert_eq!(protocol(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn what_has_no_meaning_is_named_where_it_says_something() {
    let invocation = of(&[
        "daprd",
        "--enable-mtls",
        "--sentry-address=x",
        "--profile-port",
        "7777",
        "--hot-reload-reconcile-interval=0",
        "--app-max-concurrency=5",
        "true",
    ]);
    assert_eq!(
        invocation.unwrap().without_meaning.unwrap(),
        [
            "--app-max-concurrency",
            "--enable-mtls",
            "--sentry-address",
            "what is no flag"
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    for (arguments, part) in [
        (&["--no-such-flag"][..], "unknown flag: --no-such-flag"),
        (&["--aap-id=x"], "did you mean `--app-id`?"),
        (&["-x"], "unknown flag: --x"),
        (&["--app-id"], "`--app-id` needs a value"),
        (&["--app-max-concurrency", "many"], "takes a number"),
        (&["--app-max-concurrency="], "takes a number"),
        (&["--scheduler-job-streams", "-1"], "not below zero"),
        (&["--enable-mtls=yes"], "takes true or false"),
        (&["--dapr-block-shutdown-duration", "5"], "takes a duration"),
    ] {
        let Err(error) = of(&[&["daprd"], arguments].concat()) else {
            panic!("{arguments:?} is taken");
        };
        assert!(error.to_string().contains(part), "{arguments:?}: {error}");
    }
}

#[test]
fn questions_are_answered_in_the_order_of_dapr() {
    for (arguments, question) in [
        (
            &["daprd", "--wait", "--version"][..],
            Some(Question::Version),
        ),
        (
            &["daprd", "--wait", "-build-info=true"],
            Some(Question::BuildInfo),
        ),
        (&["keyref", "--wait"], Some(Question::Wait)),
        (&["daprd", "--version", "--version=false"], None),
    ] {
        assert_eq!(of(arguments).unwrap().question, question, "{arguments:?}");
    }
    assert_eq!(
        of(&["daprd", "-h"]).unwrap().arguments[1..],
        ["serve", "--help"]
    );
}
