//! A store that is declared and not opened.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::context::Context;
use crate::error::Class;
use crate::secret::Secret;
use crate::stores::{BulkRequest, Registration, SecretRequest, SecretStore, StoreError};

/// A store that is declared and not opened, for inspecting what refers to it: policy is asked as for
/// the store itself, and each read fails.
#[derive(Clone, Copy, Debug)]
pub struct Unopened {
    is_namespaced: bool,
}

impl Unopened {
    /// A store of this kind.
    pub fn of(registration: &Registration) -> Self {
        Self {
            is_namespaced: registration.is_namespaced,
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
        Err(unopened())
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Err(unopened())
    }

    fn is_namespaced(&self) -> bool {
        self.is_namespaced
    }
}

fn unopened() -> StoreError {
    StoreError::new(Class::Internal, "the store is not open")
}
