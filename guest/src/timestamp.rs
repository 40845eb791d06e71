//! Dates as Go's `time.Parse` accepts them, for the few places where Dapr's types demand one.

/// How strictly the parts of a date are written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Layout {
    /// Months, days, minutes and seconds need two digits.
    padded: bool,
    /// What stands between date and time.
    separator: u8,
    /// Whether a time zone follows.
    zone: bool,
}

/// Whether `text` is a timestamp to Dapr's YAML parser.
pub(crate) fn is_yaml(text: &str) -> bool {
    let bytes = text.as_bytes();
    let year = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if year != 4 || bytes.get(4) != Some(&b'-') {
        return false;
    }
    let loose = |separator, zone| Layout {
        padded: false,
        separator,
        zone,
    };
    date(bytes, false).is_some_and(<[u8]>::is_empty)
        || date_time(bytes, loose(b'T', true))
        || date_time(bytes, loose(b't', true))
        || date_time(bytes, loose(b' ', false))
}

/// Whether `text` is a time to Kubernetes' `metav1.Time`: RFC 3339 as Go reads it.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    let layout = Layout {
        padded: true,
        separator: b'T',
        zone: true,
    };
    date_time(text.as_bytes(), layout)
}

fn date_time(text: &[u8], layout: Layout) -> bool {
    let parsed = (|| {
        let rest = date(text, layout.padded)?.strip_prefix(&[layout.separator])?;
        // Go's layout has the hour as `15`, for which one digit is enough, always.
        let (hour, rest) = two_digits(rest, false)?;
        let (minute, rest) = two_digits(rest.strip_prefix(b":")?, layout.padded)?;
        let (second, rest) = two_digits(rest.strip_prefix(b":")?, layout.padded)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let rest = fraction(rest);
        if layout.zone { zone(rest) } else { Some(rest) }
    })();
    parsed.is_some_and(<[u8]>::is_empty)
}

/// Takes `YYYY-MM-DD` where that day exists.
fn date(text: &[u8], padded: bool) -> Option<&[u8]> {
    let (year, rest) = text.split_at_checked(4)?;
    let year = year.iter().try_fold(0_u32, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + u32::from(byte - b'0'))
    })?;
    let (month, rest) = two_digits(rest.strip_prefix(b"-")?, padded)?;
    let (day, rest) = two_digits(rest.strip_prefix(b"-")?, padded)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&day).then_some(rest)
}

/// Takes a number of two digits, or of one where it need not be padded.
fn two_digits(text: &[u8], padded: bool) -> Option<(u32, &[u8])> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let first = digit(text.first()?)?;
    match text.get(1).and_then(digit) {
        Some(second) => Some((first * 10 + second, text.get(2..)?)),
        None if padded => None,
        None => Some((first, text.get(1..)?)),
    }
}

/// Takes a point or a comma with digits, if it is there.
fn fraction(text: &[u8]) -> &[u8] {
    let Some(rest) = text.strip_prefix(b".").or(text.strip_prefix(b",")) else {
        return text;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        text
    } else {
        rest.get(digits..).unwrap_or_default()
    }
}

/// Takes `Z` or `+hh:mm`.
fn zone(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"Z") {
        return Some(rest);
    }
    let rest = text.strip_prefix(b"+").or(text.strip_prefix(b"-"))?;
    let (hours, rest) = two_digits(rest, true)?;
    let (minutes, rest) = two_digits(rest.strip_prefix(b":")?, true)?;
    (hours <= 24 && minutes <= 60).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_timestamps_need_not_be_padded() {
        for text in [
            "2020-1-2",
            "2020-01-02",
            "2020-1-2T3:4:5Z",
            "2020-1-2t3:4:5.5+01:00",
            "2020-1-2 3:4:5.123",
        ] {
            assert!(is_yaml(text), "{text}");
        }
        for text in [
            "2020-13-1",
            "2020-02-30",
            "20-1-2",
            "2020-1-2 3:4:5 Z",
            "2020-1-2T3:4Z",
            "2020",
        ] {
            assert!(!is_yaml(text), "{text}");
        }
    }

    #[test]
    fn rfc3339_is_gos() {
        for text in [
            "2020-01-02T03:04:05Z",
            "2020-01-02T3:04:05.25-07:30",
            "2020-02-29T00:00:00,5Z",
        ] {
            assert!(is_rfc3339(text), "{text}");
        }
        for text in [
            "2020-01-02",
            "2020-01-02 03:04:05Z",
            "2021-02-29T00:00:00Z",
            "2020-01-02T24:00:00Z",
            "",
        ] {
            assert!(!is_rfc3339(text), "{text}");
        }
    }
}
