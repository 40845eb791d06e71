//! Events for an embedder's own log, metrics or audit. None holds a value.

use std::time::Duration;

use crate::context::Context;
use crate::error::Class;

/// A request for a secret passed the door.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchEvent<'e> {
    /// The store.
    pub store: &'e str,
    /// The secret's name; `None` where all were read.
    pub secret: Option<&'e str>,
    /// How long the store took.
    pub elapsed: Duration,
    /// How it ended: nothing where the store answered, be it that the secret is absent.
    pub failure: Option<Class>,
}

/// A request was refused at the door: by policy, because the namespace is not granted, or because
/// the variable may not be referenced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DenyEvent<'e> {
    /// The store; `None` where a variable was asked for.
    pub store: Option<&'e str>,
    /// The secret's name; `None` where all were asked for, or a variable.
    pub secret: Option<&'e str>,
    /// The environment variable, where one was asked for.
    pub variable: Option<&'e str>,
}

impl<'e> DenyEvent<'e> {
    pub(crate) fn of_secret(store: &'e str, secret: Option<&'e str>) -> Self {
        Self {
            store: Some(store),
            secret,
            variable: None,
        }
    }

    pub(crate) fn of_variable(variable: &'e str) -> Self {
        Self {
            store: None,
            secret: None,
            variable: Some(variable),
        }
    }
}

/// A set of documents was resolved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolveEvent {
    /// How many components were resolved.
    pub components: usize,
    /// How many problems there were.
    pub problems: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// Sees what happens. Called on the task that resolves: it should return at once.
pub trait Observer: Send + Sync + 'static {
    /// A store was asked.
    fn fetched(&self, context: &Context, event: &FetchEvent<'_>) {
        let _ = (context, event);
    }

    /// A request was refused.
    fn denied(&self, context: &Context, event: &DenyEvent<'_>) {
        let _ = (context, event);
    }

    /// A set was resolved.
    fn resolved(&self, context: &Context, event: &ResolveEvent) {
        let _ = (context, event);
    }
}
