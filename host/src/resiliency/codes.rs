//! The codes of `matching`, which are read and change nothing here: as in Dapr, what a store or an
//! app that is told of configuration fails of has none.

use std::ops::RangeInclusive;

use serde_yaml::Value;

use crate::resiliency::fields::Fields;

/// Reads `matching`.
pub(super) fn read(fields: &mut Fields, value: &Value) {
    fields.each(
        value,
        &["gRPCStatusCodes", "httpStatusCodes"],
        |fields, field, value| {
            let codes = if field == "httpStatusCodes" {
                100..=599
            } else {
                0..=16
            };
            let text = fields.text(value);
            let mut patterns = text.split(',').filter(|pattern| !pattern.is_empty());
            if !patterns.all(|pattern| is_range(pattern, &codes)) {
                let hint = "write codes and ranges with commas between them, such as `429,500-599`";
                fields.refuse("these are no status codes", hint);
            }
        },
    );
}

fn is_range(pattern: &str, codes: &RangeInclusive<i64>) -> bool {
    let (first, last) = pattern.split_once('-').unwrap_or((pattern, pattern));
    let code = |text: &str| text.parse().ok().filter(|code| codes.contains(code));
    matches!((code(first), code(last)), (Some(first), Some(last)) if first <= last)
}

#[cfg(test)]
mod tests {
    use super::is_range;

    #[test]
    fn codes_are_those_of_the_protocol() {
        for (pattern, is_one) in [
            ("500", true),
            ("100-599", true),
            ("99", false),
            ("600", false),
            ("599-500", false),
            ("500-", false),
            ("1-2-3", false),
            (" 500", false),
            ("5xx", false),
        ] {
            assert_eq!(is_range(pattern, &(100..=599)), is_one, "{pattern}");
        }
        assert!(is_range("14", &(0..=16)));
    }
}
