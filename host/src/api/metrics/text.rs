//! Prometheus' text, as Dapr writes it.
//!
//! The libraries for this do not write Dapr's text: they add `_total` to the name of a counter,
//! write a bound as `1048576` where Dapr writes `1.048576e+06`, which is another label to
//! Prometheus, and count a value on a bound below it.

use std::fmt::Write as _;

use crate::api::metrics::series::{Counter, Histogram};

/// The `Content-Type` of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What can be written below a family's head.
pub(crate) trait Series {
    /// The type that Prometheus knows it as.
    const TYPE: &'static str;

    /// Writes its samples; `labels` is what stands between the braces.
    fn write(&self, text: &mut String, name: &str, labels: &str);
}

impl Series for Counter {
    const TYPE: &'static str = "counter";

    fn write(&self, text: &mut String, name: &str, labels: &str) {
        sample(text, name, labels, self.value());
    }
}

impl Series for Histogram {
    const TYPE: &'static str = "histogram";

    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let (buckets, count) = self.buckets();
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, below) in buckets {
            let bound = go_float(bound);
            let _ = writeln!(
                text,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}"
            );
        }
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        let sum = go_float(self.sum());
        let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}");
        let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
    }
}

/// Writes a family's head.
pub(crate) fn head(text: &mut String, name: &str, help: &str, of_type: &str) {
    let help = help.replace('\\', r"\\").replace('\n', r"\n");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {of_type}");
}

/// Writes one number.
pub(crate) fn sample(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

/// What stands between the braces.
pub(crate) fn labels<'l>(pairs: impl Iterator<Item = (&'l str, &'l str)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str(r"\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str(r"\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// A number as Go's `%g` has it: with an exponent from a million on.
fn go_float(number: f64) -> String {
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    match exponent.parse::<i32>() {
        Ok(exponent @ (..=-5 | 6..)) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{go_float, labels};

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (number, expected) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (1_048_576.0, "1.048576e+06"),
            (4_294_967_296.0, "4.294967296e+09"),
            (0.000_01, "1e-05"),
        ] {
            assert_eq!(go_float(number), expected);
        }
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let pairs = [("a", "x\"\\\n"), ("b", "é")];
        assert_eq!(labels(pairs.into_iter()), "a=\"x\\\"\\\\\\n\",b=\"é\"");
    }
}
