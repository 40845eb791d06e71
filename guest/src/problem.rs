//! What is wrong with a document, and where.

use alloc::borrow::ToOwned as _;
use alloc::string::String;

use crate::bindings::{Position, Problem, ProblemClass, Severity};
use crate::fault::{Fault, FaultKind};
use crate::json;
use crate::yaml::Mark;

/// A place in a document from a place in one of its parts; `line` is the part's first, from 0.
pub(crate) fn position(mark: Mark, line: u32) -> Position {
    Position {
        line: mark.line.saturating_add(line).saturating_add(1),
        column: mark.column.saturating_add(1),
    }
}

/// The problem for a part of a document that could not be loaded.
pub(crate) fn refused(fault: &Fault, document: u32, line: u32) -> Problem {
    let class = match fault.kind {
        FaultKind::Syntax => ProblemClass::Syntax,
        FaultKind::Schema => ProblemClass::Schema,
        FaultKind::Limit => ProblemClass::Limit,
    };
    Problem {
        class,
        severity: Severity::Error,
        document,
        position: position(fault.mark, line),
        message: message(fault, line),
        hint: hint(fault).to_owned(),
    }
}

/// What is wrong, and where it begins if that is elsewhere: a quote is missed at the text's end.
fn message(fault: &Fault, line: u32) -> String {
    let mut message = fault.message.clone().into_owned();
    if let Some(context) = &fault.context {
        message.push(' ');
        message.push_str(context.text);
        let begin = position(context.begin, line);
        message.push_str(" that begins at line ");
        json::write_integer(&mut message, u64::from(begin.line));
        message.push_str(", column ");
        json::write_integer(&mut message, u64::from(begin.column));
    }
    message
}

/// A problem that did not keep a resource from being loaded.
pub(crate) fn warning(document: u32, position: Position, message: &str, hint: &str) -> Problem {
    Problem {
        class: ProblemClass::Schema,
        severity: Severity::Warning,
        document,
        position,
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

/// What to do about the faults that manifests have most.
fn hint(fault: &Fault) -> &'static str {
    match (fault.kind, fault.message.as_ref()) {
        (FaultKind::Syntax, "found character that cannot start any token") => {
            "quote the value: it begins with `@`, `` ` ``, `%` or a tab"
        }
        (FaultKind::Syntax, "mapping values are not allowed in this context") => {
            "quote a value that contains `: `, and check the indentation"
        }
        (FaultKind::Syntax, "found incompatible YAML document") => {
            "remove the `%YAML` line, or make it `%YAML 1.1`"
        }
        (FaultKind::Syntax, "found unknown escape character") => {
            "double the backslash, or put the value in single quotes"
        }
        (FaultKind::Syntax, "could not find expected ':'" | "did not find expected key") => {
            "check the indentation and the quotes from here on"
        }
        (FaultKind::Syntax, "found unexpected end of stream") => {
            "close the quote or bracket that is open here"
        }
        (FaultKind::Syntax, "alias to an anchor that this document does not have") => {
            "anchors do not reach over `---`; quote a value that begins with `*`"
        }
        (FaultKind::Schema, "a mapping or a sequence cannot be a key") => {
            "quote a value that begins with `{`, such as a template"
        }
        (FaultKind::Schema, "infinities and NaN cannot be a value") => {
            "quote the value to make it a string"
        }
        (FaultKind::Schema, message) if message.ends_with("takes a boolean") => {
            "write true or false, without quotes"
        }
        (
            FaultKind::Schema,
            "`kind` takes a string" | "`apiVersion` takes a string" | "`scopes` takes a string",
        ) => "quote the value to make it a string",
        _ => "",
    }
}
