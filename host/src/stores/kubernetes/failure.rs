//! What went wrong, told without a word of what the API server said.
//!
//! Bodies of answers, errors of parsers and of the authorization can quote a value or a token, so
//! messages are made of the status, the kind of an error and names that keyref itself holds.

use std::time::Duration;

use super::question::Question;
use crate::error::Class;
use crate::reason::Reason;
use crate::stores::StoreError;

/// Why one attempt had no answer.
pub(super) struct Failure {
    pub(super) error: StoreError,
    pub(super) again: Again,
    /// Whether address, credentials or client may be out of date.
    pub(super) suspects_link: bool,
}

/// Whether another attempt can help.
#[derive(Clone, Copy)]
pub(super) enum Again {
    No,
    /// After a pause, of at least this long.
    After(Duration),
}

impl Failure {
    fn new(class: Class, message: impl Into<String>, again: Again) -> Self {
        Self {
            error: StoreError::new(class, message),
            again,
            suspects_link: false,
        }
    }

    /// The server answered, but not with what was asked for.
    pub(super) fn of_status(
        status: u16,
        retry_after: Option<Duration>,
        question: Question<'_>,
    ) -> Self {
        let later = Again::After(retry_after.unwrap_or_default());
        let refused = format!("the API server refuses to {} {question}", question.verb());
        let unfit = format!("the API server answered with status {status} for {question}");
        match status {
            401 => Self {
                suspects_link: true,
                ..Self::new(Class::BackendDenied, refused, Again::No)
                    .with_hint("it does not accept the credentials: log in again, or renew them")
            },
            403 => Self::new(Class::BackendDenied, refused, Again::No).with_hint(format!(
                "grant verb `{}` on `{}` in namespace `{}` to this account, by a Role and a \
                 RoleBinding",
                question.verb(),
                question.resource(),
                question.namespace(),
            )),
            429 => {
                let message = format!("the API server has too many requests to {question}");
                Self::new(Class::Throttled, message, later)
            }
            500.. => Self::new(Class::Unreachable, unfit, later),
            _ => Self::new(Class::Unreachable, unfit, Again::No)
                .with_hint("check that the cluster's address is an API server's"),
        }
    }

    /// The connection could not be made, or broke.
    pub(super) fn of_connection(error: &kube::Error, server: &str) -> Self {
        let reason = Reason::of(error);
        let message = format!("cannot reach the API server{server}: {}", reason.text);
        let again = if reason.may_pass {
            Again::After(Duration::ZERO)
        } else {
            Again::No
        };
        Self {
            suspects_link: true,
            ..Self::new(reason.class, message, again)
        }
    }

    /// There was no answer within an attempt's time.
    pub(super) fn of_silence(server: &str) -> Self {
        let message = format!("the API server{server} did not answer in time");
        Self::new(Class::TimedOut, message, Again::After(Duration::ZERO))
    }

    /// The question cannot be put.
    pub(super) fn of_request(question: Question<'_>) -> Self {
        let message = format!("there is no request for {question}");
        Self::new(Class::Internal, message, Again::No)
    }

    /// The answer is larger than any that is expected.
    pub(super) fn of_size(question: Question<'_>) -> Self {
        let message = format!("the API server's answer about {question} is too large");
        Self::new(Class::Unreachable, message, Again::No)
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.error = self.error.with_hint(hint);
        self
    }
}

/// The answer is not what it should be.
pub(crate) fn unreadable(question: Question<'_>) -> StoreError {
    let message = format!("the API server's answer about {question} is not in its format");
    StoreError::new(Class::Unreachable, message)
}

/// A list ran out of date twice.
pub(super) fn outdated(question: Question<'_>) -> StoreError {
    let message = format!("{question} cannot be listed: the list runs out of date too soon");
    StoreError::new(Class::Unreachable, message)
}

/// The whole time ran out.
pub(super) fn late(question: Question<'_>) -> StoreError {
    let message = format!("there was no answer about {question} in time");
    StoreError::new(Class::TimedOut, message)
}
