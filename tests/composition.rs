//! The guest and a store that is a component, plugged together: one component that needs no host of
//! keyref's, whose secrets only its exported `reveal` reads.

use std::collections::{BTreeMap, BTreeSet};

use keyref_tests::{components, workspace};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};
use wasmtime::component::{Component, Instance, Linker, Val};
use wasmtime::{Engine, Store};

const SECRET_STORE: &str = "keyref:secrets/secret-store@0.1.0";
const RESOLVER: &str = "keyref:secrets/resolver@0.1.0";
const REVEAL: &str = "keyref:secrets/reveal@0.1.0";

/// Plugs the store into the guest; what comes out exports `resolver` and `reveal`, and
/// `secret-store` before them, which names the types that these two use.
fn composed() -> Vec<u8> {
    let mut graph = CompositionGraph::new();
    let guest = register(&mut graph, "keyref:guest", components::keyref_guest());
    let store = register(
        &mut graph,
        "test:static-store",
        components::static_store().to_vec(),
    );
    let store = graph.instantiate(store);
    let guest = graph.instantiate(guest);
    let secret_store = graph.alias_instance_export(store, SECRET_STORE).unwrap();
    graph
        .set_instantiation_argument(guest, SECRET_STORE, secret_store)
        .unwrap();
    for (instance, name) in [(store, SECRET_STORE), (guest, RESOLVER), (store, REVEAL)] {
        let export = graph.alias_instance_export(instance, name).unwrap();
        graph.export(export, name).unwrap();
    }
    graph.encode(EncodeOptions::default()).unwrap()
}

fn register(graph: &mut CompositionGraph, name: &str, component: Vec<u8>) -> PackageId {
    let package = Package::from_bytes(name, None, component, graph.types_mut()).unwrap();
    graph.register_package(package).unwrap()
}

/// A component that runs, called by the names of its functions.
struct Running {
    store: Store<()>,
    instance: Instance,
}

impl Running {
    fn start(engine: &Engine, component: &Component) -> Self {
        let mut store = Store::new(engine, ());
        // Nothing is linked: it imports nothing.
        let instance = Linker::new(engine)
            .instantiate(&mut store, component)
            .unwrap();
        Self { store, instance }
    }

    fn call<const RESULTS: usize>(
        &mut self,
        interface: &str,
        function: &str,
        arguments: &[Val],
    ) -> [Val; RESULTS] {
        let Self { store, instance } = self;
        let interface = instance
            .get_export_index(&mut *store, None, interface)
            .unwrap();
        let function = instance
            .get_export_index(&mut *store, Some(&interface), function)
            .unwrap();
        let function = instance.get_func(&mut *store, function).unwrap();
        let mut results = [const { Val::Bool(false) }; RESULTS];
        function.call(&mut *store, arguments, &mut results).unwrap();
        results
    }
}

/// A field of a record.
fn field<'v>(record: &'v Val, name: &str) -> &'v Val {
    let Val::Record(fields) = record else {
        panic!("{record:?} is no record");
    };
    let (_, value) = fields.iter().find(|(field, _)| field == name).unwrap();
    value
}

fn list(value: &Val) -> &[Val] {
    match value {
        Val::List(values) => values,
        other => panic!("{other:?} is no list"),
    }
}

fn text(value: &Val) -> String {
    match value {
        Val::String(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}

fn number(value: &Val) -> usize {
    match value {
        Val::U32(number) => *number as usize,
        other => panic!("{other:?} is no number"),
    }
}

fn manifest(name: &str) -> Val {
    let bytes = std::fs::read(workspace().join("examples/tutorial").join(name)).unwrap();
    let document = [
        ("name", Val::String(name.to_owned())),
        ("kind", Val::Enum("manifest".to_owned())),
        ("text", Val::List(bytes.into_iter().map(Val::U8).collect())),
    ];
    Val::Record(
        document
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    )
}

#[test]
fn the_guest_imports_one_interface_and_has_at_most_200_kib() {
    let engine = Engine::default();
    let guest = components::keyref_guest();
    let component = Component::new(&engine, &guest).unwrap();
    let kind = component.component_type();
    let imports: Vec<_> = kind.imports(&engine).map(|(name, _)| name).collect();
    assert_eq!(imports, [SECRET_STORE]);
    assert!(guest.len() <= 200 << 10, "{} bytes", guest.len());
}

#[test]
fn the_guest_and_a_store_make_one_component_without_imports() {
    let engine = Engine::default();
    let component = Component::new(&engine, composed()).unwrap();
    let kind = component.component_type();
    let imports: Vec<_> = kind.imports(&engine).map(|(name, _)| name).collect();
    assert!(imports.is_empty(), "{imports:?}");
    let exports: BTreeSet<_> = kind.exports(&engine).map(|(name, _)| name).collect();
    assert_eq!(exports, [SECRET_STORE, RESOLVER, REVEAL].into());
}

#[test]
fn the_composed_component_resolves_what_its_reveal_reads() {
    let engine = Engine::default();
    let component = Component::new(&engine, composed()).unwrap();
    let mut running = Running::start(&engine, &component);
    let documents = Val::List(vec![manifest("kafka-pubsub.yaml")]);
    let [set] = running.call(RESOLVER, "[constructor]document-set", &[documents]);
    let [problems] = running.call(
        RESOLVER,
        "[method]document-set.problems",
        std::slice::from_ref(&set),
    );
    assert!(list(&problems).is_empty(), "{problems:?}");
    let [found] = running.call(
        RESOLVER,
        "[method]document-set.components",
        std::slice::from_ref(&set),
    );
    let items = list(field(&list(&found)[0], "items"));
    let all = Val::List(vec![Val::U32(0)]);
    let [outcome] = running.call(RESOLVER, "[method]document-set.resolve", &[set, all]);

    let mut secrets = Vec::new();
    for answer in list(field(&outcome, "answers")) {
        let Val::Result(Ok(Some(handle))) = field(answer, "secret") else {
            panic!("{answer:?}");
        };
        // A handle is all that the guest had; its value comes from the store alone.
        assert!(matches!(**handle, Val::Resource(_)), "{handle:?}");
        let [revealed] = running.call(REVEAL, "reveal", &[(**handle).clone()]);
        let Val::Result(Ok(Some(bytes))) = revealed else {
            panic!("{revealed:?}");
        };
        let bytes = list(&bytes).iter().map(|byte| match byte {
            Val::U8(byte) => *byte,
            other => panic!("{other:?}"),
        });
        secrets.push(String::from_utf8(bytes.collect()).unwrap());
    }

    let placed = list(field(&list(field(&outcome, "components"))[0], "items"));
    let values: BTreeMap<_, _> = placed
        .iter()
        .map(|placed| {
            let name = text(field(&items[number(field(placed, "item"))], "name"));
            let [Val::Variant(part, Some(index))] = list(field(placed, "parts")) else {
                panic!("{placed:?}");
            };
            assert_eq!(part, "secret");
            (name, secrets[number(index)].as_str())
        })
        .collect();
    let expected = [
        ("saslPassword", "static-kafka-password"),
        ("saslUsername", "static-kafka-user"),
    ];
    assert_eq!(
        values,
        expected
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    );
}

#[test]
fn a_store_that_is_a_component_says_why_there_is_no_secret() {
    let engine = Engine::default();
    let component = Component::new(&engine, components::static_store()).unwrap();
    let mut running = Running::start(&engine, &component);
    let cases = [
        (
            "vault",
            "kafka-credentials",
            "password",
            Val::Variant("store-not-found".to_owned(), None),
        ),
        (
            "kubernetes-secrets",
            "none",
            "password",
            Val::Variant("secret-not-found".to_owned(), None),
        ),
        (
            "kubernetes-secrets",
            "kafka-credentials",
            "none",
            Val::Variant(
                "key-not-found".to_owned(),
                Some(Box::new(Val::List(
                    ["password", "username"]
                        .map(|key| Val::String(key.to_owned()))
                        .into(),
                ))),
            ),
        ),
    ];
    for (store, name, key, failure) in cases {
        let secret_key = [
            ("store", store),
            ("name", name),
            ("key", key),
            ("namespace", ""),
        ];
        let secret_key =
            secret_key.map(|(name, value)| (name.to_owned(), Val::String(value.to_owned())));
        let source = Val::Variant(
            "secret".to_owned(),
            Some(Box::new(Val::Record(secret_key.into()))),
        );
        let request = [
            ("source".to_owned(), source),
            ("options".to_owned(), Val::List(Vec::new())),
        ];
        let requests = Val::List(vec![Val::Record(request.into())]);
        let [answers] = running.call(SECRET_STORE, "get-many", &[requests]);
        assert_eq!(
            list(&answers),
            [Val::Result(Err(Some(Box::new(failure))))],
            "{store}/{name}/{key}"
        );
    }
}
