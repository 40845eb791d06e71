//! What every store must do, whatever it reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyref::error::Class;
use keyref::policy::{Policy, SecretsScope};
use keyref::stores::{BulkRequest, SecretRequest, SecretStore};
use keyref::{Context, Resolver};

use crate::library::block_on;

/// The secrets of a store: for each its keys, with their values.
pub type Secrets<'s> = &'s [(&'s str, &'s [(&'s str, &'s [u8])])];

/// The secrets that stores with several keys to a secret are prepared with.
pub const MULTI: Secrets<'static> = &[
    ("s", &[("k", b"v"), ("l", b"w: \"x\"\n")]),
    ("empty", &[("k", b"")]),
];

/// Names that lead nowhere, in the hope that a store takes them for something else.
const NOWHERE: &[&str] = &[
    "none",
    "",
    ".",
    "..",
    "../s",
    "s/../s",
    "/etc/passwd",
    "s\0",
    "s\n",
    " s",
    "%73",
    "*",
];

/// Checks a store that was prepared to have these secrets, with the first of them named `s` or
/// whatever the store can name.
pub fn suite(what: &str, store: &Arc<dyn SecretStore>, secrets: Secrets<'_>) {
    let context = Context::new();
    let get = |name: &str| block_on(store.get(&SecretRequest::new(name), &context));
    let expected: BTreeMap<_, _> = secrets.iter().map(|(name, keys)| (*name, keys)).collect();
    for (name, keys) in &expected {
        let found = get(name).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
        let found = found.unwrap_or_else(|| panic!("{what}: {name} is absent"));
        let found: Vec<_> = found
            .iter()
            .map(|(key, value)| (key.to_owned(), value.reveal().to_vec()))
            .collect();
        let keys: Vec<_> = keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
            .collect();
        assert_eq!(found, keys, "{what}: {name}");
    }
    // Absent is no failure, and no other secret.
    for name in NOWHERE.iter().filter(|name| !expected.contains_key(*name)) {
        assert!(matches!(get(name), Ok(None)), "{what}: {name:?}");
    }
    assert!(matches!(get(&"s".repeat(10_000)), Ok(None)), "{what}");

    let all = block_on(store.bulk(&BulkRequest::default(), &context));
    let all = all.unwrap_or_else(|error| panic!("{what}: {error}"));
    for (name, keys) in &expected {
        let found = all.get(*name);
        let found = found.unwrap_or_else(|| panic!("{what}: bulk lacks {name}"));
        assert_eq!(found.keys().count(), keys.len(), "{what}: {name}");
    }
    behind_the_door(what, store, secrets);
}

/// Policy binds the store, one secret at a time and in bulk.
fn behind_the_door(what: &str, store: &Arc<dyn SecretStore>, secrets: Secrets<'_>) {
    let [(denied, _), others @ ..] = secrets else {
        panic!("{what}: the suite needs a secret");
    };
    let scope = SecretsScope::new("store").deny(*denied);
    let resolver = Resolver::builder()
        .shared_store("store", Arc::clone(store))
        .policy(Policy::open().with_scope(scope).expect("one scope"))
        .build()
        .expect("a resolver can be built");
    let context = Context::new();
    let refused = block_on(resolver.get("store", SecretRequest::new(*denied), &context));
    let refused = refused.expect_err("it is denied");
    assert_eq!(refused.class, Class::PolicyDenied, "{what}");
    let absent = block_on(resolver.get("store", SecretRequest::new("none"), &context));
    let absent = absent.expect_err("it is absent");
    assert_eq!(absent.class, Class::SecretAbsent, "{what}");
    let all = block_on(resolver.bulk("store", BulkRequest::default(), &context));
    let all = all.expect("bulk is allowed");
    assert!(!all.contains_key(*denied), "{what}");
    for (name, _) in others {
        assert!(all.contains_key(*name), "{what}: {name}");
    }
}
