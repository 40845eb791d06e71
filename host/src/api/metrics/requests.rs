//! Requests over HTTP: how many, how long, how large.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use http::Method;

use crate::api::metrics::definitions;
use crate::api::metrics::family::{Family, Metric};
use crate::api::metrics::pattern::PathPatterns;
use crate::api::metrics::series::{Bounds, Counter, Histogram};
use crate::api::metrics::settings::MetricsSettings;
use crate::api::metrics::{SIZES, whole_milliseconds};
use crate::api::route::{Ask, Route, Version};

/// The methods that have a label of their own.
const METHODS: &[&str] = &[
    "GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE",
];

/// What a request's path is called: bounded by the stores that are loaded and by patterns.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    kind: Kind,
    /// The number of a store, or of a pattern.
    number: usize,
}

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    /// Nothing is said of the path.
    #[default]
    Unnamed,
    Pattern,
    /// A path of ours by the number of its form; `number` is 0 where it has no store, or one that
    /// is not loaded.
    Form(usize),
}

/// The forms of our paths, and what stands before and after the store.
const FORMS: &[(&str, &str)] = &[
    ("/v1.0/secrets/", ""),
    ("/v1.0/configuration/", ""),
    ("/v1.0/configuration/", "/subscribe"),
    (
        "/v1.0/configuration/",
        "/{configurationSubscribeID}/unsubscribe",
    ),
    ("/v1.0-alpha1/configuration/", ""),
    ("/v1.0-alpha1/configuration/", "/subscribe"),
    (
        "/v1.0-alpha1/configuration/",
        "/{configurationSubscribeID}/unsubscribe",
    ),
    ("/v1.0/healthz", ""),
    ("/v1.0/healthz/outbound", ""),
    ("/v1.0/metadata", ""),
    ("/v1.0/metadata/{key}", ""),
    ("/v1.0/shutdown", ""),
];

/// How many stores have a name in a path.
const MOST_STORES: usize = 4096;

/// What stands for a store that is not loaded.
const NO_STORE: &str = "{storeName}";

/// The number of a route's form, and its store.
fn form(route: &Route) -> (usize, Option<&str>) {
    match route {
        Route::Secret { store, .. } | Route::Secrets { store } => (0, Some(store)),
        Route::Configuration(version, ask) => {
            let first = match version {
                Version::V1 => 1,
                Version::V1Alpha1 => 4,
            };
            match ask {
                Ask::Get { store } => (first, Some(store)),
                Ask::Subscribe { store } => (first + 1, Some(store)),
                Ask::Unsubscribe { store, .. } => (first + 2, Some(store)),
            }
        }
        Route::Health => (7, None),
        Route::OutboundHealth => (8, None),
        Route::Metadata => (9, None),
        Route::SetMetadata { .. } => (10, None),
        Route::Shutdown => (11, None),
    }
}

/// The series of one path, method and status.
#[derive(Debug)]
struct Answered {
    requests: Arc<Counter>,
    latency: Arc<Histogram>,
    responses: Option<Arc<Counter>>,
}

/// What is counted of requests over HTTP.
#[derive(Debug)]
pub(crate) struct Requests {
    app_id: String,
    /// Whether paths are told at all, where no pattern says so.
    tells_paths: bool,
    excludes_verbs: bool,
    patterns: PathPatterns,
    request_bytes: Family<Histogram>,
    response_bytes: Family<Histogram>,
    latency: Family<Histogram>,
    request_count: Family<Counter>,
    response_count: Family<Counter>,
    sizes: OnceLock<[Arc<Histogram>; 2]>,
    /// The numbers of stores, from 1, and their names.
    stores: RwLock<BTreeMap<String, usize>>,
    /// Each is looked up once by its labels.
    answered: RwLock<BTreeMap<(Place, usize, u16), Arc<Answered>>>,
}

impl Requests {
    pub(crate) fn new(app_id: &str, settings: &MetricsSettings, latencies: &Bounds) -> Self {
        let sizes: Bounds = SIZES.into();
        let rules = settings.rules.as_slice();
        let histograms = |definition, bounds| Family::histograms(definition, rules, bounds);
        let counters = |definition| Family::counters(definition, rules);
        Self {
            app_id: app_id.to_owned(),
            tells_paths: settings.increased_cardinality,
            excludes_verbs: settings.excludes_verbs,
            patterns: PathPatterns::new(&settings.path_matching),
            request_bytes: histograms(definitions::HTTP_REQUEST_BYTES, &sizes),
            response_bytes: histograms(definitions::HTTP_RESPONSE_BYTES, &sizes),
            latency: histograms(definitions::HTTP_LATENCY, latencies),
            request_count: counters(definitions::HTTP_REQUEST_COUNT),
            response_count: counters(definitions::HTTP_RESPONSE_COUNT),
            sizes: OnceLock::new(),
            stores: RwLock::default(),
            answered: RwLock::default(),
        }
    }

    /// Takes the names of stores that may stand in a path from now on. One that goes keeps its
    /// number, so that its series go on where it comes back.
    pub(crate) fn know(&self, stores: impl Iterator<Item = String>) {
        let mut known = self.stores.write().unwrap_or_else(PoisonError::into_inner);
        for store in stores {
            let next = known.len() + 1;
            if next <= MOST_STORES {
                known.entry(store).or_insert(next);
            }
        }
    }

    /// What a cleaned, unescaped path is called.
    pub(crate) fn place(&self, path: &str, route: Option<&Route>) -> Place {
        if let Some((number, _)) = self.pattern_of(path) {
            let kind = Kind::Pattern;
            return Place { kind, number };
        }
        let Some(route) = route.filter(|_| self.tells_paths) else {
            return Place::default();
        };
        let (form, store) = form(route);
        let stores = self.stores.read().unwrap_or_else(PoisonError::into_inner);
        let number = store.and_then(|store| stores.get(store));
        Place {
            kind: Kind::Form(form),
            number: number.copied().unwrap_or_default(),
        }
    }

    /// The pattern of a path, or of what Dapr makes of it where it tells paths.
    fn pattern_of(&self, path: &str) -> Option<(usize, &str)> {
        if self.patterns.is_empty() {
            return None;
        }
        let short = || {
            let mut parts = path.splitn(5, '/');
            let parts = [(); 4].map(|()| parts.next());
            let [_, Some(version), Some("secrets"), Some(store)] = parts else {
                return None;
            };
            let found = self.patterns.find(&format!("/{version}/secrets/{store}"));
            found.filter(|(_, text)| *text != "/")
        };
        self.patterns.find(path).or_else(short)
    }

    fn path(&self, place: Place) -> String {
        match place.kind {
            Kind::Unnamed => String::new(),
            Kind::Pattern => self.patterns.text(place.number).to_owned(),
            Kind::Form(form) => {
                let (before, after) = FORMS.get(form).copied().unwrap_or_default();
                if !before.ends_with('/') {
                    return before.to_owned();
                }
                let stores = self.stores.read().unwrap_or_else(PoisonError::into_inner);
                let mut stores = stores.iter();
                let store = stores.find(|(_, number)| **number == place.number);
                let store = store.map_or(NO_STORE, |(store, _)| store.as_str());
                format!("{before}{store}{after}")
            }
        }
    }

    /// Counts an answer.
    pub(crate) fn count(
        &self,
        (place, method, status): (Place, &Method, u16),
        (request, response): (u64, u64),
        elapsed: Duration,
    ) {
        let method = METHODS.iter().position(|known| *known == method.as_str());
        let key = (place, method.unwrap_or(METHODS.len()), status);
        let answered = self.answered.read().unwrap_or_else(PoisonError::into_inner);
        let found = answered.get(&key).cloned();
        drop(answered);
        let answered = found.unwrap_or_else(|| self.resolve(key));
        answered.requests.increment();
        answered.latency.observe(whole_milliseconds(elapsed));
        if let Some(responses) = &answered.responses {
            responses.increment();
        }
        let [requests, responses] = self.sizes.get_or_init(|| {
            let of_app = [self.app_id.as_str()];
            [
                self.request_bytes.with(&of_app),
                self.response_bytes.with(&of_app),
            ]
        });
        requests.observe(bytes(request));
        responses.observe(bytes(response));
    }

    fn resolve(&self, key: (Place, usize, u16)) -> Arc<Answered> {
        let (place, method, status) = key;
        let method = match METHODS.get(method) {
            _ if self.excludes_verbs => "",
            Some(method) => method,
            None => "UNKNOWN",
        };
        let (path, status) = (self.path(place), status.to_string());
        let values = [self.app_id.as_str(), method, &path, &status];
        let tells = self.tells_paths;
        let answered = Arc::new(Answered {
            requests: self.request_count.with(&values),
            latency: self.latency.with(&values),
            responses: tells.then(|| self.response_count.with(&values)),
        });
        let mut all = self
            .answered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(key).or_insert(answered))
    }

    pub(crate) fn metrics(&self) -> [&dyn Metric; 5] {
        [
            &self.request_bytes,
            &self.response_bytes,
            &self.latency,
            &self.request_count,
            &self.response_count,
        ]
    }
}

/// A size as histograms have it.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
pub(crate) fn bytes(number: u64) -> f64 {
    number as f64
}
