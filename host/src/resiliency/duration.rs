//! Durations as Go reads them: `5s`, `1m30s`, `1.5h`; a number alone is of milliseconds, as in Dapr.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// What a text says: nothing where it cannot be read. What is below zero is zero, and said to be so.
pub(super) fn parse(text: &str) -> Option<(Duration, bool)> {
    let (rest, is_below_zero) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (rest, text.starts_with('-')),
        None => (text, false),
    };
    let nanoseconds = if is_digits(rest) {
        rest.parse::<u64>().ok()?.checked_mul(1_000_000)?
    } else {
        sum(rest)?
    };
    // Go counts them in 63 bits.
    i64::try_from(nanoseconds).ok()?;
    let is_below_zero = is_below_zero && nanoseconds > 0;
    let nanoseconds = if is_below_zero { 0 } else { nanoseconds };
    Some((Duration::from_nanos(nanoseconds), is_below_zero))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Numbers, each with its unit, together.
fn sum(mut rest: &str) -> Option<u64> {
    let mut sum = None;
    while !rest.is_empty() {
        let (number, after) = split(rest, |character| {
            character.is_ascii_digit() || character == '.'
        });
        let (unit, after) = split(after, |character| {
            !character.is_ascii_digit() && character != '.'
        });
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = Some(u64::checked_add(sum.unwrap_or(0), times(number, *unit)?)?);
        rest = after;
    }
    sum
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(
        text.find(|character| !belongs(character))
            .unwrap_or(text.len()),
    )
}

fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.is_empty() || is_digits(text);
    if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole = match whole {
        "" => 0,
        whole => whole.parse::<u64>().ok()?.checked_mul(unit)?,
    };
    // Beyond these digits nothing is left of the longest unit.
    let fraction = fraction.get(..fraction.len().min(15)).unwrap_or_default();
    let (mut part, mut scale) = (0_u128, 1_u128);
    for digit in fraction.bytes() {
        part = part * 10 + u128::from(digit.saturating_sub(b'0'));
        scale *= 10;
    }
    let part = part * u128::from(unit) / scale;
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("500", 500_000_000),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+100ms", 100_000_000),
            ("3us", 3_000),
            ("1h0.25s", 3_600_250_000_000),
            ("0.001s", 1_000_000),
            ("7ns", 7),
        ] {
            let expected = (Duration::from_nanos(nanoseconds), false);
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        assert_eq!(parse("-5s"), Some((Duration::ZERO, true)));
        assert_eq!(parse("-0"), Some((Duration::ZERO, false)));
        for text in [
            "", "-", "s", "5 s", "5x", "1.5", ".s", "1..5s", "5S", "ten", "9999999h", "1s5",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
