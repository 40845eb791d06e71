//! JSON by the rules of Go's `encoding/json`, with which Dapr reads a file of secrets.
//!
//! It is read here and not by `serde_json`, which refuses what Go accepts (bytes that are not
//! UTF-8, lone surrogates, more than 128 levels), keeps no number as it is written, and leaves
//! unwiped copies of values behind.

use zeroize::Zeroizing;

use super::flattener::{Container, Flattener};
use super::scalar::ScalarText;
use super::source::Source;
use super::{LocalFileOptions, Secrets, escape};
use crate::secret::SecretValue;
use crate::stores::StoreError;

/// How many containers may be open at once, as in Go.
const MAX_DEPTH: usize = 10_000;

/// The secrets of a JSON object; none for `null`.
pub(super) fn read(source: &Source, options: &LocalFileOptions) -> Result<Secrets, StoreError> {
    if options.scalars == ScalarText::Plain {
        // Dapr reads U+FFFD for what is not UTF-8, which no password can be meant to have.
        source.text()?;
    }
    let mut reader = Reader {
        bytes: source.bytes(),
        at: 0,
        scalars: options.scalars,
        flattener: Flattener::new(options),
    };
    match reader.document() {
        Ok(()) => reader.flattener.finish(source),
        Err(fault) => Err(source
            .error_at(reader.at, format_args!("is not valid JSON: {fault}"))
            .with_hint(hint(source))),
    }
}

/// What is wrong at the place where the reader stands.
type Fault = &'static str;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    scalars: ScalarText,
    flattener: Flattener<'a>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<(), Fault> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'n') => self.literal("null")?,
            _ => return Err("an object belongs here, with a secret for each key"),
        }
        self.skip_space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err("nothing may follow the object")
        }
    }

    /// The object at the root. There is no recursion, so that depth costs no stack.
    fn object(&mut self) -> Result<(), Fault> {
        loop {
            let is_complete = self.value()?;
            if is_complete && !self.proceed()? {
                return Ok(());
            }
        }
    }

    /// A value, or the beginning of a container up to its first value: then it is not complete.
    fn value(&mut self) -> Result<bool, Fault> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => return self.begin(Container::Object),
            Some(b'[') => return self.begin(Container::Array),
            Some(b'"') => {
                let text = self.text()?;
                self.flattener.text(SecretValue::new(text.as_bytes()));
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                self.flattener.scalar(Some(number));
            }
            Some(b't') => self.boolean("true", true)?,
            Some(b'f') => self.boolean("false", false)?,
            Some(b'n') => {
                self.literal("null")?;
                self.flattener.scalar(self.scalars.null());
            }
            _ => return Err("a value belongs here"),
        }
        Ok(true)
    }

    fn begin(&mut self, container: Container) -> Result<bool, Fault> {
        if self.flattener.depth() >= MAX_DEPTH {
            return Err("more than 10000 levels are open");
        }
        self.at += 1;
        self.skip_space();
        match container {
            Container::Object => self.flattener.begin_object(),
            Container::Array => self.flattener.begin_array(),
        }
        if self.peek() == Some(closing(container)) {
            self.end();
            return Ok(true);
        }
        if container == Container::Object {
            self.key()?;
        }
        Ok(false)
    }

    fn end(&mut self) {
        self.at += 1;
        self.flattener.end();
    }

    /// Goes from the end of a value to where the next one begins; false where there is none.
    fn proceed(&mut self) -> Result<bool, Fault> {
        while let Some(container) = self.flattener.container() {
            self.skip_space();
            match (container, self.peek()) {
                (Container::Object, Some(b',')) => {
                    self.at += 1;
                    self.skip_space();
                    self.key()?;
                    return Ok(true);
                }
                (Container::Array, Some(b',')) => {
                    self.at += 1;
                    return Ok(true);
                }
                (_, next) if next == Some(closing(container)) => self.end(),
                (Container::Object, _) => return Err("`,` or `}` belongs here"),
                (Container::Array, _) => return Err("`,` or `]` belongs here"),
            }
        }
        Ok(false)
    }

    fn key(&mut self) -> Result<(), Fault> {
        if self.peek() != Some(b'"') {
            return Err("a key in double quotes belongs here");
        }
        let name = self.text()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err("`:` belongs here");
        }
        self.at += 1;
        self.flattener.key(name.to_string());
        Ok(())
    }

    fn boolean(&mut self, literal: &'static str, value: bool) -> Result<(), Fault> {
        self.literal(literal)?;
        self.flattener.scalar(Some(self.scalars.boolean(value)));
        Ok(())
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), Fault> {
        if !self.rest().starts_with(literal.as_bytes()) {
            return Err("a value belongs here");
        }
        self.at += literal.len();
        Ok(())
    }

    fn number(&mut self) -> Result<SecretValue, Fault> {
        let start = self.at;
        self.skip(b"-");
        if !self.skip(b"0") {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        let text = std::str::from_utf8(text).unwrap_or_default();
        let number = text.parse().unwrap_or(f64::INFINITY);
        if number.is_infinite() {
            self.at = start;
            return Err("the number is too large");
        }
        Ok(self.scalars.number(text, number))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.at += count;
        if count == 0 {
            Err("a digit belongs here")
        } else {
            Ok(())
        }
    }

    /// A text in double quotes.
    fn text(&mut self) -> Result<Zeroizing<String>, Fault> {
        self.at += 1;
        let raw = self.raw_text()?;
        let text = escape::decode(raw).map_err(|offset| {
            self.at += offset;
            "no escape of JSON"
        })?;
        self.at += raw.len() + 1;
        Ok(text)
    }

    /// What stands from here to the closing quote.
    fn raw_text(&mut self) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut bytes = rest.iter().enumerate();
        while let Some((length, byte)) = bytes.next() {
            match byte {
                b'"' => return Ok(rest.get(..length).unwrap_or_default()),
                b'\\' => {
                    bytes.next();
                }
                0..0x20 => {
                    self.at += length;
                    return Err("a control character belongs in an escape");
                }
                _ => {}
            }
        }
        self.at = self.bytes.len();
        Err("a closing quote is missing")
    }

    fn skip_space(&mut self) {
        while self.skip(b" \t\r\n") {}
    }

    /// Goes on where one of these bytes comes next.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let found = self.peek().is_some_and(|byte| bytes.contains(&byte));
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

fn closing(container: Container) -> u8 {
    match container {
        Container::Object => b'}',
        Container::Array => b']',
    }
}

/// What may be at fault with a file that is not JSON.
fn hint(source: &Source) -> &'static str {
    let bytes = source.bytes();
    let extension = source.path().extension();
    if extension.is_none_or(|extension| !extension.eq_ignore_ascii_case("json")) {
        "the file's extension decides how it is read: `.json`, `.yaml`, `.toml`, `.env`, or JSON"
    } else if bytes.starts_with(b"\xEF\xBB\xBF") || bytes.starts_with(b"\xFF\xFE") {
        "save the file as UTF-8 without a byte order mark"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::listing;
    use super::{LocalFileOptions, ScalarText, Source, read};

    fn value(value: &[u8]) -> String {
        let text = [br#"{"k":"#, value, b"}"].concat();
        let secrets = read(&Source::of("s.json", &text), &LocalFileOptions::default()).unwrap();
        let value = secrets["k"].get("k").unwrap();
        value.reveal_text().unwrap().to_owned()
    }

    fn error(text: &[u8]) -> String {
        read(&Source::of("s.json", text), &LocalFileOptions::default())
            .unwrap_err()
            .message
    }

    #[test]
    fn what_is_not_utf_8_is_no_text() {
        let text = b"{\"k\": \"p\xFFw\"}";
        assert_eq!(error(text), "`s.json:1:9` is not UTF-8");
        let dapr = LocalFileOptions {
            scalars: ScalarText::Dapr,
            ..LocalFileOptions::default()
        };
        let secrets = read(&Source::of("s.json", text), &dapr).unwrap();
        assert_eq!(
            secrets["k"].get("k").unwrap().reveal_text(),
            Ok("p\u{fffd}w")
        );
    }

    #[test]
    fn null_is_an_empty_store() {
        let secrets = read(
            &Source::of("s.json", b" null\n"),
            &LocalFileOptions::default(),
        );
        assert_eq!(listing(&secrets.unwrap()), [""; 0]);
    }

    #[test]
    fn scalars_are_their_text_in_the_file() {
        for text in [
            "42",
            "-0",
            "1.50",
            "1E+2",
            "12345678901234567890123",
            "5e-324",
            "true",
        ] {
            assert_eq!(value(text.as_bytes()), text);
        }
    }

    #[test]
    fn what_go_refuses_is_refused_with_its_place() {
        const NO_OBJECT: &str = "an object belongs here, with a secret for each key";
        for (text, place, what) in [
            (&b""[..], "1:1", NO_OBJECT),
            (b"[1]", "1:1", NO_OBJECT),
            (b"\xEF\xBB\xBF{}", "1:1", NO_OBJECT),
            (b"nul", "1:1", "a value belongs here"),
            (b"{} x", "1:4", "nothing may follow the object"),
            (b"{/*c*/}", "1:2", "a key in double quotes belongs here"),
            (
                b"{\"a\":\"b\",\n}",
                "2:1",
                "a key in double quotes belongs here",
            ),
            (br#"{"a" "b"}"#, "1:6", "`:` belongs here"),
            (br#"{"a":[1,]}"#, "1:9", "a value belongs here"),
            (br#"{"a":[1}"#, "1:8", "`,` or `]` belongs here"),
            (br#"{"a":1"#, "1:7", "`,` or `}` belongs here"),
            (br#"{"a":01}"#, "1:7", "`,` or `}` belongs here"),
            (br#"{"a":-}"#, "1:7", "a digit belongs here"),
            (br#"{"a":1.}"#, "1:8", "a digit belongs here"),
            (br#"{"a":1e999}"#, "1:6", "the number is too large"),
            (br#"{"a":NaN}"#, "1:6", "a value belongs here"),
            (br#"{"a":"b}"#, "1:9", "a closing quote is missing"),
            (
                b"{\"a\":\"b\n\"}",
                "1:8",
                "a control character belongs in an escape",
            ),
            (br#"{"a":"b\'"}"#, "1:8", "no escape of JSON"),
        ] {
            assert_eq!(
                error(text),
                format!("`s.json:{place}` is not valid JSON: {what}")
            );
        }
    }

    #[test]
    fn ten_thousand_levels_are_read_and_no_more() {
        let nested = |levels: usize| {
            let text = format!(
                r#"{{"a":{}"v"{}}}"#,
                "[".repeat(levels - 1),
                "]".repeat(levels - 1)
            );
            read(
                &Source::of("s.json", text.as_bytes()),
                &LocalFileOptions::default(),
            )
        };
        assert_eq!(nested(10_000).unwrap().len(), 1);
        assert!(
            nested(10_001)
                .unwrap_err()
                .message
                .ends_with("more than 10000 levels are open")
        );
    }

    #[test]
    fn hint_tells_what_a_file_may_be() {
        let hint = |path: &str, text: &[u8]| {
            read(&Source::of(path, text), &LocalFileOptions::default())
                .unwrap_err()
                .hint
        };
        assert!(hint("secrets.conf", b"a: b").starts_with("the file's extension decides"));
        assert!(hint("s.json", b"\xEF\xBB\xBF{}").contains("byte order mark"));
        assert_eq!(hint("s.json", b"a: b"), "");
    }
}
