//! What can go wrong, in classes that a program can act on.

use std::fmt;

/// The class of a failure. It decides the exit status, the status in HTTP and gRPC, and whether a
/// retry can help; its code is stable.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Class {
    /// A file of documents cannot be read.
    DocumentUnreadable,
    /// The text is not YAML.
    DocumentSyntax,
    /// The YAML is not the resource that it claims to be, or two resources have one name.
    DocumentSchema,
    /// A document reached a limit.
    DocumentLimit,
    /// A reference names a store that does not exist, or names none.
    StoreUnknown,
    /// A store's own settings are wrong or incomplete.
    StoreMisconfigured,
    /// Policy, or what this resolver grants, refuses the request.
    PolicyDenied,
    /// The store's backend refuses the request.
    BackendDenied,
    /// The store has no such secret, or the environment no such variable.
    SecretAbsent,
    /// The secret exists and lacks the key.
    KeyAbsent,
    /// The value is needed as text and is not UTF-8.
    ValueNotText,
    /// The store's backend refuses for now because of too many requests.
    Throttled,
    /// There was no answer in time.
    TimedOut,
    /// The store's backend cannot be reached or reports a fault of its own.
    Unreachable,
    /// The store has failed to answer so often that its circuit breaker does not let it be asked.
    CircuitOpen,
    /// A defect of keyref, or of a guest or store that was plugged in.
    Internal,
}

/// What a class means outside: one row each.
struct Row {
    code: &'static str,
    exit_status: u8,
    http_status: u16,
    grpc_status: u8,
    retry_helps: bool,
}

impl Class {
    /// All classes, in order.
    pub const ALL: &'static [Self] = &[
        Self::DocumentUnreadable,
        Self::DocumentSyntax,
        Self::DocumentSchema,
        Self::DocumentLimit,
        Self::StoreUnknown,
        Self::StoreMisconfigured,
        Self::PolicyDenied,
        Self::BackendDenied,
        Self::SecretAbsent,
        Self::KeyAbsent,
        Self::ValueNotText,
        Self::Throttled,
        Self::TimedOut,
        Self::Unreachable,
        Self::CircuitOpen,
        Self::Internal,
    ];

    /// A stable name such as `secret-absent`.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// The exit status of a command that ends with it: 1 where documents, policy or secrets are at
    /// fault, 2 for defects.
    pub fn exit_status(self) -> u8 {
        self.row().exit_status
    }

    /// The HTTP status.
    pub fn http_status(self) -> u16 {
        self.row().http_status
    }

    /// The gRPC status, as its number.
    pub fn grpc_status(self) -> u8 {
        self.row().grpc_status
    }

    /// Whether the same request can succeed later without a change of documents or policy.
    pub fn retry_helps(self) -> bool {
        self.row().retry_helps
    }

    #[rustfmt::skip]
    fn row(self) -> Row {
        let row = |code, exit_status, http_status, grpc_status, retry_helps| Row {
            code, exit_status, http_status, grpc_status, retry_helps,
        };
        match self {
            Self::DocumentUnreadable => row("document-unreadable", 1, 400,  3, false),
            Self::DocumentSyntax     => row("document-syntax",     1, 400,  3, false),
            Self::DocumentSchema     => row("document-schema",     1, 400,  3, false),
            Self::DocumentLimit      => row("document-limit",      1, 413,  8, false),
            Self::StoreUnknown       => row("store-unknown",       1, 401,  3, false),
            Self::StoreMisconfigured => row("store-misconfigured", 1, 500,  9, false),
            Self::PolicyDenied       => row("policy-denied",       1, 403,  7, false),
            Self::BackendDenied      => row("backend-denied",      1, 500, 13, false),
            Self::SecretAbsent       => row("secret-absent",       1, 500, 13, false),
            Self::KeyAbsent          => row("key-absent",          1, 500, 13, false),
            Self::ValueNotText       => row("value-not-text",      1, 500, 13, false),
            Self::Throttled          => row("throttled",           1, 500, 13, true),
            Self::TimedOut           => row("timed-out",           1, 500, 13, true),
            Self::Unreachable        => row("unreachable",         1, 500, 13, true),
            Self::CircuitOpen        => row("circuit-open",        1, 500, 13, true),
            Self::Internal           => row("internal",            2, 500, 13, false),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a secret could not be had.
///
/// The message names stores, secrets and keys and never a value; what a backend answered is not in
/// it, because that can quote one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct SecretError {
    /// The class.
    pub class: Class,
    /// What happened, in one line.
    pub message: String,
    /// What to do about it, or empty.
    pub hint: String,
    /// Where a key is absent: the keys that the secret has, at most 20.
    pub keys: Vec<String>,
    /// Whether there is no such store, or none that is open: Dapr then waits for it.
    pub(crate) without_store: bool,
    /// What the store itself said, or empty.
    pub(crate) reason: String,
}

impl SecretError {
    /// An error with a message and no hint.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hint: String::new(),
            keys: Vec::new(),
            without_store: false,
            reason: String::new(),
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// What the store itself said, which the message puts after what was asked for; the message
    /// where it was not a store.
    pub fn reason(&self) -> &str {
        if self.reason.is_empty() {
            &self.message
        } else {
            &self.reason
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Class;

    #[test]
    fn codes_are_unique() {
        let codes: BTreeSet<_> = Class::ALL.iter().map(|class| class.code()).collect();
        assert_eq!(codes.len(), Class::ALL.len());
    }

    #[test]
    fn only_defects_exit_with_2() {
        for &class in Class::ALL {
            assert_eq!(
                class.exit_status() == 2,
                class == Class::Internal,
                "{class}"
            );
        }
    }
}
