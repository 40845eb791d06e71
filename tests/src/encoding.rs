//! Texts that stand for bytes: base64, and percent escapes.

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base64.
pub fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, place| {
            bits << 8 | chunk.get(place).map_or(0, |byte| usize::from(*byte))
        });
        for place in 0..4 {
            let digit = ALPHABET[bits >> (18 - 6 * place) & 63];
            let is_there = place <= chunk.len();
            text.push(if is_there { char::from(digit) } else { '=' });
        }
    }
    text
}

/// What a text in base64 holds.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let mut bits = (0_u32, 0);
    let mut bytes = Vec::new();
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET
            .iter()
            .position(|known| *known == digit)
            .expect("it is base64");
        bits = (
            bits.0 << 6 | u32::try_from(value).expect("it is small"),
            bits.1 + 6,
        );
        if bits.1 >= 8 {
            bits.1 -= 8;
            bytes.push(u8::try_from(bits.0 >> bits.1 & 0xff).expect("it is a byte"));
        }
    }
    bytes
}

/// A text with its percent escapes resolved.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = || {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        if let (b'%', Some(byte)) = (first, escaped()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
