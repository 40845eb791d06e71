//! Who is given components, and the audit trail of it: a record for each secret that is given out.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::api::audit::{AuditRecord, Caller};
use crate::api::components::Refusal;
use crate::api::components::state::Shown;
use crate::api::grant::Grant;
use crate::api::service::Service;
use crate::component::Origin;

/// What the trail names it.
const OPERATION: &str = "component";

/// Someone who asks for components.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    service: Arc<Service>,
    /// Nothing where there is no trail.
    caller: Option<Caller>,
    /// Why it may know.
    pub(crate) grant: Grant,
}

impl Recipient {
    pub(crate) fn new(service: &Arc<Service>, caller: Option<Caller>, grant: Grant) -> Self {
        Self {
            service: Arc::clone(service),
            caller,
            grant,
        }
    }

    /// Takes note that this component is given out.
    pub(crate) fn receives(&self, shown: &Shown) {
        let secrets: BTreeSet<_> = shown.origins().filter_map(secret).collect();
        for (store, secret) in secrets {
            self.record(|record| {
                (record.store, record.secret) = (Some(store), Some(secret));
                record.rule = self.service.rule(store, Some(secret), record.decision);
            });
        }
    }

    /// Takes note that nothing is given.
    pub(super) fn is_refused(&self, refusal: Refusal) {
        self.record(|record| {
            record.deny(match refusal {
                Refusal::Token => "token",
                Refusal::Host => "host",
            });
        });
    }

    fn record<'r>(&'r self, fill: impl FnOnce(&mut AuditRecord<'r>)) {
        if let (Some(audit), Some(caller)) = (&self.service.audit, &self.caller) {
            let mut record = AuditRecord::of(caller, &self.service.identity.app_id, OPERATION);
            fill(&mut record);
            audit.record(&record);
        }
    }
}

fn secret(origin: &Origin) -> Option<(&str, &str)> {
    match origin {
        Origin::Secret { store, secret, .. } => Some((store, secret)),
        Origin::Variable(_) => None,
    }
}
