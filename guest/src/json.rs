//! YAML values as the JSON text that Go's `encoding/json` writes for them.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::fault::Fault;
use crate::scalar;
use crate::tree::{Elements, Entries, Id, Tree, Value};

/// A value that is a mapping or a sequence may become this much JSON text, aliases expanded.
const MAX_LENGTH: usize = 8 << 20;

/// The JSON text of a node: compact, keys sorted, `<`, `>` and `&` escaped.
pub(crate) fn text(tree: &Tree, id: Id) -> Result<String, Fault> {
    enum Open<'t> {
        Sequence(Elements<'t>, bool),
        Mapping(Entries<'t>, bool),
    }
    tree.check_json(id)?;
    let mut out = String::new();
    let mut open = Vec::new();
    let mut next = Some(id);
    loop {
        if out.len() > MAX_LENGTH {
            return Err(Fault::limit(
                tree.mark(id),
                "a value takes more than 8 MiB as JSON",
            ));
        }
        if let Some(id) = next.take() {
            match tree.value(id) {
                Value::Sequence(elements) => {
                    out.push('[');
                    open.push(Open::Sequence(elements, true));
                }
                Value::Mapping(entries) => {
                    out.push('{');
                    open.push(Open::Mapping(entries, true));
                }
                Value::Text(text) => write_string(&mut out, text, tree.is_lossy(id)),
                scalar => write_scalar(&mut out, scalar),
            }
        }
        match open.last_mut() {
            None => return Ok(out),
            Some(Open::Sequence(elements, first)) => {
                if let Some(element) = elements.next() {
                    separate(&mut out, first);
                    next = Some(element);
                } else {
                    out.push(']');
                    open.pop();
                }
            }
            Some(Open::Mapping(entries, first)) => {
                if let Some((key, _, value)) = entries.next() {
                    separate(&mut out, first);
                    write_string(&mut out, key, false);
                    out.push(':');
                    next = Some(value);
                } else {
                    out.push('}');
                    open.pop();
                }
            }
        }
    }
}

fn separate(out: &mut String, first: &mut bool) {
    if !core::mem::replace(first, false) {
        out.push(',');
    }
}

fn write_scalar(out: &mut String, value: Value<'_>) {
    match value {
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(value) => write_integer(out, value),
        Value::Uint(value) => write_integer(out, value),
        Value::Float(value) => scalar::write_json_float(out, value),
        Value::Null | Value::Text(_) | Value::Sequence(_) | Value::Mapping(_) => {
            out.push_str("null");
        }
    }
}

/// Writes an integer; `core`'s own formatting is 1 KB more.
pub(crate) fn write_integer(out: &mut String, value: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// The last four digits of a character's number.
fn hex(character: char) -> [char; 4] {
    let number = u32::from(character);
    [12, 8, 4, 0].map(|shift| char::from_digit(number >> shift & 0xF, 16).unwrap_or('0'))
}

/// Writes a text; in one that came from bytes which are not UTF-8, Go writes an escape for each.
fn write_string(out: &mut String, text: &str, lossy: bool) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str("\\u");
                out.extend(hex(character));
            }
            '\u{fffd}' if lossy => out.push_str("\\ufffd"),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Bytes as text, each byte that is not UTF-8 being one U+FFFD, as Go writes them to JSON.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = core::str::from_utf8(bytes) {
        Cow::Borrowed(text)
    } else {
        let mut out = String::new();
        for chunk in bytes.utf8_chunks() {
            out.push_str(chunk.valid());
            out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
        }
        Cow::Owned(out)
    }
}
