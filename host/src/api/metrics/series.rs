//! What is counted for one combination of labels. Counting takes atomics alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The bounds of a histogram's buckets, ascending.
pub(crate) type Bounds = Arc<[f64]>;

/// How often a value fell into each bucket.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: Bounds,
    /// One more than there are bounds: what is above the last.
    counts: Box<[AtomicU64]>,
    /// The bits of a floating-point number.
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self {
            bounds,
            counts,
            sum: AtomicU64::new(0f64.to_bits()),
        }
    }

    /// Counts a value. One on a bound belongs above it, as in Dapr, whose library counts so.
    pub(crate) fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound <= value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if value != 0.0 {
            let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
            let (now, seen) = (Ordering::Relaxed, Ordering::Relaxed);
            // It always has a new value.
            let _ = self.sum.fetch_update(now, seen, add);
        }
    }

    /// Each bound with how many values were below it, and how many values there were.
    pub(crate) fn buckets(&self) -> (Vec<(f64, u64)>, u64) {
        let mut below = 0;
        let mut counts = self.counts.iter();
        let mut next = || {
            below += counts.next()?.load(Ordering::Relaxed);
            Some(below)
        };
        let bounds = self.bounds.iter();
        let buckets = bounds.map_while(|bound| Some((*bound, next()?)));
        let buckets = buckets.collect();
        (buckets, next().unwrap_or_default())
    }

    pub(crate) fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn a_value_on_a_bound_is_counted_above_it() {
        let histogram = Histogram::new([1.0, 2.0].into());
        for value in [0.0, 0.5, 1.0, 2.0, 7.0] {
            histogram.observe(value);
        }
        assert_eq!(histogram.buckets(), (vec![(1.0, 2), (2.0, 3)], 5));
        assert!((histogram.sum() - 10.5).abs() < f64::EPSILON);
    }
}
