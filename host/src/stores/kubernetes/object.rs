//! What the API server sends back, as far as it is wanted.
//!
//! A Secret has more in it than `data`: its annotations can repeat the values, base64-encoded, as
//! `kubectl apply` leaves them. All that is passed over where it lies, without a copy, and the
//! buffer is wiped. The errors of the parser are dropped here, since they quote what they read.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use zeroize::Zeroizing;

use crate::secret::{Secret, SecretValue};

/// One page of a list.
pub(super) struct Page {
    pub(super) secrets: Vec<(String, Secret)>,
    /// The token of the page after it.
    pub(super) next: Option<String>,
}

/// Reads a `Secret`.
pub(super) fn secret(body: &[u8]) -> Option<Secret> {
    serde_json::from_slice::<Object>(body)
        .ok()
        .map(Object::into_secret)
}

/// Reads a `SecretList`.
pub(super) fn page(body: &[u8]) -> Option<Page> {
    let list: List = serde_json::from_slice(body).ok()?;
    Some(Page {
        secrets: list
            .items
            .into_iter()
            .map(|mut object| {
                (
                    std::mem::take(&mut object.metadata.name),
                    object.into_secret(),
                )
            })
            .collect(),
        next: list.metadata.next.filter(|token| !token.is_empty()),
    })
}

#[derive(serde::Deserialize)]
struct List {
    metadata: ListMetadata,
    items: Vec<Object>,
}

#[derive(serde::Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(serde::Deserialize)]
struct Object {
    metadata: Metadata,
    data: Option<BTreeMap<String, Data>>,
}

#[derive(serde::Deserialize)]
struct Metadata {
    name: String,
}

impl Object {
    fn into_secret(self) -> Secret {
        self.data
            .into_iter()
            .flatten()
            .map(|(key, Data(value))| (key, value))
            .collect()
    }
}

/// A value of `data`, decoded from base64.
struct Data(SecretValue);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Data, E> {
                let bytes = decode(text).ok_or_else(|| E::custom("not base64"))?;
                Ok(Data(SecretValue::new(bytes.as_slice())))
            }

            // Go writes no bytes so.
            fn visit_unit<E: Error>(self) -> Result<Data, E> {
                Ok(Data(SecretValue::new([])))
            }
        }

        deserializer.deserialize_any(Base64)
    }
}

/// Decodes base64 without a copy that is left behind.
pub(super) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}
