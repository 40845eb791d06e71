//! Where in a document something is written.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_yaml::Location;

use crate::problem::Place;

/// Something in a document. Where that is, is looked for when somebody wants to know.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    document: Arc<str>,
    text: Arc<str>,
    /// How many lines there are before the text.
    lines: u32,
    /// The names that lead there.
    pub(super) names: Vec<String>,
}

impl Spot {
    /// A text as a whole, so many lines below the begin of a document.
    pub(super) fn of(document: &Arc<str>, text: &str, lines: u32) -> Self {
        Self {
            document: Arc::clone(document),
            text: Arc::from(text),
            lines,
            names: Vec::new(),
        }
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.found(false)
    }

    /// Where its name is.
    pub(super) fn place_of_name(&self) -> Place {
        self.found(true)
    }

    fn found(&self, is_of_name: bool) -> Place {
        let (line, column) = of(&self.text, &self.names, is_of_name);
        Place::new(&self.document, line.saturating_add(self.lines), column)
    }
}

/// The line and column, from 1, of what names lead to: of the last name itself, or of what it stands
/// for. As far as the names lead, where that is not all the way.
fn of(text: &str, names: &[String], is_of_name: bool) -> (u32, u32) {
    let seek = Seek { names, is_of_name };
    let found = seek.deserialize(serde_yaml::Deserializer::from_str(text));
    let location = found.err().and_then(|error| error.location());
    location.as_ref().map_or((1, 1), position)
}

/// The line and column of a place in a text.
pub(super) fn position(location: &Location) -> (u32, u32) {
    let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
    (number(location.line()), number(location.column()))
}

/// Ends with an error at the place, whose location is what is wanted.
struct Seek<'n> {
    names: &'n [String],
    is_of_name: bool,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its place")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, others)) = self.names.split_first() else {
            return Err(A::Error::custom("here"));
        };
        let name = Name {
            wanted: first,
            ends: self.is_of_name && others.is_empty(),
        };
        while let Some(is_wanted) = map.next_key_seed(name)? {
            if is_wanted {
                let (names, is_of_name) = (others, self.is_of_name);
                return map.next_value_seed(Seek { names, is_of_name });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom("not here"))
    }
}

/// A name of a mapping.
#[derive(Clone, Copy)]
struct Name<'n> {
    wanted: &'n str,
    /// Whether it is what is looked for.
    ends: bool,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<bool, E> {
        let is_wanted = name == self.wanted;
        if is_wanted && self.ends {
            return Err(E::custom("here"));
        }
        Ok(is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn names_lead_to_places() {
        let text = "\n\na:\n  b: {c: 5, 7: [x]}\n  d:\n    e:\n    - f\n";
        for (names, is_of_name, place) in [
            ("a", true, (3, 1)),
            ("a", false, (4, 3)),
            ("a b", true, (4, 3)),
            ("a b c", true, (4, 7)),
            ("a b c", false, (4, 10)),
            ("a b 7", false, (4, 16)),
            ("a d e", false, (7, 5)),
            ("a d x", true, (6, 5)),
            ("a b c x", false, (4, 10)),
        ] {
            let names: Vec<_> = names.split(' ').map(str::to_owned).collect();
            assert_eq!(of(text, &names, is_of_name), place, "{names:?}");
        }
    }
}
