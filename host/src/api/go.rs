//! What Go's standard library makes of a request's text, where Dapr's answers depend on it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// A text with its percent escapes resolved, as `url.PathUnescape` does it; `None` where an escape
/// is not two hexadecimal digits.
pub(crate) fn path_unescape(text: &str) -> Option<Cow<'_, [u8]>> {
    unescape(text, false)
}

/// As `url.QueryUnescape`: a plus sign is a space.
pub(crate) fn query_unescape(text: &str) -> Option<Cow<'_, [u8]>> {
    unescape(text, true)
}

fn unescape(text: &str, plus_is_space: bool) -> Option<Cow<'_, [u8]>> {
    let is_escape = |byte| byte == b'%' || byte == b'+' && plus_is_space;
    if !text.bytes().any(is_escape) {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    Some(Cow::Owned(plain))
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// The path as `url.EscapedPath` gives it: as it was sent where it could have been written so, and
/// escaped anew otherwise. `None` where an escape is wrong, which Go's server refuses.
pub(crate) fn escaped_path(path: &str) -> Option<Cow<'_, str>> {
    let plain = path_unescape(path)?;
    let is_valid = |byte: u8| is_unreserved(byte) || b"!$&'()*+,;=:@[]%/".contains(&byte);
    if path.bytes().all(is_valid) {
        return Some(Cow::Borrowed(path));
    }
    Some(Cow::Owned(escape_bytes(&plain)))
}

/// A path with what cannot stand in one escaped.
pub(crate) fn escape_path(path: &str) -> String {
    escape_bytes(path.as_bytes())
}

fn escape_bytes(plain: &[u8]) -> String {
    let mut escaped = String::with_capacity(plain.len() * 3);
    for &byte in plain {
        if is_unreserved(byte) || b"$&+,/:;=@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

/// A time as `time.Duration` shows it, to the millisecond.
pub(crate) fn duration(time: Duration) -> String {
    let (seconds, milliseconds) = (time.as_secs(), time.subsec_millis());
    if seconds == 0 {
        return match milliseconds {
            0 => "0s".to_owned(),
            _ => format!("{milliseconds}ms"),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let fraction = format!(".{milliseconds:03}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let _ = write!(text, "{}{fraction}s", seconds % 60);
    text
}

/// The shortest path that means the same, as `path.Clean` has it.
pub(crate) fn clean(path: &str) -> Cow<'_, str> {
    let is_kept = |part| !matches!(part, "" | "." | "..");
    if path
        .strip_prefix('/')
        .is_some_and(|path| path.split('/').all(is_kept))
    {
        return Cow::Borrowed(path);
    }
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}").into(),
        (false, true) => ".".into(),
        (false, false) => joined.into(),
    }
}

/// A path without slashes around it.
pub(crate) fn trim_slashes(path: &[u8]) -> &[u8] {
    let is_slash = |byte: &u8| *byte == b'/';
    let begin = path.iter().take_while(|byte| is_slash(byte)).count();
    let path = path.get(begin..).unwrap_or_default();
    let end = path.iter().rev().take_while(|byte| is_slash(byte)).count();
    path.get(..path.len() - end).unwrap_or_default()
}

/// The pairs of a query, as `url.Values` reads them: pairs with a semicolon or a wrong escape are
/// left out.
pub(crate) fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.filter_map(|pair| {
        if pair.contains(';') {
            return None;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |part| Some(String::from_utf8_lossy(&query_unescape(part)?).into_owned());
        Some((text(name)?, text(value)?))
    })
}

/// A text in quotes, as `%q` prints it: what cannot be printed is escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            ' ' => quoted.push(' '),
            character if u32::from(character) < 0x80 && character.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(character));
            }
            character if is_printable(character) => quoted.push(character),
            character if u32::from(character) > 0xffff => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(character));
            }
            character => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a character is printed as it is: Rust's rule for `Debug`, which is nearly Go's, but for
/// the first of a text, where Rust escapes what joins another.
fn is_printable(character: char) -> bool {
    character == '\'' || String::from_iter(['a', character]).escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{clean, duration, escaped_path, query_pairs, query_unescape, quoted, trim_slashes};

    #[test]
    fn times_are_shown_as_go_does() {
        for (milliseconds, shown) in [
            (0, "0s"),
            (500, "500ms"),
            (1_500, "1.5s"),
            (5_000, "5s"),
            (90_000, "1m30s"),
            (3_600_010, "1h0m0.01s"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), shown);
        }
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("/a/b", "/a/b"),
            ("/", "/"),
            ("//a///b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../a", "/a"),
            ("/a/..", "/"),
            ("a/../..", ".."),
            ("", "."),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn a_path_is_kept_as_sent_where_it_could_have_been() {
        assert_eq!(escaped_path("/a%2Fb+c").as_deref(), Some("/a%2Fb+c"));
        // What needs an escape is escaped anew, and so is all else.
        assert_eq!(escaped_path("/é%2Fb").as_deref(), Some("/%C3%A9/b"));
        assert_eq!(escaped_path("/%"), None);
        assert_eq!(escaped_path("/%zz"), None);
    }

    #[test]
    fn parameters_are_unescaped_once() {
        let plain = query_unescape("a+b%2Bc%252F").unwrap();
        assert_eq!(plain.as_ref(), b"a b+c%2F");
        assert_eq!(query_unescape("%4"), None);
    }

    #[test]
    fn pairs_that_go_leaves_out_are_left_out() {
        let pairs: Vec<_> = query_pairs("a=1&b;c=2&%zz=3&d&e=%20f").collect();
        let expected = [("a", "1"), ("d", ""), ("e", " f")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs, expected);
    }

    #[test]
    fn quotes_are_go_quotes() {
        assert_eq!(
            quoted("a\"b\\c\n\u{1}é'\u{200b}"),
            r#""a\"b\\c\n\x01é'\u200b""#
        );
    }

    #[test]
    fn slashes_around_are_trimmed() {
        assert_eq!(trim_slashes(b"//a/b/"), b"a/b");
        assert_eq!(trim_slashes(b"//"), b"");
    }
}
