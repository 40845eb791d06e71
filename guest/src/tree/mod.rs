//! One YAML document as a tree, with the rules that Dapr's decoder applies to every node.
//!
//! What go-yaml 2 and `sigs.k8s.io/yaml` do on the way from YAML to JSON happens here once for all
//! nodes: scalars are resolved, merge keys are applied, repeated keys keep their last value, keys
//! become strings in sorted order, and excessive aliasing is refused. Nothing recurses, so depth
//! costs no stack.

use alloc::string::String;
use alloc::vec::Vec;

use self::apostrophes::Apostrophes;
use self::builder::Builder;
use crate::fault::Fault;
use crate::scalar::Resolved;
use crate::yaml::{Boundary, Event, Mark, Parser, SyntaxError};

mod aliasing;
mod apostrophes;
mod builder;
mod mapping;

/// Dapr's parser and its JSON decoder both stop at this depth.
const MAX_DEPTH: usize = 10_000;

/// libyaml looks at every open flow collection for each token within, so nesting times length is
/// what a text costs. This much takes a fraction of a second.
const MAX_FLOW_WORK: usize = 20_000_000;

/// An index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u32);

/// A range of one of the tree's pools.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug)]
struct Node {
    mark: Mark,
    content: Content,
    /// Why this node, taken as plain JSON, is refused.
    flaw: Option<Flaw>,
    /// Collections below and including this node.
    depth: u32,
    /// Still being read: an alias to it would contain itself.
    open: bool,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Scalar {
        text: Span,
        resolved: Resolved,
        merge: bool,
    },
    Sequence {
        elements: Span,
    },
    Mapping {
        pairs: Span,
        entries: Span,
        keys: Keys,
    },
    Alias(Id),
}

/// What is to be said of a mapping's keys as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct Keys {
    /// A key that JSON cannot hold.
    flaw: Option<Flaw>,
    /// A key that is there twice.
    repeated: Option<Mark>,
}

/// Why a node cannot become JSON, and where.
#[derive(Clone, Copy, Debug)]
struct Flaw {
    mark: Mark,
    message: &'static str,
}

/// One entry of a mapping.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Span,
    /// Its place among the keys as written; of equal keys the last counts.
    order: u32,
    key_mark: Mark,
    value: Id,
}

/// What a node holds, aliases followed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'t> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(&'t str),
    Sequence(Elements<'t>),
    Mapping(Entries<'t>),
}

/// A parsed document.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    text: String,
    /// Elements of sequences; keys and values in turn of mappings.
    children: Vec<Id>,
    /// Entries of mappings, sorted by key, each key once.
    entries: Vec<Entry>,
    root: Id,
}

impl Tree {
    /// Parses the first document of `text`; nothing where there is none.
    pub(crate) fn parse(text: &[u8]) -> Result<Option<Self>, Fault> {
        match Self::parse_as(text, None) {
            Err(Refusal::Escape { offset, fault }) => match Apostrophes::replaced(text, offset) {
                Some(replaced) => replaced.parse(),
                None => Err(fault),
            },
            Err(Refusal::Fault(fault)) => Err(fault),
            Ok(tree) => Ok(tree),
        }
    }

    /// Parses a text in which `stand_in` stands for apostrophes.
    fn parse_as(text: &[u8], stand_in: Option<char>) -> Result<Option<Self>, Refusal> {
        let mut builder = Builder::new(text.len(), stand_in);
        let mut parser = Parser::new(text);
        let mut flow_work = 0;
        loop {
            flow_work += parser.flow_depth();
            let (event, mark) = parser.next()?;
            if flow_work > MAX_FLOW_WORK {
                return Err(Refusal::Fault(Fault::limit(
                    mark,
                    "nested too deeply for its length",
                )));
            }
            match event {
                Event::Boundary(Boundary::StreamStart | Boundary::DocumentStart) => {}
                Event::Boundary(Boundary::StreamEnd) => return Ok(None),
                Event::Boundary(Boundary::DocumentEnd) => break,
                event => builder.take(event, mark)?,
            }
        }
        Ok(builder.finish()?)
    }

    /// The document's node.
    pub(crate) fn root(&self) -> Id {
        self.root
    }

    /// Where a node stands; for an alias, where the alias stands.
    pub(crate) fn mark(&self, id: Id) -> Mark {
        self.node(id).map(|node| node.mark).unwrap_or_default()
    }

    /// What a node holds.
    pub(crate) fn value(&self, id: Id) -> Value<'_> {
        let Some(node) = self.node(self.follow(id)) else {
            return Value::Null;
        };
        match node.content {
            Content::Scalar { text, resolved, .. } => match resolved {
                Resolved::Null => Value::Null,
                Resolved::Bool(value) => Value::Bool(value),
                Resolved::Int(value) => Value::Int(value),
                Resolved::Uint(value) => Value::Uint(value),
                Resolved::Float(value) => Value::Float(value),
                Resolved::Text | Resolved::Binary => Value::Text(self.str(text)),
            },
            Content::Sequence { elements } => Value::Sequence(Elements {
                tree: self,
                at: elements.start,
                end: elements.end,
            }),
            Content::Mapping { entries, .. } => Value::Mapping(Entries {
                tree: self,
                at: entries.start,
                end: entries.end,
            }),
            // Aliases point at nodes that are none, so `follow` never ends here.
            Content::Alias(_) => Value::Null,
        }
    }

    /// Whether a text came from bytes that are not UTF-8.
    pub(crate) fn is_lossy(&self, id: Id) -> bool {
        let content = self.node(self.follow(id)).map(|node| node.content);
        matches!(
            content,
            Some(Content::Scalar {
                resolved: Resolved::Binary,
                ..
            })
        )
    }

    /// The text of a scalar as written (quotes, escapes and folding undone), whatever it means.
    pub(crate) fn source(&self, id: Id) -> Option<&str> {
        match self.node(self.follow(id))?.content {
            Content::Scalar { text, .. } => Some(self.str(text)),
            _ => None,
        }
    }

    /// Refuses a node that JSON cannot hold: infinities, and keys that are null or too large.
    pub(crate) fn check_json(&self, id: Id) -> Result<(), Fault> {
        check(self.node(self.follow(id)).and_then(|node| node.flaw))
    }

    /// Refuses a mapping whose keys JSON cannot hold, whatever its values are.
    pub(crate) fn check_keys(&self, id: Id) -> Result<(), Fault> {
        match self.node(self.follow(id)).map(|node| node.content) {
            Some(Content::Mapping { keys, .. }) => check(keys.flaw),
            _ => Ok(()),
        }
    }

    /// Where a mapping has a key for the second time.
    pub(crate) fn repeated_key(&self, id: Id) -> Option<Mark> {
        match self.node(self.follow(id))?.content {
            Content::Mapping { keys, .. } => keys.repeated,
            _ => None,
        }
    }

    #[inline]
    fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    #[inline]
    fn follow(&self, id: Id) -> Id {
        match self.node(id) {
            Some(&Node {
                content: Content::Alias(target),
                ..
            }) => target,
            _ => id,
        }
    }

    #[inline]
    fn str(&self, span: Span) -> &str {
        self.text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }
}

fn check(flaw: Option<Flaw>) -> Result<(), Fault> {
    match flaw {
        None => Ok(()),
        Some(Flaw { mark, message }) => Err(Fault::schema(mark, message)),
    }
}

/// Why a text is refused, and whether it can be read all the same.
enum Refusal {
    /// An escape at this byte that libyaml does not know.
    Escape { offset: usize, fault: Fault },
    /// Anything else.
    Fault(Fault),
}

impl From<SyntaxError> for Refusal {
    fn from(error: SyntaxError) -> Self {
        match error.offset {
            Some(offset) if error.message == "found unknown escape character" => Self::Escape {
                offset,
                fault: error.into(),
            },
            _ => Self::Fault(error.into()),
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
/// The elements of a sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements<'t> {
    tree: &'t Tree,
    at: u32,
    end: u32,
}

impl Iterator for Elements<'_> {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        if self.at >= self.end {
            return None;
        }
        self.at += 1;
        self.tree.children.get(self.at as usize - 1).copied()
    }
}

/// The entries of a mapping, sorted by key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries<'t> {
    tree: &'t Tree,
    at: u32,
    end: u32,
}

impl<'t> Iterator for Entries<'t> {
    type Item = (&'t str, Mark, Id);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        self.at += 1;
        let entry = self.tree.entries.get(self.at as usize - 1)?;
        Some((self.tree.str(entry.key), entry.key_mark, entry.value))
    }
}
/// Documents are limited far below 4 GiB before they come here.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
