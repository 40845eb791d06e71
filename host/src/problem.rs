//! What is wrong, where, and what to do about it.

use std::fmt;
use std::sync::Arc;

use crate::error::Class;

/// A place in a document.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Place {
    /// The document's name, a path for instance.
    pub document: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// A place in the document of this name; line and column from 1, the column in characters.
    pub fn new(document: &Arc<str>, line: u32, column: u32) -> Self {
        Self {
            document: Arc::clone(document),
            line,
            column,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = escaped(self.document.chars());
        write!(f, "{document}:{}:{}", self.line, self.column)
    }
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Severity {
    /// Something was not loaded or not resolved.
    Error,
    /// It was, and probably not as its author meant.
    Warning,
}

/// What a problem is about.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Subject {
    /// The name of the component.
    pub component: String,
    /// The name of its property, or empty.
    pub property: String,
    /// The names of its reference (store, secret, key), which are no secret.
    pub names: Vec<String>,
}

/// One thing that is wrong. It holds names and places, and no value.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// The class.
    pub class: Class,
    /// How much it matters.
    pub severity: Severity,
    /// Where, if in a document.
    pub place: Option<Place>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it, or empty.
    pub hint: String,
    /// Which component it is about, where it is about one.
    pub subject: Option<Subject>,
    /// The other place, where two contradict each other.
    pub other: Option<Place>,
}

impl Problem {
    /// An error.
    pub fn new(
        class: Class,
        place: Option<Place>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self {
            class,
            severity: Severity::Error,
            place,
            message,
            hint,
            subject: None,
            other: None,
        }
    }

    /// The same with another severity.
    #[must_use]
    pub(crate) fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same where what stands at another place contradicts it.
    #[must_use]
    pub(crate) fn against(mut self, other: &Place) -> Self {
        self.other = Some(other.clone());
        self
    }

    /// The same about a property of a component; an empty name for the component itself.
    #[must_use]
    pub fn about(mut self, component: &str, property: &str) -> Self {
        let (component, property) = (component.to_owned(), property.to_owned());
        self.subject = Some(Subject {
            component,
            property,
            names: Vec::new(),
        });
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Text of a document or of a guest for a message: control and bidirectional characters escaped,
/// and cut after 120 characters.
pub(crate) fn printable(text: &str) -> String {
    cut(text, 120)
}

/// The same for a message or a hint of the guest, which can list names: cut after 1,000 characters.
pub(crate) fn printable_sentence(text: &str) -> String {
    cut(text, 1_000)
}

fn cut(text: &str, longest: usize) -> String {
    let mut out = escaped(text.chars().take(longest));
    if text.chars().nth(longest).is_some() {
        out.push('…');
    }
    out
}

/// A name or text of a document for a terminal: control and bidirectional characters escaped.
pub fn terminal_safe(text: &str) -> String {
    escaped(text.chars())
}

fn escaped(characters: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    characters.for_each(|character| escape(character, &mut out));
    out
}

/// A character as it is, or by its name or number where it is not seen or reorders others.
pub(crate) fn escape(character: char, out: &mut String) {
    if character.is_control() || is_bidirectional(character) {
        out.extend(character.escape_default());
    } else {
        out.push(character);
    }
}

/// Characters that reorder what stands around them, or that a terminal does not show.
fn is_bidirectional(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn terminal_escapes_and_reordering_are_shown_and_not_done() {
        assert_eq!(
            printable("a\u{1b}[31m\u{202e}b\n"),
            "a\\u{1b}[31m\\u{202e}b\\n"
        );
        assert_eq!(printable(&"x".repeat(500)).chars().count(), 121);
    }
}
