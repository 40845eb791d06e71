//! What the items of components ask for, each distinct request once.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bindings::{Component, Item, Request, SecretKey, Source};

/// The distinct requests of components, which it writes into their items.
pub(crate) fn requests(components: &mut [Component]) -> Vec<Request> {
    let mut requests = Requests::default();
    for component in components {
        for item in &mut component.items {
            item.request = source(item, &component.secret_store, &component.namespace)
                .map(|source| requests.index(source));
        }
    }
    requests.list
}

/// Dapr's precedence: an environment variable where there is no value, else a secret.
fn source(item: &Item, store: &str, namespace: &str) -> Option<Source> {
    if item.value.is_none() && !item.env_ref.is_empty() {
        return Some(Source::Environment(item.env_ref.clone()));
    }
    let reference = item.secret_key_ref.as_ref()?;
    if reference.name.is_empty() {
        return None;
    }
    let key = if reference.key.is_empty() {
        &reference.name
    } else {
        &reference.key
    };
    Some(Source::Secret(SecretKey {
        store: store.to_owned(),
        name: reference.name.clone(),
        key: key.clone(),
        namespace: namespace.to_owned(),
    }))
}

/// Requests in the order in which they were first met. The map is ordered because its keys are
/// text of the documents.
#[derive(Default)]
struct Requests {
    list: Vec<Request>,
    known: BTreeMap<Vec<u8>, u32>,
}

impl Requests {
    fn index(&mut self, source: Source) -> u32 {
        let identity = identity(&source);
        if let Some(&known) = self.known.get(identity.as_slice()) {
            return known;
        }
        let index = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.known.insert(identity, index);
        self.list.push(Request {
            source,
            options: Vec::new(),
        });
        index
    }
}

/// The parts of a request, each with its length, so that no two requests have the same.
fn identity(source: &Source) -> Vec<u8> {
    let parts: &[&String] = match source {
        Source::Secret(key) => &[&key.store, &key.namespace, &key.name, &key.key],
        Source::Environment(name) => &[name],
    };
    let lengths = parts.iter().map(|part| size_of::<usize>() + part.len());
    let mut identity = Vec::with_capacity(lengths.sum());
    for part in parts {
        identity.extend(part.len().to_le_bytes());
        identity.extend(part.as_bytes());
    }
    identity
}
