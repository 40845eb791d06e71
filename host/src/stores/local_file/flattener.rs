//! From a tree to secrets: each way from the root to a value is a name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::source::{Source, shown};
use super::{LocalFileOptions, Secrets};
use crate::problem::printable;
use crate::secret::SecretValue;
use crate::stores::StoreError;

/// The most memory that flattened names may take. They repeat the names of what encloses a value,
/// so that a small file can hold very long ones.
const MAX_NAMES: usize = 64 << 20;

/// What a name costs beside its text.
const NAME_COST: usize = 64;

/// How many names an error or a warning lists.
const LISTED: usize = 5;

/// Takes a tree, one event after another, and gives secrets back. The root must be an object.
pub(super) struct Flattener<'a> {
    options: &'a LocalFileOptions,
    /// The containers that are open, from the root on.
    frames: Vec<Frame>,
    /// The name of the value that comes next.
    path: String,
    /// Where the store is multi-valued: the names at the root.
    secrets: Vec<String>,
    leaves: Vec<Option<Leaf>>,
    memory: Option<usize>,
}

/// A container of a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Container {
    Object,
    Array,
}

struct Frame {
    /// How much of the path is the container's own.
    path: usize,
    members: Members,
}

enum Members {
    /// The leaves of each key so far, and the key that is being filled with its first leaf.
    Object { done: BTreeMap<String, Range<usize>>, open: Option<(String, usize)> },
    /// The index of the next element.
    Array(usize),
}

enum Leaf {
    /// A secret with one key of its own name.
    Single(String, SecretValue),
    /// One key of a secret.
    Key { secret: usize, key: String, value: SecretValue },
    /// A secret, with keys or without.
    Secret(usize),
    /// What is no secret in a multi-valued store.
    Dropped(usize),
}

impl<'a> Flattener<'a> {
    pub(super) fn new(options: &'a LocalFileOptions) -> Self {
        Self {
            options,
            frames: Vec::new(),
            path: String::new(),
            secrets: Vec::new(),
            leaves: Vec::new(),
            memory: Some(MAX_NAMES),
        }
    }

    pub(super) fn depth(&self) -> usize {
        self.frames.len()
    }

    /// The innermost container that is open.
    pub(super) fn container(&self) -> Option<Container> {
        self.frames.last().map(Frame::container)
    }

    /// Names the value that follows. The last of one name counts, as in Go.
    pub(super) fn key(&mut self, name: String) {
        let count = self.leaves.len();
        let replaced = self.frames.last_mut().and_then(|frame| frame.begin(&name, count));
        for leaf in replaced.and_then(|range| self.leaves.get_mut(range)).into_iter().flatten() {
            *leaf = None;
        }
        self.step(&name);
        if self.depth() == 1 && self.options.multi_valued {
            self.secrets.push(name);
        }
    }

    pub(super) fn begin_object(&mut self) {
        self.next_element();
        if self.is_at_top() {
            self.leaves.push(self.secrets.len().checked_sub(1).map(Leaf::Secret));
        }
        let members = Members::Object { done: BTreeMap::new(), open: None };
        self.frames.push(Frame { path: self.path.len(), members });
    }

    pub(super) fn begin_array(&mut self) {
        self.next_element();
        if self.is_at_top() {
            self.drop_value();
        }
        self.frames.push(Frame { path: self.path.len(), members: Members::Array(0) });
    }

    pub(super) fn end(&mut self) {
        self.frames.pop();
    }

    /// A value that is text.
    pub(super) fn text(&mut self, value: SecretValue) {
        self.next_element();
        if self.is_at_top() {
            let name = self.secrets.last().cloned().unwrap_or_default();
            self.leaves.push(Some(Leaf::Single(name, value)));
        } else {
            self.value(value);
        }
    }

    /// A value that is none, with the text that it becomes.
    pub(super) fn scalar(&mut self, value: Option<SecretValue>) {
        self.next_element();
        if self.is_at_top() {
            self.drop_value();
        } else if let Some(value) = value {
            self.value(value);
        }
    }

    /// The secrets of a tree that is complete.
    pub(super) fn finish(self, source: &Source) -> Result<Secrets, StoreError> {
        if self.memory.is_none() {
            let limit = MAX_NAMES >> 20;
            return Err(source.error(format_args!("makes names of more than {limit} MiB")));
        }
        let name = |secret: usize| self.secrets.get(secret).cloned().unwrap_or_default();
        let mut secrets: BTreeMap<String, BTreeMap<String, SecretValue>> = BTreeMap::new();
        let mut colliding = BTreeSet::new();
        let mut dropped = BTreeSet::new();
        for leaf in self.leaves.into_iter().flatten() {
            let (secret, key, value) = match leaf {
                Leaf::Single(name, value) => (name.clone(), name, value),
                Leaf::Key { secret, key, value } => (name(secret), key, value),
                Leaf::Secret(secret) => {
                    secrets.entry(name(secret)).or_default();
                    continue;
                }
                Leaf::Dropped(secret) => {
                    dropped.insert(name(secret));
                    continue;
                }
            };
            if secrets.entry(secret).or_default().insert(key.clone(), value).is_some() {
                colliding.insert(key);
            }
        }
        if !colliding.is_empty() {
            // Dapr keeps one of them, and not always the same.
            let names = list(&colliding);
            return Err(source
                .error(format_args!("has several values of one name once it is flattened: {names}"))
                .with_hint("rename one of them, or set another `nestedSeparator`"));
        }
        if !dropped.is_empty() {
            tracing::warn!(
                path = shown(source.path()),
                names = list(&dropped),
                "a multi-valued file holds objects and text: these are neither and are left out"
            );
        }
        Ok(secrets.into_iter().map(|(name, keys)| (name, keys.into_iter().collect())).collect())
    }

    /// Whether the next value stands at the root, and what stands there decides what it is.
    fn is_at_top(&self) -> bool {
        self.options.multi_valued && self.depth() == 1
    }

    fn next_element(&mut self) {
        if let Some(Frame { members: Members::Array(next), .. }) = self.frames.last_mut() {
            let index = next.to_string();
            *next += 1;
            self.step(&index);
        }
    }

    /// Makes this name the last of the path.
    fn step(&mut self, name: &str) {
        let Some(frame) = self.frames.last() else { return };
        self.path.truncate(frame.path);
        // The name at the root is not part of a key.
        let first = if self.options.multi_valued { 2 } else { 1 };
        if self.frames.len() > first {
            self.path.push_str(&self.options.separator);
        }
        if self.frames.len() >= first {
            self.path.push_str(name);
        }
    }

    fn value(&mut self, value: SecretValue) {
        self.memory = self
            .memory
            .and_then(|left| left.checked_sub(self.path.len().saturating_add(NAME_COST)));
        if self.memory.is_none() {
            return;
        }
        let path = self.path.clone();
        if !self.options.multi_valued {
            self.leaves.push(Some(Leaf::Single(path, value)));
        } else if self.frames.get(1).map(Frame::container) == Some(Container::Object) {
            let secret = self.secrets.len().saturating_sub(1);
            self.leaves.push(Some(Leaf::Key { secret, key: path, value }));
        }
    }

    fn drop_value(&mut self) {
        self.leaves.push(self.secrets.len().checked_sub(1).map(Leaf::Dropped));
    }
}

impl Frame {
    fn container(&self) -> Container {
        match self.members {
            Members::Object { .. } => Container::Object,
            Members::Array(_) => Container::Array,
        }
    }

    /// Begins a key whose leaves start at an index; gives back the leaves of an earlier one of that
    /// name.
    fn begin(&mut self, name: &str, start: usize) -> Option<Range<usize>> {
        let Members::Object { done, open } = &mut self.members else { return None };
        if let Some((key, first)) = open.replace((name.to_owned(), start)) {
            done.insert(key, first..start);
        }
        done.remove(name)
    }
}

/// Some names in backticks, and how many more there are.
fn list(names: &BTreeSet<String>) -> String {
    let listed: Vec<_> = names.iter().take(LISTED).map(|name| format!("`{}`", printable(name))).collect();
    let more = names.len() - listed.len();
    let listed = listed.join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}
