//! Documents: what counts, and what is refused with its place.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::BreakerRule;
use super::definitions::Flow;
use super::retry::{Backoff, Retry};
use super::{Policies, Resiliency};
use crate::document::Document;
use crate::error::Class;
use crate::mode::Mode;
use crate::problem::{Problem, Severity};

const WHOLE: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: r, namespace: n}
scopes: [app, other]
spec:
  policies:
    timeouts: {general: 5s, short: 250, none: 0}
    retries:
      few: {policy: constant, duration: 200ms, maxRetries: 3}
      growing: {policy: Exponential, maxInterval: 10s, maxRetries: -1, matching: {httpStatusCodes: '429,500-599', gRPCStatusCodes: 8-14}}
      plain: {}
    circuitBreakers:
      simple: {maxRequests: 2, interval: 8s, timeout: 45s, trip: consecutiveFailures >= 5}
      plain:
  targets:
    apps: {billing: {timeout: general, circuitBreakerCacheSize: 5}}
    actors: {cart: {retry: few, circuitBreaker: simple, circuitBreakerScope: both}}
    components:
      vault: {outbound: {timeout: general, retry: few, circuitBreaker: simple}}
      cfg: {inbound: {retry: growing}, outbound: {timeout: none}}
";

fn read(texts: &[&str], app_id: Option<&str>, mode: Mode) -> (Resiliency, Vec<Problem>) {
    let documents: Vec<_> = texts
        .iter()
        .map(|text| Document::new("r.yaml", *text))
        .collect();
    Resiliency::read(&documents, app_id, mode)
}

fn shown(problems: &[Problem]) -> Vec<String> {
    let shown = |problem: &Problem| {
        let place = problem.place.as_ref().map(ToString::to_string);
        format!("{} {}", place.unwrap_or_default(), problem.message)
    };
    problems.iter().map(shown).collect()
}

#[test]
fn what_documents_say_is_read() {
    let (resiliency, problems) = read(&[WHOLE], Some("app"), Mode::Strict);
    assert_eq!(shown(&problems), [""; 0]);
    let policy = |store, flow| resiliency.policy(store, flow, None, None);
    let vault = policy("vault", Flow::Secrets).unwrap();
    assert_eq!(vault.name, "component[vault] output");
    assert_eq!(vault.timeout, Some(Duration::from_secs(5)));
    assert_eq!(
        vault.retry,
        Some(Retry::constant(Duration::from_millis(200), 3))
    );
    let rule = BreakerRule {
        most_requests: 2,
        interval: Some(Duration::from_secs(8)),
        open_for: Duration::from_secs(45),
        trip: super::trip::Trip::parse("consecutiveFailures >= 5").unwrap(),
    };
    assert!(vault.breaker.unwrap().is_of("simple-vault", &rule));
    assert!(policy("vault", Flow::Notification).is_none());
    assert!(policy("cfg", Flow::Configuration).is_none());
    let told = policy("cfg", Flow::Notification).unwrap().retry.unwrap();
    let backoff = Backoff::Exponential {
        longest: Duration::from_secs(10),
        until: Duration::from_mins(15),
    };
    assert_eq!((told.backoff, told.most), (backoff, None));
    let names = ["spec.targets.actors", "spec.targets.apps"];
    assert_eq!(resiliency.without_effect(), names);
}

#[test]
fn scopes_say_for_whom_a_document_is() {
    for (app_id, is_meant) in [(Some("other"), true), (Some("third"), false), (None, true)] {
        let (resiliency, problems) = read(&[WHOLE], app_id, Mode::Strict);
        assert_eq!(!resiliency.is_empty(), is_meant, "{app_id:?}");
        assert!(problems.is_empty());
    }
}

#[test]
fn later_documents_replace_what_has_the_same_name() {
    let document = |time| {
        format!(
            "kind: Resiliency\nspec:\n  policies: {{timeouts: {{t: {time}}}}}\n  targets: \
             {{components: {{vault: {{outbound: {{timeout: t}}}}}}}}\n"
        )
    };
    let both = format!("{}---\n{}", document("1s"), document("2s"));
    for (mode, seconds) in [(Mode::Strict, 2), (Mode::Dapr, 1)] {
        let (resiliency, _) = read(&["kind: Component", &both], None, mode);
        let policy = resiliency.policy("vault", Flow::Secrets, None, None);
        let timeout = policy.unwrap().timeout;
        assert_eq!(timeout, Some(Duration::from_secs(seconds)), "{mode:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let with = |spec: &str| format!("kind: Component\n---\nkind: Resiliency\nspec:\n{spec}");
    for (spec, expected) in [
        (
            "  policy: {}\n",
            "5:3 Dapr does not know the field `policy`",
        ),
        (
            "  policies:\n    retries:\n      a: {maxRetry: 3}\n",
            "7:11 Dapr does not know the field `maxRetry`",
        ),
        (
            "  policies:\n    timeouts:\n      a: 5 seconds\n",
            "7:10 this is no duration",
        ),
        (
            "  policies: {timeouts: {a: -5s}}\n",
            "5:28 a duration cannot be less than nothing",
        ),
        (
            "  policies: {retries: {a: {policy: linear}}}\n",
            "5:36 this is no kind of retries",
        ),
        (
            "  policies: {retries: {a: {maxRetries: many}}}\n",
            "5:40 a whole number is expected here",
        ),
        (
            "  policies: {retries: {a: {matching: {httpStatusCodes: 5xx}}}}\n",
            "5:56 these are no status codes",
        ),
        (
            "  policies: {circuitBreakers: {a: {trip: failures > 3}}}\n",
            "5:42 the expression is not understood: it has a name that is none of what is counted",
        ),
        (
            "  targets:\n    components:\n      vault:\n        outbound: {retry: rety}\n",
            "8:27 there is no retry policy of this name",
        ),
        (
            "  targets: {apps: {a: {timeout: x}}}\n",
            "5:33 there is no timeout policy of this name",
        ),
        ("  targets: [x]\n", "5:12 a mapping is expected here"),
        (
            "  targets: {a: 1\n",
            "6:1 the Resiliency document cannot be read",
        ),
    ] {
        let text = with(spec);
        let (_, problems) = read(&[&text], None, Mode::Strict);
        assert_eq!(shown(&problems), [format!("r.yaml:{expected}")], "{spec}");
        assert_eq!(problems[0].severity, Severity::Error);
    }
}

#[test]
fn more_than_is_read_is_refused_at_once() {
    for hostile in ["[".repeat(200_000), "x".repeat(300_000)] {
        let text = format!("kind: Resiliency\nspec: {hostile}\n");
        let (_, problems) = read(&[&text], None, Mode::Strict);
        assert_eq!(problems[0].class, Class::DocumentLimit);
        let (_, problems) = read(&[&text.replace("kind", "x")], None, Mode::Strict);
        assert!(problems.is_empty());
    }
}

/// As in Dapr, where it is a line in the log.
#[test]
fn in_dapr_mode_a_broken_document_does_not_count() {
    let broken = "kind: Resiliency\nspec: {policies: {timeouts: {DefaultTimeoutPolicy: x}}}\n";
    let misspelt =
        "kind: Resiliency\nspec: {policies: {timeout: {}, timeouts: {DefaultTimeoutPolicy: 1s}}}\n";
    let (resiliency, problems) = read(&[broken], None, Mode::Dapr);
    assert!(resiliency.is_empty());
    assert_eq!(problems[0].severity, Severity::Warning);
    let (resiliency, problems) = read(&[misspelt], None, Mode::Dapr);
    assert!(problems.is_empty());
    assert!(
        resiliency
            .policy("any", Flow::Secrets, None, None)
            .is_some()
    );
}

#[test]
fn other_documents_are_not_looked_into() {
    for text in [
        "kind: Component\nmetadata: {name: Resiliency}\nspec: {x: 1}\n",
        "# kind: Resiliency\nkind: Component\n",
        "kind: Component\na: &a\n",
        "Resiliency: {{",
    ] {
        let (resiliency, problems) = read(&[text], None, Mode::Strict);
        assert!(resiliency.is_empty() && problems.is_empty(), "{text}");
    }
}

#[test]
fn breakers_go_on_counting_where_their_rule_stays() {
    let with = |timeout: &str| {
        let text = format!(
            "kind: Resiliency\nspec: {{policies: {{circuitBreakers: \
             {{DefaultCircuitBreakerPolicy: {{timeout: {timeout}}}}}}}}}"
        );
        read(&[&text], None, Mode::Strict).0
    };
    let bind = |resiliency: &Resiliency, before: &Policies| {
        let (secrets, none) = (["vault".to_owned()], []);
        Policies::bind(resiliency, (&secrets, &none), before, None)
    };
    let breaker = |policies: &Policies| {
        let policy = policies.secrets("vault").unwrap();
        Arc::clone(policy.breaker.as_ref().unwrap())
    };
    let first = bind(&with("5s"), &Policies::default());
    let same = bind(&with("5s"), &first);
    assert!(Arc::ptr_eq(&breaker(&first), &breaker(&same)));
    let other = bind(&with("6s"), &first);
    assert!(!Arc::ptr_eq(&breaker(&first), &breaker(&other)));
    assert!(first.secrets("other").is_none());
    assert!(
        bind(&Resiliency::default(), &first)
            .secrets("vault")
            .is_none()
    );
}
