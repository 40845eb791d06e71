//! From a tree to secrets: each way from the root to a value is a name.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::leaves::{Leaf, Leaves};
use super::source::Source;
use super::{LocalFileOptions, Secrets};
use crate::secret::SecretValue;
use crate::stores::StoreError;

/// Takes a tree, one event after another, and gives secrets back. The root must be an object.
pub(super) struct Flattener<'a> {
    options: &'a LocalFileOptions,
    /// The containers that are open, from the root on.
    frames: Vec<Frame>,
    /// The key at the root.
    top: Rc<str>,
    /// The name of the value that comes next; in a multi-valued store, without the key at the root.
    path: String,
    leaves: Leaves,
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
    Object {
        /// The leaves of each key that is complete.
        done: BTreeMap<String, Range<usize>>,
        /// The key that is being filled, and the first of its leaves.
        open: Option<(String, usize)>,
    },
    /// The index of the next element.
    Array(usize),
}

impl<'a> Flattener<'a> {
    pub(super) fn new(options: &'a LocalFileOptions) -> Self {
        Self {
            options,
            frames: Vec::new(),
            top: Rc::from(""),
            path: String::new(),
            leaves: Leaves::new(),
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
        self.step(&name);
        if self.depth() == 1 {
            self.top = Rc::from(name.as_str());
        }
        let count = self.leaves.count();
        let frame = self.frames.last_mut();
        if let Some(replaced) = frame.and_then(|frame| frame.begin(name, count)) {
            self.leaves.discard(replaced);
        }
    }

    pub(super) fn begin_object(&mut self) {
        self.next_element();
        if self.is_at_top() {
            self.leaves.push(Leaf::Secret(Rc::clone(&self.top)));
        }
        self.begin(Members::Object {
            done: BTreeMap::new(),
            open: None,
        });
    }

    pub(super) fn begin_array(&mut self) {
        self.next_element();
        if self.is_at_top() {
            self.leaves.push(Leaf::Dropped(Rc::clone(&self.top)));
        }
        self.begin(Members::Array(0));
    }

    pub(super) fn end(&mut self) {
        self.frames.pop();
    }

    /// A value that is text.
    pub(super) fn text(&mut self, value: SecretValue) {
        self.next_element();
        if self.is_at_top() {
            self.leaves.push(Leaf::Single(self.top.to_string(), value));
        } else {
            self.value(value);
        }
    }

    /// A value that is none, with the text that it becomes.
    pub(super) fn scalar(&mut self, value: Option<SecretValue>) {
        self.next_element();
        if self.is_at_top() {
            self.leaves.push(Leaf::Dropped(Rc::clone(&self.top)));
        } else if let Some(value) = value {
            self.value(value);
        }
    }

    /// The secrets of a tree that is complete.
    pub(super) fn finish(self, source: &Source) -> Result<Secrets, StoreError> {
        self.leaves.into_secrets(source)
    }

    /// Whether the next value stands at the root of a multi-valued store, where its type decides.
    fn is_at_top(&self) -> bool {
        self.options.multi_valued && self.depth() == 1
    }

    fn begin(&mut self, members: Members) {
        self.frames.push(Frame {
            path: self.path.len(),
            members,
        });
    }

    fn next_element(&mut self) {
        let frame = self.frames.last_mut();
        if let Some(Members::Array(next)) = frame.map(|frame| &mut frame.members) {
            let index = next.to_string();
            *next += 1;
            self.step(&index);
        }
    }

    /// Makes this name the last of the path.
    fn step(&mut self, name: &str) {
        self.path
            .truncate(self.frames.last().map_or(0, |frame| frame.path));
        let first = if self.options.multi_valued { 2 } else { 1 };
        if self.depth() > first {
            self.path.push_str(&self.options.separator);
        }
        if self.depth() >= first {
            self.path.push_str(name);
        }
    }

    fn value(&mut self, value: SecretValue) {
        let path = self.path.clone();
        if !self.options.multi_valued {
            self.leaves.push(Leaf::Single(path, value));
        } else if self.frames.get(1).map(Frame::container) == Some(Container::Object) {
            let top = Rc::clone(&self.top);
            self.leaves.push(Leaf::Key(top, path, value));
        }
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
    fn begin(&mut self, name: String, start: usize) -> Option<Range<usize>> {
        let Members::Object { done, open } = &mut self.members else {
            return None;
        };
        if let Some((key, first)) = open.take() {
            done.insert(key, first..start);
        }
        let earlier = done.remove(&name);
        *open = Some((name, start));
        earlier
    }
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::super::tests::listing;
    use super::LocalFileOptions;
    use crate::stores::local_file::source::Source;

    fn flat(text: &str) -> Vec<String> {
        listing(&json::read(&Source::of("s.json", text.as_bytes()), &options()).unwrap())
    }

    fn multi_valued(text: &str) -> Vec<String> {
        let options = options().with_multi_valued(true);
        listing(&json::read(&Source::of("s.json", text.as_bytes()), &options).unwrap())
    }

    fn options() -> LocalFileOptions {
        LocalFileOptions::default()
    }

    #[test]
    fn each_way_to_a_value_is_a_secret() {
        assert_eq!(
            flat(r#"{"a": ["x", {"q": "r"}, [["y"]]], "b": {"": "w"}, "": "v", "c:d": ""}"#),
            [
                "/=v",
                "a:0/a:0=x",
                "a:1:q/a:1:q=r",
                "a:2:0:0/a:2:0:0=y",
                "b:/b:=w",
                "c:d/c:d="
            ]
        );
    }

    #[test]
    fn empty_containers_and_null_are_nothing_and_keep_their_index() {
        assert_eq!(
            flat(r#"{"a": {}, "b": [], "c": [null, {}, "x"]}"#),
            ["c:2/c:2=x"]
        );
    }

    #[test]
    fn last_of_one_key_replaces_all_of_the_first() {
        assert_eq!(
            flat(r#"{"a": {"x": "1", "y": "2"}, "b": "3", "a": {"z": "4"}}"#),
            ["a:z/a:z=4", "b/b=3"]
        );
        assert_eq!(flat(r#"{"a": "1", "a": "2", "a": null}"#), [""; 0]);
        assert_eq!(multi_valued(r#"{"a": {"x": "1"}, "a": "2"}"#), ["a/a=2"]);
        assert_eq!(
            multi_valued(r#"{"a": {"x": {"y": "1"}, "x": "2"}}"#),
            ["a/x=2"]
        );
    }

    #[test]
    fn multi_valued_file_holds_objects_and_text() {
        let text =
            r#"{"t": "v", "o": {"a": {"b": ["x", 7]}, "c": true, "": "w"}, "n": 7, "l": ["y"]}"#;
        assert_eq!(
            multi_valued(text),
            ["o/=w", "o/a:b:0=x", "o/a:b:1=7", "o/c=true", "t/t=v"]
        );
    }

    #[test]
    fn empty_object_of_a_multi_valued_file_is_a_secret_without_keys() {
        let options = options().with_multi_valued(true);
        let source = Source::of("s.json", br#"{"a": {}, "b": {}, "b": 1}"#);
        let secrets = json::read(&source, &options).unwrap();
        assert_eq!(secrets.keys().collect::<Vec<_>>(), ["a"]);
        assert!(secrets["a"].is_empty());
    }

    #[test]
    fn ways_that_become_one_name_collide() {
        let read = |options: &LocalFileOptions| {
            let text = br#"{"a:b": "x", "a": {"b": "y"}, "s": {"a.b": "x", "a": {"b": "y"}}}"#;
            json::read(&Source::of("s.json", text), options)
        };
        assert!(read(&options()).is_err());
        assert!(read(&options().with_separator("__")).is_ok());
        assert!(read(&options().with_multi_valued(true)).is_ok());
        let dotted = options().with_multi_valued(true).with_separator(".");
        assert!(read(&dotted).is_err());
    }
}
