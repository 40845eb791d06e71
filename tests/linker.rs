//! The second layer of the library: an engine, a linker and a store of the embedder's own, and
//! keyref only as the guest's import. All linear memory is the test's, so it can be searched: what
//! the stores hold is never in it.
#![expect(
    unsafe_code,
    reason = "linear memory of one's own is an unsafe trait of wasmtime"
)]

use std::sync::{Arc, Mutex};

use keyref::guest::{Answers, COMPONENT, add_to_linker};
use keyref::stores::{Memory, StoreConfig, open};
use keyref::{Context, Request, Resolver};
use keyref_tests::library::{block_on, manifest};
use keyref_tests::workspace;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, LinearMemory, MemoryCreator, MemoryType, Store};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "secrets-resolver",
        with: { "keyref:secrets/secret-store.secret": ::keyref::guest::Handle },
    });
}

use bindings::SecretsResolver;
use bindings::exports::keyref::secrets::resolver::{Document, DocumentKind, Part};
use bindings::keyref::secrets::secret_store::{Request as WitRequest, Source};

/// The bytes of one linear memory.
type Bytes = Arc<Mutex<Vec<u8>>>;

/// Linear memories, all of them, kept after their instances are gone.
#[derive(Clone, Default)]
struct Memories(Arc<Mutex<Vec<Bytes>>>);

struct OneMemory(Bytes);

// SAFETY: the memory belongs to one instance, and is read only while that does not run.
unsafe impl LinearMemory for OneMemory {
    fn byte_size(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn byte_capacity(&self) -> usize {
        self.byte_size()
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        self.0.lock().unwrap().resize(new_size, 0);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.lock().unwrap().as_mut_ptr()
    }
}

// SAFETY: as above; nothing is reserved or guarded, which the engine is told.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        _kind: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        _reserved: Option<usize>,
        _guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let memory = Arc::new(Mutex::new(vec![0; minimum]));
        self.0.lock().unwrap().push(Arc::clone(&memory));
        Ok(Box::new(OneMemory(memory)))
    }
}

impl Memories {
    fn hold(&self, text: &[u8]) -> bool {
        let memories = self.0.lock().unwrap();
        assert!(!memories.is_empty(), "no memory was made here");
        memories.iter().any(|memory| {
            let memory = memory.lock().unwrap();
            memory.windows(text.len()).any(|window| window == text)
        })
    }
}

/// What a guest that runs on an engine of one's own resolves: the values, revealed.
fn resolve(documents: &[Document], resolver: &Resolver, memories: &Memories) -> Vec<String> {
    let mut config = Config::new();
    config
        .with_host_memory(Arc::new(memories.clone()))
        .memory_init_cow(false)
        .memory_reservation(0)
        .memory_reservation_for_growth(0)
        .memory_guard_size(0)
        .signals_based_traps(false);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, COMPONENT).unwrap();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |answers: &mut Answers| answers).unwrap();
    let mut store = Store::new(&engine, Answers::default());
    let guest = SecretsResolver::instantiate(&mut store, &component, &linker).unwrap();
    let set = guest.keyref_secrets_resolver().document_set();

    let handle = set.call_constructor(&mut store, documents).unwrap();
    let problems = set.call_problems(&mut store, handle).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    let requests = set.call_requests(&mut store, handle).unwrap();
    let requests = requests.into_iter().map(request).collect();
    *store.data_mut() = block_on(resolver.answers(requests, &Context::new()));
    let count = set.call_components(&mut store, handle).unwrap().len();
    let all: Vec<u32> = (0..u32::try_from(count).unwrap()).collect();
    let outcome = set.call_resolve(&mut store, handle, &all).unwrap();
    let mut values = Vec::new();
    for item in outcome
        .components
        .iter()
        .flat_map(|component| &component.items)
    {
        let [Part::Secret(index)] = item.parts.as_slice() else {
            panic!("{:?}", item.parts);
        };
        let answer = &outcome.answers[*index as usize];
        let handle = answer.secret.as_ref().unwrap();
        let value = store
            .data()
            .value(handle)
            .expect("the handle was given out");
        values.push(value.reveal_text().unwrap().to_owned());
    }
    values
}

fn request(request: WitRequest) -> Request {
    match request.source {
        Source::Environment(name) => Request::Variable(name),
        Source::Secret(key) => {
            Request::key(key.store, key.name, key.key, key.namespace).with_options(request.options)
        }
    }
}

fn document(text: impl Into<Vec<u8>>) -> Document {
    Document {
        name: String::new(),
        kind: DocumentKind::Manifest,
        text: text.into(),
    }
}

/// A value as it is, and as base64, URLs and JSON have it.
const ENCODINGS: &[&str] = &[
    "p4ss<word>",
    "cDRzczx3b3JkP",
    "p4ss%3Cword%3E",
    "p4ss\\u003cword\\u003e",
];

#[test]
fn an_embedder_with_a_linker_of_its_own_resolves() {
    let store = Memory::new().with("redis", [("password", "p4ss<word>")]);
    let resolver = Resolver::builder().store("vault", store).build().unwrap();
    let items = [
        "{name: a, value: literal-text}",
        "{name: b, secretKeyRef: {name: redis, key: password}}",
    ];
    let documents = [document(manifest("c", &items, "vault"))];
    let memories = Memories::default();
    let values = resolve(&documents, &resolver, &memories);
    assert_eq!(values, ["p4ss<word>"]);
    // The search finds what is there: the guest does see the documents.
    assert!(memories.hold(b"literal-text"));
    assert!(memories.hold(b"redis"));
    for encoding in ENCODINGS {
        assert!(!memories.hold(encoding.as_bytes()), "{encoding}");
    }
}

#[test]
fn no_value_is_in_the_guests_memory_after_the_tutorial() {
    let path = workspace().join("examples/secrets.yaml");
    let config = StoreConfig::new("kubernetes-secrets", "secretstores.local.file")
        .with_property("secretsFile", path.to_str().unwrap());
    let resolver = Resolver::builder()
        .shared_store("kubernetes-secrets", open(&config).unwrap())
        .build()
        .unwrap();
    let folder = workspace().join("examples/tutorial");
    let documents: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| document(std::fs::read(entry.unwrap().path()).unwrap()))
        .collect();
    let memories = Memories::default();
    let values = resolve(&documents, &resolver, &memories);
    assert!(values.len() >= 4, "{}", values.len());
    assert!(memories.hold(b"kafka-credentials"));
    // The database is called as its user is, so the guest sees that word in a manifest.
    let in_plain = |value: &str| {
        let mut texts = documents.iter().map(|document| &document.text);
        texts.any(|text| String::from_utf8_lossy(text).contains(value))
    };
    let (plain, hidden): (Vec<_>, Vec<_>) = values.iter().partition(|value| in_plain(value));
    assert_eq!(plain, ["tasks"]);
    for value in hidden {
        assert!(!memories.hold(value.as_bytes()), "a value of the tutorial");
    }
}

#[test]
fn no_value_is_in_the_guests_memory_after_a_batch() {
    let name = |index: usize| format!("s{index}");
    let value = |index: usize| format!("v4lue<{index}>");
    let store: Memory = (0..100)
        .map(|index| (name(index), [("k", value(index))].into_iter().collect()))
        .collect();
    let resolver = Resolver::builder().store("vault", store).build().unwrap();
    let documents: Vec<_> = (0..100)
        .map(|index| {
            let item = format!(
                "{{name: p, secretKeyRef: {{name: {}, key: k}}}}",
                name(index)
            );
            document(manifest(&name(index), &[item.as_str()], "vault"))
        })
        .collect();
    let memories = Memories::default();
    let values = resolve(&documents, &resolver, &memories);
    assert_eq!(values, (0..100).map(value).collect::<Vec<_>>());
    assert!(!memories.hold(b"v4lue"));
}
