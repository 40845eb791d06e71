//! What every configuration store must do, whatever it reads: seen through a server.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use tempfile::TempDir;

use crate::backends::{Backend, PASSWORD};
use crate::dapr::{Change, DAPR, GetItems, Item, Items};
use crate::folder;
use crate::server::{Reply, Server, Stream};

/// How long nothing may come before nothing comes.
const SILENCE: Duration = Duration::from_millis(1_500);

const VAULT: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: vault}
spec:
  type: secretstores.local.file
  version: v1
  metadata:
  - {name: secretsFile, value: secrets.json}
  - {name: multiValued, value: 'true'}
";

/// A server with the component `cfg`, and `other`, a file that has nothing to do with it.
pub fn serve(component: &str, variables: &[(&str, &str)]) -> (TempDir, Server) {
    let secrets = format!(r#"{{"backend": {{"password": "{PASSWORD}"}}}}"#);
    let other =
        crate::backends::component("configuration.local.file", &[("configFile", "other.yaml")]);
    let other = other.replace("name: cfg", "name: other");
    let work = folder(&[
        ("r/cfg.yaml", component.as_bytes()),
        ("r/other.yaml", other.as_bytes()),
        ("r/vault.yaml", VAULT.as_bytes()),
        ("secrets.json", secrets.as_bytes()),
        ("other.yaml", b"x: y\n"),
    ]);
    let server = Server::start(work.path(), &["--resources", "r"], variables);
    (work, server)
}

/// `SubscribeConfigurationRequest`, with metadata.
#[derive(Clone, PartialEq, prost::Message)]
struct Subscribe {
    #[prost(string, tag = "1")]
    store: String,
    #[prost(string, repeated, tag = "2")]
    keys: Vec<String>,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// Reads items over gRPC.
pub fn get(server: &Server, store: &str, keys: &[&str]) -> Reply<Items> {
    let request = GetItems {
        store: store.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    server.call(&format!("{DAPR}/GetConfiguration"), &request, &[])
}

/// The items of `cfg`, each value with its key.
pub fn values(server: &Server, keys: &[&str]) -> BTreeMap<String, String> {
    let reply = get(server, "cfg", keys);
    assert_eq!(reply.status, 0, "{reply:?}");
    let items = reply.message.expect("it has a message").items;
    items
        .into_iter()
        .map(|(key, item)| (key, item.value))
        .collect()
}

/// Subscribes to `cfg`.
pub fn subscribe(server: &Server, keys: &[&str]) -> Stream {
    let mut stream = try_subscribe(server, keys, &[]);
    assert_eq!(stream.status, None, "{}", server.log());
    let first: Change = stream.receive().expect("its id comes");
    assert!(first.items.is_empty());
    stream
}

/// The same with metadata, where it may be refused.
pub fn try_subscribe(server: &Server, keys: &[&str], metadata: &[(&str, &str)]) -> Stream {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let request = Subscribe {
        store: "cfg".to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        metadata: metadata.iter().map(owned).collect(),
    };
    Stream::open(
        server.grpc,
        &format!("{DAPR}/SubscribeConfiguration"),
        &request,
        &[],
    )
}

/// What is told next, by key.
pub fn told(stream: &mut Stream) -> BTreeMap<String, Item> {
    stream.receive::<Change>().expect("it goes on").items
}

fn shown(items: &BTreeMap<String, Item>) -> Vec<(&str, &str)> {
    let items = items.iter();
    items
        .map(|(key, item)| (key.as_str(), item.value.as_str()))
        .collect()
}

/// Checks a store on a backend that has no items.
pub fn suite(backend: &mut (impl Backend + Debug), variables: &[(&str, &str)]) {
    let is_away = backend.stop();
    let (_work, server) = serve(&backend.component(), variables);
    if is_away {
        is_told_to_be_away(&server);
        backend.start();
    }
    backend.set("a", "one");
    backend.set("b", "two");
    reads(backend, &server);

    let (mut some, mut all) = (subscribe(&server, &["b", "a"]), subscribe(&server, &[]));
    if backend.begins_with_all() {
        for stream in [&mut some, &mut all] {
            assert_eq!(shown(&told(stream)), [("a", "one"), ("b", "two")]);
        }
    }
    backend.set("b", "changed");
    for stream in [&mut some, &mut all] {
        assert_eq!(shown(&told(stream)), [("b", "changed")]);
    }
    backend.set("c", "new");
    assert_eq!(shown(&told(&mut all)), [("c", "new")]);
    backend.delete("b");
    let deletion = backend.deletion("changed");
    for stream in [&mut some, &mut all] {
        is_deleted(&told(stream), "b", &deletion);
    }
    backend.set("b", "again");
    for stream in [&mut some, &mut all] {
        assert_eq!(shown(&told(stream)), [("b", "again")]);
    }
    if is_away {
        outage(backend, &server, &mut some, &mut all);
        for stream in [&mut some, &mut all] {
            assert_eq!(shown(&told(stream)), [("a", "after")]);
        }
    }
    assert!(some.is_silent(SILENCE));
    assert!(all.is_silent(SILENCE));
    // Once nobody listens any more, another one may.
    drop((some, all));
    let mut later = subscribe(&server, &["a"]);
    if backend.begins_with_all() {
        told(&mut later);
    }
    for round in 0..20 {
        backend.set("a", &format!("round {round}"));
    }
    while told(&mut later)["a"].value != "round 19" {}
    assert!(later.is_silent(SILENCE));
    let log = server.log();
    assert!(!log.contains("s3cr3t"), "{log}");
}

/// A backend that is away is told to those who ask, and to nobody else.
fn is_told_to_be_away(server: &Server) {
    let reply = get(server, "cfg", &["a"]);
    assert_eq!(reply.status, 13, "{reply:?}");
    assert!(reply.text.contains("cannot reach"), "{reply:?}");
    assert!(!reply.text.contains("s3cr3t"), "{reply:?}");
    let class = reply.details[0]
        .metadata
        .values()
        .any(|text| text == "unreachable");
    assert!(class, "{reply:?}");
    let refused = try_subscribe(server, &["a"], &[]);
    assert!(
        refused.status.is_some_and(|status| status != 0),
        "{}",
        server.log()
    );
    assert_eq!(get(server, "other", &[]).status, 0);
    assert_eq!(server.ask("GET /v1.0/healthz/outbound").status, 204);
}

fn reads(backend: &impl Backend, server: &Server) {
    let all = BTreeMap::from([("a", "one"), ("b", "two")]);
    let all: BTreeMap<_, _> = all
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    // One that was away may be waited for, and a file is looked at from time to time.
    crate::backends::wait_until("the items", || {
        get(server, "cfg", &[]).status == 0 && values(server, &[]) == all
    });
    assert_eq!(values(server, &["a", "b", "nope"]), all);
    let one = values(server, &["b", "nope", "b"]);
    assert_eq!(one.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(values(server, &["nope"]), BTreeMap::new());
    let item = get(server, "cfg", &["a"])
        .message
        .expect("it has one")
        .items;
    let kind = backend.component();
    let version = &item["a"].version;
    if kind.contains("configuration.redis") || kind.contains("configuration.postgres") {
        assert_eq!(version, "v-one");
    } else {
        assert!(!version.is_empty());
    }
}

fn is_deleted(items: &BTreeMap<String, Item>, key: &str, (value, is_marked): &(String, bool)) {
    let item = &items[key];
    assert_eq!(&item.value, value);
    let marked = item
        .metadata
        .get("deleted")
        .is_some_and(|text| text == "true");
    assert_eq!(marked, *is_marked, "{item:?}");
}

/// The backend goes away and comes back: what has changed meanwhile is told, each difference once.
fn outage(backend: &mut impl Backend, server: &Server, some: &mut Stream, all: &mut Stream) {
    backend.stop();
    server.wait_for_log("is not followed for now");
    backend.set("a", "passed over");
    backend.set("a", "last");
    backend.delete("b");
    backend.set("d", "new");
    // The same as before is no difference.
    backend.set("c", "other");
    backend.set("c", "new");
    backend.start();
    let deletion = backend.deletion("again");
    for (stream, keys) in [(some, &["a", "b"][..]), (all, &["a", "b", "d"])] {
        let mut seen = BTreeMap::new();
        while seen.len() < keys.len() {
            for (key, item) in told(stream) {
                assert_eq!(seen.insert(key, item), None);
            }
        }
        assert_eq!(seen.keys().collect::<Vec<_>>(), keys);
        assert_eq!(seen["a"].value, "last");
        is_deleted(&seen, "b", &deletion);
        assert!(stream.is_silent(SILENCE));
    }
    assert_eq!(
        server.log().matches("is not followed for now").count(),
        1,
        "{}",
        server.log()
    );
    assert_eq!(values(server, &["a"])["a"], "last");
    backend.set("a", "after");
}
