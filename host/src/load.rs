//! Documents, parsed within the limits, and which of their components are loaded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{self, Batch};
use crate::component::Component;
use crate::context::Context;
use crate::document::Document;
use crate::error::Class;
use crate::guest::Budget;
use crate::guest::bindings::exports::keyref::secrets::resolver as wit;
use crate::inner::Inner;
use crate::limits::Limits;
use crate::problem::{Place, Problem};
use crate::request::Request;
use crate::run::Run;
use crate::schedule;
use crate::select::{Exclusion, select};

/// Documents that are parsed, and which of their components are loaded.
pub(crate) struct Loaded {
    pub(crate) batches: Vec<Batch>,
    /// For each batch, the indices of the components that are loaded.
    pub(crate) selected: Vec<Vec<u32>>,
    pub(crate) problems: Vec<Problem>,
    /// The names of all documents, each with its place in their order.
    order: BTreeMap<Arc<str>, usize>,
    pub(crate) budget: Budget,
    pub(crate) parse: Duration,
}

impl Loaded {
    /// The problems in the order of the documents, those without a place first.
    pub(crate) fn take_problems(&mut self) -> Vec<Problem> {
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|problem| {
            let place = problem.place.as_ref()?;
            let document = self.order.get(&place.document).copied();
            Some((document, place.line, place.column))
        });
        problems
    }

    /// The selected components, each with its batch.
    fn selected(&self) -> impl Iterator<Item = (&Batch, &Component)> {
        let batches = self.batches.iter().zip(&self.selected);
        batches.flat_map(|(batch, selected)| {
            let components = selected.iter().filter_map(|&index| batch.component(index));
            components.map(move |component| (batch, component))
        })
    }

    /// The selected components.
    pub(crate) fn components(&self) -> impl Iterator<Item = &Component> {
        self.selected().map(|(_, component)| component)
    }

    /// What the selected components ask for, one for each reference.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &Request> {
        self.selected()
            .flat_map(|(batch, component)| batch.wanted(component))
    }
}

impl Inner {
    /// Parses documents within the limits, and selects what is loaded. Components without a name
    /// are loaded by Dapr and then ignored.
    pub(crate) async fn load(
        &self,
        documents: Vec<Document>,
        context: &Context,
        run: &Run,
        with_nameless: bool,
    ) -> Loaded {
        let begin = Instant::now();
        let mut problems = Vec::new();
        let mut order = BTreeMap::new();
        for (place, document) in documents.iter().enumerate() {
            order.entry(Arc::clone(&document.name)).or_insert(place);
        }
        let texts = batch::batches(admit(documents, &self.limits, &mut problems));
        let budget = Budget::new(&self.limits, context);
        let mut batches = schedule::parse(&self.guest, texts, &budget).await;
        for batch in &mut batches {
            problems.append(&mut batch.problems);
            // Those among manifests are not applied.
            batch.configurations.clear();
        }
        let components = batches.iter().flat_map(|batch| &batch.components);
        let denied = &self.denied_types;
        let exclusions = select(components, denied, context, self.mode, run, &mut problems);
        let mut exclusions = exclusions.into_iter();
        let mut selected = Vec::with_capacity(batches.len());
        for batch in &batches {
            let indices = (0_u32..).zip(&batch.components).zip(&mut exclusions);
            let chosen = indices.filter(|(_, exclusion)| match exclusion {
                None => true,
                Some(Exclusion::Nameless) => with_nameless,
                Some(_) => false,
            });
            selected.push(chosen.map(|((index, _), _)| index).collect());
        }
        Loaded {
            batches,
            selected,
            problems,
            order,
            budget,
            parse: begin.elapsed(),
        }
    }
}

/// Refuses documents that are over a limit; the others go on. Of those that are too many, one
/// problem tells how many they are.
fn admit(
    documents: Vec<Document>,
    limits: &Limits,
    problems: &mut Vec<Problem>,
) -> Vec<(Arc<str>, wit::Document)> {
    let mut admitted = Vec::with_capacity(documents.len().min(limits.documents));
    let (mut total, mut left_out) = (0_usize, LeftOut::default());
    for Document { name, text } in documents {
        if text.len() > limits.document_bytes {
            let bytes = limits.document_bytes;
            let message = format!("the document has more than {bytes} bytes");
            problems.push(refusal(&name, message));
        } else if admitted.len() >= limits.documents || total + text.len() > limits.total_bytes {
            left_out.add(name);
        } else {
            total += text.len();
            let document = wit::Document {
                name: String::new(),
                kind: wit::DocumentKind::Manifest,
                text,
            };
            admitted.push((name, document));
        }
    }
    problems.extend(left_out.problem(admitted.len() >= limits.documents, limits));
    admitted
}

/// Documents that are not read because there are too many.
#[derive(Default)]
struct LeftOut {
    first: Option<Arc<str>>,
    others: usize,
}

impl LeftOut {
    fn add(&mut self, name: Arc<str>) {
        match self.first {
            None => self.first = Some(name),
            Some(_) => self.others += 1,
        }
    }

    fn problem(self, too_many: bool, limits: &Limits) -> Option<Problem> {
        let over = if too_many {
            format!("there are more than {} documents", limits.documents)
        } else {
            format!(
                "the documents have more than {} bytes in all",
                limits.total_bytes
            )
        };
        let these = match self.others {
            0 => "this one is not read".to_owned(),
            others => format!("this one and {others} more are not read"),
        };
        Some(refusal(&self.first?, format!("{over}: {these}")))
    }
}

fn refusal(name: &Arc<str>, message: String) -> Problem {
    let hint = "split the documents, or raise the limit";
    Problem::new(
        Class::DocumentLimit,
        Some(Place::new(name, 1, 1)),
        message,
        hint,
    )
}
