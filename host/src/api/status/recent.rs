//! The last records of the audit trail, kept in memory.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::api::audit::{Audit, AuditCounts, AuditDecision, AuditRecord, milliseconds, timestamp};

/// How many records are kept.
const MOST: u64 = 100;
/// How many characters of a name are kept: callers can make names up.
const MOST_NAME: usize = 200;

/// A record, cut to what is shown of it.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    /// Counts up with each request.
    pub(crate) number: u64,
    #[serde(serialize_with = "timestamp")]
    pub(crate) time: SystemTime,
    pub(crate) protocol: &'static str,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) agent: Option<String>,
    pub(crate) token: bool,
    pub(crate) operation: &'static str,
    pub(crate) store: Option<String>,
    pub(crate) secret: Option<String>,
    /// How many secrets were served, where all were asked for.
    pub(crate) served: Option<usize>,
    pub(crate) decision: AuditDecision,
    pub(crate) rule: &'static str,
    pub(crate) outcome: &'static str,
    #[serde(rename = "latency_ms", serialize_with = "milliseconds")]
    pub(crate) latency: Duration,
}

impl Entry {
    fn of(number: u64, record: &AuditRecord<'_>) -> Self {
        let caller = record.caller;
        Self {
            number,
            time: record.time,
            protocol: caller.protocol,
            peer: caller.peer,
            agent: caller.agent.as_deref().map(cut),
            token: caller.token,
            operation: record.operation,
            store: record.store.map(cut),
            secret: record.secret.map(cut),
            served: record.served.as_ref().map(Vec::len),
            decision: record.decision,
            rule: record.rule,
            outcome: record.outcome,
            latency: record.latency,
        }
    }
}

/// The beginning of a name.
fn cut(name: &str) -> String {
    match name.char_indices().nth(MOST_NAME) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// Keeps the last records, and passes each on to the trail, where there is one.
pub(crate) struct Recent {
    trail: Option<Arc<dyn Audit>>,
    /// How many records there were.
    number: AtomicU64,
    /// Each with a lock of its own, so that requests hardly ever meet.
    entries: Vec<Mutex<Option<Arc<Entry>>>>,
}

impl Recent {
    pub(crate) fn new(trail: Option<Arc<dyn Audit>>) -> Self {
        Self {
            trail,
            number: AtomicU64::new(0),
            entries: (0..MOST).map(|_| Mutex::default()).collect(),
        }
    }

    /// What has become of the trail's records, where there is one.
    pub(crate) fn trail(&self) -> Option<AuditCounts> {
        self.trail.as_ref().map(|trail| trail.counts())
    }

    /// The last records, the newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Entry>> {
        let entries = self.entries.iter();
        let mut entries: Vec<_> = entries.filter_map(|entry| lock(entry).clone()).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.number));
        entries
    }
}

impl Audit for Recent {
    fn record(&self, record: &AuditRecord<'_>) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry::of(number, record));
        let place = usize::try_from(number % MOST).unwrap_or_default();
        if let Some(place) = self.entries.get(place) {
            let mut last = lock(place);
            let is_newer = |last: &Arc<Entry>| last.number < number;
            let before = if last.as_ref().is_none_or(is_newer) {
                last.replace(entry)
            } else {
                Some(entry)
            };
            drop(last);
            // Freed while nobody waits.
            drop(before);
        }
        if let Some(trail) = &self.trail {
            trail.record(record);
        }
    }

    fn counts(&self) -> AuditCounts {
        self.trail().unwrap_or_default()
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent")
            .field("trail", &self.trail)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http::{Extensions, HeaderMap};

    use super::{MOST, MOST_NAME, Recent};
    use crate::api::audit::{Audit as _, AuditRecord, Caller};

    #[test]
    fn the_last_hundred_are_kept_and_no_more_of_a_name_than_is_shown() {
        let caller = Caller::of("http", &Extensions::new(), &HeaderMap::new(), false);
        let recent = Recent::new(None);
        let long = "é".repeat(100_000);
        for number in 0..MOST + 7 {
            let name = format!("{number}{long}");
            let mut record = AuditRecord::of(&caller, "app", "get");
            record.secret = Some(&name);
            recent.record(&record);
        }
        let entries = recent.list();
        let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (7..MOST + 7).rev().collect::<Vec<_>>());
        for entry in entries {
            let name = entry.secret.as_deref().unwrap();
            assert!(name.starts_with(&entry.number.to_string()) && name.ends_with("é…"));
            assert_eq!(name.chars().count(), MOST_NAME + 1);
        }
    }
}
