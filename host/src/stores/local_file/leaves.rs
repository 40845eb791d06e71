//! The values of a tree in the order of the file, and the secrets that they make.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use super::Secrets;
use super::source::Source;
use crate::problem::printable;
use crate::secret::SecretValue;
use crate::stores::StoreError;

/// The most memory that names may take. They repeat the names of what encloses a value, so that a
/// small file can make very long ones.
const MAX_NAMES: usize = 64 << 20;

/// What a name costs beside its text.
const NAME_COST: usize = 64;

/// How many names an error or a warning lists.
const LISTED: usize = 5;

pub(super) struct Leaves {
    leaves: Vec<Option<Leaf>>,
    /// How much names may still take; nothing once they took too much.
    left: Option<usize>,
}

pub(super) enum Leaf {
    /// A secret with one key of its own name.
    Single(String, SecretValue),
    /// One key of a secret.
    Key(Rc<str>, String, SecretValue),
    /// A secret, with keys or without.
    Secret(Rc<str>),
    /// What is no secret in a multi-valued store.
    Dropped(Rc<str>),
}

impl Leaves {
    pub(super) fn new() -> Self {
        Self {
            leaves: Vec::new(),
            left: Some(MAX_NAMES),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.leaves.len()
    }

    pub(super) fn push(&mut self, leaf: Leaf) {
        let name = match &leaf {
            Leaf::Single(name, _) | Leaf::Key(_, name, _) => name,
            // The name is in the file, and shared with the keys.
            Leaf::Secret(_) | Leaf::Dropped(_) => "",
        };
        let cost = name.len().saturating_add(NAME_COST);
        self.left = self.left.and_then(|left| left.checked_sub(cost));
        if self.left.is_some() {
            self.leaves.push(Some(leaf));
        }
    }

    pub(super) fn discard(&mut self, range: Range<usize>) {
        let discarded = self.leaves.get_mut(range).unwrap_or_default();
        discarded.fill_with(|| None);
    }

    pub(super) fn into_secrets(self, source: &Source) -> Result<Secrets, StoreError> {
        if self.left.is_none() {
            let limit = MAX_NAMES >> 20;
            return Err(source.error(format_args!("makes names of more than {limit} MiB")));
        }
        let mut secrets: BTreeMap<String, BTreeMap<String, SecretValue>> = BTreeMap::new();
        let mut colliding = BTreeSet::new();
        let mut dropped = BTreeSet::new();
        for leaf in self.leaves.into_iter().flatten() {
            let (secret, key, value) = match leaf {
                Leaf::Single(name, value) => (name.clone(), name, value),
                Leaf::Key(secret, key, value) => (secret.to_string(), key, value),
                Leaf::Secret(secret) => {
                    secrets.entry(secret.to_string()).or_default();
                    continue;
                }
                Leaf::Dropped(name) => {
                    dropped.insert(name.to_string());
                    continue;
                }
            };
            let keys = secrets.entry(secret).or_default();
            if keys.insert(key.clone(), value).is_some() {
                colliding.insert(key);
            }
        }
        if !colliding.is_empty() {
            // Dapr keeps one of them, and not always the same.
            let names = list(&colliding);
            return Err(source
                .error(format_args!(
                    "has several values of one name once it is flattened: {names}"
                ))
                .with_hint("rename one of them, or set another `nestedSeparator`"));
        }
        if !dropped.is_empty() {
            // Not the path, which can be a secret.
            tracing::warn!(
                names = list(&dropped),
                "a multi-valued file holds objects and text: these are neither and are left out"
            );
        }
        let secret = |(name, keys): (_, BTreeMap<_, _>)| (name, keys.into_iter().collect());
        Ok(secrets.into_iter().map(secret).collect())
    }
}

/// Some names in backticks, and how many more there are.
fn list(names: &BTreeSet<String>) -> String {
    let listed = names.iter().take(LISTED);
    let listed: Vec<_> = listed
        .map(|name| format!("`{}`", printable(name)))
        .collect();
    let more = names.len() - listed.len();
    let listed = listed.join(", ");
    if more == 0 {
        listed
    } else {
        format!("{listed} and {more} more")
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::{Leaf, Leaves, MAX_NAMES};
    use crate::secret::SecretValue;
    use crate::stores::StoreError;
    use crate::stores::local_file::Secrets;
    use crate::stores::local_file::source::Source;

    fn secrets(leaves: impl IntoIterator<Item = Leaf>) -> Result<Secrets, StoreError> {
        let mut all = Leaves::new();
        leaves.into_iter().for_each(|leaf| all.push(leaf));
        all.into_secrets(&Source::of("s.json", b""))
    }

    fn single(name: &str) -> Leaf {
        Leaf::Single(name.to_owned(), SecretValue::from("v"))
    }

    #[test]
    fn values_of_one_name_are_refused_by_name() {
        let error = secrets([single("a"), single("a:b"), single("a:b")]).unwrap_err();
        assert_eq!(
            error.message,
            "`s.json` has several values of one name once it is flattened: `a:b`"
        );
        let key = |secret: &str| Leaf::Key(secret.into(), "k".to_owned(), SecretValue::from("v"));
        assert!(secrets([key("a"), key("b")]).is_ok());
        let error = secrets([key("a"), key("a")]).unwrap_err();
        assert!(error.message.ends_with("flattened: `k`"));
        let names = (10..17).flat_map(|n| [single(&format!("a{n}")), single(&format!("a{n}"))]);
        let error = secrets(names).unwrap_err();
        assert!(error.message.ends_with("`a13`, `a14` and 2 more"));
    }

    #[test]
    fn long_names_that_repeat_are_refused() {
        let name = "k".repeat(1 << 16);
        let count = MAX_NAMES / name.len();
        let leaves = (0..count).map(|_| single(&name));
        let error = secrets(leaves).unwrap_err();
        assert_eq!(error.message, "`s.json` makes names of more than 64 MiB");
    }

    #[test]
    fn secret_may_have_no_keys() {
        let secrets = secrets([Leaf::Secret(Rc::from("a")), Leaf::Dropped(Rc::from("b"))]);
        let secrets = secrets.unwrap();
        assert_eq!(secrets.keys().collect::<Vec<_>>(), ["a"]);
        assert!(secrets["a"].is_empty());
    }
}
