//! Sizes and times as Dapr's flags have them.

use std::time::Duration;

use jiff::SignedDuration;

/// A number of bytes as Kubernetes writes quantities: `4194304`, `4Mi`, `4M`, `4e6`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let bytes = unit(suffix)
        .and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit))
        .and_then(|bytes| usize::try_from(bytes).ok());
    match bytes {
        None => Err("expected a number of bytes such as `4194304`, `4Mi` or `4M`".to_owned()),
        Some(0) => Err("a limit of nothing would refuse everything".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

fn unit(suffix: &str) -> Option<u64> {
    if let Some(exponent) = suffix.strip_prefix(['e', 'E'])
        && !exponent.is_empty()
    {
        return 10_u64.checked_pow(exponent.parse().ok()?);
    }
    let (name, base) = match suffix.strip_suffix('i') {
        Some(name) => (name, 1024_u64),
        None => (suffix, 1000),
    };
    let power = match (name, base) {
        ("", 1000) => 0,
        ("k", 1000) | ("K", 1024) => 1,
        ("M", _) => 2,
        ("G", _) => 3,
        ("T", _) => 4,
        ("P", _) => 5,
        ("E", _) => 6,
        _ => return None,
    };
    base.checked_pow(power)
}

/// A time as Go writes durations: `1m30s`, `500ms`, `0`. One below zero is over at once.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "expected a duration such as `1m30s` or `500ms`".to_owned())?;
    Ok(Duration::try_from(duration).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bytes, duration};

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for (text, value) in [
            ("1", 1),
            ("4194304", 4 << 20),
            ("4Mi", 4 << 20),
            ("4Ki", 4 << 10),
            ("4M", 4_000_000),
            ("4k", 4000),
            ("4e3", 4000),
            ("1E", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for text in [
            "", "0", "Mi", "4K", "4ki", "4mi", "-1", "4.5Mi", "16Ei", "4 Mi",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("-5s", 0),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["", "5", "five", "5 parsecs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
