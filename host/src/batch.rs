//! Documents in batches, each in an instance of its own, over all cores where that pays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::component::Component;
use crate::error::{Class, SecretError};
use crate::finish;
use crate::guest::bindings::exports::keyref::secrets::resolver as wit;
use crate::guest::{Answers, Budget, Guest, GuestError, Instance, Placed, Slot, requested};
use crate::problem::{Place, Problem, Severity, printable};
use crate::request::Request;
use crate::resolver::{AnswerMap, origin};
use crate::secret::SecretValue;
use crate::secrets::Secrets;

/// A batch ends with this many documents or bytes, whichever comes first.
const MOST_DOCUMENTS: usize = 512;
const MOST_BYTES: usize = 1 << 20;

/// Work on more text than this takes more than a moment, so it leaves the caller's thread.
const INLINE_BYTES: usize = 64 << 10;

/// Documents that are parsed together, for one caller.
pub(crate) struct Batch {
    documents: Vec<wit::Document>,
    instance: Option<Instance>,
    /// The components, in the order of the documents.
    pub(crate) components: Vec<Component>,
    /// What their items ask for.
    pub(crate) requests: Vec<Request>,
    /// The configurations among them.
    pub(crate) configurations: Vec<wit::Configuration>,
    /// What is wrong with the documents.
    pub(crate) problems: Vec<Problem>,
}

/// Makes batches of documents, in their order.
pub(crate) fn batches(
    documents: Vec<(Arc<str>, wit::Document)>,
) -> Vec<Vec<(Arc<str>, wit::Document)>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for (name, document) in documents {
        let length = document.text.len();
        if !batch.is_empty() && (batch.len() == MOST_DOCUMENTS || bytes + length > MOST_BYTES) {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += length;
        batch.push((name, document));
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Parses batches. Where the guest fails, each document of its batch is tried alone, so that only
/// the one at fault is lost.
pub(crate) async fn parse(
    guest: &Guest,
    batches: Vec<Vec<(Arc<str>, wit::Document)>>,
    budget: &Budget,
) -> Vec<Batch> {
    let (guest, shared) = (guest.clone(), budget.clone());
    let work =
        move |batch: Vec<(Arc<str>, wit::Document)>| match Batch::parse(&guest, batch, &shared) {
            Ok(batch) => vec![batch],
            Err((batch, GuestError::Cancelled)) => {
                vec![Batch::refused(batch, GuestError::Cancelled)]
            }
            Err((batch, error)) if batch.len() == 1 => vec![Batch::refused(batch, error)],
            Err((batch, _)) => batch
                .into_iter()
                .map(|document| {
                    let mut batch = parse_one(&guest, document, &shared);
                    // There are not as many instances as documents: what is resolved later starts anew.
                    batch.instance = None;
                    batch
                })
                .collect(),
        };
    let bytes = batches
        .iter()
        .flatten()
        .map(|(_, document)| document.text.len())
        .sum();
    each(batches, bytes, &budget.cancelled, work)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// Parses one document on this thread.
pub(crate) fn parse_one(
    guest: &Guest,
    document: (Arc<str>, wit::Document),
    budget: &Budget,
) -> Batch {
    Batch::parse(guest, vec![document], budget)
        .unwrap_or_else(|(batch, error)| Batch::refused(batch, error))
}

/// Where the guest says that answers belong.
#[derive(Default)]
pub(crate) struct Placement {
    /// For each component and item, what its value is made of.
    placed: BTreeMap<(u32, usize), Vec<Slot>>,
    /// The components at which the guest failed.
    pub(crate) failures: BTreeMap<u32, GuestError>,
}

impl Placement {
    fn add(&mut self, placed: Vec<Placed>) {
        self.placed.extend(
            placed
                .into_iter()
                .map(|place| ((place.component, place.item), place.slots)),
        );
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
                Some(slots) => join(&slots, requests, answers),
                None => Err(left_out()),
            };
            values.insert(item, (origin(wanted, secrets), value));
        }
        values
    }
}

/// Joins the parts of a value. Read here because the parts become one value.
fn join(
    slots: &[Slot],
    requests: &[Request],
    answers: &AnswerMap,
) -> Result<SecretValue, SecretError> {
    let answer = |request: usize| {
        let answer = requests.get(request).and_then(|wanted| answers.get(wanted));
        answer.cloned().unwrap_or_else(|| Err(left_out()))
    };
    match slots {
        [Slot::Answer(request) | Slot::Missing(request)] => answer(*request),
        slots => {
            let mut joined = Zeroizing::new(Vec::new());
            for slot in slots {
                match slot {
                    Slot::Literal(text) => joined.extend(text.as_bytes()),
                    Slot::Answer(request) | Slot::Missing(request) => {
                        joined.extend(answer(*request)?.reveal());
                    }
                }
            }
            Ok(SecretValue::new(joined.as_slice()))
        }
    }
}

fn left_out() -> SecretError {
    SecretError::new(
        Class::Internal,
        "the guest gave no value for this reference",
    )
}

/// Lets the guest place answers: for each batch the indices of its components, and the answers.
pub(crate) async fn resolve(
    guest: &Guest,
    work: Vec<(Batch, Vec<u32>, Answers)>,
    budget: &Budget,
) -> Vec<(Batch, Placement)> {
    let bytes = work.iter().map(|(batch, ..)| batch.bytes()).sum();
    let (guest, shared) = (guest.clone(), budget.clone());
    let place = move |(mut batch, indices, answers): (Batch, Vec<u32>, Answers)| {
        let placement = batch.place(&guest, &indices, &answers, &shared);
        (batch, placement)
    };
    each(work, bytes, &budget.cancelled, place).await
}

impl Batch {
    fn parse(
        guest: &Guest,
        batch: Vec<(Arc<str>, wit::Document)>,
        budget: &Budget,
    ) -> Result<Self, (Vec<(Arc<str>, wit::Document)>, GuestError)> {
        let (names, documents): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let parsed = Instance::parse(guest, &documents, budget);
        let parsed = parsed.and_then(|(instance, parsed)| {
            let components: Option<Vec<_>> = parsed
                .components
                .into_iter()
                .map(|component| Component::from_guest(component, &names))
                .collect();
            let problems: Option<Vec<_>> = parsed
                .problems
                .into_iter()
                .map(|problem| problem_of(problem, &names))
                .collect();
            let requests: Vec<_> = parsed.requests.iter().map(requested).collect();
            let (Some(components), Some(problems)) = (components, problems) else {
                return Err(GuestError::Failed);
            };
            // Guest-controlled: an item whose request does not exist would be taken for a literal.
            let requested = components.iter().flat_map(|component| &component.items);
            if requested
                .filter_map(|item| item.request)
                .any(|request| request >= requests.len())
            {
                return Err(GuestError::Failed);
            }
            Ok((
                instance,
                components,
                problems,
                requests,
                parsed.configurations,
            ))
        });
        match parsed {
            Ok((instance, components, problems, requests, configurations)) => Ok(Self {
                documents,
                instance: Some(instance),
                components,
                requests,
                configurations,
                problems,
            }),
            Err(error) => Err((names.into_iter().zip(documents).collect(), error)),
        }
    }

    /// A batch of which nothing could be loaded.
    fn refused(batch: Vec<(Arc<str>, wit::Document)>, error: GuestError) -> Self {
        let (names, documents): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let problems = names
            .iter()
            .map(|name| failed(Place::new(name, 1, 1), error))
            .collect();
        Self {
            documents,
            instance: None,
            components: Vec::new(),
            requests: Vec::new(),
            configurations: Vec::new(),
            problems,
        }
    }

    /// Lets the guest place answers. Where it fails, each component is tried alone.
    pub(crate) fn place(
        &mut self,
        guest: &Guest,
        indices: &[u32],
        answers: &Answers,
        budget: &Budget,
    ) -> Placement {
        let mut placement = Placement::default();
        match self.resolve(guest, indices, answers, budget) {
            Ok(placed) => placement.add(placed),
            Err(_) => {
                for &index in indices {
                    match self.resolve(guest, &[index], answers, budget) {
                        Ok(placed) => placement.add(placed),
                        Err(error) => {
                            placement.failures.insert(index, error);
                        }
                    }
                }
            }
        }
        placement
    }

    fn resolve(
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
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => Instance::parse(guest, &self.documents, budget)?.0,
        };
        let placed = instance.resolve(indices, answers.clone())?;
        // Guest-controlled: each place must be one that was asked for, and each only once.
        let mut seen = BTreeSet::new();
        let valid = placed.iter().all(|place| {
            indices.binary_search(&place.component).is_ok()
                && self
                    .component(place.component)
                    .and_then(|component| component.items.get(place.item))
                    .is_some_and(|item| item.request.is_some())
                && seen.insert((place.component, place.item))
        });
        if !valid {
            return Err(GuestError::Failed);
        }
        self.instance = Some(instance);
        Ok(placed)
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

    /// What the guest is answered with: for each request of this batch, in their order.
    pub(crate) fn answers(&self, answers: &AnswerMap, most_handles: usize) -> Answers {
        let answer = |request: &Request| {
            let answer = answers.get(request).cloned();
            (request.clone(), answer.unwrap_or_else(|| Err(left_out())))
        };
        Answers::new(self.requests.iter().map(answer), most_handles)
    }

    fn bytes(&self) -> usize {
        self.documents
            .iter()
            .map(|document| document.text.len())
            .sum()
    }
}

/// The problem for a document at which the guest failed.
pub(crate) fn failed(place: Place, error: GuestError) -> Problem {
    let (class, hint) = match error {
        GuestError::Limit("memory") => (
            Class::DocumentLimit,
            "make the document smaller, or raise the limit",
        ),
        GuestError::Limit(_) => (
            Class::DocumentLimit,
            "split the document, or raise the limit",
        ),
        GuestError::Cancelled => (Class::TimedOut, ""),
        GuestError::Failed | GuestError::Unusable => (
            Class::Internal,
            "this is a defect of keyref or of the guest: please report it with the document",
        ),
    };
    Problem {
        class,
        severity: Severity::Error,
        place: Some(place),
        message: error.to_string(),
        hint: hint.to_owned(),
        subject: None,
    }
}

fn problem_of(problem: wit::Problem, names: &[Arc<str>]) -> Option<Problem> {
    let name = names.get(problem.document as usize)?;
    Some(Problem {
        class: match problem.class {
            wit::ProblemClass::Syntax => Class::DocumentSyntax,
            wit::ProblemClass::Schema => Class::DocumentSchema,
            wit::ProblemClass::Limit => Class::DocumentLimit,
        },
        severity: match problem.severity {
            wit::Severity::Error => Severity::Error,
            wit::Severity::Warning => Severity::Warning,
        },
        place: Some(Place::new(
            name,
            problem.position.line,
            problem.position.column,
        )),
        // Guest-controlled text.
        message: printable(&problem.message),
        hint: printable(&problem.hint),
        subject: None,
    })
}

/// Does work on each item: at once where it is little, and otherwise on threads of its own, as many
/// as there are cores, so that the caller's executor goes on meanwhile. Dropping the future ends it.
async fn each<T: Send + 'static, R: Send + 'static>(
    items: Vec<T>,
    bytes: usize,
    cancelled: &Arc<AtomicBool>,
    work: impl Fn(T) -> R + Send + Sync + 'static,
) -> Vec<R> {
    if bytes <= INLINE_BYTES {
        return items.into_iter().map(work).collect();
    }
    let count = items.len();
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(count);
    let queue = Arc::new(Mutex::new(
        items.into_iter().enumerate().collect::<VecDeque<_>>(),
    ));
    let work = Arc::new(work);
    let mut cancel = CancelOnDrop {
        flag: Arc::clone(cancelled),
        armed: true,
    };
    let mut results: Vec<(usize, R)> = Vec::with_capacity(count);
    let mut waiting = Vec::with_capacity(threads);
    for _ in 0..threads {
        let (sender, receiver) = oneshot::channel();
        let (queue, work) = (Arc::clone(&queue), Arc::clone(&work));
        let spawned = thread::Builder::new()
            .name("keyref-guest".to_owned())
            .spawn(move || {
                // Whoever waits may be gone by now.
                drop(sender.send(drain(&queue, work.as_ref())));
            });
        if spawned.is_ok() {
            waiting.push(receiver);
        }
    }
    if waiting.is_empty() {
        results.extend(drain(&queue, work.as_ref()));
    }
    for receiver in waiting {
        results.extend(receiver.await.unwrap_or_default());
    }
    cancel.armed = false;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn drain<T, R>(queue: &Mutex<VecDeque<(usize, T)>>, work: &impl Fn(T) -> R) -> Vec<(usize, R)> {
    let mut results = Vec::new();
    loop {
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        match next {
            Some((index, item)) => results.push((index, work(item))),
            None => return results,
        }
    }
}

/// Tells running guests that nobody waits for them any more.
struct CancelOnDrop {
    flag: Arc<AtomicBool>,
    armed: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.armed {
            self.flag.store(true, Ordering::Release);
        }
    }
}
