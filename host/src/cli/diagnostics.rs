//! Problems for people: the class, the place, the line with what is secret masked, and a hint.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use keyref::Document;
use keyref::error::SecretError;
use keyref::problem::{Place, Problem, Severity, terminal_safe};
use keyref::stores::StoreError;

use super::arguments::Global;
use super::mask::mask;
use super::output;

/// A line of more characters is not shown.
const LONGEST: usize = 400;

/// The texts of the documents, for showing a line of them.
#[derive(Default)]
pub(super) struct Sources(BTreeMap<String, Source>);

struct Source {
    text: Vec<u8>,
    /// Where each line begins; looked for once, since there can be a problem on every line.
    lines: OnceCell<Vec<usize>>,
}

impl Source {
    /// A line, by its number from 0, or the beginning of one that is longer than is shown: there can
    /// be a problem at each of its bytes.
    fn line(&self, index: usize) -> Option<&[u8]> {
        let lines = self.lines.get_or_init(|| {
            let mut lines = vec![0];
            let mut at = 0;
            while let Some(rest) = self.text.get(at..).filter(|rest| !rest.is_empty()) {
                let length = line_break(rest);
                at += length.max(1);
                if length > 0 {
                    lines.push(at);
                }
            }
            lines
        });
        let line = self.text.get(*lines.get(index)?..)?;
        let line = line.get(..line.len().min(4 * LONGEST + 1))?;
        let end =
            (0..line.len()).find(|&end| line.get(end..).is_some_and(|rest| line_break(rest) > 0));
        line.get(..end.unwrap_or(line.len()))
    }
}

/// How many bytes the line break has that stands here: those of YAML 1.1, by which positions count.
fn line_break(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', ..] | [0xC2, 0x85, ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        [0xE2, 0x80, 0xA8 | 0xA9, ..] => 3,
        _ => 0,
    }
}

impl Sources {
    pub(super) fn of(documents: &[Document]) -> Self {
        let mut sources = Self::default();
        for document in documents {
            sources.add(document);
        }
        sources
    }

    pub(super) fn add(&mut self, document: &Document) {
        let source = Source {
            text: document.text.clone(),
            lines: OnceCell::new(),
        };
        self.0.insert(document.name.to_string(), source);
    }

    /// A line of a document, if it is there and not endless.
    fn line(&self, place: &Place) -> Option<String> {
        let source = self.0.get(place.document.as_ref())?;
        let line = source.line(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
        let line = String::from_utf8_lossy(line);
        let line = line.trim_start_matches('\u{feff}');
        (line.chars().count() <= LONGEST).then(|| line.to_owned())
    }
}

/// Whether a problem is more than a warning.
pub(super) fn is_error(problem: &Problem) -> bool {
    problem.severity == Severity::Error
}

/// Prints problems to standard error.
pub(super) fn print(problems: &[Problem], sources: &Sources, global: &Global) {
    let renderer = if output::is_colored(global.color) {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    for problem in problems {
        if global.quiet && !is_error(problem) {
            continue;
        }
        output::message(&without_gaps(&renderer.render(&[group(problem, sources)])));
        output::message("");
    }
    let errors = problems.iter().filter(|problem| is_error(problem)).count();
    let warnings = problems.len() - errors;
    if errors + warnings > 1 && !global.quiet {
        output::message(&format!(
            "{errors} {}, {warnings} {}",
            if errors == 1 { "error" } else { "errors" },
            if warnings == 1 { "warning" } else { "warnings" }
        ));
    }
}

/// The text without the lines that announce another file: there is one place to each problem, and
/// its column is that of the line as it stands, not as it is shown.
fn without_gaps(text: &str) -> String {
    let is_gap = |line: &&str| {
        // Where it is colored, between escapes such as `\u{1b}[1m`.
        let mut pieces = line.split('\u{1b}');
        let first = pieces.next().unwrap_or_default();
        let rest = pieces.map(|piece| piece.split_once('m').map_or(piece, |(_, text)| text));
        let plain: String = std::iter::once(first).chain(rest).collect();
        plain.trim() == ":::"
    };
    text.lines()
        .filter(|line| !is_gap(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Prints why a secret could not be had.
pub(super) fn print_secret_error(error: &SecretError, global: &Global) {
    let problem = Problem::new(error.class, None, error.message.clone(), error.hint.clone());
    print(&[problem], &Sources::default(), global);
}

/// Why a store of the command line cannot be used.
pub(super) fn store_problem(store: &str, error: StoreError) -> Problem {
    let message = format!("store `{}`: {}", terminal_safe(store), error.message);
    Problem::new(error.class, None, message, error.hint).about(store, "")
}

fn group<'p>(problem: &'p Problem, sources: &Sources) -> Group<'p> {
    let level = if is_error(problem) {
        Level::ERROR
    } else {
        Level::WARNING
    };
    let title = level.primary_title(title(problem)).id(problem.class.code());
    let mut group = Group::with_title(title);
    if let Some(place) = &problem.place {
        let (line, column) = (place.line as usize, place.column as usize);
        let origin = Origin::path(terminal_safe(&place.document))
            .line(line)
            .char_column(column);
        group = group.element(origin);
        if let Some(source) = sources.line(place) {
            let masked = mask(&source, column, &names(problem));
            let annotation = AnnotationKind::Primary.span(masked.mark);
            group = group.element(
                Snippet::source(masked.text)
                    .line_start(line)
                    .annotation(annotation),
            );
        }
    }
    if !problem.hint.is_empty() {
        group = group.element(Level::HELP.with_name("hint").message(problem.hint.as_str()));
    }
    group
}

fn title(problem: &Problem) -> String {
    match &problem.subject {
        Some(subject) if !subject.property.is_empty() => {
            format!(
                "{} (`{}` of `{}`)",
                problem.message, subject.property, subject.component
            )
        }
        _ => problem.message.clone(),
    }
}

/// The names that may be shown: those of the reference, and those in the message's backticks.
fn names(problem: &Problem) -> Vec<&str> {
    let reference = problem.subject.iter().flat_map(|subject| &subject.names);
    problem
        .message
        .split('`')
        .skip(1)
        .step_by(2)
        .chain(reference.map(String::as_str))
        .collect()
}
