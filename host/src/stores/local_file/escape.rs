//! The text between the quotes of JSON, by Go's rules: what is no text becomes U+FFFD.

use zeroize::Zeroizing;

/// What some bytes stand for, or the offset of an escape that stands for nothing.
pub(super) fn decode(raw: &[u8]) -> Result<Zeroizing<String>, usize> {
    // Nothing becomes longer than a bad byte, of which three are made: the buffer never grows.
    let mut text = Zeroizing::new(String::with_capacity(raw.len() * 3));
    let mut rest = raw;
    while !rest.is_empty() {
        let plain = rest
            .iter()
            .position(|byte| *byte == b'\\')
            .unwrap_or(rest.len());
        let (plain, escaped) = rest.split_at(plain);
        push_lossy(&mut text, plain);
        rest = push_escape(&mut text, escaped).ok_or(raw.len() - escaped.len())?;
    }
    Ok(text)
}

/// Adds bytes as text, with U+FFFD for each that is not UTF-8.
fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        // The standard library makes one of several bytes, Go one of each.
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// Adds what the escape at the beginning of some bytes stands for, and gives back what follows it.
/// Nothing at all is also well.
fn push_escape<'a>(text: &mut String, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (escaped, rest) = match bytes {
        [] => return Some(bytes),
        [_, b'u', rest @ ..] => return push_unicode(text, rest),
        [_, byte @ (b'"' | b'\\' | b'/'), rest @ ..] => (char::from(*byte), rest),
        [_, b'b', rest @ ..] => ('\u{8}', rest),
        [_, b'f', rest @ ..] => ('\u{c}', rest),
        [_, b'n', rest @ ..] => ('\n', rest),
        [_, b'r', rest @ ..] => ('\r', rest),
        [_, b't', rest @ ..] => ('\t', rest),
        _ => return None,
    };
    text.push(escaped);
    Some(rest)
}

/// The same after `\u`. A surrogate without its other half becomes U+FFFD.
fn push_unicode<'a>(text: &mut String, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (first, rest) = code_unit(bytes)?;
    let pair = rest
        .strip_prefix(br"\u")
        .and_then(code_unit)
        .and_then(|(second, rest)| {
            let pair = char::decode_utf16([first, second]).next()?.ok()?;
            (pair.len_utf16() == 2).then_some((pair, rest))
        });
    let single = char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER);
    let (decoded, rest) = pair.unwrap_or((single, rest));
    text.push(decoded);
    Some(rest)
}

/// Four hexadecimal digits.
fn code_unit(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<4>()?;
    let unit = digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | digit)
    })?;
    Some((u16::try_from(unit).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn escapes_and_bad_bytes_are_read_as_go_reads_them() {
        for (raw, text) in [
            (
                &br#"a\"\\\/\b\f\n\r\t\u00e9"#[..],
                "a\"\\/\u{8}\u{c}\n\r\t\u{e9}",
            ),
            (br"\ud83d\ude00\u0000", "\u{1F600}\0"),
            (br"\ud83dx\ude00", "\u{FFFD}x\u{FFFD}"),
            (br"\ud83d\ud83d\ude00", "\u{FFFD}\u{1F600}"),
            (br"\ud83d\u0041", "\u{FFFD}A"),
            (b"\xE2\x82x\xFF", "\u{FFFD}\u{FFFD}x\u{FFFD}"),
            (b"\xED\xA0\x80\x7F", "\u{FFFD}\u{FFFD}\u{FFFD}\x7F"),
        ] {
            assert_eq!(*decode(raw).unwrap(), text);
        }
    }

    #[test]
    fn unknown_escape_is_refused_with_its_offset() {
        for raw in [
            &br"ab\'"[..],
            br"ab\x41",
            br"ab\u00g0",
            br"ab\u+041",
            br"ab\u12",
            b"ab\\\n",
            br"ab\",
        ] {
            assert_eq!(decode(raw).unwrap_err(), 2);
        }
    }
}
