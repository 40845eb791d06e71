//! Dapr Configurations as a policy.

use std::sync::Arc;
use std::thread;

use crate::batch::{self, Batch, Texts};
use crate::context::Context;
use crate::document::Document;
use crate::env::Environment;
use crate::error::Class;
use crate::expansion::Expansion;
use crate::guest::bindings::exports::keyref::secrets::resolver as wit;
use crate::guest::{Budget, Guest, GuestError};
use crate::limits::Limits;
use crate::mode::Mode;
use crate::policy::{DefaultAccess, Entry, Policy, SecretsScope};
use crate::problem::{Place, Problem, Severity};

/// The policy of some configurations.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    /// Nothing where none has scopes.
    pub(crate) policy: Option<Policy>,
    /// What is probably a slip, and no error.
    pub(crate) warnings: Vec<Problem>,
}

/// Reads configurations. As in Dapr, the last one that has scopes counts.
pub(crate) fn read(
    guest: &Guest,
    documents: Vec<Document>,
    environment: &Environment,
    mode: Mode,
    limits: &Limits,
) -> Result<Configured, Vec<Problem>> {
    let (mut all, mut errors) = (Configured::default(), Vec::new());
    for document in documents {
        match read_one(guest, document, environment, mode, limits) {
            Ok(Configured { policy, warnings }) => {
                all.policy = policy.or(all.policy);
                all.warnings.extend(warnings);
            }
            Err(problems) => errors.extend(problems),
        }
    }
    if errors.is_empty() {
        Ok(all)
    } else {
        Err(errors)
    }
}

fn read_one(
    guest: &Guest,
    document: Document,
    environment: &Environment,
    mode: Mode,
    limits: &Limits,
) -> Result<Configured, Vec<Problem>> {
    let Document { name, text } = document;
    let most = limits.document_bytes;
    let refused = |class, message: String, hint| {
        Err(vec![problem(class, Place::new(&name, 1, 1), message, hint)])
    };
    if text.len() > most {
        let message = format!("the configuration has more than {most} bytes");
        return refused(Class::DocumentLimit, message, "");
    }
    let Ok(text) = String::from_utf8(text) else {
        let message = "the text is not UTF-8".to_owned();
        return refused(Class::DocumentSyntax, message, "");
    };
    let mut expansion = Expansion::of(&name, &text, environment, mode, most)?;
    let document = wit::Document {
        name: String::new(),
        kind: wit::DocumentKind::Configuration,
        text: std::mem::take(&mut expansion.text).into_bytes(),
    };
    let mut texts = Texts::default();
    texts.push(Arc::clone(&name), document);
    let batch = parse(guest, texts, limits)
        .map_err(|error| vec![batch::failed(Place::new(&name, 1, 1), error)])?;
    let mut problems = batch.problems;
    for problem in &mut problems {
        if let Some(place) = &mut problem.place {
            *place = expansion.written(&name, place.line, place.column);
        }
        if mode == Mode::Strict {
            // A field that is misspelt would leave a store open.
            problem.severity = Severity::Error;
        }
    }
    let is_error = |problem: &Problem| problem.severity == Severity::Error;
    if problems.iter().any(is_error) {
        problems.retain(is_error);
        return Err(problems);
    }
    if mode == Mode::Strict && batch.configurations.is_empty() {
        let message =
            "the file holds no Configuration, so it would leave all stores open".to_owned();
        let hint = "write `spec: {secrets: {scopes: []}}` where that is meant";
        return refused(Class::DocumentSchema, message, hint);
    }
    let mut configurations = batch.configurations.into_iter();
    let scopes = configurations.find_map(|found| found.scopes);
    let policy = scopes
        .map(|scopes| policy_of(scopes, &name, &expansion))
        .transpose()?;
    Ok(Configured {
        policy,
        warnings: problems,
    })
}

/// Parses a configuration, not on this thread: a runtime may have it, and a guest of another's may
/// block.
fn parse(guest: &Guest, texts: Texts, limits: &Limits) -> Result<Batch, GuestError> {
    let _last = guest.last_instance();
    let budget = Budget::new(limits, &Context::new());
    let parsed = thread::scope(|scope| {
        let parse = || Batch::parse(guest, texts, &budget);
        let thread = thread::Builder::new().spawn_scoped(scope, parse);
        thread.map(thread::ScopedJoinHandle::join)
    });
    match parsed {
        Ok(Ok(Ok(batch))) => Ok(batch),
        Ok(Ok(Err((_, error)))) => Err(error),
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => Err(GuestError::Limit("threads")),
    }
}

fn policy_of(
    scopes: Vec<wit::SecretsScope>,
    name: &Arc<str>,
    expansion: &Expansion,
) -> Result<Policy, Vec<Problem>> {
    let (mut policy, mut errors) = (Policy::open(), Vec::new());
    for scope in scopes {
        let at = expansion.written(name, scope.position.line, scope.position.column);
        let added = scope_of(scope, at.clone(), name, expansion)
            .and_then(|scope| policy.add_scope(scope).map_err(|_| repeated(at)));
        errors.extend(added.err().map(|problem| *problem));
    }
    if errors.is_empty() {
        Ok(policy)
    } else {
        Err(errors)
    }
}

fn scope_of(
    scope: wit::SecretsScope,
    at: Place,
    name: &Arc<str>,
    expansion: &Expansion,
) -> Result<SecretsScope, Box<Problem>> {
    let default_access = match scope.default_access.to_ascii_lowercase().as_str() {
        "" | "allow" => DefaultAccess::Allow,
        "deny" => DefaultAccess::Deny,
        _ => {
            // What stands there instead can be anything, so it is not shown.
            let message = "`defaultAccess` can be either allow or deny".to_owned();
            let hint = "write `defaultAccess: deny` or `defaultAccess: allow`";
            return Err(Box::new(problem(Class::DocumentSchema, at, message, hint)));
        }
    };
    let entries = |entries: Vec<wit::ScopeEntry>| {
        let entries = entries.into_iter().map(|entry| {
            let position = entry.position;
            Entry {
                is_hidden: expansion.is_hidden(&entry.name),
                secret: entry.name,
                place: Some(expansion.written(name, position.line, position.column)),
            }
        });
        entries.collect()
    };
    Ok(SecretsScope {
        is_hidden: expansion.is_hidden(&scope.store_name),
        store: scope.store_name,
        default_access,
        allowed: entries(scope.allowed_secrets),
        denied: entries(scope.denied_secrets),
        place: Some(at),
    })
}

fn repeated(at: Place) -> Box<Problem> {
    let message = "this storeName is repeated in secrets configuration".to_owned();
    let hint = "put all names for one store into one scope";
    Box::new(problem(Class::DocumentSchema, at, message, hint))
}

fn problem(class: Class, place: Place, message: String, hint: &str) -> Problem {
    Problem::new(class, Some(place), message, hint)
}
