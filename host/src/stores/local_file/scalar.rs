//! Numbers, booleans and `null` as values of secrets.

use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// What becomes of a value in JSON that is no text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ScalarText {
    /// Its text as it stands in the file; `null` is nothing.
    Plain,
    /// What Dapr makes of it, which prints it with a format for text: `%!s(float64=42)`.
    Dapr,
}

impl ScalarText {
    /// A number, from its text and what that is as Go reads it.
    pub(super) fn number(self, text: &str, number: f64) -> SecretValue {
        match self {
            Self::Plain => SecretValue::from(text),
            Self::Dapr => {
                let number = go_float(number);
                let text = Zeroizing::new(format!("%!s(float64={})", *number));
                SecretValue::from(text.as_str())
            }
        }
    }

    pub(super) fn boolean(self, value: bool) -> SecretValue {
        SecretValue::from(match self {
            Self::Plain => format!("{value}"),
            Self::Dapr => format!("%!s(bool={value})"),
        })
    }

    pub(super) fn null(self) -> Option<SecretValue> {
        match self {
            Self::Plain => None,
            Self::Dapr => Some(SecretValue::from("%!s(<nil>)")),
        }
    }
}

/// A number as Go's `%v` writes it: the fewest digits that give it back, and an exponent of at
/// least two digits below 1e-4 and from 1e6 on.
fn go_float(number: f64) -> Zeroizing<String> {
    let scientific = fewest_digits(number);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    Zeroizing::new(if (-4..6).contains(&exponent) {
        format!("{number}")
    } else {
        format!(
            "{digits}e{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.abs()
        )
    })
}

/// A number with an exponent. Of two texts that are equally short and near, the standard library
/// takes the larger and Go the even one, as rounding to that many digits does.
fn fewest_digits(number: f64) -> Zeroizing<String> {
    let fewest = Zeroizing::new(format!("{number:e}"));
    let decimals = fewest.bytes().skip_while(|byte| *byte != b'.').skip(1);
    let decimals = decimals.take_while(u8::is_ascii_digit).count();
    let rounded = Zeroizing::new(format!("{number:.decimals$e}"));
    if rounded.parse() == Ok(number) {
        rounded
    } else {
        fewest
    }
}

#[cfg(test)]
mod tests {
    use super::{ScalarText, go_float};

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (number, text) in [
            (42.0, "42"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (100_000.0, "100000"),
            (123_456.0, "123456"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (12_345_678_901_234_567_890.0, "1.2345678901234567e+19"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (5e-324, "5e-324"),
            // Halfway between two texts; and a power of two, which has its own rule.
            (5_598_686_945_758_370.0 / 8.0, "6.998358682197962e+14"),
            (2f64.powi(-44), "5.684341886080802e-14"),
            (9_007_199_254_740_992.0, "9.007199254740992e+15"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(*go_float(number), text);
        }
    }

    #[test]
    fn scalars_keep_their_text_or_become_that_of_dapr() {
        let text = |value: &crate::secret::SecretValue| value.reveal_text().unwrap().to_owned();
        assert_eq!(text(&ScalarText::Plain.number("4.20", 4.2)), "4.20");
        assert_eq!(
            text(&ScalarText::Dapr.number("4.20", 4.2)),
            "%!s(float64=4.2)"
        );
        assert_eq!(text(&ScalarText::Plain.boolean(true)), "true");
        assert_eq!(text(&ScalarText::Dapr.boolean(true)), "%!s(bool=true)");
        assert!(ScalarText::Plain.null().is_none());
        assert_eq!(text(&ScalarText::Dapr.null().unwrap()), "%!s(<nil>)");
    }
}
