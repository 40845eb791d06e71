//! Resolved components as a service of an embedder, whose stores change, hang and come late.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use keyref::api::{self, ComponentsOptions, Handle, Identity, Loaded, Options};
use keyref::error::Class;
use keyref::policy::{Policy, SecretsScope};
use keyref::secret::Secret;
use keyref::stores::{BulkRequest, SecretRequest, SecretStore, StoreError};
use keyref::{Context, Document, Resolver};
use keyref_tests::dapr::Empty;
use keyref_tests::gateway::{COMPONENTS, Event, List, brief, classes, component};
use keyref_tests::library::shortest;
use keyref_tests::server::{Reply, Stream, ask_at, call_at};
use serde_json::json;
use tokio::runtime::Runtime;

/// How long a request waits before what it waits for is there.
const SILENCE: Duration = Duration::from_millis(900);

/// A store whose one secret changes, which it tells nobody; it cannot be reached without one.
#[derive(Clone, Default)]
struct Changing(Arc<Mutex<Option<&'static str>>>);

impl Changing {
    fn set(&self, value: Option<&'static str>) {
        *self.0.lock().unwrap() = value;
    }
}

#[async_trait]
impl SecretStore for Changing {
    async fn get(&self, _: &SecretRequest, _: &Context) -> Result<Option<Secret>, StoreError> {
        let value = *self.0.lock().unwrap();
        let value = value.ok_or_else(|| StoreError::new(Class::Unreachable, "nobody is there"))?;
        Ok(Some([("one", value)].into_iter().collect()))
    }

    async fn bulk(
        &self,
        _: &BulkRequest,
        _: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Ok(BTreeMap::new())
    }
}

#[test]
fn an_embedder_serves_the_same_and_secrets_are_asked_for_again() {
    let runtime = Runtime::new().unwrap();
    let mut components = ComponentsOptions::new(([127, 0, 0, 1], 0).into());
    components.refresh = Duration::from_millis(20);
    let mut options = Options::new(Identity::new(""));
    options.components = Some(components);
    let server = runtime.block_on(api::Server::bind(options)).unwrap();
    let (handle, address) = (server.handle(), server.components().unwrap());
    let running = runtime.spawn(server.run());
    let store = Changing::default();
    let resolver = Resolver::builder().store("vault", store.clone());
    let document = Document::new("a.yaml", component("a", "one"));
    let loaded = Loaded::new(resolver.build().unwrap(), Vec::new());
    // Whoever watches before anything is there is told once it is.
    let mut stream = Stream::open(address, &format!("{COMPONENTS}/Watch"), &Empty {}, &[]);
    handle.load(loaded.with_documents([document]));
    let mut next = || stream.receive::<Event>().unwrap().to_json();
    let first = next();
    assert_eq!(brief(&first["component"]), ("a", None));
    assert_eq!(classes(&first["component"]), ["unreachable"]);
    assert_eq!(next(), json!({"complete": {}}));
    let states = [
        (Some("s3cr3t-1"), "s3cr3t-1", &[][..]),
        (Some("s3cr3t-2"), "s3cr3t-2", &[]),
        (None, "s3cr3t-2", &["unreachable"]),
        (Some(""), "", &[]),
    ];
    for (value, told, problems) in states {
        store.set(value);
        let event = next();
        assert_eq!(brief(&event["component"]), ("a", Some(told)));
        assert_eq!(classes(&event["component"]), problems);
    }
    handle.shut_down();
    assert!(stream.receive::<Event>().is_none());
    drop(stream);
    runtime.block_on(running).unwrap();
}

/// A server of components, while its runtime lives.
fn served(mut options: Options) -> (Runtime, Handle, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    options.components = Some(ComponentsOptions::new(([127, 0, 0, 1], 0).into()));
    let server = runtime.block_on(api::Server::bind(options)).unwrap();
    let (handle, address) = (server.handle(), server.components().unwrap());
    runtime.spawn(server.run());
    (runtime, handle, address)
}

/// A store that never answers.
struct Hanging;

#[async_trait]
impl SecretStore for Hanging {
    async fn get(&self, _: &SecretRequest, _: &Context) -> Result<Option<Secret>, StoreError> {
        std::future::pending().await
    }

    async fn bulk(
        &self,
        _: &BulkRequest,
        _: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        std::future::pending().await
    }
}

#[test]
fn a_list_waits_for_the_first_that_is_resolved() {
    let (_runtime, handle, address) = served(Options::new(Identity::new("")));
    let over_http =
        || std::thread::spawn(move || ask_at(address, "GET /v1/components/a", &[], "").status);
    let over_grpc = || {
        std::thread::spawn(move || {
            let method = format!("{COMPONENTS}/List");
            let reply: Reply<List> = call_at(address, &method, &Empty {}, &[]);
            reply.status
        })
    };
    let begin = Instant::now();
    let early = (over_http(), over_grpc());
    assert_eq!(early.0.join().unwrap(), 503);
    assert_eq!(early.1.join().unwrap(), 14);
    assert!(begin.elapsed() >= Duration::from_secs(5));

    let waiting = (over_http(), over_grpc());
    std::thread::sleep(SILENCE);
    let store = Changing::default();
    store.set(Some("s3cr3t-1"));
    let resolver = Resolver::builder().store("vault", store).build().unwrap();
    let a = Document::new("a.yaml", component("a", "one"));
    handle.load(Loaded::new(resolver, Vec::new()).with_documents([a]));
    assert_eq!(waiting.0.join().unwrap(), 200);
    assert_eq!(waiting.1.join().unwrap(), 0);
    handle.end_now();
}

#[test]
fn what_policy_forbids_goes_before_slow_stores_have_answered() {
    let (_runtime, handle, address) = served(Options::new(Identity::new("")));
    let store = Changing::default();
    store.set(Some("s3cr3t-1"));
    let builder = || {
        let builder = Resolver::builder().store("vault", store.clone());
        builder.store("slow", Hanging)
    };
    let a = Document::new("a.yaml", component("a", "one"));
    let loaded = Loaded::new(builder().build().unwrap(), Vec::new());
    handle.load(loaded.with_documents([a.clone()]));
    let mut stream = Stream::open(address, &format!("{COMPONENTS}/Watch"), &Empty {}, &[]);
    let mut next = || stream.receive::<Event>().unwrap().to_json();
    assert_eq!(brief(&next()["component"]), ("a", Some("s3cr3t-1")));
    assert_eq!(next(), json!({"complete": {}}));

    let begin = Instant::now();
    let denied = SecretsScope::new("vault").deny("one");
    let policy = Policy::open().with_scope(denied).unwrap();
    let b = component("b", "one").replace("vault", "slow");
    let loaded = Loaded::new(builder().policy(policy).build().unwrap(), Vec::new());
    handle.load(loaded.with_documents([a, Document::new("b.yaml", b)]));
    let event = next();
    assert_eq!(brief(&event["component"]), ("a", None));
    assert_eq!(classes(&event["component"]), ["policy-denied"]);
    assert!(begin.elapsed() < Duration::from_secs(5));
    // Nothing else comes of it once the other has not answered in time.
    let event = next();
    assert_eq!(brief(&event["component"]), ("b", None));
    assert_eq!(classes(&event["component"]), ["timed-out"]);
    handle.end_now();
}

#[test]
fn a_slow_store_holds_up_no_component_of_another() {
    let mut options = Options::new(Identity::new(""));
    options.request_time = Duration::from_secs(5);
    let (_runtime, handle, address) = served(options);
    let store = Changing::default();
    store.set(Some("s3cr3t-1"));
    let documents = [
        Document::new("a.yaml", component("a", "one")),
        Document::new("b.yaml", component("b", "one").replace("vault", "slow")),
    ];
    let load = || {
        let builder = Resolver::builder().store("vault", store.clone());
        let resolver = builder.store("slow", Hanging).build().unwrap();
        handle.load(Loaded::new(resolver, Vec::new()).with_documents(documents.clone()));
    };
    load();
    let mut stream = Stream::open(address, &format!("{COMPONENTS}/Watch"), &Empty {}, &[]);
    let mut next = || stream.receive::<Event>().unwrap().to_json();
    assert_eq!(brief(&next()["component"]), ("a", Some("s3cr3t-1")));
    assert_eq!(classes(&next()["component"]), ["timed-out"]);
    assert_eq!(next(), json!({"complete": {}}));
    let limit = Duration::from_secs(4);
    let mut values = ["s3cr3t-2", "s3cr3t-3", "s3cr3t-4"].into_iter();
    let changed = shortest(limit, || {
        let (begin, value) = (Instant::now(), values.next().unwrap());
        store.set(Some(value));
        load();
        assert_eq!(brief(&next()["component"]), ("a", Some(value)));
        begin.elapsed()
    });
    assert!(changed < limit, "{changed:?}");
    // That the other has not answered is known.
    assert!(stream.is_silent(Duration::from_secs(6)));
    handle.end_now();
}
