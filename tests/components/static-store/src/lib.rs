//! A store that is a component: a fixed map of secrets behind opaque handles.
//!
//! It implements the world `store`: `secret-store` gives out handles, and `reveal`, which only a
//! host can call, reads one.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "store",
    });
}

use bindings::exports::keyref::secrets::reveal;
use bindings::exports::keyref::secrets::secret_store::{
    Failure, Guest, GuestSecret, Request, Secret, SecretBorrow, Source,
};

bindings::export!(StaticStore with_types_in bindings);

const STORE: &str = "kubernetes-secrets";

/// The secrets: name, key, value.
const SECRETS: &[(&str, &str, &str)] = &[
    ("kafka-credentials", "password", "static-kafka-password"),
    ("kafka-credentials", "username", "static-kafka-user"),
    ("redis-credentials", "password", "static-redis-password"),
];

struct StaticStore;

/// What a handle stands for: a place in [`SECRETS`].
struct Held(usize);

impl GuestSecret for Held {}

impl Guest for StaticStore {
    type Secret = Held;

    fn get_many(requests: Vec<Request>) -> Vec<Result<Secret, Failure>> {
        let answers = requests.iter().map(find);
        answers.map(|found| found.map(Secret::new)).collect()
    }
}

impl reveal::Guest for StaticStore {
    fn reveal(secret: SecretBorrow<'_>) -> Result<Vec<u8>, Failure> {
        let Held(index) = secret.get();
        let (_, _, value) = SECRETS[*index];
        Ok(value.into())
    }
}

fn find(request: &Request) -> Result<Held, Failure> {
    let Source::Secret(wanted) = &request.source else {
        return Err(Failure::SecretNotFound);
    };
    if wanted.store != STORE {
        return Err(Failure::StoreNotFound);
    }
    let found = |(name, key, _): &(&str, &str, &str)| wanted.name == *name && wanted.key == *key;
    if let Some(index) = SECRETS.iter().position(found) {
        return Ok(Held(index));
    }
    let keys: Vec<String> = SECRETS
        .iter()
        .filter(|(name, ..)| wanted.name == *name)
        .map(|(_, key, _)| (*key).to_owned())
        .collect();
    if keys.is_empty() {
        Err(Failure::SecretNotFound)
    } else {
        Err(Failure::KeyNotFound(keys))
    }
}
