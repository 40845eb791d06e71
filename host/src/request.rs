//! One value that a document asks for, and its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::SecretError;
use crate::secret::SecretValue;

/// What a request is answered with. All who are told of a failure share what it says.
pub(crate) type Answer = Result<SecretValue, Arc<SecretError>>;

/// What each request is answered with.
pub(crate) type AnswerMap = BTreeMap<Request, Answer>;

/// A value to be read: a key of a secret, or an environment variable.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Request {
    /// A key of a secret.
    #[non_exhaustive]
    Key {
        /// The store's name, or empty for the default one.
        store: String,
        /// The secret's name.
        secret: String,
        /// The key.
        key: String,
        /// The namespace of the component that asks, or empty.
        namespace: String,
        /// What the store's kind understands beside the name.
        options: Vec<(String, String)>,
    },
    /// An environment variable.
    Variable(String),
}

impl Request {
    /// A key of a secret of a store, as a guest of one's own asks for it: `store` and `namespace` may
    /// be empty.
    pub fn key(
        store: impl Into<String>,
        secret: impl Into<String>,
        key: impl Into<String>,
        namespace: impl Into<String>,
    ) -> Self {
        Self::Key {
            store: store.into(),
            secret: secret.into(),
            key: key.into(),
            namespace: namespace.into(),
            options: Vec::new(),
        }
    }

    /// The same with what the store's kind understands beside the name; a variable takes none.
    #[must_use]
    pub fn with_options(mut self, with: Vec<(String, String)>) -> Self {
        if let Self::Key { options, .. } = &mut self {
            *options = with;
        }
        self
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = match self {
            Self::Key {
                store,
                secret,
                key,
                namespace,
                options,
            } => {
                let options = options.iter().map(|(name, value)| name.len() + value.len());
                let names = store.len() + secret.len() + key.len() + namespace.len();
                names + options.sum::<usize>()
            }
            Self::Variable(name) => name.len(),
        };
        size_of::<Self>() + texts
    }
}
