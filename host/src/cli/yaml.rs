//! Values as YAML that readers of YAML 1.1 and of YAML 1.2 take for the same.
//!
//! `serde_yaml` leaves plain what only YAML 1.1 takes for something else than text, such as `on`,
//! `1_000` or `12:30`; Dapr reads YAML 1.1.

use std::fmt::Write as _;

use serde::Serialize;
use serde_yaml::Value;
use zeroize::{Zeroize as _, Zeroizing};

/// Writes a value in block style.
///
/// # Errors
/// Fails where it has what YAML cannot hold.
pub(super) fn text(value: &impl Serialize) -> serde_yaml::Result<Zeroizing<String>> {
    let mut value = serde_yaml::to_value(value)?;
    let mut out = Zeroizing::new(String::new());
    match &value {
        Value::Mapping(_) | Value::Sequence(_) => write_block(&mut out, &value, 0, false),
        scalar => write_line(&mut out, scalar),
    }
    wipe(&mut value);
    Ok(out)
}

/// Writes the entries of a collection, each on lines of its own; `begun` where the first one goes on
/// in a line that has its indentation.
fn write_block(out: &mut String, value: &Value, indent: usize, mut begun: bool) {
    let mut begin = |out: &mut String| {
        if !std::mem::take(&mut begun) {
            out.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                begin(out);
                write_key(out, key, indent);
                if is_block(value) {
                    out.push('\n');
                    write_block(out, value, indent + 2, false);
                } else {
                    out.push(' ');
                    write_line(out, value);
                }
            }
        }
        Value::Sequence(elements) if !elements.is_empty() => {
            for element in elements {
                begin(out);
                out.push_str("- ");
                if is_block(element) {
                    write_block(out, element, indent + 2, true);
                } else {
                    write_line(out, element);
                }
            }
        }
        empty => {
            begin(out);
            write_line(out, empty);
        }
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Mapping(entries) => !entries.is_empty(),
        Value::Sequence(elements) => !elements.is_empty(),
        _ => false,
    }
}

/// Writes a key up to its colon. One that is longer than an implicit key may be says that it is one.
fn write_key(out: &mut String, key: &Value, indent: usize) {
    const LONGEST: usize = 128;
    let begin = out.len();
    write_scalar(out, key);
    if out.len() - begin > LONGEST {
        out.insert_str(begin, "? ");
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
    }
    out.push(':');
}

fn write_line(out: &mut String, value: &Value) {
    write_scalar(out, value);
    out.push('\n');
}

/// Writes what needs no lines of its own.
fn write_scalar(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_text(out, text),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Mapping(_) => out.push_str("{}"),
        Value::Sequence(_) => out.push_str("[]"),
        Value::Null | Value::Tagged(_) => out.push_str("null"),
    }
}

/// Text, plain where every reader takes it for text, else in double quotes.
fn write_text(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Not printable in YAML, or a line break of YAML 1.1.
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            printable => out.push(printable),
        }
    }
    out.push('"');
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "yes", "n", "no", "on", "off", "true", "false", "null"];
    let is_name = |character: char| character.is_ascii_alphanumeric() || "_-./".contains(character);
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(is_name)
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Wipes texts, which can be secrets that were asked for.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Sequence(elements) => elements.iter_mut().for_each(wipe),
        Value::Mapping(entries) => entries.values_mut().for_each(wipe),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn collections_stand_in_blocks() {
        let value = serde_json::json!({
            "a": [], "b": {}, "c": [1, "x", {"k": "v", "l": [true, null]}, [["y"]]], "d": {"e": 1.5},
        });
        let expected = "a: []\nb: {}\nc:\n  - 1\n  - x\n  - k: v\n    l:\n      - true\n      - null\n  \
                        - - - \"y\"\nd:\n  e: 1.5\n";
        let written = text(&value).unwrap();
        assert_eq!(*written, expected);
        let read: serde_json::Value = serde_yaml::from_str(&written).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn long_keys_are_keys() {
        let long = "k".repeat(2_000);
        let value = serde_json::json!({ "a": [{ &long: "v", "b": { &long: { &long: [] } } }] });
        let written = text(&value).unwrap();
        let read: serde_json::Value = serde_yaml::from_str(&written).unwrap();
        assert_eq!(read, value, "{}", *written);
    }
}
