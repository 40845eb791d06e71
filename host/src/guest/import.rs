//! The guest's one import: answers `get-many` from what the host holds already.

use std::collections::BTreeMap;

use wasmtime::component::{HasData, Linker, Resource};

use super::bindings::keyref::secrets::secret_store::{
    Failure, Host, HostSecret, Request, Secret, Source, add_to_linker as add_interface,
};
use crate::error::{Class, SecretError};
use crate::secrets::Wanted;

/// What a guest holds instead of a secret.
#[derive(Debug)]
pub struct Handle(());

/// What a guest may be answered with: for each request, a handle or a failure.
///
/// Handles are numbers that mean something only here, so a guest that invents one gets at most a
/// request that it could have made.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// What each request is answered with, by its place in the list of answers.
    known: BTreeMap<Wanted, (usize, Option<Failure>)>,
    /// For each handle given out, the place of its answer.
    handles: Vec<usize>,
    /// How many handles a guest may be given.
    most_handles: usize,
}

impl Answers {
    pub(crate) fn new(most_handles: usize) -> Self {
        Self { most_handles, ..Self::default() }
    }

    /// Adds what a request is answered with; `place` identifies the answer to the host.
    pub(crate) fn add(&mut self, wanted: Wanted, place: usize, failure: Option<&SecretError>) {
        self.known.insert(wanted, (place, failure.map(failure_of)));
    }

    /// The place of the answer that a handle stands for.
    pub(crate) fn place(&self, handle: &Resource<Handle>) -> Option<usize> {
        self.handles.get(usize::try_from(handle.rep()).ok()?).copied()
    }

    fn answer(&mut self, request: &Request) -> wasmtime::Result<Result<Resource<Handle>, Failure>> {
        let place = match self.known.get(&wanted(request)) {
            // A request that no document made: nothing was fetched for it.
            None => return Ok(Err(Failure::Other("not-requested".to_owned()))),
            Some((_, Some(failure))) => return Ok(Err(failure.clone())),
            Some((place, None)) => *place,
        };
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
        requests: Vec<Request>,
    ) -> wasmtime::Result<Vec<Result<Resource<Handle>, Failure>>> {
        requests.iter().map(|request| self.answer(request)).collect()
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

/// Adds the import to a linker; `answers` finds them in the store's data.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    answers: fn(&mut T) -> &mut Answers,
) -> wasmtime::Result<()> {
    add_interface::<T, HasAnswers>(linker, answers)
}

/// A request as the door knows it.
pub(crate) fn wanted(request: &Request) -> Wanted {
    match &request.source {
        Source::Environment(name) => Wanted::Variable(name.clone()),
        Source::Secret(key) => Wanted::Key {
            store: key.store.clone(),
            secret: key.name.clone(),
            key: key.key.clone(),
            namespace: key.namespace.clone(),
            options: request.options.clone(),
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
