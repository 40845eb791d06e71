//! What inspecting comes to.

use crate::component::{Component, Origin};
use crate::error::SecretError;
use crate::finish;
use crate::mode::Mode;
use crate::problem::{Problem, Severity};
use crate::resolution::Stats;

/// What documents hold, and what they would be allowed; nothing is fetched.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The components that would be loaded, each with its references.
    pub components: Vec<InspectedComponent>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The names of the stores that references could name.
    pub stores: Vec<String>,
    /// What it took.
    pub stats: Stats,
}

/// A component and its references.
#[derive(Debug)]
#[non_exhaustive]
pub struct InspectedComponent {
    /// The component.
    pub component: Component,
    /// Its references, in the order of its items.
    pub references: Vec<InspectedReference>,
    pub(crate) mode: Mode,
}

impl InspectedComponent {
    /// The references that would be refused, as the problems that resolving would report: in Dapr
    /// mode, where literals stand in for them, warnings.
    pub fn problems(&self) -> Vec<Problem> {
        let severity = match self.mode {
            Mode::Strict => Severity::Error,
            Mode::Dapr => Severity::Warning,
        };
        let refused = self.references.iter().filter_map(|reference| {
            let item = self.component.items.get(reference.item)?;
            let refusal = reference.refusal.as_ref()?;
            Some(finish::problem(&self.component, item, refusal, severity))
        });
        refused.collect()
    }
}

/// A reference, and whether policy lets it through.
#[derive(Debug)]
#[non_exhaustive]
pub struct InspectedReference {
    /// The index of the item that holds it.
    pub item: usize,
    /// What it refers to.
    pub origin: Origin,
    /// Why it would be refused before any store is asked.
    pub refusal: Option<SecretError>,
}
