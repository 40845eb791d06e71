//! What a resolver is made of.

use std::sync::Arc;

use crate::denied_types::DeniedTypes;
use crate::guest::Guest;
use crate::limits::Limits;
use crate::mode::Mode;
use crate::observer::Observer;
use crate::problem::Problem;
use crate::secrets::Secrets;
use crate::stores::Grants;

/// What a resolver is made of.
pub(crate) struct Inner {
    pub(crate) guest: Guest,
    pub(crate) secrets: Secrets,
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// What is probably a slip in the configurations.
    pub(crate) slips: Vec<Problem>,
    pub(crate) document_stores: Option<Arc<Grants>>,
    /// Types of components that are not loaded.
    pub(crate) denied_types: DeniedTypes,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("mode", &self.mode)
            .field("limits", &self.limits)
            .field("stores", &self.secrets.names())
            .finish_non_exhaustive()
    }
}
