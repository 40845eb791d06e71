//! A document of YAML as a tree, made within limits.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use zeroize::Zeroizing;

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

    /// Whether there is text that [`Writing`] has to write.
    pub(super) fn has_scalar(&self) -> bool {
        match self {
            Self::Null | Self::Text(_) => false,
            Self::Scalar(_) => true,
            Self::List(items) => items.iter().any(Self::has_scalar),
            Self::Map(entries) => entries.values().any(Self::has_scalar),
        }
    }
}

/// Makes nodes of a document, within limits.
pub(super) struct Reading {
    depth: Cell<usize>,
    left: Cell<usize>,
    fault: Cell<Option<&'static str>>,
}

impl Reading {
    pub(super) fn new() -> Self {
        Self {
            depth: Cell::new(0),
            left: Cell::new(MAX_EXPANDED),
            fault: Cell::new(None),
        }
    }

    /// The tree of a document, in which numbers and booleans still lack their text.
    pub(super) fn node<'de, D: Deserializer<'de>>(&self, document: D) -> Result<Node, D::Error> {
        self.deserialize(document)
    }

    /// What was wrong with a document, where it was no fault of the YAML itself.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault.get()
    }

    fn refuse<E: Error>(&self, fault: &'static str) -> E {
        self.fault.set(Some(fault));
        E::custom(fault)
    }

    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let cost = bytes.saturating_add(NODE_COST);
        let left = self.left.get().checked_sub(cost);
        self.left
            .set(left.ok_or_else(|| self.refuse("takes more than 64 MiB"))?);
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

    /// A number or a boolean, whose text [`Writing`] writes.
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

/// Writes the text of numbers and booleans into the tree of a document.
///
/// The parser gives a text only to who asks for it, and otherwise a number, which `1e5`, `0x1F` or
/// `1.10` cannot be had back from. So the document is read a second time where it has any.
pub(super) struct Writing<'a>(pub(super) &'a mut Node);

impl Writing<'_> {
    pub(super) fn scalars<'de, D: Deserializer<'de>>(self, document: D) -> Result<(), D::Error> {
        self.deserialize(document)
    }
}

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
        let Node::Map(entries) = self.0 else {
            return Ok(());
        };
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
