//! Dapr Configurations as a policy.

use std::sync::Arc;
use std::thread;

use crate::batch::{self, Batch, Texts};
use crate::context::Context;
use crate::document::Document;
use crate::env::Environment;
use crate::error::Class;
use crate::guest::bindings::exports::keyref::secrets::resolver as wit;
use crate::guest::{Budget, Guest, GuestError};
use crate::limits::Limits;
use crate::policy::{DefaultAccess, Entry, Policy, SecretsScope};
use crate::problem::{Place, Problem, Severity};
use crate::resolver::Mode;

/// Reads configurations; nothing where none has scopes.
pub(crate) fn read(
    guest: &Guest,
    documents: Vec<Document>,
    environment: &Environment,
    mode: Mode,
    limits: &Limits,
) -> Result<Option<Policy>, Vec<Problem>> {
    let mut policy = None;
    for document in documents {
        let scopes = scopes_of(guest, document, environment, mode, limits)?;
        policy = scopes.or(policy);
    }
    Ok(policy)
}

fn scopes_of(
    guest: &Guest,
    document: Document,
    environment: &Environment,
    mode: Mode,
    limits: &Limits,
) -> Result<Option<Policy>, Vec<Problem>> {
    let Document { name, text } = document;
    if text.len() > limits.document_bytes {
        let message = format!(
            "the configuration has more than {} bytes",
            limits.document_bytes
        );
        return Err(vec![problem(
            Class::DocumentLimit,
            Place::new(&name, 1, 1),
            message,
            "",
        )]);
    }
    let text = expand(&name, text, environment, mode)?;
    let kind = wit::DocumentKind::Configuration;
    let document = wit::Document {
        name: String::new(),
        kind,
        text,
    };
    let mut texts = Texts::default();
    texts.push(Arc::clone(&name), document);
    let batch = parse(guest, texts, limits)
        .map_err(|error| vec![batch::failed(Place::new(&name, 1, 1), error)])?;
    let mut problems = batch.problems;
    if mode == Mode::Strict {
        // A field that is misspelt would leave a store open.
        for problem in &mut problems {
            problem.severity = Severity::Error;
        }
    }
    problems.retain(|problem| problem.severity == Severity::Error);
    if !problems.is_empty() {
        return Err(problems);
    }
    if mode == Mode::Strict && batch.configurations.is_empty() {
        let message =
            "the file holds no Configuration, so it would leave all stores open".to_owned();
        let hint = "write `spec: {secrets: {scopes: []}}` where that is meant";
        let place = Place::new(&name, 1, 1);
        return Err(vec![problem(Class::DocumentSchema, place, message, hint)]);
    }
    let Some(scopes) = batch
        .configurations
        .into_iter()
        .find_map(|found| found.scopes)
    else {
        return Ok(None);
    };
    scopes
        .into_iter()
        .try_fold(Policy::open(), |policy, scope| add(policy, scope, &name))
        .map(Some)
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

fn add(policy: Policy, scope: wit::SecretsScope, name: &Arc<str>) -> Result<Policy, Vec<Problem>> {
    let place = |position: wit::Position| Place::new(name, position.line, position.column);
    let at = place(scope.position);
    let default_access = match scope.default_access.to_ascii_lowercase().as_str() {
        "" | "allow" => DefaultAccess::Allow,
        "deny" => DefaultAccess::Deny,
        _ => {
            // What stands there instead can be anything, so it is not shown.
            let message = "`defaultAccess` can be either allow or deny".to_owned();
            let hint = "write `defaultAccess: deny` or `defaultAccess: allow`";
            return Err(vec![problem(Class::DocumentSchema, at, message, hint)]);
        }
    };
    let entries = |entries: Vec<wit::ScopeEntry>| {
        entries
            .into_iter()
            .map(|entry| Entry::at(entry.name, place(entry.position)))
            .collect()
    };
    let scope = SecretsScope {
        store: scope.store_name,
        default_access,
        allowed: entries(scope.allowed_secrets),
        denied: entries(scope.denied_secrets),
        place: Some(at.clone()),
    };
    policy.with_scope(scope).map_err(|error| {
        let hint = "put all names for one store into one scope";
        vec![problem(Class::DocumentSchema, at, error.to_string(), hint)]
    })
}

/// Fills in variables as Go's `os.ExpandEnv` does, over the whole text.
fn expand(
    name: &Arc<str>,
    text: Vec<u8>,
    environment: &Environment,
    mode: Mode,
) -> Result<Vec<u8>, Vec<Problem>> {
    let Ok(text) = String::from_utf8(text) else {
        let message = "the text is not UTF-8".to_owned();
        return Err(vec![problem(
            Class::DocumentSyntax,
            Place::new(name, 1, 1),
            message,
            "",
        )]);
    };
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let Some((variable, after)) = variable(after) else {
            out.push('$');
            rest = after;
            continue;
        };
        match environment.text(variable) {
            Some(value) => out.push_str(&value),
            None if mode == Mode::Dapr => {}
            None => {
                let place = place_of(name, &text, text.len() - after.len() - variable.len());
                // Its name is not shown: where a password was pasted, it is a piece of that.
                let message = "the environment variable that is named here is not set".to_owned();
                let hint = "set it; a `$` itself cannot be written in this file";
                problems.push(problem(Class::DocumentSchema, place, message, hint));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    if problems.is_empty() {
        Ok(out.into_bytes())
    } else {
        Err(problems)
    }
}

/// The name after a `$`, and what follows it; nothing where none follows.
fn variable(after: &str) -> Option<(&str, &str)> {
    if let Some(braced) = after.strip_prefix('{') {
        // Without an end, Go drops the two characters and goes on.
        return Some(braced.split_once('}').unwrap_or(("", braced)));
    }
    let special = |character: char| "*#$@!?-0123456789".contains(character);
    let end = match after.chars().next()? {
        first if special(first) => first.len_utf8(),
        _ => after
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .unwrap_or(after.len()),
    };
    if end == 0 {
        None
    } else {
        after.split_at_checked(end)
    }
}

fn place_of(name: &Arc<str>, text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    Place::new(
        name,
        u32::try_from(line).unwrap_or(u32::MAX),
        u32::try_from(column).unwrap_or(u32::MAX),
    )
}

fn problem(class: Class, place: Place, message: String, hint: &str) -> Problem {
    Problem::new(class, Some(place), message, hint)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::expand;
    use crate::env::Environment;
    use crate::resolver::Mode;

    fn expanded(text: &str, mode: Mode) -> Result<String, usize> {
        let environment = Environment::of([("A", "x"), ("B_1", "y")]);
        expand(
            &Arc::from("c.yaml"),
            text.as_bytes().to_vec(),
            &environment,
            mode,
        )
        .map(|text| String::from_utf8(text).unwrap())
        .map_err(|problems| problems.len())
    }

    #[test]
    fn variables_are_filled_in() {
        assert_eq!(
            expanded("$A-${B_1}.$A", Mode::Strict).as_deref(),
            Ok("x-y.x")
        );
        assert_eq!(expanded("a $ b", Mode::Strict).as_deref(), Ok("a $ b"));
    }

    #[test]
    fn the_name_of_an_unset_variable_is_not_shown() {
        let texts = [
            "a: pre${oops\n  password: hunter2\nb: }",
            "http://u:pa$hunter2@h",
        ];
        for text in texts {
            let name = Arc::from("c.yaml");
            let text = text.as_bytes().to_vec();
            let problems = expand(&name, text, &Environment::of([("A", "x")]), Mode::Strict);
            let problems = problems.unwrap_err();
            assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
        }
    }

    #[test]
    fn an_unset_variable_is_refused_unless_dapr_is_copied() {
        assert_eq!(expanded("$NO and ${NO}", Mode::Strict), Err(2));
        assert_eq!(expanded("[$NO${NO}$$]", Mode::Dapr).as_deref(), Ok("[]"));
    }
}
