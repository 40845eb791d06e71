//! What is wrong with what is loaded.

use std::collections::{BTreeMap, BTreeSet};

use keyref::error::Class;
use keyref::problem::{Problem, terminal_safe};
use keyref::stores::StoreError;
use keyref::{InspectedComponent, Mode};

use super::refusal::{Refusal, log};
use super::{diagnostics, session};

/// Tells what ends a load from what does not.
pub(super) struct Findings {
    mode: Mode,
    /// Whether something is served already: what policy denies then goes, and ends nothing.
    pub(super) is_reload: bool,
    /// Components that may fail.
    optional: BTreeSet<String>,
    /// The components, each with its type as Dapr shows it.
    types: BTreeMap<String, String>,
    /// What does not end it.
    pub(super) tolerated: Vec<Problem>,
}

impl Findings {
    pub(super) fn of(components: &[InspectedComponent], mode: Mode) -> Self {
        let components = components.iter().map(|inspected| &inspected.component);
        let optional = components
            .clone()
            .filter(|component| component.ignore_errors);
        Self {
            mode,
            is_reload: false,
            optional: optional.map(|component| component.name.clone()).collect(),
            types: components
                .map(|component| {
                    let shown = terminal_safe(&session::type_of(component));
                    (component.name.clone(), shown)
                })
                .collect(),
            tolerated: Vec::new(),
        }
    }

    /// Logs what does not end the load.
    pub(super) fn judge(&mut self, problems: Vec<Problem>) -> Result<(), Refusal> {
        let problems = problems.into_iter();
        let (errors, warnings): (Vec<_>, Vec<_>) =
            problems.partition(|problem| self.is_fatal(problem));
        if !errors.is_empty() {
            return Err(Refusal::of(errors, self.types.clone()));
        }
        warnings.iter().for_each(log);
        self.tolerated.extend(warnings);
        Ok(())
    }

    /// The configuration stores whose references cannot be had yet, and what to say meanwhile.
    pub(super) fn waiting(&self, problems: &[Problem]) -> BTreeMap<String, StoreError> {
        let waiting = problems.iter().filter_map(|problem| {
            let subject = problem.subject.as_ref().filter(|_| self.waits(problem))?;
            Some((subject.component.clone(), StoreError::waiting(problem)))
        });
        waiting.collect()
    }

    /// Whether a problem will pass: a store that another one needs does not answer.
    fn waits(&self, problem: &Problem) -> bool {
        let subject = problem.subject.as_ref();
        let is_known = subject.is_some_and(|subject| self.types.contains_key(&subject.component));
        is_known && diagnostics::is_error(problem) && problem.class.retry_helps()
    }

    /// Whether a problem ends the load. As in Dapr, what `ignoreErrors` marks does not; in Dapr mode
    /// a document that is not YAML does not either.
    fn is_fatal(&self, problem: &Problem) -> bool {
        let subject = problem.subject.as_ref();
        let is_optional = subject.is_some_and(|subject| self.optional.contains(&subject.component));
        let is_left_out = self.mode == Mode::Dapr && problem.class == Class::DocumentSyntax;
        let is_denied = self.is_reload && problem.class == Class::PolicyDenied && subject.is_some();
        let is_tolerated = is_optional || is_left_out || is_denied || self.waits(problem);
        diagnostics::is_error(problem) && !is_tolerated
    }
}
