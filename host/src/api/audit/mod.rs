//! The audit trail: who asked for which secret, what decided about it, and how it ended. No value is
//! in it.

mod caller;
mod log;

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

pub use self::caller::Caller;
pub(crate) use self::caller::Peer;
pub use self::log::AuditLog;
use crate::api::fault::Fault;
use crate::error::Class;

/// Takes records. Called on the task that answers the request: it should return at once.
pub trait Audit: fmt::Debug + Send + Sync + 'static {
    /// A request for secrets was answered, or refused.
    fn record(&self, record: &AuditRecord<'_>);

    /// What has become of the records, for metrics.
    fn counts(&self) -> AuditCounts {
        AuditCounts::default()
    }
}

/// What has become of records.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AuditCounts {
    /// How many were written.
    pub written: u64,
    /// How many were lost, because more came than could be written.
    pub lost: u64,
    /// How many could not be written.
    pub failed: u64,
}

/// A request for secrets. As JSON it has these fields, in this order.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AuditRecord<'r> {
    /// When the request was answered.
    #[serde(serialize_with = "timestamp")]
    pub time: SystemTime,
    /// Who asked.
    pub caller: &'r Caller,
    /// The app that is served.
    pub app_id: &'r str,
    /// `get` or `bulk`; `component` where a resolved component with a secret was given out.
    pub operation: &'static str,
    /// The store, as it was named; nothing where the request was refused before that was read.
    pub store: Option<&'r str>,
    /// The secret's name; nothing where all were asked for, or as above.
    pub secret: Option<&'r str>,
    /// The names of the secrets that were served, where all were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<Vec<&'r str>>,
    /// Whether it was allowed.
    pub decision: AuditDecision,
    /// What decided: `token`, `host`, `api`, `namespace`, the list of the scope (`allowedSecrets`,
    /// `deniedSecrets`, `defaultAccess`), or `none` where the store has no scope.
    pub rule: &'static str,
    /// `found`, `absent`, `denied`, the class of the failure, such as `unreachable`, or `abandoned`
    /// where the caller did not wait for the answer.
    pub outcome: &'static str,
    /// How long the answer took, in milliseconds as JSON.
    #[serde(rename = "latency_ms", serialize_with = "milliseconds")]
    pub latency: Duration,
}

impl<'r> AuditRecord<'r> {
    /// A record of a request that is answered now.
    pub(crate) fn of(caller: &'r Caller, app_id: &'r str, operation: &'static str) -> Self {
        Self {
            time: SystemTime::now(),
            caller,
            app_id,
            operation,
            store: None,
            secret: None,
            served: None,
            decision: AuditDecision::Allowed,
            rule: "none",
            outcome: "found",
            latency: Duration::ZERO,
        }
    }

    /// Says how it ended.
    pub(crate) fn outcome(&mut self, outcome: Result<(), &Fault>) {
        let Err(fault) = outcome else {
            return;
        };
        match fault.class {
            Some(Class::PolicyDenied) => self.deny(self.rule),
            Some(Class::SecretAbsent | Class::KeyAbsent) => self.outcome = "absent",
            Some(Class::StoreUnknown) => {
                (self.decision, self.outcome) = (AuditDecision::None, Class::StoreUnknown.code());
            }
            Some(class) => self.outcome = class.code(),
            None => self.outcome = fault.code.name(),
        }
    }

    /// Says that it was denied by this rule.
    pub(crate) fn deny(&mut self, rule: &'static str) {
        (self.decision, self.rule, self.outcome) = (AuditDecision::Denied, rule, "denied");
    }
}

/// Whether a request was allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AuditDecision {
    /// It was.
    Allowed,
    /// It was not.
    Denied,
    /// Nothing was there to decide about: no store of this name.
    None,
}

pub(crate) fn timestamp<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::try_from(*time) {
        Ok(time) => serializer.collect_str(&format_args!("{time:.6}")),
        Err(_) => serializer.serialize_none(),
    }
}

pub(crate) fn milliseconds<S: Serializer>(
    time: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    serializer.serialize_f64(f64::from(micros) / 1000.0)
}
