//! A configuration with its variables filled in, as Go's `os.ExpandEnv` does over the whole text.
//!
//! Dapr fills them in before it parses. What they hold may be secret, so only names that stand in the
//! text as it was written are shown, and places are those of that text.

use std::collections::HashSet;
use std::sync::Arc;

use crate::env::Environment;
use crate::error::Class;
use crate::mode::Mode;
use crate::problem::{Place, Problem};

/// Variables that are not set are told up to this many times.
const MOST_PROBLEMS: usize = 20;

/// A text with its variables filled in.
pub(crate) struct Expansion {
    pub(crate) text: String,
    /// In the order of the text.
    fills: Vec<Fill>,
    /// The words of the text as it was written.
    words: HashSet<String>,
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
            words: HashSet::new(),
        };
        let mut problems = Vec::new();
        let (mut here, mut written) = (Point::FIRST, Point::FIRST);
        let mut line = Line::default();
        let mut rest = text;
        // What is left after the last brace, so that not each `${` looks for one through all of it.
        let braceless = text.rsplit('}').next().map_or(0, str::len);
        while let Some((before, after)) = rest.split_once('$') {
            expansion.text.push_str(before);
            (here, written) = (here.after(before), written.after(before));
            line.go_on(before);
            let Some((variable, after)) = variable(after, braceless) else {
                expansion.text.push('$');
                (here, written) = (here.after("$"), written.after("$"));
                line.go_on("$");
                rest = after;
                continue;
            };
            let value = environment.text(variable);
            if value.is_none() && mode == Mode::Strict && !line.is_comment() {
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
            line.go_on(&value);
            (here, written) = (end, written_end);
            rest = after;
        }
        expansion.text.push_str(rest);
        if !expansion.fills.is_empty() {
            let words = text.split(|character: char| " \t\r\n,:[]{}\"'".contains(character));
            expansion.words = words.map(str::to_owned).collect();
        }
        if !problems.is_empty() {
            Err(problems)
        } else if expansion.text.len() > most {
            Err(vec![too_long(Place::new(name, 1, 1), most)])
        } else {
            Ok(expansion)
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
        // The numbers are the guest's.
        let line = fill.written_end.line.saturating_add(line - fill.end.line);
        let column = if point.line == fill.end.line {
            let beyond = column - fill.end.column;
            fill.written_end.column.saturating_add(beyond)
        } else {
            column
        };
        Place::new(name, line, column)
    }

    /// Whether a name may hold what a variable held: it does not stand in the text as written.
    pub(crate) fn is_hidden(&self, name: &str) -> bool {
        !self.fills.is_empty() && !self.words.contains(name)
    }
}

/// What is known of a line that has begun.
#[derive(Default)]
struct Line {
    /// The last character.
    last: Option<char>,
    has_quote: bool,
    has_comment: bool,
}

impl Line {
    fn go_on(&mut self, text: &str) {
        for character in text.chars() {
            if matches!(character, '\n' | '\r') {
                *self = Self::default();
                continue;
            }
            // A `#` in quotes could be text, so it is taken for that.
            let is_apart = self.last.is_none_or(char::is_whitespace);
            self.has_comment |= character == '#' && is_apart && !self.has_quote;
            self.has_quote |= matches!(character, '"' | '\'') && !self.has_comment;
            self.last = Some(character);
        }
    }

    /// Whether a comment has begun.
    fn is_comment(&self) -> bool {
        self.has_comment
    }
}

/// The name after a `$`, and what follows it; nothing where none follows.
///
/// The last `braceless` bytes of the text have no closing brace.
fn variable(after: &str, braceless: usize) -> Option<(&str, &str)> {
    if let Some(braced) = after.strip_prefix('{') {
        let closed = (braced.len() > braceless).then(|| braced.split_once('}'));
        // Without an end, Go drops the two characters and goes on.
        return Some(closed.flatten().unwrap_or(("", braced)));
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
    use crate::mode::Mode;
    use crate::problem::{Place, Problem};

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
        // Go drops a brace that is not closed.
        assert_eq!(expanded("${A}${A", Mode::Dapr).as_deref(), Ok("xA"));
        assert_eq!(expanded("# ${ }", Mode::Dapr).as_deref(), Ok("# "));
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
        for text in ["a: \" # $NO\"", "# c\na: $NO", "a: b#$NO", "# $LINES- $NO"] {
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
    fn only_names_that_stand_in_the_text_are_shown() {
        let expansion = expansion("a: $A\nb: [q, r$A]\nc: $LINES", Mode::Strict)
            .ok()
            .unwrap();
        assert!(!expansion.is_hidden("q"));
        for name in ["x", "rx", "22", "1 22"] {
            assert!(expansion.is_hidden(name), "{name}");
        }
        let expansion = super::tests::expansion("a: b", Mode::Strict).ok().unwrap();
        assert!(!expansion.is_hidden("any"));
    }
}
