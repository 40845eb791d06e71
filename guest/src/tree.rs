//! One YAML document as a tree, with the rules that Dapr's decoder applies to every node.
//!
//! What go-yaml 2 and `sigs.k8s.io/yaml` do on the way from YAML to JSON happens here once for all
//! nodes: scalars are resolved, merge keys are applied, repeated keys keep their last value, keys
//! become strings in sorted order, and excessive aliasing is refused. Nothing recurses, so depth
//! costs no stack.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::scalar::{self, Resolved};
use crate::yaml::{Boundary, Event, Mark, Parser, Scalar, SyntaxError};

/// Dapr's parser and its JSON decoder both stop at this depth.
const MAX_DEPTH: usize = 10_000;

/// Base64 as Go's `StdEncoding` reads it (which also skips line breaks).
const GO_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) mark: Mark,
    /// What is wrong; it quotes nothing of the document.
    pub(crate) message: Cow<'static, str>,
}

/// Who refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The parser.
    Syntax,
    /// The types that the document is decoded into.
    Schema,
    /// A limit.
    Limit,
}

impl From<SyntaxError> for Fault {
    fn from(error: SyntaxError) -> Self {
        Self {
            kind: FaultKind::Syntax,
            mark: error.mark,
            message: error.message.into(),
        }
    }
}

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
        let mut builder = Builder {
            stand_in,
            ..Builder::default()
        };
        let mut parser = Parser::new(text);
        loop {
            let (event, mark) = parser.next()?;
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

    /// The text of a scalar as written (quotes, escapes and folding undone), whatever it means.
    pub(crate) fn source(&self, id: Id) -> Option<&str> {
        match self.node(self.follow(id))?.content {
            Content::Scalar { text, .. } => Some(self.str(text)),
            _ => None,
        }
    }

    /// Refuses a node that JSON cannot hold: infinities, and keys that are null or too large.
    pub(crate) fn check_json(&self, id: Id) -> Result<(), Fault> {
        self.check(self.node(self.follow(id)).and_then(|node| node.flaw))
    }

    /// Refuses a mapping whose keys JSON cannot hold, whatever its values are.
    pub(crate) fn check_keys(&self, id: Id) -> Result<(), Fault> {
        match self.node(self.follow(id)).map(|node| node.content) {
            Some(Content::Mapping { keys, .. }) => self.check(keys.flaw),
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

    fn check(&self, flaw: Option<Flaw>) -> Result<(), Fault> {
        match flaw {
            None => Ok(()),
            Some(Flaw { mark, message }) => Err(Fault {
                kind: FaultKind::Schema,
                mark,
                message: message.into(),
            }),
        }
    }

    fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    fn follow(&self, id: Id) -> Id {
        match self.node(id) {
            Some(&Node {
                content: Content::Alias(target),
                ..
            }) => target,
            _ => id,
        }
    }

    fn str(&self, span: Span) -> &str {
        self.text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
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

/// A text in which the escape `\'`, which Dapr's parser knows and libyaml does not, is replaced by
/// one of the same length for a character that the text has nowhere else.
struct Apostrophes {
    text: Vec<u8>,
    escape: u8,
    stand_in: char,
}

impl Apostrophes {
    /// More scalars than this with the escape are not read: each costs a start from the beginning.
    const MOST_SCALARS: usize = 200;

    /// Replaces the escapes of the scalar that has one at `offset`; nothing where that is another
    /// escape, or where no character is free.
    fn replaced(text: &[u8], offset: usize) -> Option<Self> {
        let free = |&(escape, hex, _): &(u8, &[u8], char)| {
            !text.windows(2).any(|pair| pair == [b'\\', escape])
                && !text.windows(2).any(|pair| pair.eq_ignore_ascii_case(hex))
        };
        let stand_ins: [(u8, &[u8], char); 3] = [
            (b'e', b"1b", '\u{1b}'),
            (b'a', b"07", '\u{7}'),
            (b'v', b"0b", '\u{b}'),
        ];
        let (escape, _, stand_in) = stand_ins.into_iter().find(free)?;
        let mut replaced = Self {
            text: text.to_vec(),
            escape,
            stand_in,
        };
        replaced.replace(offset).then_some(replaced)
    }

    /// Replaces from one escape on to the end of its scalar; says whether it was the one meant.
    fn replace(&mut self, offset: usize) -> bool {
        let mut at = offset;
        let mut found = false;
        while let Some(&[first, second]) =
            self.text.get(at..at + 2).and_then(|pair| pair.as_array())
        {
            match (first, second) {
                (b'"', _) => break,
                (b'\\', b'\'') => {
                    if let Some(second) = self.text.get_mut(at + 1) {
                        *second = self.escape;
                    }
                    found = true;
                    at += 2;
                }
                (b'\\', _) if at == offset => return false,
                (b'\\', _) => at += 2,
                _ => at += 1,
            }
        }
        found
    }

    fn parse(mut self) -> Result<Option<Tree>, Fault> {
        for _ in 0..Self::MOST_SCALARS {
            match Tree::parse_as(&self.text, Some(self.stand_in)) {
                Err(Refusal::Escape { offset, fault }) => {
                    if !self.replace(offset) {
                        return Err(fault);
                    }
                }
                Err(Refusal::Fault(fault)) => return Err(fault),
                Ok(tree) => return Ok(tree),
            }
        }
        Err(Fault {
            kind: FaultKind::Limit,
            mark: Mark::default(),
            message: "more than 200 scalars with the escape `\\'`".into(),
        })
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

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        self.at += 1;
        let entry = self.tree.entries.get(self.at as usize - 1)?;
        Some((self.tree.str(entry.key), entry.key_mark, entry.value))
    }
}

/// Builds a tree from events.
#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    text: String,
    children: Vec<Id>,
    /// Children of the collections that are still open.
    pending: Vec<Id>,
    /// Open collections, each with where its children begin in `pending`.
    open: Vec<(Id, usize)>,
    /// Collections in the order of their ends: whatever one refers to stands before it.
    closed: Vec<Id>,
    anchors: BTreeMap<Vec<u8>, u32>,
    aliases: usize,
    /// What stands for apostrophes in the text.
    stand_in: Option<char>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Fault> {
        match event {
            Event::Boundary(_) => {}
            Event::Scalar(scalar) => self.scalar(&scalar, mark)?,
            Event::Alias(anchor) => self.alias(anchor, mark)?,
            Event::SequenceStart { anchor } => {
                self.begin(
                    Content::Sequence {
                        elements: Span::default(),
                    },
                    anchor,
                    mark,
                )?;
            }
            Event::MappingStart { anchor } => {
                let content = Content::Mapping {
                    pairs: Span::default(),
                    entries: Span::default(),
                    keys: Keys::default(),
                };
                self.begin(content, anchor, mark)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: &Scalar<'_>, mark: Mark) -> Result<(), Fault> {
        let fault = |message: &'static str| Fault {
            kind: FaultKind::Schema,
            mark,
            message: message.into(),
        };
        let mut resolved =
            scalar::resolve(scalar.tag, scalar.implicit, scalar.value).map_err(fault)?;
        let text = if resolved == Resolved::Binary {
            resolved = Resolved::Text;
            let digits: Vec<u8> = scalar
                .value
                .bytes()
                .filter(|byte| !matches!(byte, b'\r' | b'\n'))
                .collect();
            let decoded = GO_BASE64
                .decode(digits)
                .map_err(|_| fault("is tagged as binary and is not base64"))?;
            self.text_of(&crate::json::lossy(&decoded))
        } else {
            self.text_of(scalar.value)
        };
        let merge =
            scalar.value == "<<" && (scalar.implicit || scalar.tag == Some(scalar::MERGE_TAG));
        let flaw = match resolved {
            Resolved::Float(float) if !float.is_finite() => Some(Flaw {
                mark,
                message: "infinities and NaN cannot be a value",
            }),
            _ => None,
        };
        let id = self.push(
            Content::Scalar {
                text,
                resolved,
                merge,
            },
            mark,
            false,
        );
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.flaw = flaw;
        }
        self.anchor(scalar.anchor, id);
        Ok(())
    }

    fn alias(&mut self, anchor: &[u8], mark: Mark) -> Result<(), Fault> {
        let fault = |message: &'static str| Fault {
            kind: FaultKind::Syntax,
            mark,
            message: message.into(),
        };
        let target = self
            .anchors
            .get(anchor)
            .map(|&target| Id(target))
            .ok_or_else(|| fault("alias to an anchor that this document does not have"))?;
        if self
            .nodes
            .get(target.0 as usize)
            .is_none_or(|node| node.open)
        {
            return Err(fault("alias to an anchor that contains it"));
        }
        self.aliases += 1;
        self.push(Content::Alias(target), mark, false);
        Ok(())
    }

    fn begin(&mut self, content: Content, anchor: Option<&[u8]>, mark: Mark) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault {
                kind: FaultKind::Limit,
                mark,
                message: "nested deeper than 10000 levels".into(),
            });
        }
        let id = self.push(content, mark, true);
        self.anchor(anchor, id);
        self.open.push((id, self.pending.len()));
        Ok(())
    }

    fn end(&mut self) {
        let Some((id, first)) = self.open.pop() else {
            return;
        };
        let start = index(self.children.len());
        self.children.extend(self.pending.drain(first..));
        let span = Span {
            start,
            end: index(self.children.len()),
        };
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.open = false;
            match &mut node.content {
                Content::Sequence { elements } => *elements = span,
                Content::Mapping { pairs, .. } => *pairs = span,
                Content::Scalar { .. } | Content::Alias(_) => {}
            }
        }
        self.closed.push(id);
    }

    fn push(&mut self, content: Content, mark: Mark, open: bool) -> Id {
        let id = Id(index(self.nodes.len()));
        self.nodes.push(Node {
            mark,
            content,
            flaw: None,
            depth: 0,
            open,
        });
        self.pending.push(id);
        id
    }

    fn anchor(&mut self, anchor: Option<&[u8]>, id: Id) {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.into(), id.0);
        }
    }

    fn text_of(&mut self, text: &str) -> Span {
        let start = index(self.text.len());
        match self.stand_in {
            Some(stand_in) => {
                let apostrophes = |found| if found == stand_in { '\'' } else { found };
                self.text.extend(text.chars().map(apostrophes));
            }
            None => self.text.push_str(text),
        }
        Span {
            start,
            end: index(self.text.len()),
        }
    }

    fn finish(self) -> Result<Option<Tree>, Fault> {
        let Some(&root) = self.pending.first() else {
            return Ok(None);
        };
        let mut tree = Tree {
            nodes: self.nodes,
            text: self.text,
            children: self.children,
            entries: Vec::new(),
            root,
        };
        if self.aliases > 0 {
            check_aliasing(&tree)?;
        }
        for id in self.closed {
            tree.close(id)?;
        }
        match tree.node(root) {
            Some(node) if node.depth as usize > MAX_DEPTH => Err(Fault {
                kind: FaultKind::Limit,
                mark: node.mark,
                message: "nested deeper than 10000 levels".into(),
            }),
            _ => Ok(Some(tree)),
        }
    }
}

impl Tree {
    /// Works out a collection whose parts are all worked out.
    fn close(&mut self, id: Id) -> Result<(), Fault> {
        match self.node(id).map(|node| node.content) {
            Some(Content::Sequence { elements }) => {
                let parts = elements.start..elements.end;
                let (flaw, depth) =
                    self.sum(parts.filter_map(|at| self.children.get(at as usize).copied()));
                self.set(id, None, flaw, depth);
            }
            Some(Content::Mapping { pairs, .. }) => {
                let (entries, keys) = self.entries_of(pairs)?;
                let values = entries.start..entries.end;
                let (flaw, depth) =
                    self.sum(values.filter_map(|at| Some(self.entries.get(at as usize)?.value)));
                let content = Content::Mapping {
                    pairs,
                    entries,
                    keys,
                };
                self.set(id, Some(content), keys.flaw.or(flaw), depth);
            }
            _ => {}
        }
        Ok(())
    }

    fn set(&mut self, id: Id, content: Option<Content>, flaw: Option<Flaw>, depth: u32) {
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.content = content.unwrap_or(node.content);
            node.flaw = flaw;
            node.depth = depth.saturating_add(1);
        }
    }

    /// The first flaw and the greatest depth of some nodes.
    fn sum(&self, parts: impl Iterator<Item = Id>) -> (Option<Flaw>, u32) {
        parts
            .filter_map(|part| self.node(self.follow(part)))
            .fold((None, 0), |(flaw, depth), node| {
                (flaw.or(node.flaw), depth.max(node.depth))
            })
    }

    /// Applies merge keys in the place where they stand, then keeps the last value of each key.
    ///
    /// As in go-yaml 2, a merge overrides what stands before it, and keys are compared as strings.
    fn entries_of(&mut self, pairs: Span) -> Result<(Span, Keys), Fault> {
        let start = self.entries.len();
        let mut keys = Keys::default();
        let mut merged = false;
        for at in (pairs.start..pairs.end).step_by(2) {
            let (Some(&key), Some(&value)) = (
                self.children.get(at as usize),
                self.children.get(at as usize + 1),
            ) else {
                break;
            };
            if matches!(
                self.node(key).map(|node| node.content),
                Some(Content::Scalar { merge: true, .. })
            ) {
                merged = true;
                self.merge(value, &mut keys)?;
            } else if let Some(entry) = self.entry(key, value, &mut keys)? {
                self.entries.push(entry);
            }
        }
        self.keep_last(start, merged, &mut keys);
        Ok((
            Span {
                start: index(start),
                end: index(self.entries.len()),
            },
            keys,
        ))
    }

    /// One entry, unless its key is one that JSON cannot hold.
    fn entry(&mut self, key: Id, value: Id, keys: &mut Keys) -> Result<Option<Entry>, Fault> {
        let mark = self.mark(key);
        let Some(&Node {
            content: Content::Scalar { text, resolved, .. },
            ..
        }) = self.node(self.follow(key))
        else {
            return Err(Fault {
                kind: FaultKind::Schema,
                mark,
                message: "a mapping or a sequence cannot be a key".into(),
            });
        };
        let key = match resolved {
            Resolved::Null | Resolved::Uint(_) => {
                keys.flaw = keys.flaw.or(Some(Flaw {
                    mark,
                    message: "this cannot be a key",
                }));
                return Ok(None);
            }
            Resolved::Text | Resolved::Binary => text,
            Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) => {
                let start = index(self.text.len());
                write_key(&mut self.text, resolved);
                Span {
                    start,
                    end: index(self.text.len()),
                }
            }
        };
        Ok(Some(Entry {
            key,
            order: 0,
            key_mark: mark,
            value,
        }))
    }

    fn merge(&mut self, value: Id, keys: &mut Keys) -> Result<(), Fault> {
        match self.node(value).map(|node| node.content) {
            Some(Content::Sequence { elements }) => {
                // Backwards, so that the first in the list wins.
                for at in (elements.start..elements.end).rev() {
                    if let Some(&element) = self.children.get(at as usize) {
                        self.merge_mapping(element, keys)?;
                    }
                }
                Ok(())
            }
            _ => self.merge_mapping(value, keys),
        }
    }

    fn merge_mapping(&mut self, value: Id, keys: &mut Keys) -> Result<(), Fault> {
        let Some(Content::Mapping {
            entries,
            keys: merged,
            ..
        }) = self.node(self.follow(value)).map(|node| node.content)
        else {
            return Err(Fault {
                kind: FaultKind::Schema,
                mark: self.mark(value),
                message: "`<<` takes a mapping or a list of mappings".into(),
            });
        };
        keys.flaw = keys.flaw.or(merged.flaw);
        self.entries
            .extend_from_within(entries.start as usize..entries.end as usize);
        Ok(())
    }

    /// Sorts the entries from `start` on by key and drops all but the last of each.
    fn keep_last(&mut self, start: usize, merged: bool, keys: &mut Keys) {
        let Some(mut entries) =
            (start <= self.entries.len()).then(|| self.entries.split_off(start))
        else {
            return;
        };
        for (order, entry) in (0..).zip(&mut entries) {
            entry.order = order;
        }
        entries
            .sort_unstable_by(|a, b| (self.str(a.key), a.order).cmp(&(self.str(b.key), b.order)));
        let mut entries = entries.into_iter().peekable();
        while let Some(entry) = entries.next() {
            match entries.peek() {
                Some(next) if self.str(next.key) == self.str(entry.key) => {
                    if !merged {
                        keys.repeated = keys.repeated.or(Some(next.key_mark));
                    }
                }
                _ => self.entries.push(entry),
            }
        }
    }
}

/// Writes a key that is no string as `sigs.k8s.io/yaml` does.
fn write_key(out: &mut String, key: Resolved) {
    use core::fmt::Write as _;
    match key {
        Resolved::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Resolved::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Resolved::Float(value) if value.is_nan() => out.push_str(".nan"),
        Resolved::Float(value) if value == f64::INFINITY => out.push_str(".inf"),
        Resolved::Float(value) if value == f64::NEG_INFINITY => out.push_str("-.inf"),
        Resolved::Float(value) => {
            let mut text = String::new();
            scalar::write_single_float(&mut text, value);
            // What is finite in double precision and not in single is `+Inf` there, too.
            out.push_str(match text.as_str() {
                "+Inf" => ".inf",
                "-Inf" => "-.inf",
                text => text,
            });
        }
        Resolved::Null | Resolved::Uint(_) | Resolved::Text | Resolved::Binary => {}
    }
}

/// Follows go-yaml 2's own count of decoding steps, with every alias expanded, and refuses what it
/// refuses: the share of steps below aliases may be 99 % up to 400,000 steps and falls to 10 % at
/// 4,000,000. So the walk itself is bounded.
fn check_aliasing(tree: &Tree) -> Result<(), Fault> {
    enum Step {
        Visit(Id),
        LeaveAlias,
    }
    let mut steps = vec![Step::Visit(tree.root)];
    // The document itself is the first step.
    let (mut decoded, mut below_alias, mut alias_depth) = (1_u64, 0_u64, 0_u32);
    while let Some(step) = steps.pop() {
        let id = match step {
            Step::Visit(id) => id,
            Step::LeaveAlias => {
                alias_depth -= 1;
                continue;
            }
        };
        decoded += 1;
        below_alias += u64::from(alias_depth > 0);
        if below_alias > 100 && decoded > 1000 && exceeds_ratio(below_alias, decoded) {
            return Err(Fault {
                kind: FaultKind::Limit,
                mark: tree.mark(id),
                message: "document contains excessive aliasing".into(),
            });
        }
        match tree.node(id).map(|node| node.content) {
            Some(Content::Alias(target)) => {
                alias_depth += 1;
                steps.push(Step::LeaveAlias);
                steps.push(Step::Visit(target));
            }
            Some(Content::Sequence { elements }) => {
                let elements = tree
                    .children
                    .get(elements.start as usize..elements.end as usize);
                steps.extend(
                    elements
                        .unwrap_or_default()
                        .iter()
                        .rev()
                        .map(|&id| Step::Visit(id)),
                );
            }
            Some(Content::Mapping { pairs, .. }) => {
                let pairs = tree.children.get(pairs.start as usize..pairs.end as usize);
                for pair in pairs.unwrap_or_default().chunks_exact(2).rev() {
                    let &[key, value] = pair else { continue };
                    let merge = matches!(
                        tree.node(key).map(|node| node.content),
                        Some(Content::Scalar { merge: true, .. })
                    );
                    match tree.node(value).map(|node| node.content) {
                        // A merged list is not a step of its own.
                        Some(Content::Sequence { elements }) if merge => {
                            let elements = tree
                                .children
                                .get(elements.start as usize..elements.end as usize);
                            steps.extend(
                                elements
                                    .unwrap_or_default()
                                    .iter()
                                    .map(|&id| Step::Visit(id)),
                            );
                        }
                        _ => steps.push(Step::Visit(value)),
                    }
                    if !merge {
                        steps.push(Step::Visit(key));
                    }
                }
            }
            Some(Content::Scalar { .. }) | None => {}
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn exceeds_ratio(below_alias: u64, decoded: u64) -> bool {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let steps = decoded as f64;
    let allowed = if steps <= LOW {
        0.99
    } else if steps >= HIGH {
        0.10
    } else {
        0.99 - 0.89 * ((steps - LOW) / (HIGH - LOW))
    };
    below_alias as f64 / steps > allowed
}

/// Documents are limited far below 4 GiB before they come here.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
