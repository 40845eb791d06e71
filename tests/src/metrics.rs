//! Metrics as a scraper reads them, and strictly: each line must be what Prometheus' format has there.

use std::collections::{BTreeMap, BTreeSet};

use crate::server::{Server, ask_at};

/// What a scrape has found.
#[derive(Debug)]
pub struct Metrics {
    /// The text.
    pub text: String,
    /// The help and the type of each metric.
    pub heads: BTreeMap<String, (String, String)>,
    samples: Vec<Sample>,
}

/// One line with a number.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (name, rest) = line.split_once('{').expect("labels");
        let is_name = |text: &str| {
            let mut bytes = text.bytes();
            let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
            bytes.next().is_some_and(is_letter)
                && bytes.all(|byte| is_letter(byte) || byte.is_ascii_digit())
        };
        assert!(is_name(name), "{line}");
        let (mut labels, mut rest) = (BTreeMap::new(), rest);
        while !rest.starts_with('}') {
            let (label, value) = rest.split_once("=\"").expect("a label's value");
            assert!(is_name(label), "{line}");
            let (mut text, mut characters) = (String::new(), value.char_indices());
            let end = loop {
                match characters.next().expect("an end of the value") {
                    (end, '"') => break end,
                    (_, '\\') => text.push(match characters.next().expect("an escape").1 {
                        'n' => '\n',
                        same @ ('\\' | '"') => same,
                        other => panic!("{other:?} is no escape: {line}"),
                    }),
                    (_, other) => text.push(other),
                }
            };
            assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
            rest = &value[end + 1..];
            rest = match rest.strip_prefix(',') {
                Some(next) => {
                    assert!(!next.starts_with('}'), "{line}");
                    next
                }
                None => rest,
            };
        }
        let value = rest.strip_prefix("} ").expect("a value");
        Self {
            name: name.to_owned(),
            labels,
            value: value.parse().expect("a number"),
        }
    }
}

/// Scrapes a server at this path.
pub fn scrape(server: &Server, path: &str) -> Metrics {
    let address = server.metrics.expect("it serves metrics");
    let answer = ask_at(address, &format!("GET {path}"), &[], "");
    assert_eq!(answer.status, 200);
    let content_type = answer.headers["content-type"].as_str();
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    Metrics::parse(answer.body)
}

impl Metrics {
    fn parse(text: String) -> Self {
        assert!(text.is_empty() || text.ends_with('\n'));
        let mut heads: BTreeMap<String, (String, String)> = BTreeMap::new();
        let mut current = String::new();
        let (mut seen, mut samples) = (BTreeSet::new(), Vec::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a help");
                let head = (help.to_owned(), String::new());
                assert!(
                    heads.insert(name.to_owned(), head).is_none(),
                    "{name} twice"
                );
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, of_type) = rest.split_once(' ').expect("a name and a type");
                assert_eq!(name, current);
                of_type.clone_into(&mut heads.get_mut(name).expect("its help").1);
            } else {
                let sample = Sample::parse(line);
                let name = sample.name.as_str();
                let base = ["_bucket", "_sum", "_count"].map(|end| format!("{current}{end}"));
                let is_histogram = heads[&current].1 == "histogram";
                let is_its = is_histogram && base.iter().any(|base| base == name);
                assert!(is_its || (!is_histogram && name == current), "{line}");
                let key = (sample.name.clone(), sample.labels.clone());
                assert!(seen.insert(key), "{line} twice");
                samples.push(sample);
            }
        }
        Self {
            text,
            heads,
            samples,
        }
    }

    /// All values of a label, of whatever metric.
    pub fn values_of(&self, label: &str) -> BTreeSet<String> {
        let samples = self.samples.iter();
        let values = samples.filter_map(|sample| sample.labels.get(label));
        values.cloned().collect()
    }

    /// The labels of each series of a metric.
    pub fn labels(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        let samples = self.samples.iter().filter(|sample| sample.name == name);
        samples.map(|sample| sample.labels.clone()).collect()
    }

    /// The buckets of each series of a histogram: what stands as `le`, and how many are below.
    pub fn buckets(&self, name: &str) -> Vec<Vec<(String, u64)>> {
        let mut all: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
        let begin = format!("{name}_bucket{{");
        for line in self.text.lines() {
            let Some(rest) = line.strip_prefix(&begin) else {
                continue;
            };
            let (labels, rest) = rest.rsplit_once("le=\"").expect("a bound");
            let (bound, count) = rest.split_once("\"} ").expect("a count");
            let count = count.parse().expect("a number");
            let buckets = all.entry(labels.to_owned()).or_default();
            buckets.push((bound.to_owned(), count));
        }
        all.into_values().collect()
    }

    /// The sum of a metric over the series that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let mut labels = labels.iter();
            let is_there = |(name, value): &(&str, &str)| {
                sample.labels.get(*name).is_some_and(|found| found == value)
            };
            sample.name == name && labels.all(is_there)
        };
        let samples = self.samples.iter().filter(has);
        samples.map(|sample| sample.value).sum()
    }
}
