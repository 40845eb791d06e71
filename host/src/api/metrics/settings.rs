//! What Dapr Configurations say of metrics: `spec.metric`, and `spec.metrics`, which is the same
//! and counts first.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::Value;

use crate::api::metrics::pattern::PathPattern;
use crate::api::metrics::rule::LabelRule;

/// What is recorded, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of Dapr's")]
#[non_exhaustive]
pub struct MetricsSettings {
    /// `enabled`: whether anything is recorded; it is.
    pub is_on: bool,
    /// `recordErrorCodes`: whether Dapr's codes of errors are counted; they are not.
    pub records_error_codes: bool,
    /// `http.increasedCardinality`: whether the paths of requests are labels; they are, as in
    /// Dapr 1.18.
    pub increased_cardinality: bool,
    /// `http.pathMatching`: patterns that stand as labels for the paths that they match.
    pub path_matching: Vec<PathPattern>,
    /// `http.excludeVerbs`: whether methods are left out of labels; they are not.
    pub excludes_verbs: bool,
    /// `latencyDistributionBuckets`, in milliseconds and ascending; Dapr's where there are none.
    pub latency_buckets: Vec<u64>,
    /// `rules`
    pub rules: Vec<LabelRule>,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            is_on: true,
            records_error_codes: false,
            increased_cardinality: true,
            path_matching: Vec::new(),
            excludes_verbs: false,
            latency_buckets: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// The two fields as they have been read so far.
#[derive(Debug, Default)]
pub(crate) struct MetricsFields {
    metric: Fields,
    metrics: Fields,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    enabled: Option<bool>,
    record_error_codes: Option<bool>,
    http: Option<Http>,
    latency_distribution_buckets: Option<Vec<i64>>,
    rules: Option<Vec<Rule>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Http {
    increased_cardinality: Option<bool>,
    path_matching: Option<Vec<String>>,
    exclude_verbs: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: Vec<Label>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    #[serde(default)]
    name: String,
    #[serde(default)]
    regex: BTreeMap<String, String>,
}

impl MetricsFields {
    /// Lays `spec.metric` upon what was read of it before.
    ///
    /// # Errors
    /// Names the field where it cannot be read.
    pub(crate) fn set_metric(&mut self, value: Value) -> Result<(), &'static str> {
        self.metric.overlay(value).map_err(|_| "metric")
    }

    /// The same for `spec.metrics`.
    pub(crate) fn set_metrics(&mut self, value: Value) -> Result<(), &'static str> {
        self.metrics.overlay(value).map_err(|_| "metrics")
    }

    /// What they say together.
    ///
    /// # Errors
    /// Says which field holds what cannot be honored.
    pub(crate) fn settings(self) -> Result<MetricsSettings, &'static str> {
        let (metric, metrics) = (self.metric, self.metrics);
        let http = metrics.http.or(metric.http).unwrap_or_default();
        let buckets = metrics.latency_distribution_buckets;
        let buckets = buckets.or(metric.latency_distribution_buckets);
        let rules = metrics.rules.filter(|rules| !rules.is_empty());
        let rules = rules.or(metric.rules).unwrap_or_default();
        let patterns = http.path_matching.unwrap_or_default();
        let patterns = patterns.iter().map(|text| PathPattern::new(text));
        let patterns = patterns.collect::<Result<_, _>>();
        let enabled = metrics.enabled.or(metric.enabled);
        let codes = metrics.record_error_codes.or(metric.record_error_codes);
        Ok(MetricsSettings {
            is_on: enabled.unwrap_or(true),
            records_error_codes: codes.unwrap_or(false),
            increased_cardinality: http.increased_cardinality.unwrap_or(true),
            path_matching: patterns.map_err(|_| "pathMatching")?,
            excludes_verbs: http.exclude_verbs.unwrap_or(false),
            latency_buckets: ascending(&buckets.unwrap_or_default())?,
            rules: label_rules(&rules)?,
        })
    }
}

impl Fields {
    fn overlay(&mut self, later: Value) -> Result<(), serde_yaml::Error> {
        let later: Option<Self> = serde_yaml::from_value(later)?;
        let Self {
            enabled,
            record_error_codes,
            http,
            latency_distribution_buckets,
            rules,
        } = later.unwrap_or_default();
        self.enabled = enabled.or(self.enabled);
        self.record_error_codes = record_error_codes.or(self.record_error_codes);
        if let Some(later) = http {
            let http = self.http.get_or_insert_default();
            http.increased_cardinality = later.increased_cardinality.or(http.increased_cardinality);
            http.exclude_verbs = later.exclude_verbs.or(http.exclude_verbs);
            http.path_matching = later.path_matching.or(http.path_matching.take());
        }
        let buckets = self.latency_distribution_buckets.take();
        self.latency_distribution_buckets = latency_distribution_buckets.or(buckets);
        self.rules = rules.or(self.rules.take());
        Ok(())
    }
}

/// Bounds that ascend; those before the first above zero are left out, as in Dapr.
fn ascending(bounds: &[i64]) -> Result<Vec<u64>, &'static str> {
    if !bounds.is_sorted_by(|one, next| one < next) {
        return Err("latencyDistributionBuckets");
    }
    let bounds = bounds.iter().filter_map(|bound| u64::try_from(*bound).ok());
    Ok(bounds.filter(|bound| *bound > 0).collect())
}

/// A rule for each label; of two for the same, the later one counts, as in Dapr.
fn label_rules(rules: &[Rule]) -> Result<Vec<LabelRule>, &'static str> {
    let mut read: Vec<LabelRule> = Vec::new();
    for rule in rules {
        for label in &rule.labels {
            let rule = LabelRule::new(&rule.name, &label.name, &label.regex);
            let rule = rule.map_err(|_| "rules")?;
            read.retain(|earlier| !earlier.is_replaced_by(&rule));
            read.push(rule);
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::{MetricsFields, MetricsSettings};

    fn read(texts: &[(&str, &str)]) -> Result<MetricsSettings, &'static str> {
        let mut fields = MetricsFields::default();
        for (field, text) in texts {
            let value = serde_yaml::from_str(text).unwrap();
            match *field {
                "metric" => fields.set_metric(value)?,
                _ => fields.set_metrics(value)?,
            }
        }
        fields.settings()
    }

    #[test]
    fn metrics_count_before_metric_field_by_field() {
        let settings = read(&[
            ("metrics", "{enabled: false, http: {excludeVerbs: true}}"),
            (
                "metric",
                "{enabled: true, recordErrorCodes: true, http: {increasedCardinality: false}}",
            ),
        ])
        .unwrap();
        assert!(!settings.is_on && settings.records_error_codes);
        // `http` is taken as a whole.
        assert!(settings.excludes_verbs && settings.increased_cardinality);
        assert_eq!(read(&[]).unwrap(), MetricsSettings::default());
    }

    #[test]
    fn bounds_ascend_and_are_above_zero() {
        let buckets = |text| read(&[("metric", text)]).map(|settings| settings.latency_buckets);
        let text = "latencyDistributionBuckets: [-1, 0, 5, 10]";
        assert_eq!(buckets(text), Ok(vec![5, 10]));
        let text = "latencyDistributionBuckets: [5, 5]";
        assert_eq!(buckets(text), Err("latencyDistributionBuckets"));
    }

    #[test]
    fn patterns_that_cannot_be_read_are_refused() {
        let text = "rules: [{name: x, labels: [{name: y, regex: {a: '('}}]}]";
        assert_eq!(read(&[("metric", text)]), Err("rules"));
        let text = "http: {pathMatching: ['/{']}";
        assert_eq!(read(&[("metric", text)]), Err("pathMatching"));
    }
}
