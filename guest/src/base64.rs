//! Base64 as Go's `base64.StdEncoding` reads it: padded, line breaks skipped, and the bits that are
//! left over in the last digit not looked at.

use alloc::vec::Vec;

/// Decodes; nothing where the text is no base64.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut digits = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'));
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    while let Some(first) = digits.next() {
        let group = [first, digits.next()?, digits.next()?, digits.next()?];
        let (length, group) = match group {
            [a, b, b'=', b'='] => (1, [a, b, b'A', b'A']),
            [a, b, c, b'='] => (2, [a, b, c, b'A']),
            group => (3, group),
        };
        let mut bits = 0;
        for digit in group {
            bits = bits << 6 | value(digit)?;
        }
        let [_, bytes @ ..] = u32::to_be_bytes(bits);
        decoded.extend(bytes.into_iter().take(length));
        // What is padded is the end.
        if length < 3 {
            return digits.next().is_none().then_some(decoded);
        }
    }
    Some(decoded)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn padding_line_breaks_and_left_over_bits_follow_go() {
        // Each line was read by Go's `base64.StdEncoding.DecodeString`.
        let cases: [(&str, Option<&[u8]>); 16] = [
            ("", Some(b"")),
            ("\n\r\n", Some(b"")),
            ("aGVsbG8=", Some(b"hello")),
            ("aGVs\r\nbG8=\n", Some(b"hello")),
            ("aGVsbG8=\n\n", Some(b"hello")),
            ("aGVsbA=\n=", Some(b"hell")),
            ("aGVsbB==", Some(b"hell")),
            ("//+/", Some(&[0xff, 0xff, 0xbf])),
            ("aGVsbG8", None),
            ("aGVsbG8=a", None),
            ("aGVsbA==aGVs", None),
            ("aGVs bG8=", None),
            ("a===", None),
            ("====", None),
            ("aG=s", None),
            ("_-==", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected, "{text:?}");
        }
    }
}
