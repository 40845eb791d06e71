//! Dapr's messages, made of what is read.

use std::collections::BTreeMap;

use zeroize::Zeroize as _;

use super::proto;
use crate::configuration::{Item, Items};
use crate::error::Class;
use crate::secret::Secret;

/// Items as gRPC has them.
pub(super) fn items_of(items: Items) -> BTreeMap<String, proto::ConfigurationItem> {
    let items = items.into_iter().map(|(key, item)| {
        let Item {
            value,
            version,
            metadata,
        } = item;
        let item = proto::ConfigurationItem {
            value,
            version,
            metadata,
        };
        (key, item)
    });
    items.collect()
}

/// A secret's values as gRPC's text: this is the answer that was asked for.
pub(super) fn reveal(secret: &Secret) -> Result<BTreeMap<String, String>, Class> {
    let mut data = proto::SecretResponse::default();
    for (key, value) in secret.iter() {
        let value = value.reveal_text().map_err(|_| Class::ValueNotText)?;
        data.secrets.insert(key.to_owned(), value.to_owned());
    }
    Ok(std::mem::take(&mut data.secrets))
}

impl Drop for proto::SecretResponse {
    fn drop(&mut self) {
        self.secrets.values_mut().for_each(String::zeroize);
    }
}

impl Drop for proto::GetSecretResponse {
    fn drop(&mut self) {
        self.data.values_mut().for_each(String::zeroize);
    }
}
