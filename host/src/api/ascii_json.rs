//! JSON in ASCII: what a terminal would act on, such as marks of direction, is shown as it is named.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::Error as _;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// A value as one line of JSON, for which so many bytes are mostly enough.
pub(crate) fn ascii_json(value: &impl Serialize, bytes: usize) -> serde_json::Result<String> {
    let mut json = Vec::with_capacity(bytes);
    value.serialize(&mut Serializer::with_formatter(&mut json, Ascii))?;
    // It always is.
    String::from_utf8(json).map_err(serde_json::Error::custom)
}

/// Escapes what is not ASCII, and the one character of it that cannot be seen and that JSON leaves as
/// it is.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        // All other characters begin with a byte above these.
        while let Some(index) = rest.bytes().position(|byte| byte >= b'\x7f') {
            let (plain, odd) = rest.split_at(index);
            writer.write_all(plain.as_bytes())?;
            let mut characters = odd.chars();
            if let Some(character) = characters.next() {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::ascii_json;

    #[test]
    fn lines_are_ascii() {
        let text = "a\u{202e}\u{7f}é😀b\n";
        let line = ascii_json(&text, 0).unwrap();
        assert_eq!(line, r#""a\u202e\u007f\u00e9\ud83d\ude00b\n""#);
        let back: String = serde_json::from_str(&line).unwrap();
        assert_eq!(back, text);
    }
}
