//! A request for secrets, as the audit trail has it: a record, however it ends.

use tokio::time::Instant;

use crate::api::audit::{Audit, AuditRecord, Caller};
use crate::api::fault::Fault;
use crate::api::service::{Bulk, Service};

/// What came of a request whose caller did not wait for the answer.
const ABANDONED: &str = "abandoned";

/// A request that is under way. Dropped before it is answered, it leaves a record as well: its store
/// may have been asked.
pub(crate) struct Asked<'a> {
    service: &'a Service,
    /// Who asks, and the trail; nothing where there is none, or once the record is made.
    trail: Option<(&'a dyn Audit, &'a Caller)>,
    operation: &'static str,
    store: &'a str,
    /// Nothing where all are asked for.
    secret: Option<&'a str>,
    begin: Instant,
}

impl<'a> Asked<'a> {
    /// A request that begins now.
    pub(crate) fn new(
        service: &'a Service,
        caller: Option<&'a Caller>,
        operation: &'static str,
        store: &'a str,
        secret: Option<&'a str>,
    ) -> Self {
        Self {
            service,
            trail: service.audit.as_deref().zip(caller),
            operation,
            store,
            secret,
            begin: Instant::now(),
        }
    }

    /// Takes note of the answer. Where all were asked for, the names of what is in it belong to the
    /// record.
    pub(crate) fn answered(mut self, answer: Result<Option<&Bulk>, &Fault>) {
        self.record(|record| {
            if let (Some(served), Ok(Some(bulk))) = (&mut record.served, answer) {
                served.extend(bulk.keys().map(String::as_str));
            }
            record.outcome(answer.map(drop));
        });
    }

    fn record<'r>(&mut self, fill: impl FnOnce(&mut AuditRecord<'r>))
    where
        'a: 'r,
    {
        let Some((audit, caller)) = self.trail.take() else {
            return;
        };
        let app_id = &self.service.identity.app_id;
        let mut record = AuditRecord::of(caller, app_id, self.operation);
        (record.store, record.secret) = (Some(self.store), self.secret);
        record.served = self.secret.is_none().then(Vec::new);
        fill(&mut record);
        record.rule = self.service.rule(self.store, self.secret, record.decision);
        record.latency = self.begin.elapsed();
        audit.record(&record);
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.record(|record| record.outcome = ABANDONED);
    }
}
