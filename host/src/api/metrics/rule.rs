//! Rules of `spec.metric.rules`, which change the values of labels.

use std::collections::BTreeMap;

use regex_lite::Regex;

/// What is done to the values of one label of one metric.
#[derive(Clone, Debug)]
pub struct LabelRule {
    /// Dapr's own name of the metric with slashes for `_`, and the label's, joined.
    key: String,
    /// Patterns, each with what stands in place of what it finds.
    patterns: Vec<(Regex, String)>,
}

impl LabelRule {
    /// A rule for a label of a metric, such as `dapr_http_server_request_count`, from replacements
    /// with the pattern that each stands for.
    ///
    /// # Errors
    /// Fails where a pattern cannot be read.
    pub fn new(
        metric: &str,
        label: &str,
        replacements: &BTreeMap<String, String>,
    ) -> Result<Self, UnreadablePattern> {
        let read = |(replacement, pattern): (&String, &String)| match Regex::new(pattern) {
            Ok(pattern) => Ok((pattern, replacement.clone())),
            Err(_) => Err(UnreadablePattern),
        };
        let patterns = replacements.iter().map(read);
        Ok(Self {
            key: format!(
                "{}{label}",
                metric.replacen("dapr_", "", 1).replace('_', "/")
            ),
            patterns: patterns.collect::<Result<_, _>>()?,
        })
    }

    /// Whether it is for a label of a metric of this name of Dapr's own.
    pub(crate) fn is_for(&self, view: &str, label: &str) -> bool {
        let metric = self.key.strip_suffix(label);
        metric.is_some_and(|metric| metric == view.replace('_', "/"))
    }

    pub(crate) fn apply(&self, value: &str) -> String {
        let patterns = self.patterns.iter();
        patterns.fold(value.to_owned(), |value, (pattern, replacement)| {
            pattern
                .replace_all(&value, replacement.as_str())
                .into_owned()
        })
    }

    /// Whether a later rule is in place of this one.
    pub(crate) fn is_replaced_by(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl PartialEq for LabelRule {
    fn eq(&self, other: &Self) -> bool {
        let text = |(pattern, replacement): &(Regex, String)| {
            (pattern.as_str().to_owned(), replacement.clone())
        };
        let texts = |rule: &Self| rule.patterns.iter().map(text).collect::<Vec<_>>();
        self.key == other.key && texts(self) == texts(other)
    }
}

impl Eq for LabelRule {}

/// A pattern of a rule cannot be read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a pattern cannot be read")]
#[non_exhaustive]
pub struct UnreadablePattern;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::LabelRule;

    #[test]
    fn a_rule_replaces_what_its_patterns_find() {
        let replacements = [("/x/{$1}", "/x/([a-z])[a-z]*"), ("N", "[0-9]+")];
        let replacements = replacements.map(|(to, of)| (to.to_owned(), of.to_owned()));
        let replacements = BTreeMap::from(replacements);
        let rule = LabelRule::new("dapr_http_server_latency", "path", &replacements).unwrap();
        assert!(rule.is_for("http/server/latency", "path"));
        assert!(!rule.is_for("http/server/latency", "method"));
        assert_eq!(rule.apply("/x/abc/12"), "/x/{a}/N");
    }

    #[test]
    fn a_rule_names_a_metric_of_dapr_by_its_own_name() {
        let none = BTreeMap::new();
        let rule = LabelRule::new("dapr_http_server_request_count", "path", &none).unwrap();
        assert!(rule.is_for("http/server/request_count", "path"));
        // As in Dapr, where this name has a dot.
        let rule = LabelRule::new("dapr_grpc_io_server_completed_rpcs", "app_id", &none).unwrap();
        assert!(!rule.is_for("grpc.io/server/completed_rpcs", "app_id"));
    }
}
