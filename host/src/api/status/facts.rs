//! What the page and its JSON tell: one model for both. No value of a secret is in it, nor one of a
//! property; a problem's message may name a path or a kind that a document says.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::api::audit::timestamp;
use crate::api::loaded::Loaded;
use crate::api::service::{DAPR_VERSION, Service};
use crate::api::status::Kept;
use crate::api::status::history::Last;
use crate::api::status::listing::Listing;
use crate::api::status::recent::Entry;
use crate::api::status::reference::{ComponentFacts, Resolved};
use crate::cache::{CacheRule, CacheStats};
use crate::health::{Health, LastAnswer};
use crate::mode::Mode;
use crate::problem::{Problem, Severity};

/// Everything, at one time.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub(super) version: &'static str,
    pub(super) dapr_version: &'static str,
    pub(super) app_id: String,
    pub(super) namespace: Option<String>,
    /// `strict` or `dapr`; nothing until something is loaded.
    pub(super) mode: Option<&'static str>,
    /// When this was so.
    pub(super) time: Time,
    pub(super) started: Time,
    pub(super) uptime_seconds: u64,
    pub(super) ready: bool,
    /// What it waits for before it is ready.
    pub(super) waiting_for: Vec<&'static str>,
    /// When what is served was loaded.
    pub(super) loaded: Option<Time>,
    /// What came of reading it again, the last time.
    pub(super) reload: Option<ReloadFacts>,
    /// What is wrong with what is served.
    pub(super) problems: Vec<ProblemFacts>,
    pub(super) stores: Vec<StoreFacts>,
    /// Whether components are resolved here, and when they were last.
    pub(super) resolving: Option<ResolvingFacts>,
    #[serde(serialize_with = "shared")]
    pub(super) components: Arc<[ComponentFacts]>,
    /// What the cache has done; nothing where it is off.
    pub(super) cache: Option<CacheFacts>,
    /// The last requests for secrets, the newest first.
    #[serde(serialize_with = "each_shared")]
    pub(super) audit: Vec<Arc<Entry>>,
}

/// A time as RFC 3339 has it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Time(#[serde(serialize_with = "timestamp")] pub(super) SystemTime);

#[derive(Debug, Serialize)]
pub(super) struct ReloadFacts {
    pub(super) time: Time,
    /// `whole`, `partial` or `failed`.
    pub(super) outcome: &'static str,
    /// What was not taken over.
    pub(super) problems: Vec<ProblemFacts>,
    /// How much more was not.
    pub(super) more_problems: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct ProblemFacts {
    pub(super) class: &'static str,
    /// `error` or `warning`.
    pub(super) severity: &'static str,
    pub(super) document: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
    pub(super) component: Option<String>,
    pub(super) property: Option<String>,
    pub(super) message: String,
}

impl From<&Problem> for ProblemFacts {
    fn from(problem: &Problem) -> Self {
        let (place, subject) = (problem.place.as_ref(), problem.subject.as_ref());
        let component = subject.map(|subject| subject.component.clone());
        let property = subject.map(|subject| subject.property.clone());
        Self {
            class: problem.class.code(),
            severity: match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            document: place.map(|place| place.document.to_string()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            component: component.filter(|name| !name.is_empty()),
            property: property.filter(|name| !name.is_empty()),
            message: problem.message.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct StoreFacts {
    pub(super) name: String,
    /// `secret` or `configuration`.
    pub(super) kind: &'static str,
    #[serde(rename = "type")]
    pub(super) store_type: String,
    pub(super) version: String,
    /// Whether it can be asked.
    pub(super) open: bool,
    /// Whether it may fail: `ignoreErrors`.
    pub(super) ignore_errors: bool,
    /// Why it is not open.
    pub(super) class: Option<&'static str>,
    /// How it has answered since it was opened.
    pub(super) health: Option<HealthFacts>,
    /// How many follow it; nothing for secret stores.
    pub(super) subscriptions: Option<usize>,
    /// Whether there are subscriptions, and changes are not heard of for now.
    pub(super) deaf: bool,
    /// How long what it says is kept; nothing where it is not.
    pub(super) cache: Option<RuleFacts>,
}

#[derive(Debug, Serialize)]
pub(super) struct HealthFacts {
    pub(super) asked: u64,
    pub(super) failed: u64,
    pub(super) abandoned: u64,
    pub(super) under_way: u64,
    pub(super) last: Option<LastFacts>,
    pub(super) last_failure: Option<LastFacts>,
}

#[derive(Debug, Serialize)]
pub(super) struct LastFacts {
    pub(super) time: Time,
    /// `answered`, `abandoned` or a class.
    pub(super) outcome: &'static str,
}

impl HealthFacts {
    pub(super) fn of(health: Health, now: SystemTime) -> Self {
        let last = |last: LastAnswer| LastFacts {
            time: Time(now.checked_sub(last.ago).unwrap_or(now)),
            outcome: last.outcome.code(),
        };
        Self {
            asked: health.asked,
            failed: health.failed,
            abandoned: health.abandoned,
            under_way: health.under_way,
            last: health.last.map(last),
            last_failure: health.last_failure.map(last),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct RuleFacts {
    #[serde(rename = "ttl_seconds", serialize_with = "seconds")]
    pub(super) ttl: Duration,
    #[serde(rename = "negative_seconds", serialize_with = "seconds")]
    pub(super) negative: Duration,
    #[serde(rename = "stale_seconds", serialize_with = "seconds")]
    pub(super) stale: Duration,
}

impl From<CacheRule> for RuleFacts {
    fn from(rule: CacheRule) -> Self {
        Self {
            ttl: rule.ttl,
            negative: rule.negative_ttl,
            stale: rule.stale,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct CacheFacts {
    pub(super) hits: u64,
    pub(super) negative_hits: u64,
    pub(super) misses: u64,
    pub(super) stale: u64,
    pub(super) evictions: u64,
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl From<CacheStats> for CacheFacts {
    fn from(stats: CacheStats) -> Self {
        Self {
            hits: stats.hits,
            negative_hits: stats.negative_hits,
            misses: stats.misses,
            stale: stats.stale,
            evictions: stats.evictions,
            entries: stats.entries,
            bytes: stats.bytes,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ResolvingFacts {
    /// When that was done last.
    pub(super) refreshed: Option<Time>,
    #[serde(rename = "every_seconds", serialize_with = "seconds")]
    pub(super) every: Duration,
}

impl Facts {
    /// What is so now.
    pub(super) fn of(
        service: &Service,
        kept: &Kept,
        (loaded_at, reload): Last,
        listing: Option<(&Arc<Loaded>, &Listing)>,
        resolved: Option<&Resolved>,
    ) -> Self {
        let now = SystemTime::now();
        let loaded = listing.map(|(loaded, _)| &**loaded);
        let waiting_for = service.waiting();
        let cache = loaded.map(|loaded| loaded.resolver.cache());
        // Off, it is not spoken of.
        let cache = cache.filter(|cache| cache.named().next().is_some());
        let problems = loaded.iter().flat_map(|loaded| &loaded.problems);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            dapr_version: DAPR_VERSION,
            app_id: service.identity.app_id.clone(),
            namespace: service.identity.namespace.clone(),
            mode: loaded.map(|loaded| match loaded.resolver.mode() {
                Mode::Strict => "strict",
                Mode::Dapr => "dapr",
            }),
            time: Time(now),
            started: Time(kept.history.started),
            uptime_seconds: kept.history.begin.elapsed().as_secs(),
            ready: waiting_for.is_empty(),
            waiting_for,
            loaded: loaded_at.map(Time),
            reload: reload.map(|reload| ReloadFacts {
                time: Time(reload.time),
                outcome: reload.outcome.name(),
                problems: reload.problems.iter().map(ProblemFacts::from).collect(),
                more_problems: reload.more_problems,
            }),
            problems: problems.map(ProblemFacts::from).collect(),
            stores: listing.map_or_else(Vec::new, |(loaded, listing)| {
                listing.stores(service, kept, loaded, now)
            }),
            resolving: resolved.map(Resolved::facts),
            components: listing
                .map_or_else(Arc::default, |(_, listing)| listing.components(resolved)),
            cache: cache.map(|cache| cache.stats().into()),
            audit: kept.recent.list(),
        }
    }
}

fn shared<T: Serialize, S: Serializer>(all: &Arc<[T]>, serializer: S) -> Result<S::Ok, S::Error> {
    all.as_ref().serialize(serializer)
}

fn each_shared<T: Serialize, S: Serializer>(
    all: &[Arc<T>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(|one| &**one))
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
