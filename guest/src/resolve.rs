//! References into answers: asks a store once for all, and says where each answer belongs.

use alloc::vec;
use alloc::vec::Vec;

use crate::bindings::{Component, Failure, Part, Request, ResolvedComponent, ResolvedItem};

/// What serves secrets as opaque handles.
pub trait SecretStore {
    /// A handle to a secret's value.
    type Secret;

    /// Answers each request, in their order.
    fn get_many(&mut self, requests: &[Request]) -> Vec<Result<Self::Secret, Failure>>;
}

/// The answers to the distinct requests of some components, and where they belong.
#[derive(Debug)]
pub struct Resolution<S> {
    /// Each request's index in the set, with its answer.
    pub answers: Vec<(u32, Result<S, Failure>)>,
    /// One entry for each component asked for.
    pub components: Vec<ResolvedComponent>,
}

/// Resolves the references of the components at these indices.
pub(crate) fn resolve<S: SecretStore>(
    components: &[Component],
    requests: &[Request],
    indices: &[u32],
    store: &mut S,
) -> Resolution<S::Secret> {
    let mut placement = Placement {
        slots: vec![None; requests.len()],
        asked: Vec::new(),
    };
    let mut taken = vec![false; components.len()];
    let mut resolved = Vec::with_capacity(indices.len());
    for &wanted in indices {
        let (Some(component), Some(taken)) = (
            components.get(wanted as usize),
            taken.get_mut(wanted as usize),
        ) else {
            continue;
        };
        if !core::mem::replace(taken, true) {
            let items = placement.place(component);
            resolved.push(ResolvedComponent {
                component: wanted,
                items,
            });
        }
    }
    let in_order = || placement.asked.iter().copied().eq(0..index(requests.len()));
    let answers = if placement.asked.is_empty() {
        Vec::new()
    } else if placement.asked.len() == requests.len() && in_order() {
        store.get_many(requests)
    } else {
        let asked = placement.asked.iter();
        let wanted: Vec<_> = asked
            .filter_map(|&request| requests.get(request as usize).cloned())
            .collect();
        store.get_many(&wanted)
    };
    Resolution {
        answers: placement.asked.into_iter().zip(answers).collect(),
        components: resolved,
    }
}

struct Placement {
    /// For each request of the set, its index among those asked.
    slots: Vec<Option<u32>>,
    /// The requests asked, in the order of the answers.
    asked: Vec<u32>,
}

impl Placement {
    fn place(&mut self, component: &Component) -> Vec<ResolvedItem> {
        let mut items = Vec::new();
        for (place, item) in (0..).zip(&component.items) {
            let Some(request) = item.request else {
                continue;
            };
            let Some(slot) = self.slots.get_mut(request as usize) else {
                continue;
            };
            let answer = *slot.get_or_insert_with(|| {
                self.asked.push(request);
                index(self.asked.len() - 1)
            });
            items.push(ResolvedItem {
                item: place,
                default: item.value.clone(),
                parts: vec![Part::Secret(answer)],
            });
        }
        items
    }
}

/// A document makes far fewer requests than 2^32.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
