//! A store that is declared and not opened.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::context::Context;
use crate::error::Class;
use crate::secret::Secret;
use crate::stores::{BulkRequest, Registration, SecretRequest, SecretStore, StoreError};

/// A store that is declared and not opened, for inspecting what refers to it, or while it cannot be
/// opened: policy is asked as for the store itself, and each read fails.
#[derive(Clone, Debug)]
pub struct Unopened {
    is_namespaced: bool,
    reason: StoreError,
}

impl Unopened {
    /// A store of this kind.
    pub fn of(registration: &Registration) -> Self {
        let reason = StoreError::new(Class::Internal, "the store is not open");
        Self::because(registration, reason)
    }

    /// A store of this kind, and what each read fails with.
    pub fn because(registration: &Registration, reason: StoreError) -> Self {
        Self {
            is_namespaced: registration.is_namespaced,
            reason,
        }
    }
}

#[async_trait]
impl SecretStore for Unopened {
    async fn get(
        &self,
        _request: &SecretRequest,
        _context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        Err(self.reason.clone())
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Err(self.reason.clone())
    }

    fn is_namespaced(&self) -> bool {
        self.is_namespaced
    }
}
