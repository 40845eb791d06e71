//! The store against an API server that is played by the test. Time is the test's too.

use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use tokio::time::Instant;
use tower_test::mock::{self, Handle};

use super::super::Kubernetes;
use super::CANARY;
use crate::context::Context;
use crate::error::Class;
use crate::secret::Secret;
use crate::stores::{BulkRequest, SecretRequest, SecretStore as _, StoreError};

const REDIS: &str = r#"{
    "kind": "Secret", "apiVersion": "v1",
    "metadata": {"name": "redis", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
    "data": {"password": "czNjcjN0", "blob": "/wD+", "empty": "", "none": null},
    "type": "Opaque"
}"#;

type Server = Handle<Request<Body>, Response<Body>>;

fn store() -> (Kubernetes, Server) {
    let (service, server) = mock::pair();
    (
        Kubernetes::new(kube::Client::new(service, "unused"), "prod"),
        server,
    )
}

fn answer(status: u16, body: &str) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(Body::from(body.as_bytes().to_vec()))
        .unwrap()
}

/// Gives these answers, one for each request, and returns what was asked.
async fn serve(server: &mut Server, answers: Vec<Response<Body>>) -> Vec<String> {
    let mut asked = Vec::new();
    for answer in answers {
        let (request, reply) = server.next_request().await.expect("a request");
        asked.push(format!("{} {}", request.method(), request.uri()));
        reply.send_response(answer);
    }
    asked
}

/// One `get`, with what was asked for it.
async fn get(answers: Vec<Response<Body>>) -> (Result<Option<Secret>, StoreError>, Vec<String>) {
    let (store, mut server) = store();
    let (request, context) = (SecretRequest::new("redis"), Context::new());
    let outcome = tokio::join!(store.get(&request, &context), serve(&mut server, answers));
    assert_silent(store, server).await;
    outcome
}

/// There was no request but those that were answered.
async fn assert_silent(store: Kubernetes, mut server: Server) {
    drop(store);
    assert!(
        server.next_request().await.is_none(),
        "one request too many"
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_costs_one_get_and_keeps_its_bytes() {
    let (secret, asked) = get(vec![answer(200, REDIS)]).await;
    let secret = secret.unwrap().unwrap();
    assert_eq!(asked, ["GET /api/v1/namespaces/prod/secrets/redis"]);
    assert_eq!(
        secret.keys().collect::<Vec<_>>(),
        ["blob", "empty", "none", "password"]
    );
    assert_eq!(secret.get("password").unwrap().reveal(), b"s3cr3t");
    assert_eq!(secret.get("blob").unwrap().reveal(), [0xff, 0x00, 0xfe]);
    assert!(secret.get("empty").unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_secret_without_data_is_empty_and_exists() {
    let (secret, _) = get(vec![answer(200, r#"{"metadata": {"name": "redis"}}"#)]).await;
    assert!(secret.unwrap().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again() {
    let start = Instant::now();
    let answers = vec![
        answer(429, ""),
        answer(500, ""),
        answer(503, ""),
        answer(200, REDIS),
    ];
    let (secret, asked) = get(answers).await;
    assert!(secret.unwrap().is_some());
    assert_eq!(asked.len(), 4);
    // Pauses of 200, 400 and 800 ms, each cut by at most a half.
    let elapsed = start.elapsed();
    assert!((700..=1500).contains(&elapsed.as_millis()), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_when_is_asked_then() {
    let start = Instant::now();
    let mut busy = answer(429, "");
    busy.headers_mut()
        .insert("retry-after", "7".parse().unwrap());
    let (secret, _) = get(vec![busy, answer(200, REDIS)]).await;
    assert!(secret.unwrap().is_some());
    assert_eq!(start.elapsed().as_secs(), 7);

    for too_long in ["3600", "18446744073709551615"] {
        let start = Instant::now();
        let mut busy = answer(429, "");
        busy.headers_mut()
            .insert("retry-after", too_long.parse().unwrap());
        let (secret, _) = get(vec![busy]).await;
        assert_eq!(secret.unwrap_err().class, Class::Throttled);
        assert_eq!(start.elapsed().as_secs(), 0, "waited for nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_at_fault_is_asked_four_times() {
    let (secret, asked) = get((0..4).map(|_| answer(500, CANARY)).collect()).await;
    let error = secret.unwrap_err();
    assert_eq!(error.class, Class::Unreachable);
    assert_eq!(asked.len(), 4);
    assert!(!format!("{error:?}").contains(CANARY));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final() {
    for status in [401, 403] {
        let (secret, _) = get(vec![answer(status, CANARY)]).await;
        let error = secret.unwrap_err();
        assert_eq!(error.class, Class::BackendDenied);
        assert_eq!(
            error.message,
            "the API server refuses to get secret `redis` in namespace `prod`"
        );
        assert!(!format!("{error:?}").contains(CANARY));
    }
    let (secret, _) = get(vec![answer(403, "")]).await;
    assert!(
        secret
            .unwrap_err()
            .hint
            .contains("verb `get` on `secrets` in namespace `prod`")
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_no_failure() {
    let status = r#"{"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "secrets \"redis\" not found", "reason": "NotFound",
        "details": {"name": "redis", "kind": "secrets"}, "code": 404}"#;
    assert!(get(vec![answer(404, status)]).await.0.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_found_by_another_than_an_api_server_is_a_failure() {
    let bodies = [
        "",
        "404 page not found\n",
        CANARY,
        r#"{"kind": "Status", "reason": "Forbidden"}"#,
        r#"{"kind": "Other", "reason": "NotFound"}"#,
    ];
    for body in bodies {
        let error = get(vec![answer(404, body)]).await.0.unwrap_err();
        assert_eq!(error.class, Class::Unreachable, "{body}");
        assert!(error.hint.contains("an API server's"), "{error:?}");
        assert!(!format!("{error:?}").contains(CANARY));
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirection_is_not_followed() {
    let mut moved = answer(302, "");
    moved
        .headers_mut()
        .insert("location", "https://example.com/login".parse().unwrap());
    assert_eq!(
        get(vec![moved]).await.0.unwrap_err().class,
        Class::Unreachable
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_tried_again() {
    let (store, mut server) = store();
    let (request, context) = (SecretRequest::new("redis"), Context::new());
    let ((), secret) = tokio::join!(
        async {
            let (_, reply) = server.next_request().await.unwrap();
            reply.send_error(CANARY);
            serve(&mut server, vec![answer(200, REDIS)]).await;
        },
        store.get(&request, &context)
    );
    assert!(secret.unwrap().is_some());

    drop(server);
    let error = store.get(&request, &context).await.unwrap_err();
    assert_eq!(error.class, Class::Unreachable);
    assert_eq!(
        error.message,
        "cannot reach the API server: the connection broke"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_answer_is_not_shown() {
    for body in [
        r#"{"metadata": {"name": "redis"}, "data": {"a": "c4n4ry-not-base64"}}"#,
        r#"{"metadata": {"name": "redis"}, "data": "c4n4ry"}"#,
        r#"{"metadata": {"name": "redis"}, "data": {"a": ["c4n4ry"]}}"#,
        "<html>c4n4ry</html>",
        r#"{"data": {"c4n4ry": "YQ=="#,
    ] {
        let error = get(vec![answer(200, body)]).await.0.unwrap_err();
        assert_eq!(error.class, Class::Unreachable);
        assert!(!format!("{error:?} {error}").contains(CANARY), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_request() {
    let start = Instant::now();
    let (store, _server) = store();
    let (request, context) = (
        SecretRequest::new("redis"),
        Context::new().with_timeout(Duration::from_secs(2)),
    );
    let error = store.get(&request, &context).await.unwrap_err();
    assert_eq!(error.class, Class::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_time_and_so_have_all() {
    let start = Instant::now();
    let (store, mut server) = store();
    let (request, context) = (SecretRequest::new("redis"), Context::new());
    let asked = async {
        let mut unanswered = Vec::new();
        while let Some(request) = server.next_request().await {
            unanswered.push(request);
        }
        unanswered.len()
    };
    let get = async {
        let outcome = store.get(&request, &context).await;
        drop(store);
        outcome
    };
    let (secret, asked) = tokio::join!(get, asked);
    assert_eq!(secret.unwrap_err().class, Class::TimedOut);
    assert_eq!(asked, 3);
    assert!(
        (29..=30).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_cannot_be_is_absent_without_a_request() {
    let (store, server) = store();
    for name in ["a/b", "..", ".", "%2e%2e", "Redis", "", "a?b"] {
        let request = SecretRequest::new(name);
        assert!(
            store
                .get(&request, &Context::new())
                .await
                .unwrap()
                .is_none(),
            "{name}"
        );
    }
    let request = SecretRequest::new("redis").with_namespace("../kube-system");
    assert!(
        store
            .get(&request, &Context::new())
            .await
            .unwrap()
            .is_none()
    );
    assert_silent(store, server).await;
}

fn list(names: &[&str], next: &str) -> Response<Body> {
    let items: Vec<_> = names
        .iter()
        .map(|name| serde_json::json!({"metadata": {"name": name}, "data": {"key": "YQ=="}}))
        .collect();
    let metadata = serde_json::json!({"resourceVersion": "1", "continue": next});
    answer(
        200,
        &serde_json::json!({"metadata": metadata, "items": items}).to_string(),
    )
}

#[tokio::test(start_paused = true)]
async fn bulk_reads_all_pages_of_one_namespace() {
    let (store, mut server) = store();
    let (request, context) = (BulkRequest::new("other"), Context::new());
    let (secrets, asked) = tokio::join!(
        store.bulk(&request, &context),
        serve(
            &mut server,
            vec![list(&["a", "b"], "x=&y"), list(&["c"], "")]
        )
    );
    assert_eq!(secrets.unwrap().keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(
        asked,
        [
            "GET /api/v1/namespaces/other/secrets?&limit=500",
            "GET /api/v1/namespaces/other/secrets?&limit=500&continue=x%3D%26y",
        ]
    );
    assert_silent(store, server).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_runs_out_of_date_begins_anew_once() {
    let (store, mut server) = store();
    let (request, context) = (BulkRequest::default(), Context::new());
    let gone = || answer(410, CANARY);
    let (secrets, _) = tokio::join!(
        store.bulk(&request, &context),
        serve(
            &mut server,
            vec![
                list(&["old"], "1"),
                gone(),
                list(&["a"], "2"),
                list(&["b"], "")
            ]
        )
    );
    assert_eq!(secrets.unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);

    let (secrets, _) = tokio::join!(
        store.bulk(&request, &context),
        serve(
            &mut server,
            vec![list(&["a"], "1"), gone(), list(&["a"], "2"), gone()]
        )
    );
    assert_eq!(secrets.unwrap_err().class, Class::Unreachable);
    assert_silent(store, server).await;
}

#[test]
fn debug_shows_names_only() {
    let config = crate::stores::StoreConfig::new("k8s", "secretstores.kubernetes")
        .with_property("KubeConfigPath", CANARY)
        .with_property("DEFAULTNAMESPACE", "prod");
    let store = Kubernetes::from_config(&config).unwrap();
    assert_eq!(
        format!("{store:?}"),
        r#"Kubernetes { name: "k8s", default_namespace: Some("prod"), .. }"#
    );
}

#[tokio::test]
async fn the_namespace_is_the_nearest_that_is_set() {
    let mut config = crate::stores::StoreConfig::new("k8s", "secretstores.kubernetes");
    let namespace = |config: &_, requested: &str| {
        let store = Kubernetes::from_config(config).unwrap();
        store.namespace(requested).map(str::to_owned)
    };
    let error = namespace(&config, "").unwrap_err();
    assert_eq!(error.class, Class::StoreMisconfigured);
    assert_eq!(
        error.message,
        "namespace is missing on metadata and NAMESPACE env variable, and no default namespace is set"
    );
    config = config.with_property("defaultNamespace", "default");
    assert_eq!(namespace(&config, "").unwrap(), "default");
    config.namespace = Some("resolver".to_owned());
    assert_eq!(namespace(&config, "").unwrap(), "resolver");
    assert_eq!(namespace(&config, "request").unwrap(), "request");
    let wrong = config.with_property("defaultNamespace", "a/b");
    assert!(Kubernetes::from_config(&wrong).is_err());
}
