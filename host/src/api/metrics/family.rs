//! A metric: all its series under one name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::metrics::rule::LabelRule;
use crate::api::metrics::series::{Bounds, Counter, Histogram};
use crate::api::metrics::text::{self, Series};

/// How many series a metric may have. Above, a request is counted nowhere.
const MOST_SERIES: usize = 4096;

/// What a metric is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    /// Dapr's own name, such as `http/server/request_count`, which rules name; or ours, whole.
    pub(crate) view: &'static str,
    pub(crate) help: &'static str,
    /// The names of its labels, sorted.
    pub(crate) labels: &'static [&'static str],
}

impl Definition {
    /// The name that Prometheus sees.
    fn name(&self) -> String {
        if self.view.starts_with("keyref_") {
            return self.view.to_owned();
        }
        let plain = |character: char| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '_'
            }
        };
        let name = self.view.chars().map(plain);
        "dapr_".chars().chain(name).collect()
    }
}

/// A metric. Each series is looked up once; what counts keeps it.
#[derive(Debug)]
pub(crate) struct Family<S> {
    name: String,
    definition: Definition,
    /// What changes the values of its labels, each with the number of the label.
    rules: Vec<(usize, LabelRule)>,
    bounds: Bounds,
    series: Mutex<BTreeMap<Vec<String>, Arc<S>>>,
}

impl<S> Family<S> {
    fn new(definition: Definition, rules: &[LabelRule], bounds: Bounds) -> Self {
        let of_label = |(number, label): (usize, &&str)| {
            let mut rules = rules.iter();
            let rule = rules.find(|rule| rule.is_for(definition.view, label))?;
            Some((number, rule.clone()))
        };
        let labels = definition.labels.iter().enumerate();
        Self {
            name: definition.name(),
            definition,
            rules: labels.filter_map(of_label).collect(),
            bounds,
            series: Mutex::default(),
        }
    }

    /// The series of these values, in the order of the labels' names.
    fn series(&self, values: &[&str], make: impl FnOnce() -> S) -> Arc<S> {
        let mut values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        for (number, rule) in &self.rules {
            if let Some(value) = values.get_mut(*number).filter(|value| !value.is_empty()) {
                *value = rule.apply(value);
            }
        }
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = series.get(&values) {
            return Arc::clone(found);
        }
        let made = Arc::new(make());
        if series.len() < MOST_SERIES {
            series.insert(values, Arc::clone(&made));
        }
        made
    }
}

impl Family<Counter> {
    pub(crate) fn counters(definition: Definition, rules: &[LabelRule]) -> Self {
        Self::new(definition, rules, Bounds::default())
    }

    pub(crate) fn with(&self, values: &[&str]) -> Arc<Counter> {
        self.series(values, Counter::default)
    }
}

impl Family<Histogram> {
    pub(crate) fn histograms(definition: Definition, rules: &[LabelRule], bounds: &Bounds) -> Self {
        Self::new(definition, rules, Arc::clone(bounds))
    }

    pub(crate) fn with(&self, values: &[&str]) -> Arc<Histogram> {
        self.series(values, || Histogram::new(Arc::clone(&self.bounds)))
    }
}

/// What can be shown, whatever it counts.
pub(crate) trait Metric {
    fn name(&self) -> &str;

    /// Writes it, where there is any series.
    fn write(&self, text: &mut String);
}

impl<S: Series> Metric for Family<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn write(&self, text: &mut String) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = series.clone();
        if series.is_empty() {
            return;
        }
        text::head(text, &self.name, self.definition.help, S::TYPE);
        for (values, one) in &series {
            let names = self.definition.labels.iter().copied();
            let labels = text::labels(names.zip(values.iter().map(String::as_str)));
            one.write(text, &self.name, &labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Definition, Family, MOST_SERIES, Metric as _};

    #[test]
    fn series_are_bounded_and_what_is_above_is_counted_nowhere() {
        let definition = Definition {
            view: "x/count",
            help: "x",
            labels: &["name"],
        };
        let family = Family::counters(definition, &[]);
        for number in 0..MOST_SERIES + 10 {
            family.with(&[&number.to_string()]).increment();
        }
        let mut text = String::new();
        family.write(&mut text);
        let samples = text
            .lines()
            .filter(|line| line.starts_with("dapr_x_count{"));
        assert_eq!(samples.count(), MOST_SERIES);
    }
}
