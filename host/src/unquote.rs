//! Go's `strconv.Unquote`, which Dapr applies to every value that it took from a secret.

use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// The value without its quotes where it is a Go literal as a whole; otherwise the value itself.
pub(crate) fn unquote(value: &SecretValue) -> SecretValue {
    // Read here because Dapr's rule depends on the text itself.
    match literal(value.reveal()) {
        Some(bytes) => SecretValue::new(bytes),
        None => value.clone(),
    }
}

fn literal(text: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = text.split_first()?;
    let (&last, inner) = rest.split_last()?;
    if quote != last {
        return None;
    }
    match quote {
        b'`' if inner.contains(&b'`') => None,
        // Carriage returns are dropped from raw strings.
        b'`' => {
            let mut out = Vec::with_capacity(inner.len());
            out.extend(inner.iter().filter(|&&byte| byte != b'\r'));
            Some(out)
        }
        b'"' => interpreted(inner, b'"'),
        b'\'' => one_rune(inner),
        _ => None,
    }
}

fn interpreted(mut rest: &[u8], quote: u8) -> Option<Vec<u8>> {
    // Never grows, since a byte stands for three at most, and is wiped where the text turns out to
    // be no literal.
    let mut out = Zeroizing::new(Vec::with_capacity(3 * rest.len()));
    while !rest.is_empty() {
        rest = character(rest, quote, &mut out)?;
    }
    Some(std::mem::take(&mut *out))
}

fn one_rune(inner: &[u8]) -> Option<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(4));
    let rest = character(inner, b'\'', &mut out)?;
    rest.is_empty().then(|| std::mem::take(&mut *out))
}

/// Takes one character, as Go's `UnquoteChar` does.
fn character<'t>(text: &'t [u8], quote: u8, out: &mut Vec<u8>) -> Option<&'t [u8]> {
    match text {
        [b'\n', ..] => None,
        [byte, ..] if *byte == quote => None,
        [b'\\', rest @ ..] => escape(rest, quote, out),
        [byte, rest @ ..] if byte.is_ascii() => {
            out.push(*byte);
            Some(rest)
        }
        _ => {
            // No more than one character can have: a chunk would reach to the end of the text.
            let first = text.get(..4).unwrap_or(text);
            let chunk = first.utf8_chunks().next()?;
            if let Some(character) = chunk.valid().chars().next() {
                let length = character.len_utf8();
                out.extend(text.get(..length)?);
                text.get(length..)
            } else {
                // Go reads a byte that is not UTF-8 as U+FFFD.
                out.extend("\u{fffd}".as_bytes());
                text.get(1..)
            }
        }
    }
}

fn escape<'t>(text: &'t [u8], quote: u8, out: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (&kind, rest) = text.split_first()?;
    let simple = match kind {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' => b'\\',
        b'\'' | b'"' if kind == quote => kind,
        b'x' => {
            let (value, rest) = number(rest, 2, 16)?;
            out.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        b'u' | b'U' => {
            let (value, rest) = number(rest, if kind == b'u' { 4 } else { 8 }, 16)?;
            let mut buffer = [0; 4];
            out.extend(char::from_u32(value)?.encode_utf8(&mut buffer).as_bytes());
            return Some(rest);
        }
        b'0'..=b'7' => {
            let (value, rest) = number(text, 3, 8)?;
            out.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        _ => return None,
    };
    out.push(simple);
    Some(rest)
}

fn number(text: &[u8], digits: usize, radix: u32) -> Option<(u32, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let value = number.iter().try_fold(0_u32, |value, &byte| {
        value
            .checked_mul(radix)?
            .checked_add(char::from(byte).to_digit(radix)?)
    })?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::literal;

    fn unquoted(text: &str) -> Option<String> {
        literal(text.as_bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn long_text_beyond_ascii_takes_the_time_of_its_length() {
        let text = "\u{e9}".repeat(1 << 19);
        assert_eq!(unquoted(&format!("\"{text}\"")), Some(text));
        let invalid = [b"\"".as_slice(), &[0xFF; 9], b"\""].concat();
        assert_eq!(literal(&invalid), Some("\u{fffd}".repeat(9).into_bytes()));
    }

    #[test]
    fn go_literals_lose_their_quotes() {
        for (text, expected) in [
            (r#""quoted""#, "quoted"),
            ("'x'", "x"),
            ("`bt`", "bt"),
            ("`a\r\nb`", "a\nb"),
            (r#""a\tb\x41\101\u00e9""#, "a\tbAAé"),
            (r#""""#, ""),
            ("'\\''", "'"),
        ] {
            assert_eq!(unquoted(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "",
            "x",
            "\"",
            "'xy'",
            "''",
            "\"a\nb\"",
            "\"a\"b\"",
            "`a`b`",
            r#""\'""#,
            r#""\400""#,
            r#""\ud800""#,
            "plain",
        ] {
            assert_eq!(unquoted(text), None, "{text}");
        }
    }
}
