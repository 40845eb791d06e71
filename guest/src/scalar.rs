//! YAML 1.1 scalars as Dapr's parser resolves them, and numbers as Go writes them.
//!
//! The rules are those of `resolve` in `sigs.k8s.io/yaml` 1.4.0 (a fork of go-yaml 2): the tag
//! decides, then a table of words, then Go's integer syntax, then a decimal float.

use alloc::borrow::Cow;
use alloc::string::String;
use core::ops::Range;

use crate::{json, timestamp};

const BOOL_TAG: &[u8] = b"tag:yaml.org,2002:bool";
const BINARY_TAG: &[u8] = b"tag:yaml.org,2002:binary";
const FLOAT_TAG: &[u8] = b"tag:yaml.org,2002:float";
const INT_TAG: &[u8] = b"tag:yaml.org,2002:int";
const NULL_TAG: &[u8] = b"tag:yaml.org,2002:null";
const TIMESTAMP_TAG: &[u8] = b"tag:yaml.org,2002:timestamp";
/// The tag of the key `<<`.
pub(crate) const MERGE_TAG: &[u8] = b"tag:yaml.org,2002:merge";

/// What a scalar means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    /// Only what does not fit `Int`.
    Uint(u64),
    Float(f64),
    /// The scalar's own text.
    Text,
    /// Bytes in base64, which the caller decodes.
    Binary,
}

/// Resolves a scalar by its tag and text; `implicit` as in the event.
pub(crate) fn resolve(
    tag: Option<&[u8]>,
    implicit: bool,
    text: &str,
) -> Result<Resolved, &'static str> {
    match tag {
        None if implicit => Ok(untagged(text, true)),
        Some(TIMESTAMP_TAG) if !timestamp::is_yaml(text) => {
            Err("is tagged as a timestamp and is none")
        }
        Some(BINARY_TAG) => Ok(Resolved::Binary),
        Some(NULL_TAG) => match untagged(text, false) {
            Resolved::Null => Ok(Resolved::Null),
            _ => Err("is tagged as null and is not"),
        },
        Some(BOOL_TAG) => match untagged(text, false) {
            found @ Resolved::Bool(_) => Ok(found),
            _ => Err("is tagged as a boolean and is none"),
        },
        Some(INT_TAG) => match untagged(text, false) {
            found @ (Resolved::Int(_) | Resolved::Uint(_)) => Ok(found),
            _ => Err("is tagged as an integer and is none"),
        },
        Some(FLOAT_TAG) => match untagged(text, false) {
            found @ Resolved::Float(_) => Ok(found),
            #[expect(
                clippy::cast_precision_loss,
                reason = "Go's conversion, which rounds alike"
            )]
            Resolved::Int(integer) => Ok(Resolved::Float(integer as f64)),
            _ => Err("is tagged as a float and is none"),
        },
        // `!!str`, a timestamp that is one, and tags that mean nothing here.
        None | Some(_) => Ok(Resolved::Text),
    }
}

/// Resolves by form alone. Timestamps stay text, so they matter only where a tag forbids them.
fn untagged(text: &str, timestamps: bool) -> Resolved {
    let Some(&first) = text.as_bytes().first() else {
        return Resolved::Null;
    };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text),
        b'.' => match word(text) {
            Resolved::Text => dotted_float(text),
            found => found,
        },
        b'+' | b'-' | b'0'..=b'9' => match word(text) {
            Resolved::Text if timestamps && timestamp::is_yaml(text) => Resolved::Text,
            Resolved::Text => number(text),
            found => found,
        },
        _ => Resolved::Text,
    }
}

fn word(text: &str) -> Resolved {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Resolved::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Resolved::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Resolved::Null,
        ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
        _ => Resolved::Text,
    }
}

/// A float that begins with a point: Go's float syntax, with underscores between digits.
fn dotted_float(text: &str) -> Resolved {
    let bytes = text.as_bytes();
    let misplaced = |&(at, &byte): &(usize, &u8)| {
        byte == b'_'
            && !(at
                .checked_sub(1)
                .and_then(|before| bytes.get(before))
                .is_some_and(u8::is_ascii_digit)
                && bytes.get(at + 1).is_some_and(u8::is_ascii_digit))
    };
    if bytes.iter().enumerate().any(|place| misplaced(&place)) {
        return Resolved::Text;
    }
    decimal_float(&without_underscores(text))
}

/// An integer or a float that begins with a digit or a sign.
fn number(text: &str) -> Resolved {
    let plain = without_underscores(text);
    if let Some(found) = go_integer(&plain) {
        return found;
    }
    if let found @ Resolved::Float(_) = decimal_float(&plain) {
        return found;
    }
    // go-yaml's own binary form, which allows a sign after the prefix.
    if let Some(digits) = plain.strip_prefix("0b") {
        return integer_of(digits, 2).unwrap_or(Resolved::Text);
    }
    if let Some(digits) = plain.strip_prefix("-0b")
        && !digits.starts_with(['+', '-'])
        && let Some(found) = signed(true, digits, 2)
    {
        return found;
    }
    Resolved::Text
}

/// Go's `ParseInt` and then `ParseUint` with base 0, for text without underscores.
fn go_integer(plain: &str) -> Option<Resolved> {
    let (negative, unsigned) = match plain.as_bytes().first()? {
        b'-' => (true, plain.get(1..)?),
        b'+' => (false, plain.get(1..)?),
        _ => (false, plain),
    };
    let (digits, radix) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (unsigned.get(2..)?, 16),
        [b'0', b'o' | b'O', ..] => (unsigned.get(2..)?, 8),
        [b'0', b'b' | b'B', ..] => (unsigned.get(2..)?, 2),
        [b'0', _, ..] => (unsigned.get(1..)?, 8),
        _ => (unsigned, 10),
    };
    let found = signed(negative, digits, radix)?;
    // `ParseUint` takes no sign.
    if matches!(found, Resolved::Uint(_)) && unsigned.len() != plain.len() {
        return None;
    }
    Some(found)
}

/// Go's `ParseInt` and then `ParseUint` of digits that may have a sign, in one base.
fn integer_of(text: &str, radix: u32) -> Option<Resolved> {
    match text.as_bytes().first()? {
        b'-' => signed(true, text.get(1..)?, radix),
        b'+' => match signed(false, text.get(1..)?, radix)? {
            Resolved::Uint(_) => None,
            found => Some(found),
        },
        _ => signed(false, text, radix),
    }
}

fn signed(negative: bool, digits: &str, radix: u32) -> Option<Resolved> {
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Resolved::Int);
    }
    Some(i64::try_from(magnitude).map_or(Resolved::Uint(magnitude), Resolved::Int))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, out of range being text.
fn decimal_float(plain: &str) -> Resolved {
    if !is_decimal_float(plain.as_bytes()) {
        return Resolved::Text;
    }
    match plain.parse::<f64>() {
        Ok(float) if float.is_finite() => Resolved::Float(float),
        _ => Resolved::Text,
    }
}

fn is_decimal_float(bytes: &[u8]) -> bool {
    let mut rest = bytes
        .strip_prefix(b"+")
        .or(bytes.strip_prefix(b"-"))
        .unwrap_or(bytes);
    let whole = digits(&mut rest);
    if let Some(after) = rest.strip_prefix(b".") {
        rest = after;
        if digits(&mut rest) + whole == 0 {
            return false;
        }
    } else if whole == 0 {
        return false;
    }
    if let Some(after) = rest.strip_prefix(b"e").or(rest.strip_prefix(b"E")) {
        rest = after
            .strip_prefix(b"+")
            .or(after.strip_prefix(b"-"))
            .unwrap_or(after);
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

/// Takes the leading digits and says how many there were.
fn digits(rest: &mut &[u8]) -> usize {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    *rest = rest.get(count..).unwrap_or_default();
    count
}

fn without_underscores(text: &str) -> Cow<'_, str> {
    if text.contains('_') {
        Cow::Owned(text.replace('_', ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// Writes a finite float as Go's `encoding/json` does: the shortest text that reads back alike,
/// with an exponent below 1e-6 and from 1e21.
pub(crate) fn write_json_float(out: &mut String, float: f64) {
    let mut buffer = ryu::Buffer::new();
    let decimal = Decimal::of(buffer.format_finite(float));
    decimal.write(out, -6..21, 1);
}

/// Writes a float as Go's `FormatFloat(x, 'g', -1, 32)` does, which is what Dapr's parser uses
/// where a number stands for a string: single precision, and an exponent below 1e-4 and from 1e6.
pub(crate) fn write_single_float(out: &mut String, float: f64) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Go rounds to single precision here"
    )]
    let single = float as f32;
    if single.is_nan() {
        out.push_str("NaN");
    } else if single.is_infinite() {
        out.push_str(if single > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let mut buffer = ryu::Buffer::new();
        let decimal = Decimal::of(buffer.format_finite(single));
        decimal.write(out, -4..6, 2);
    }
}

/// A decimal number as its significant digits and the exponent of the first.
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i32,
}

impl Decimal {
    /// Takes apart a number as `ryu` writes it: `-12.5`, `1e21`, `1.5e-7`.
    fn of(text: &str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = String::from(whole);
        digits.push_str(fraction);
        let zeros = digits.len() - digits.trim_start_matches('0').len();
        let exponent = exponent.parse().unwrap_or(0) + length(whole) - 1 - length_of(zeros);
        match digits.trim_matches('0') {
            "" => Self {
                negative,
                digits: String::from("0"),
                exponent: 0,
            },
            digits => Self {
                negative,
                digits: String::from(digits),
                exponent,
            },
        }
    }

    /// Writes the digits with a point where the exponent is one of `plain`, and otherwise as Go
    /// writes an exponent, with a sign and at least `width` digits.
    fn write(&self, out: &mut String, plain: Range<i32>, width: usize) {
        if self.negative {
            out.push('-');
        }
        if !plain.contains(&self.exponent) {
            let (first, rest) = self.digits.split_at_checked(1).unwrap_or_default();
            out.push_str(first);
            if !rest.is_empty() {
                out.push('.');
                out.push_str(rest);
            }
            let sign = if self.exponent < 0 { '-' } else { '+' };
            let exponent = self.exponent.unsigned_abs();
            out.extend(['e', sign]);
            if exponent < 10 && width > 1 {
                out.push('0');
            }
            json::write_integer(out, u64::from(exponent));
            return;
        }
        if self.exponent < 0 {
            out.push_str("0.");
            out.extend((self.exponent + 1..0).map(|_| '0'));
            out.push_str(&self.digits);
            return;
        }
        let whole = self.exponent + 1;
        let (digits, fraction) = self
            .digits
            .split_at_checked(whole.unsigned_abs() as usize)
            .unwrap_or((&self.digits, ""));
        out.push_str(digits);
        out.extend((length(digits)..whole).map(|_| '0'));
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
        }
    }
}

fn length(text: &str) -> i32 {
    length_of(text.len())
}

fn length_of(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Resolved {
        resolve(None, true, text).unwrap()
    }

    fn json(float: f64) -> String {
        let mut out = String::new();
        write_json_float(&mut out, float);
        out
    }

    fn single(float: f64) -> String {
        let mut out = String::new();
        write_single_float(&mut out, float);
        out
    }

    #[test]
    fn integers_follow_go() {
        for (text, expected) in [
            ("0777", 511),
            ("0o777", 511),
            ("0xFF", 255),
            ("0X1f", 31),
            ("0b101", 5),
            ("-0b101", -5),
            ("0b-1", -1),
            ("0b+1", 1),
            ("1_000", 1000),
            ("1__0", 10),
            ("+5", 5),
            ("-0", 0),
            ("00", 0),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(plain(text), Resolved::Int(expected), "{text}");
        }
        assert_eq!(plain("18446744073709551615"), Resolved::Uint(u64::MAX));
        for text in [
            "0x", "0b", "0o", "+-1", "--1", "-0b-1", "1:30", "12:30:45", "0xG", "_1", "-",
        ] {
            assert_eq!(plain(text), Resolved::Text, "{text}");
        }
    }

    #[test]
    fn floats_follow_go() {
        for (text, expected) in [
            ("08", 8.0),
            ("0.5", 0.5),
            (".5", 0.5),
            ("5.", 5.0),
            (".5_0", 0.5),
            ("1e3", 1000.0),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("+18446744073709551615", 18_446_744_073_709_551_615.0),
            ("1_0.5_0", 10.5),
        ] {
            assert_eq!(plain(text), Resolved::Float(expected), "{text}");
        }
        for text in [
            ".", "._5", ".5_", ".e5", "1e400", "0x1p-2", "1.2.3", "e5", "inf", "nan",
        ] {
            assert_eq!(plain(text), Resolved::Text, "{text}");
        }
    }

    #[test]
    fn words_are_exact() {
        assert_eq!(plain("On"), Resolved::Bool(true));
        assert_eq!(plain("n"), Resolved::Bool(false));
        assert_eq!(plain("tRue"), Resolved::Text);
        assert_eq!(plain(""), Resolved::Null);
        assert_eq!(plain("2020-01-02"), Resolved::Text);
        assert_eq!(resolve(None, false, "yes"), Ok(Resolved::Text));
    }

    #[test]
    fn tags_bind() {
        assert_eq!(
            resolve(Some(b"tag:yaml.org,2002:str"), true, "123"),
            Ok(Resolved::Text)
        );
        assert_eq!(resolve(Some(INT_TAG), false, "3"), Ok(Resolved::Int(3)));
        assert_eq!(
            resolve(Some(FLOAT_TAG), false, "3"),
            Ok(Resolved::Float(3.0))
        );
        assert!(resolve(Some(FLOAT_TAG), false, "18446744073709551615").is_err());
        assert!(resolve(Some(INT_TAG), true, "3.0").is_err());
        assert!(resolve(Some(NULL_TAG), true, "x").is_err());
        assert!(resolve(Some(TIMESTAMP_TAG), true, "x").is_err());
        assert_eq!(resolve(Some(b"!local"), true, "1"), Ok(Resolved::Text));
    }

    #[test]
    fn json_floats_follow_go() {
        for (float, expected) in [
            (8.0, "8"),
            (1.1, "1.1"),
            (-0.0, "-0"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (1.234_567_890_123_456_8e29, "1.2345678901234568e+29"),
            (18_446_744_073_709_551_616.0, "18446744073709552000"),
        ] {
            assert_eq!(json(float), expected);
        }
    }

    #[test]
    fn single_floats_follow_go() {
        for (float, expected) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (1e21, "1e+21"),
            (1e20, "1e+20"),
            (1e6, "1e+06"),
            (100_000.0, "100000"),
            (123_456_789.5, "1.2345679e+08"),
            (2_097_152.5, "2.0971525e+06"),
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
            (3.4e39, "+Inf"),
            (-0.0, "-0"),
        ] {
            assert_eq!(single(float), expected);
        }
    }
}
