//! The files of `--config`.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use keyref::error::Class;
use keyref::problem::{Place, Problem, Severity, terminal_safe};
use keyref::{Document, Limits};

use super::documents;

/// Reads them, no further than one may have.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Document>> {
    let read = |path: &PathBuf| {
        let most = Limits::default().document_bytes;
        let text = File::open(path).and_then(|file| documents::read_all(file, most));
        let shown = || {
            format!(
                "failed to read `{}`",
                terminal_safe(&path.to_string_lossy())
            )
        };
        let text = text.with_context(shown)?;
        Ok(Document::new(documents::name(path), text))
    };
    paths.iter().map(read).collect()
}

/// What Dapr leaves out without a word: a second document, whose scopes do not count.
pub(super) fn slip(configuration: &Document) -> Option<Problem> {
    let line = second_document(&configuration.text)?;
    let place = Place::new(&configuration.name, line, 1);
    let message = "a second document begins here, and only the first is read";
    let hint = "put all scopes into one Configuration, or give the other in a file of its own";
    let mut problem = Problem::new(Class::DocumentSchema, Some(place), message, hint);
    problem.severity = Severity::Warning;
    Some(problem)
}

/// The line on which a second document begins, from 1.
fn second_document(text: &[u8]) -> Option<u32> {
    let mut has_content = false;
    let mut end = None;
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let marker = line
            .strip_prefix(b"---")
            .filter(|rest| rest.first().is_none_or(u8::is_ascii_whitespace));
        if has_content && (marker.is_some() || line.starts_with(b"...")) {
            end = end.or(Some(number));
        }
        let content = marker.unwrap_or(line).trim_ascii();
        let is_aside =
            content.is_empty() || content.starts_with(b"#") || content.starts_with(b"...");
        let is_directive = content.starts_with(b"%") && !has_content;
        if is_aside || is_directive {
            continue;
        }
        if end.is_some() {
            return end;
        }
        has_content = true;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::second_document;

    #[test]
    fn a_second_document_is_found() {
        for (text, line) in [
            ("a: b\n---\nc: d\n", Some(2)),
            ("---\na: b\n...\n---\nc: d\n", Some(3)),
            ("a: b\n--- {c: d}\n", Some(2)),
            ("%YAML 1.1\n# x\n--- # y\na: b\n", None),
            ("--- {a: b}\n---\n# nothing\n", None),
            ("a: b\n----\nc: d\n", None),
            ("a: |\n  ---\n  b\n", None),
            ("", None),
        ] {
            assert_eq!(second_document(text.as_bytes()), line, "{text:?}");
        }
    }
}
