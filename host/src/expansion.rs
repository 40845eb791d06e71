//! A configuration with its variables filled in, as Go's `os.ExpandEnv` does over the whole text.
//!
//! Dapr fills them in before it parses. What they hold may be secret, so a name that comes from one
//! is not shown, and places are those of the text as it was written.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::env::Environment;
use crate::error::Class;
use crate::problem::{Place, Problem};
use crate::resolver::Mode;

/// Variables that are not set are told up to this many times.
const MOST_PROBLEMS: usize = 20;
/// Where variables hold more words than this, no name is shown.
const MOST_WORDS: usize = 100;

/// A text with its variables filled in.
pub(crate) struct Expansion {
    pub(crate) text: String,
    /// In the order of the text.
    fills: Vec<Fill>,
    /// What was filled in, in words.
    words: BTreeSet<String>,
}

/// A variable that was filled in.
struct Fill {
    /// Where its value begins and ends in the text as it now is.
    begin: Point,
    end: Point,
    /// Where the variable begins and ends in the text as it was written.
    written_begin: Point,
    written_end: Point,
}

/// A line and a column in characters, from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Point {
    line: u32,
    column: u32,
}

impl Point {
    const FIRST: Self = Self { line: 1, column: 1 };

    fn after(mut self, text: &str) -> Self {
        for character in text.chars() {
            if character == '\n' {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            } else {
                self.column = self.column.saturating_add(1);
            }
        }
        self
    }
}

impl Expansion {
    /// Fills in what is set. What is not set vanishes, as in Dapr, and is refused in strict mode
    /// unless it stands in a comment; so is a text of more than `most` bytes.
    pub(crate) fn of(
        name: &Arc<str>,
        text: &str,
        environment: &Environment,
        mode: Mode,
        most: usize,
    ) -> Result<Self, Vec<Problem>> {
        let mut expansion = Self {
            text: String::with_capacity(text.len()),
            fills: Vec::new(),
            words: BTreeSet::new(),
        };
        let mut problems = Vec::new();
        let (mut here, mut written) = (Point::FIRST, Point::FIRST);
        let mut line = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expansion.text.push_str(before);
            (here, written) = (here.after(before), written.after(before));
            match before.rsplit_once('\n') {
                Some((_, begun)) => begun.clone_into(&mut line),
                None => line.push_str(before),
            }
            let Some((variable, after)) = variable(after) else {
                expansion.text.push('$');
                (here, written) = (here.after("$"), written.after("$"));
                line.push('$');
                rest = after;
                continue;
            };
            let value = environment.text(variable);
            if value.is_none() && mode == Mode::Strict && !is_in_comment(&line) {
                let place = Place::new(name, written.line, written.column + 1);
                problems.push(unset(place));
                if problems.len() == MOST_PROBLEMS {
                    return Err(problems);
                }
            }
            let length = rest.len() - before.len() - after.len();
            let source = rest.get(before.len()..before.len() + length);
            let written_end = written.after(source.unwrap_or_default());
            let value = value.unwrap_or_default();
            let end = here.after(&value);
            expansion.fills.push(Fill {
                begin: here,
                end,
                written_begin: written,
                written_end,
            });
            expansion.text.push_str(&value);
            if expansion.text.len() > most {
                return Err(vec![too_long(Place::new(name, 1, 1), most)]);
            }
            expansion.remember(&value);
            line.push_str(source.unwrap_or_default());
            (here, written) = (end, written_end);
            rest = after;
        }
        expansion.text.push_str(rest);
        match () {
            () if !problems.is_empty() => Err(problems),
            () if expansion.text.len() > most => Err(vec![too_long(Place::new(name, 1, 1), most)]),
            () => Ok(expansion),
        }
    }

    fn remember(&mut self, value: &str) {
        for word in value.split_whitespace() {
            if self.words.len() > MOST_WORDS {
                return;
            }
            self.words.insert(word.to_owned());
        }
    }

    /// Where something stood as it was written, by where it stands now.
    pub(crate) fn written(&self, name: &Arc<str>, line: u32, column: u32) -> Place {
        let point = Point { line, column };
        let before = self.fills.partition_point(|fill| fill.begin <= point);
        let Some(fill) = before.checked_sub(1).and_then(|last| self.fills.get(last)) else {
            return Place::new(name, line, column);
        };
        if point < fill.end {
            return Place::new(name, fill.written_begin.line, fill.written_begin.column);
        }
        let line = fill.written_end.line + (line - fill.end.line);
        let column = if point.line == fill.end.line {
            fill.written_end.column + (column - fill.end.column)
        } else {
            column
        };
        Place::new(name, line, column)
    }

    /// Whether anything was filled in.
    pub(crate) fn is_used(&self) -> bool {
        !self.fills.is_empty()
    }

    /// Whether a name that stands at this line may hold what a variable held.
    pub(crate) fn is_hidden(&self, name: &str, line: u32) -> bool {
        let at = self.fills.partition_point(|fill| fill.end.line < line);
        let on_its_line = self
            .fills
            .get(at)
            .is_some_and(|fill| fill.begin.line <= line);
        on_its_line
            || self.words.len() > MOST_WORDS
            || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Whether a comment has begun on this line: a `#` in quotes could be text, so it is taken for that.
fn is_in_comment(line: &str) -> bool {
    line.trim_start().starts_with('#') || (line.contains(" #") && !line.contains(['"', '\'']))
}

/// The name after a `$`, and what follows it; nothing where none follows.
fn variable(after: &str) -> Option<(&str, &str)> {
    if let Some(braced) = after.strip_prefix('{') {
        // Without an end, Go drops the two characters and goes on.
        return Some(braced.split_once('}').unwrap_or(("", braced)));
    }
    let special = |character: char| "*#$@!?-0123456789".contains(character);
    let end = match after.chars().next()? {
        first if special(first) => first.len_utf8(),
        _ => after
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .unwrap_or(after.len()),
    };
    if end == 0 {
        None
    } else {
        after.split_at_checked(end)
    }
}

fn unset(place: Place) -> Problem {
    // Its name is not shown: where a password was pasted, it is a piece of that.
    let message = "the environment variable that is named here is not set";
    let hint = "set it; a `$` itself cannot be written in this file";
    Problem::new(Class::DocumentSchema, Some(place), message, hint)
}

fn too_long(place: Place, most: usize) -> Problem {
    let message = format!("with its variables, the configuration has more than {most} bytes");
    Problem::new(Class::DocumentLimit, Some(place), message, "")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Expansion;
    use crate::env::Environment;
    use crate::problem::{Place, Problem};
    use crate::resolver::Mode;

    fn expansion(text: &str, mode: Mode) -> Result<Expansion, Vec<Problem>> {
        let environment = Environment::of([("A", "x"), ("B_1", "y"), ("LINES", "1\n22\n")]);
        Expansion::of(&Arc::from("c.yaml"), text, &environment, mode, 100)
    }

    fn expanded(text: &str, mode: Mode) -> Result<String, usize> {
        expansion(text, mode)
            .map(|expansion| expansion.text)
            .map_err(|problems| problems.len())
    }

    #[test]
    fn variables_are_filled_in() {
        assert_eq!(
            expanded("$A-${B_1}.$A", Mode::Strict).as_deref(),
            Ok("x-y.x")
        );
        assert_eq!(expanded("a $ b", Mode::Strict).as_deref(), Ok("a $ b"));
    }

    #[test]
    fn the_name_of_an_unset_variable_is_not_shown() {
        let texts = [
            "a: pre${oops\n  password: hunter2\nb: }",
            "http://u:pa$hunter2@h",
        ];
        for text in texts {
            let problems = expansion(text, Mode::Strict).err().unwrap();
            assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
        }
    }

    #[test]
    fn an_unset_variable_is_refused_unless_dapr_is_copied() {
        assert_eq!(expanded("$NO and ${NO}", Mode::Strict), Err(2));
        assert_eq!(expanded("[$NO${NO}$$]", Mode::Dapr).as_deref(), Ok("[]"));
        assert_eq!(expanded(&"$NO ".repeat(1000), Mode::Strict), Err(20));
    }

    #[test]
    fn an_unset_variable_in_a_comment_is_no_matter() {
        for text in ["# costs $5", "a: b # costs $5", "a:\n  # $NO and ${NO}\n"] {
            assert!(expanded(text, Mode::Strict).is_ok(), "{text}");
        }
        for text in ["a: \" # $NO\"", "# c\na: $NO", "a: b#$NO"] {
            assert_eq!(expanded(text, Mode::Strict), Err(1), "{text}");
        }
    }

    #[test]
    fn what_grows_too_long_is_refused() {
        assert_eq!(
            expanded(&"$A".repeat(100), Mode::Strict).as_deref(),
            Ok("x".repeat(100).as_str())
        );
        assert_eq!(expanded(&"$A".repeat(101), Mode::Strict), Err(1));
    }

    #[test]
    fn places_are_those_of_the_text_as_it_was_written() {
        let expansion = expansion("a $LINES b ${B_1} c\nd", Mode::Strict)
            .ok()
            .unwrap();
        assert_eq!(expansion.text, "a 1\n22\n b y c\nd");
        for (now, written) in [
            ((1, 1), (1, 1)),
            // Within what was filled in.
            ((1, 3), (1, 3)),
            ((2, 2), (1, 3)),
            // ` b `, `y`, ` c` and `d`.
            ((3, 2), (1, 10)),
            ((3, 4), (1, 12)),
            ((3, 6), (1, 19)),
            ((4, 1), (2, 1)),
        ] {
            let name = Arc::from("c.yaml");
            let place = expansion.written(&name, now.0, now.1);
            assert_eq!(place, Place::new(&name, written.0, written.1), "{now:?}");
        }
    }

    #[test]
    fn names_of_variables_are_hidden() {
        let expansion = expansion("a: $A\nb: q\nc: $LINES", Mode::Strict)
            .ok()
            .unwrap();
        assert!(expansion.is_hidden("any", 1));
        assert!(!expansion.is_hidden("q", 2));
        assert!(expansion.is_hidden("has22within", 2));
        assert!(expansion.is_hidden("q", 4));
    }
}
