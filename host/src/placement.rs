//! What the guest says of where answers belong, and the values that come of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::component::Component;
use crate::error::{Class, SecretError};
use crate::finish;
use crate::guest::{GuestError, Part, Placed};
use crate::request::{Answer, AnswerMap, Request};
use crate::secret::SecretValue;
use crate::secrets::Secrets;

/// Where the guest says that answers belong.
#[derive(Default)]
pub(crate) struct Placement {
    /// For each component and item, what its value is made of.
    placed: BTreeMap<(u32, usize), Vec<Part>>,
    /// The components at which the guest failed.
    failures: BTreeMap<u32, GuestError>,
}

impl Placement {
    pub(crate) fn of(placed: Vec<Placed>) -> Self {
        let mut placement = Self::default();
        placement.add(placed);
        placement
    }

    pub(crate) fn add(&mut self, placed: Vec<Placed>) {
        let places = placed
            .into_iter()
            .map(|place| ((place.component, place.item), place.parts));
        self.placed.extend(places);
    }

    pub(crate) fn fail(&mut self, component: u32, error: GuestError) {
        self.failures.insert(component, error);
    }

    /// Why the guest gave no places for a component.
    pub(crate) fn failure(&self, component: u32) -> Option<GuestError> {
        self.failures.get(&component).copied()
    }

    /// Whether memory that others had was missing.
    pub(crate) fn crowded(&self) -> bool {
        self.failures.values().any(|error| error.is_crowded())
    }

    /// The values of a component's items that hold a reference.
    pub(crate) fn values(
        &mut self,
        index: u32,
        component: &Component,
        requests: &[Request],
        answers: &AnswerMap,
        secrets: &Secrets,
    ) -> finish::Answers {
        let mut values = finish::Answers::new();
        for (item, found) in component.items.iter().enumerate() {
            let Some(wanted) = found.request.and_then(|request| requests.get(request)) else {
                continue;
            };
            let value = match self.placed.remove(&(index, item)) {
                Some(parts) => join(&parts, answers.get(wanted)),
                None => Err(Arc::new(left_out())),
            };
            values.insert(item, (secrets.origin(wanted), value));
        }
        values
    }
}

/// Joins the parts of a value, all of which are text or the one answer.
fn join(parts: &[Part], answer: Option<&Answer>) -> Answer {
    let answer = answer
        .cloned()
        .unwrap_or_else(|| Err(Arc::new(left_out())))?;
    if let [Part::Answer(_)] = parts {
        return Ok(answer);
    }
    // Read here because the parts become one value.
    let pieces: Vec<&[u8]> = parts
        .iter()
        .map(|part| match part {
            Part::Literal(text) => text.as_bytes(),
            Part::Answer(_) => answer.reveal(),
        })
        .collect();
    let joined = Zeroizing::new(pieces.concat());
    Ok(SecretValue::new(joined.as_slice()))
}

/// The answer for a request that has none.
pub(crate) fn left_out() -> SecretError {
    SecretError::new(
        Class::Internal,
        "the guest gave no value for this reference",
    )
}
