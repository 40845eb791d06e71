//! The guest's one import: answers `get-many` from what the host holds already.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource};

use super::bindings::keyref::secrets::secret_store::{
    Failure, Host, HostSecret, Request as WitRequest, Secret, Source,
    add_to_linker as add_interface,
};
use crate::error::{Class, SecretError};
use crate::request::{Answer, Request};
use crate::secret::SecretValue;

/// What a guest holds instead of a secret.
#[derive(Debug)]
pub struct Handle(());

/// What a guest is answered with, and the values that its handles stand for.
///
/// Handles are numbers that mean something only here, so a guest that invents one gets at most
/// what it could have asked for. [`Resolver::answers`](crate::Resolver::answers) makes them.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    fetched: Arc<Fetched>,
    /// For each handle given out, which of the answers it stands for.
    handles: Vec<usize>,
    /// How many handles a guest may be given.
    most_handles: usize,
}

/// What was fetched, which guests that are asked one after another share.
#[derive(Debug, Default)]
struct Fetched {
    /// For each request, which of the answers is its own.
    known: BTreeMap<Request, usize>,
    /// Answers, each with the index of its request in the set.
    answers: Vec<(usize, Answer)>,
}

impl Answers {
    /// Answers for these requests, each with its index in the set that they are of.
    pub(crate) fn new(
        answers: impl IntoIterator<Item = (usize, Request, Answer)>,
        most_handles: usize,
    ) -> Self {
        let mut fetched = Fetched::default();
        for (index, request, answer) in answers {
            fetched.known.insert(request, fetched.answers.len());
            fetched.answers.push((index, answer));
        }
        Self {
            fetched: Arc::new(fetched),
            handles: Vec::new(),
            most_handles,
        }
    }

    /// The value that a handle stands for; nothing where it was not given out here.
    pub fn value(&self, handle: &Resource<Handle>) -> Option<&SecretValue> {
        self.of(handle)?.1.as_ref().ok()
    }

    /// The index of the request whose answer a handle stands for.
    pub(crate) fn request(&self, handle: &Resource<Handle>) -> Option<usize> {
        Some(self.of(handle)?.0)
    }

    fn of(&self, handle: &Resource<Handle>) -> Option<&(usize, Answer)> {
        let handle = usize::try_from(handle.rep()).ok()?;
        self.fetched.answers.get(*self.handles.get(handle)?)
    }

    fn answer(
        &mut self,
        request: WitRequest,
    ) -> wasmtime::Result<Result<Resource<Handle>, Failure>> {
        let Some(&place) = self.fetched.known.get(&requested(request)) else {
            // A request that no document made: nothing was fetched for it.
            return Ok(Err(Failure::Other("not-requested".to_owned())));
        };
        if let Some((_, Err(error))) = self.fetched.answers.get(place) {
            return Ok(Err(failure_of(error)));
        }
        if self.handles.len() >= self.most_handles {
            return Err(wasmtime::Error::new(TooManyHandles));
        }
        let handle = u32::try_from(self.handles.len())?;
        self.handles.push(place);
        Ok(Ok(Resource::new_own(handle)))
    }
}

/// The guest asked for more handles than it may have.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("too many handles")]
pub(crate) struct TooManyHandles;

impl Host for Answers {
    fn get_many(
        &mut self,
        requests: Vec<WitRequest>,
    ) -> wasmtime::Result<Vec<Result<Resource<Handle>, Failure>>> {
        requests
            .into_iter()
            .map(|request| self.answer(request))
            .collect()
    }
}

impl HostSecret for Answers {
    fn drop(&mut self, _secret: Resource<Secret>) -> wasmtime::Result<()> {
        // The value belongs to the host, which keeps it as long as the run needs it.
        Ok(())
    }
}

/// Names the view that the generated traits are implemented on.
struct HasAnswers;

impl HasData for HasAnswers {
    type Data<'a> = &'a mut Answers;
}

/// Adds the guest's one import to a linker, for those who run wasmtime themselves; `answers` finds
/// them in the store's data.
///
/// # Errors
/// Fails where the linker has that import already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    answers: fn(&mut T) -> &mut Answers,
) -> wasmtime::Result<()> {
    add_interface::<T, HasAnswers>(linker, answers)
}

/// A request as the door knows it.
pub(crate) fn requested(request: WitRequest) -> Request {
    match request.source {
        Source::Environment(name) => Request::Variable(name),
        Source::Secret(key) => Request::Key {
            store: key.store,
            secret: key.name,
            key: key.key,
            namespace: key.namespace,
            options: request.options,
        },
    }
}

/// What the guest is told of a failure: its class, and names of keys.
fn failure_of(error: &SecretError) -> Failure {
    match error.class {
        Class::StoreUnknown => Failure::StoreNotFound,
        Class::PolicyDenied | Class::BackendDenied => Failure::Denied,
        Class::SecretAbsent => Failure::SecretNotFound,
        Class::KeyAbsent => Failure::KeyNotFound(error.keys.clone()),
        Class::Throttled => Failure::Throttled,
        Class::TimedOut => Failure::TimedOut,
        Class::Unreachable => Failure::Unavailable,
        class => Failure::Other(class.code().to_owned()),
    }
}
