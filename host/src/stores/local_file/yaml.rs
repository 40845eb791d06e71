//! YAML: a tree of secrets, or manifests of Kubernetes secrets.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use zeroize::Zeroizing;

use super::flattener::Flattener;
use super::source::Source;
use super::{LocalFileOptions, Secrets, manifest};
use crate::secret::SecretValue;
use crate::stores::StoreError;

/// How many flow collections may be open at once: with their number, the time that the parser
/// takes for each grows.
const MAX_FLOW_DEPTH: usize = 1_000;

/// How many collections may be open at once: less than the parser allows, which does not say so.
const MAX_DEPTH: usize = 100;

/// The most memory that a file may take once its aliases are replaced.
const MAX_EXPANDED: usize = 64 << 20;

/// What a node costs beside its text.
const NODE_COST: usize = 64;

/// A value in YAML.
pub(super) enum Node {
    Null,
    Text(Zeroizing<String>),
    /// A number or a boolean, with its text as it is written.
    Scalar(Zeroizing<String>),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

/// The secrets of a file: of its manifests, or else of the one tree in it.
pub(super) fn read(source: &Source, options: &LocalFileOptions) -> Result<Secrets, StoreError> {
    refuse_depth(source)?;
    let mut documents = documents(source)?;
    if documents.iter().any(manifest::is_manifest) {
        return manifest::read(source, &documents);
    }
    let mut trees = documents.iter_mut().enumerate().filter(|(_, tree)| !matches!(tree, Node::Null));
    let Some((index, tree)) = trees.next() else { return Ok(Secrets::new()) };
    if trees.next().is_some() {
        return Err(source.error("holds several documents and none is a Kubernetes secret"));
    }
    if !matches!(tree, Node::Map(_)) {
        return Err(source.error("holds no mapping of names to secrets"));
    }
    write_scalars(source, index, tree)?;
    let mut flattener = Flattener::new(options);
    flatten(tree, &mut flattener);
    flattener.finish(source)
}

impl Node {
    /// The value of a key, where this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.get(key),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn flatten(node: &Node, flattener: &mut Flattener<'_>) {
    match node {
        Node::Null => flattener.scalar(None),
        Node::Text(text) => flattener.text(SecretValue::new(text.as_bytes())),
        Node::Scalar(text) => flattener.scalar(Some(SecretValue::new(text.as_bytes()))),
        Node::List(items) => {
            flattener.begin_array();
            items.iter().for_each(|item| flatten(item, flattener));
            flattener.end();
        }
        Node::Map(entries) => {
            flattener.begin_object();
            for (key, value) in entries {
                flattener.key(key.clone());
                flatten(value, flattener);
            }
            flattener.end();
        }
    }
}

/// Refuses a file with more open brackets than anybody writes; those in texts count too.
fn refuse_depth(source: &Source) -> Result<(), StoreError> {
    let mut depth: usize = 0;
    for (offset, byte) in source.bytes().iter().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_FLOW_DEPTH {
            return Err(source.error_at(offset, "opens more than 1000 brackets"));
        }
    }
    Ok(())
}

fn documents(source: &Source) -> Result<Vec<Node>, StoreError> {
    let reading = Reading {
        depth: Cell::new(0),
        left: Cell::new(MAX_EXPANDED),
        fault: Cell::new("is not valid YAML"),
    };
    serde_yaml::Deserializer::from_slice(source.bytes())
        .map(|document| reading.deserialize(document))
        .collect::<Result<_, _>>()
        .map_err(|error| fault(source, &error, reading.fault.get()))
}

/// Where a document is wrong. The parser's own words are left out, as they can quote a value.
fn fault(source: &Source, error: &serde_yaml::Error, what: &str) -> StoreError {
    match error.location() {
        Some(place) => source.error_in(place.line(), place.column(), what),
        // The one error without a place that a text can bring about.
        None => source.error("repeats its aliases too often"),
    }
}

/// Makes nodes of a document, within limits.
struct Reading {
    depth: Cell<usize>,
    left: Cell<usize>,
    /// What is wrong, where it is no fault of the YAML itself.
    fault: Cell<&'static str>,
}

impl Reading {
    fn refuse<E: Error>(&self, fault: &'static str) -> E {
        self.fault.set(fault);
        E::custom(fault)
    }

    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let cost = bytes.saturating_add(NODE_COST);
        let left = self.left.get().checked_sub(cost);
        self.left.set(left.ok_or_else(|| self.refuse("takes more than 64 MiB"))?);
        Ok(())
    }

    /// Counts a collection that begins; whoever gets this far calls [`Self::leave`] at its end.
    fn enter<E: Error>(&self) -> Result<(), E> {
        self.spend(0)?;
        self.depth.set(self.depth.get() + 1);
        if self.depth.get() > MAX_DEPTH {
            return Err(self.refuse("nests more than 100 levels"));
        }
        Ok(())
    }

    fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }

    /// A number or a boolean, whose text follows in [`write_scalars`].
    fn scalar<E: Error>(&self) -> Result<Node, E> {
        self.spend(0)?;
        Ok(Node::Scalar(Zeroizing::default()))
    }
}

impl<'de> DeserializeSeed<'de> for &Reading {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Reading {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.spend(0)?;
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, _value: bool) -> Result<Node, E> {
        self.scalar()
    }

    fn visit_i64<E: Error>(self, _value: i64) -> Result<Node, E> {
        self.scalar()
    }

    fn visit_i128<E: Error>(self, _value: i128) -> Result<Node, E> {
        self.scalar()
    }

    fn visit_u64<E: Error>(self, _value: u64) -> Result<Node, E> {
        self.scalar()
    }

    fn visit_u128<E: Error>(self, _value: u128) -> Result<Node, E> {
        self.scalar()
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<Node, E> {
        self.scalar()
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.spend(text.len())?;
        Ok(Node::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.enter()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        self.leave();
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.enter()?;
        let mut entries = BTreeMap::new();
        while let Some(key) = access.next_key::<String>()? {
            self.spend(key.len())?;
            if key == "<<" {
                return Err(self.refuse("merges a mapping into another, which is not supported"));
            }
            if entries.insert(key, access.next_value_seed(self)?).is_some() {
                return Err(self.refuse("holds a mapping with one key twice"));
            }
        }
        self.leave();
        Ok(Node::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _access: A) -> Result<Node, A::Error> {
        Err(self.refuse("has a tag that is not one of YAML itself"))
    }
}

/// Writes the text of numbers and booleans into a tree. The parser gives a text only to who asks
/// for it, and otherwise a number, which `1e5`, `0x1F` or `1.10` cannot be had back from.
fn write_scalars(source: &Source, document: usize, tree: &mut Node) -> Result<(), StoreError> {
    if !tree.has_scalar() {
        return Ok(());
    }
    serde_yaml::Deserializer::from_slice(source.bytes())
        .nth(document)
        .map_or(Ok(()), |document| Writing(tree).deserialize(document))
        .map_err(|error| fault(source, &error, "is not valid YAML"))
}

impl Node {
    fn has_scalar(&self) -> bool {
        match self {
            Self::Null | Self::Text(_) => false,
            Self::Scalar(_) => true,
            Self::List(items) => items.iter().any(Self::has_scalar),
            Self::Map(entries) => entries.values().any(Self::has_scalar),
        }
    }
}

struct Writing<'a>(&'a mut Node);

impl<'de> DeserializeSeed<'de> for Writing<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Node::Scalar(_) => deserializer.deserialize_str(self),
            Node::List(_) => deserializer.deserialize_seq(self),
            Node::Map(_) => deserializer.deserialize_map(self),
            Node::Null | Node::Text(_) => {
                deserializer.deserialize_ignored_any(IgnoredAny)?;
                Ok(())
            }
        }
    }
}

impl<'de> Visitor<'de> for Writing<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same as before")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        *self.0 = Node::Scalar(Zeroizing::new(text.to_owned()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        if let Node::List(items) = self.0 {
            for item in items {
                access.next_element_seed(Writing(item))?;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Node::Map(entries) = self.0 else { return Ok(()) };
        while let Some(key) = access.next_key::<String>()? {
            match entries.get_mut(&key) {
                Some(value) => access.next_value_seed(Writing(value))?,
                None => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
