//! Values that cannot be printed and are wiped when dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::str::Utf8Error;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretSlice};
use zeroize::Zeroize as _;

/// The bytes of a secret.
///
/// `Debug` shows nothing of them, and the memory is wiped when the last clone is dropped. Reading
/// them is an explicit act: [`reveal`](Self::reveal).
#[derive(Clone)]
pub struct SecretValue(Arc<SecretSlice<u8>>);

impl SecretValue {
    /// Takes the bytes over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let mut bytes = bytes.into();
        // A boxed slice has no spare capacity that could keep a copy; shrinking could leave one.
        let exact = if bytes.len() == bytes.capacity() {
            bytes.into_boxed_slice()
        } else {
            let exact = bytes.as_slice().into();
            bytes.zeroize();
            exact
        };
        Self(Arc::new(SecretSlice::new(exact)))
    }

    /// The bytes themselves.
    ///
    /// # Security
    /// What the caller copies from here is no longer wiped.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one way to a value; callers say why they use it"
    )]
    pub fn reveal(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// The value as text.
    ///
    /// # Errors
    /// Fails where the bytes are not UTF-8; the error holds no byte of them.
    pub fn reveal_text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.reveal())
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.reveal().len()
    }

    /// Whether there are no bytes. A secret that exists and is empty is a value.
    pub fn is_empty(&self) -> bool {
        self.reveal().is_empty()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<&str> for SecretValue {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A secret: its keys, each with a value. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secret {
    values: Arc<BTreeMap<String, SecretValue>>,
    is_stale: bool,
}

impl Secret {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&SecretValue> {
        self.values.get(key)
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.values.keys().map(String::as_str)
    }

    /// The keys with their values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretValue)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Whether its store cannot be reached, and this is what it said before: only where a
    /// [`CacheRule`](crate::CacheRule) allows that.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// The same, as what a store said before.
    pub(crate) fn into_stale(mut self) -> Self {
        self.is_stale = true;
        self
    }

    /// Whether it has no keys.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl fmt::Debug for Secret {
    /// Shows the keys alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<String>, V: Into<SecretValue>> FromIterator<(K, V)> for Secret {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let values = entries.map(|(key, value)| (key.into(), value.into()));
        Self {
            values: Arc::new(values.collect()),
            is_stale: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, SecretValue};

    #[test]
    fn debug_shows_keys_and_no_value() {
        let secret: Secret = [("password", "s3cr3t-value")].into_iter().collect();
        assert_eq!(format!("{secret:?}"), r#"{"password": [redacted]}"#);
        assert_eq!(
            format!("{:?}", SecretValue::from("s3cr3t-value")),
            "[redacted]"
        );
    }
}
