//! Why a document is refused.

use alloc::borrow::Cow;
use alloc::boxed::Box;

use crate::yaml::{Context, Mark, SyntaxError};

/// Why a document is refused.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) mark: Mark,
    /// What is wrong; it quotes nothing of the document.
    pub(crate) message: Cow<'static, str>,
    pub(crate) context: Option<Box<Context>>,
}

/// Who refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The parser.
    Syntax,
    /// The types that the document is decoded into.
    Schema,
    /// A limit.
    Limit,
}

impl Fault {
    pub(crate) fn syntax(mark: Mark, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FaultKind::Syntax, mark, message)
    }

    pub(crate) fn schema(mark: Mark, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FaultKind::Schema, mark, message)
    }

    pub(crate) fn limit(mark: Mark, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FaultKind::Limit, mark, message)
    }

    fn new(kind: FaultKind, mark: Mark, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            mark,
            message: message.into(),
            context: None,
        }
    }
}

impl From<SyntaxError> for Fault {
    fn from(error: SyntaxError) -> Self {
        Self {
            kind: FaultKind::Syntax,
            mark: error.mark,
            message: error.message.into(),
            context: error.context,
        }
    }
}
