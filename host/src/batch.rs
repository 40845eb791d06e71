//! Documents that are parsed together, in an instance of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use crate::advice;
use crate::component::Component;
use crate::error::Class;
use crate::guest::bindings::exports::keyref::secrets::resolver as wit;
use crate::guest::{
    Answers, Budget, Guest, GuestError, Held, Instance, Kept, Part, Placed, requested,
};
use crate::placement::{Placement, left_out};
use crate::problem::{Place, Problem, Severity, printable_sentence};
use crate::request::{AnswerMap, Request};

/// A batch ends with this many documents or bytes, whichever comes first.
const MOST_DOCUMENTS: usize = 512;
const MOST_BYTES: usize = 1 << 20;

/// What a batch is parsed from: texts, each with the name of its document.
#[derive(Default)]
pub(crate) struct Texts {
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) documents: Vec<wit::Document>,
}

impl Texts {
    pub(crate) fn push(&mut self, name: Arc<str>, document: wit::Document) {
        self.names.push(name);
        self.documents.push(document);
    }

    pub(crate) fn bytes(&self) -> usize {
        let texts = self.documents.iter().map(|document| document.text.len());
        texts.sum()
    }

    /// Each document by itself.
    fn each(self) -> impl Iterator<Item = Self> {
        let texts = self.names.into_iter().zip(self.documents);
        texts.map(|(name, document)| Self {
            names: vec![name],
            documents: vec![document],
        })
    }
}

/// Documents that are parsed together, for one caller.
pub(crate) struct Batch {
    texts: Texts,
    kept: Option<Kept>,
    /// The components, in the order of the documents.
    pub(crate) components: Vec<Component>,
    /// What their items ask for.
    pub(crate) requests: Vec<Request>,
    /// The configurations among them.
    pub(crate) configurations: Vec<wit::Configuration>,
    /// What is wrong with the documents.
    pub(crate) problems: Vec<Problem>,
    /// The memory that these take.
    _held: Held,
}

/// Makes batches of documents, in their order.
pub(crate) fn batches(documents: Vec<(Arc<str>, wit::Document)>) -> Vec<Texts> {
    let mut batches = Vec::new();
    let mut batch = Texts::default();
    let mut bytes = 0;
    for (name, document) in documents {
        let length = document.text.len();
        let count = batch.documents.len();
        if count > 0 && (count == MOST_DOCUMENTS || bytes + length > MOST_BYTES) {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += length;
        batch.push(name, document);
    }
    if !batch.documents.is_empty() {
        batches.push(batch);
    }
    batches
}

impl Batch {
    /// Parses documents together.
    pub(crate) fn parse(
        guest: &Guest,
        texts: Texts,
        budget: &Budget,
    ) -> Result<Self, (Texts, GuestError)> {
        match Self::read(guest, &texts, budget) {
            Ok(read) => Ok(Self { texts, ..read }),
            Err(error) => Err((texts, error)),
        }
    }

    /// The batch without its texts.
    fn read(guest: &Guest, texts: &Texts, budget: &Budget) -> Result<Self, GuestError> {
        let (instance, parsed) = within(budget, texts.bytes(), |time| {
            Instance::parse(guest, &texts.documents, budget, time)
        })?;
        let names = &texts.names;
        let components: Option<Vec<_>> = parsed
            .components
            .into_iter()
            .map(|component| Component::from_guest(component, names))
            .collect();
        let problems: Option<Vec<_>> = parsed
            .problems
            .into_iter()
            .map(|problem| problem_of(&problem, names))
            .collect();
        let (Some(components), Some(problems)) = (components, problems) else {
            return Err(GuestError::Failed);
        };
        let requests: Vec<_> = parsed.requests.into_iter().map(requested).collect();
        // Guest-controlled: an item whose request does not exist would be taken for a literal.
        let mut items = components.iter().flat_map(|component| &component.items);
        if items.any(|item| {
            item.request
                .is_some_and(|request| request >= requests.len())
        }) {
            return Err(GuestError::Failed);
        }
        let bytes = components.iter().map(Component::bytes).sum::<usize>()
            + problems.len() * size_of::<Problem>()
            + requests.iter().map(asking_bytes).sum::<usize>();
        Ok(Self {
            texts: Texts::default(),
            // Where nothing is asked for, nothing will be placed.
            kept: if requests.is_empty() {
                None
            } else {
                instance.keep(budget)
            },
            components,
            requests,
            configurations: parsed.configurations,
            problems,
            _held: budget.hold(bytes)?,
        })
    }

    /// Parses documents together, and where the guest fails each of them alone. Gives those back
    /// for which memory that others have is missing.
    pub(crate) fn parse_or_each(
        guest: &Guest,
        texts: Texts,
        budget: &Budget,
    ) -> Vec<Result<Self, Texts>> {
        let alone = |texts| match Self::parse(guest, texts, budget) {
            Ok(batch) => Ok(batch),
            Err((texts, error)) if error.is_crowded() => Err(texts),
            Err((texts, error)) => Ok(Self::refused(&texts, error)),
        };
        match Self::parse(guest, texts, budget) {
            Ok(batch) => vec![Ok(batch)],
            Err((texts, error)) if error.is_crowded() => vec![Err(texts)],
            Err((texts, GuestError::Cancelled)) => {
                vec![Ok(Self::refused(&texts, GuestError::Cancelled))]
            }
            Err((texts, error)) if texts.documents.len() == 1 => {
                vec![Ok(Self::refused(&texts, error))]
            }
            Err((texts, _)) => texts.each().map(alone).collect(),
        }
    }

    /// A batch of which nothing could be loaded.
    pub(crate) fn refused(texts: &Texts, error: GuestError) -> Self {
        let problems = texts
            .names
            .iter()
            .map(|name| failed(Place::new(name, 1, 1), error))
            .collect();
        Self {
            problems,
            ..Self::empty()
        }
    }

    /// A batch of nothing.
    pub(crate) fn empty() -> Self {
        Self {
            texts: Texts::default(),
            kept: None,
            components: Vec::new(),
            requests: Vec::new(),
            configurations: Vec::new(),
            problems: Vec::new(),
            _held: Held::default(),
        }
    }

    /// Lets the instance go; the documents are parsed again where something is to be placed.
    pub(crate) fn release(&mut self) {
        self.kept = None;
    }

    /// Lets the guest place answers. Where it fails, it is tried with ever fewer components, down
    /// to those at fault.
    pub(crate) fn place(
        &mut self,
        guest: &Guest,
        indices: &[u32],
        answers: &Answers,
        budget: &Budget,
    ) -> Placement {
        let mut placement = Placement::default();
        let mut waiting = vec![indices];
        while let Some(indices) = waiting.pop() {
            match (self.attempt(guest, indices, answers, budget), indices) {
                (Ok(placed), _) => placement.add(placed),
                (Err(error), &[index]) => placement.fail(index, error),
                (Err(GuestError::Cancelled), _) => return placement,
                // Fewer of them would find no more memory or time.
                (Err(error), indices) if error.is_crowded() || error == GuestError::Late => {
                    for &index in indices {
                        placement.fail(index, error);
                    }
                }
                (Err(_), indices) => {
                    let (first, second) = indices.split_at(indices.len() / 2);
                    waiting.extend([second, first]);
                }
            }
        }
        placement
    }

    /// Lets the guest place answers in components.
    pub(crate) fn attempt(
        &mut self,
        guest: &Guest,
        indices: &[u32],
        answers: &Answers,
        budget: &Budget,
    ) -> Result<Vec<Placed>, GuestError> {
        if indices.is_empty() {
            return Ok(Vec::new());
        }
        // An instance that failed once is gone.
        let kept = self.kept.take();
        let (instance, placed) = within(budget, self.texts.bytes(), |time| {
            let mut instance = match kept {
                Some(kept) => kept.instance,
                None => Instance::parse(guest, &self.texts.documents, budget, time)?.0,
            };
            let placed = instance.resolve(indices, answers.clone(), time)?;
            Ok((instance, placed))
        })?;
        self.check(indices, &placed)?;
        self.kept = instance.keep(budget);
        Ok(placed)
    }

    /// Guest-controlled: each place must be one that was asked for, each only once, and what is put
    /// there the answer to the request that stands there.
    fn check(&self, indices: &[u32], placed: &[Placed]) -> Result<(), GuestError> {
        let mut seen = BTreeSet::new();
        let valid = placed.iter().all(|place| {
            let component = self.component(place.component);
            let item = component.and_then(|component| component.items.get(place.item));
            let request = item.and_then(|item| item.request);
            let mut answers = place.parts.iter().filter_map(|part| match part {
                Part::Answer(answer) => Some(*answer),
                Part::Literal(_) => None,
            });
            indices.binary_search(&place.component).is_ok()
                && seen.insert((place.component, place.item))
                && request.is_some()
                && answers.next() == request
                && answers.next().is_none()
        });
        if valid {
            Ok(())
        } else {
            Err(GuestError::Failed)
        }
    }

    pub(crate) fn component(&self, index: u32) -> Option<&Component> {
        self.components.get(index as usize)
    }

    /// What a component of this batch asks for.
    pub(crate) fn wanted(&self, component: &Component) -> impl Iterator<Item = &Request> {
        let requests = component.items.iter().filter_map(|item| item.request);
        requests.filter_map(|request| self.requests.get(request))
    }

    /// Those of some components that ask for anything.
    pub(crate) fn with_requests(&self, indices: &[u32]) -> Vec<u32> {
        let asks = |index: &&u32| {
            let component = self.component(**index);
            component.is_some_and(|component| self.wanted(component).next().is_some())
        };
        indices.iter().filter(asks).copied().collect()
    }

    /// What the guest is answered with where it places all components.
    pub(crate) fn answers(&self, answers: &AnswerMap, most_handles: usize) -> Answers {
        self.answers_to(0..self.requests.len(), answers, most_handles)
    }

    /// What it is answered with where it places this one.
    pub(crate) fn answers_for(
        &self,
        component: &Component,
        answers: &AnswerMap,
        most_handles: usize,
    ) -> Answers {
        let asked = component.items.iter().filter_map(|item| item.request);
        self.answers_to(asked, answers, most_handles)
    }

    fn answers_to(
        &self,
        requests: impl Iterator<Item = usize>,
        answers: &AnswerMap,
        most_handles: usize,
    ) -> Answers {
        let answer = |index| {
            let request: &Request = self.requests.get(index)?;
            let answer = answers.get(request).cloned();
            let answer = answer.unwrap_or_else(|| Err(Arc::new(left_out())));
            Some((index, request.clone(), answer))
        };
        Answers::new(requests.filter_map(answer), most_handles)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.texts.bytes()
    }
}

/// About how much memory a request takes until it is answered, in bytes: its copies in the batch, in
/// the answers, with the guest and with where its value came from, and the failure.
fn asking_bytes(request: &Request) -> usize {
    const FAILURE: usize = 256;
    4 * request.bytes() + FAILURE
}

/// Runs a call of the guest within what the run may still use up.
fn within<R>(
    budget: &Budget,
    bytes: usize,
    call: impl FnOnce(std::time::Duration) -> Result<R, GuestError>,
) -> Result<R, GuestError> {
    let time = budget.allowance(bytes)?;
    let begin = Instant::now();
    call(time).map_err(|error| {
        budget.waste(begin.elapsed());
        if budget.is_late() {
            GuestError::Late
        } else {
            error
        }
    })
}

/// The problem for a document at which the guest failed.
pub(crate) fn failed(place: Place, error: GuestError) -> Problem {
    let (class, hint) = match error {
        GuestError::Limit("memory") => (
            Class::DocumentLimit,
            "make the document smaller, or raise the limit",
        ),
        GuestError::CROWDED => (
            Class::DocumentLimit,
            "give the documents in several calls, or raise the limit",
        ),
        GuestError::Limit(_) => (
            Class::DocumentLimit,
            "split the document, or raise the limit",
        ),
        GuestError::Cancelled => (Class::TimedOut, ""),
        GuestError::Late => (
            Class::TimedOut,
            "give it more time, or fewer documents at once",
        ),
        GuestError::Failed | GuestError::Unusable => (
            Class::Internal,
            "this is a defect of keyref or of the guest: please report it with the document",
        ),
    };
    Problem::new(class, Some(place), error.to_string(), hint)
}

fn problem_of(problem: &wit::Problem, names: &[Arc<str>]) -> Option<Problem> {
    let name = names.get(problem.document as usize)?;
    let class = match problem.class {
        wit::ProblemClass::Syntax => Class::DocumentSyntax,
        wit::ProblemClass::Schema => Class::DocumentSchema,
        wit::ProblemClass::Limit => Class::DocumentLimit,
    };
    let severity = match problem.severity {
        wit::Severity::Error => Severity::Error,
        wit::Severity::Warning => Severity::Warning,
    };
    let place = Place::new(name, problem.position.line, problem.position.column);
    // Guest-controlled text.
    let message = printable_sentence(&problem.message);
    let hint = printable_sentence(&problem.hint);
    let hint = advice::or_of_document(hint, class, &message);
    Some(Problem::new(class, Some(place), message, hint).with_severity(severity))
}
