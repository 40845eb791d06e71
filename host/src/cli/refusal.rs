//! Why a server does not start, in Dapr's words.

use std::collections::BTreeMap;

use keyref::problem::{Problem, terminal_safe};

use super::{Status, diagnostics, session};

/// Why nothing could be loaded.
#[derive(Default)]
pub(super) struct Refusal {
    /// What is wrong. Warnings may be among it.
    pub(super) problems: Vec<Problem>,
    /// The components, each with its type as Dapr shows it.
    types: BTreeMap<String, String>,
    /// Whether it is because of a configuration.
    is_of_configuration: bool,
}

impl From<Vec<Problem>> for Refusal {
    /// Those of configurations.
    fn from(problems: Vec<Problem>) -> Self {
        Self {
            problems,
            types: BTreeMap::new(),
            is_of_configuration: true,
        }
    }
}

impl Refusal {
    /// Those of components, each with its type as Dapr shows it.
    pub(super) fn of(problems: Vec<Problem>, types: BTreeMap<String, String>) -> Self {
        Self {
            problems,
            types,
            is_of_configuration: false,
        }
    }

    /// Logs it, at last in Dapr's words, and says how the command ends.
    pub(super) fn end(&self) -> Status {
        self.problems.iter().for_each(log);
        let mut errors = self.problems.iter();
        let text = match errors.find(|problem| diagnostics::is_error(problem)) {
            None => "nothing could be loaded".to_owned(),
            Some(problem) => self.text(problem),
        };
        fatal(&text);
        session::status(&self.problems)
    }

    fn text(&self, problem: &Problem) -> String {
        let message = &problem.message;
        if self.is_of_configuration {
            return format!("error loading configuration: {message}");
        }
        if message.starts_with("duplicate definition of ") {
            return format!("failed to load components: {message}");
        }
        let subject = problem.subject.as_ref();
        let name = subject.map_or("", |subject| subject.component.as_str());
        let Some(component_type) = self.types.get(name) else {
            return message.clone();
        };
        let name = terminal_safe(name);
        // Twice, as Dapr says it.
        let failure = format!(
            "[INIT_COMPONENT_FAILURE]: initialization error occurred for {name} \
             ({component_type}): "
        );
        format!("process component {name} error: {failure}{failure}{message}")
    }
}

/// Logs what ends the start, and says how the command ends.
pub(super) fn fatal(message: &str) -> Status {
    tracing::error!(fatal = true, "Fatal error from runtime: {message}");
    Status::Fault
}

/// Logs a problem with its place and what to do about it.
pub(super) fn log(problem: &Problem) {
    let place = problem.place.as_ref().map(ToString::to_string);
    let (place, hint) = (place.as_deref(), Some(problem.hint.as_str()));
    let hint = hint.filter(|hint| !hint.is_empty());
    let class = problem.class.code();
    if diagnostics::is_error(problem) {
        tracing::error!(place, hint, class, "{}", problem.message);
    } else {
        tracing::warn!(place, hint, class, "{}", problem.message);
    }
}
