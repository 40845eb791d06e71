//! What a store's properties say, strictly: what Dapr cannot read is no default here.

use std::str::FromStr;
use std::time::Duration;

use crate::stores::{StoreConfig, StoreError};

/// The longest time that a property can say.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// A property's text; nothing where it is absent or empty.
pub(super) fn text<'c>(
    config: &'c StoreConfig,
    property: &'static str,
) -> Result<Option<&'c str>, StoreError> {
    let text = config.text(property);
    let text = text.map_err(|error| error.of_property(property))?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// A property that must be there.
pub(super) fn required<'c>(
    config: &'c StoreConfig,
    property: &'static str,
    hint: &str,
) -> Result<&'c str, StoreError> {
    text(config, property)?.ok_or_else(|| {
        StoreError::misconfigured(format!("`{property}` is missing"))
            .of_property(property)
            .with_hint(hint)
    })
}

/// Whether something is on: a slip must not turn TLS off.
#[cfg(any(feature = "configuration-postgresql", feature = "configuration-redis"))]
pub(super) fn flag(config: &StoreConfig, property: &'static str) -> Result<bool, StoreError> {
    let text = text(config, property)?.unwrap_or_default().trim();
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "t" | "on" | "1" => Ok(true),
        "" | "n" | "no" | "false" | "f" | "off" | "0" => Ok(false),
        _ => Err(unreadable(property, "`true` or `false`")),
    }
}

/// A number.
#[cfg(any(feature = "configuration-postgresql", feature = "configuration-redis"))]
pub(super) fn number<N: FromStr>(
    config: &StoreConfig,
    property: &'static str,
) -> Result<Option<N>, StoreError> {
    let text = text(config, property)?;
    let number = text.map(|text| text.trim().parse());
    let number = number.transpose();
    number.map_err(|_| unreadable(property, "a number"))
}

/// A time: as Go writes it, such as `1m30s`, or a number of these units. Below zero there is none.
pub(super) fn time(
    config: &StoreConfig,
    property: &'static str,
    unit: Duration,
) -> Result<Option<Time>, StoreError> {
    let Some(text) = text(config, property)? else {
        return Ok(None);
    };
    let text = text.trim();
    let time = match text.parse::<i64>() {
        Ok(number) if number < 0 => None,
        Ok(number) => Some(unit.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))),
        Err(_) if text.starts_with('-') => {
            go_duration(text.trim_start_matches('-'))
                .ok_or_else(|| unreadable(property, "a time such as `5s`"))?;
            None
        }
        Err(_) => {
            let time = go_duration(text.trim_start_matches('+'));
            Some(time.ok_or_else(|| unreadable(property, "a time such as `5s`"))?)
        }
    };
    Ok(Some(
        time.map_or(Time::Off, |time| Time::Of(time.min(LONGEST))),
    ))
}

/// What a property of a time says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Time {
    Of(Duration),
    /// Below zero.
    Off,
}

/// A property is at fault. What it says is not shown: it may come from a secret.
pub(super) fn unreadable(property: &'static str, wanted: &str) -> StoreError {
    StoreError::misconfigured(format!("`{property}` is not {wanted}")).of_property(property)
}

/// A sum of numbers with units, as Go writes a `time.Duration`.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = tail.split_at(end.unwrap_or(tail.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        sum = sum.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Time, flag, go_duration, time};
    use crate::stores::StoreConfig;

    fn config(value: &str) -> StoreConfig {
        StoreConfig::new("c", "configuration.redis").with_property("p", value)
    }

    #[test]
    fn times_are_those_of_go() {
        for (text, milliseconds) in [
            ("5s", Some(5_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("20ms", Some(20)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("5x", None),
            ("1e3s", None),
        ] {
            let expected = milliseconds.map(Duration::from_millis);
            assert_eq!(go_duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_have_the_unit_of_the_store() {
        let read = |text, unit| time(&config(text), "p", unit).unwrap();
        let of = |seconds| Some(Time::Of(Duration::from_secs(seconds)));
        assert_eq!(read("3", Duration::from_secs(1)), of(3));
        assert_eq!(read("3000", Duration::from_millis(1)), of(3));
        assert_eq!(read("3s", Duration::from_millis(1)), of(3));
        assert_eq!(read("-1", Duration::from_millis(1)), Some(Time::Off));
        assert_eq!(read("", Duration::from_millis(1)), None);
        let error = time(&config("s3cr3t"), "p", Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.message, "`p` is not a time such as `5s`");
    }

    #[test]
    fn a_slip_turns_nothing_off() {
        assert!(flag(&config("True"), "p").unwrap());
        assert!(!flag(&config("off"), "p").unwrap());
        assert!(!flag(&config(""), "p").unwrap());
        assert!(flag(&config("ture"), "p").is_err());
    }
}
