//! Files, folders, patterns and standard input as documents.
//!
//! A folder is read as Dapr reads one: its `.yaml` and `.yml` files in the order of their bytes,
//! and nothing below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use globset::GlobBuilder;
use keyref::error::Class;
use keyref::problem::{Place, Problem, terminal_safe};
use keyref::{Document, Limits};

use super::output;

/// What was read, and what could not be.
#[derive(Default)]
pub(super) struct Read {
    pub(super) documents: Vec<Document>,
    pub(super) problems: Vec<Problem>,
    bytes: usize,
    /// The first document that is too much for one call, and how many others are.
    left_out: Option<(String, usize)>,
}

/// Reads documents in the order given. Files of `except`, which stores are opened from, are left
/// out.
///
/// # Errors
/// Fails where an argument names nothing; a file that cannot be read is a problem.
pub(super) fn read(arguments: &[String], except: &[PathBuf], quiet: bool) -> Result<Read> {
    let mut listing = list(arguments, except);
    if let Some(missing) = listing.missing.drain(..).next() {
        return Err(missing.error);
    }
    for skipped in listing.skipped {
        warn(&skipped.to_string(), quiet);
    }
    let mut read = Read::default();
    for listed in listing.files {
        if read.is_full() {
            read.leave_out();
            continue;
        }
        match listed.read() {
            Ok(document) => read.add(document),
            Err(Unread::Absent(error)) => return Err(error),
            Err(Unread::Problem(problem)) => read.problems.push(*problem),
        }
    }
    read.problems.extend(read.too_much());
    Ok(read)
}

/// The files that arguments name.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) files: Vec<Listed>,
    pub(super) skipped: Vec<Skipped>,
    /// The arguments that name nothing.
    pub(super) missing: Vec<Missing>,
}

/// An argument that names nothing.
pub(super) struct Missing {
    /// Which one, from 0.
    pub(super) argument: usize,
    /// Whether it is a pattern, and where it looks is there.
    pub(super) is_empty: bool,
    pub(super) error: anyhow::Error,
}

/// A file to read, or standard input.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Listed {
    /// Which argument names it, from 0.
    argument: usize,
    /// Nothing for standard input.
    path: Option<PathBuf>,
    /// Whether the argument names the file itself.
    is_named: bool,
}

/// A file of a folder that is not read, and why.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Skipped {
    path: PathBuf,
    reason: &'static str,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` {} and is not loaded",
            shown(&self.path),
            self.reason
        )
    }
}

/// Why a file was not read.
pub(super) enum Unread {
    /// An argument names it, and it is not there.
    Absent(anyhow::Error),
    /// It cannot be read.
    Problem(Box<Problem>),
}

/// Lists the files that arguments name, in the order given and each once. Files of `except` are left
/// out.
pub(super) fn list(arguments: &[String], except: &[PathBuf]) -> Listing {
    let mut folders = Folders::default();
    let except = except.iter().filter_map(|path| folders.identity(path));
    let except: BTreeSet<PathBuf> = except.collect();
    let mut listing = Listing::default();
    let mut known = BTreeSet::new();
    for (argument, text) in arguments.iter().enumerate() {
        if text == "-" {
            let is_given = |listed: &Listed| listed.path.is_none();
            if listing.files.iter().any(is_given) {
                let error = "`-` is given twice, and standard input can be read only once";
                let missing = Missing::new(argument, anyhow::Error::msg(error));
                listing.missing.push(missing);
                continue;
            }
            listing.files.push(Listed {
                argument,
                path: None,
                is_named: true,
            });
            continue;
        }
        let (paths, is_named) = match expand(argument, text, &mut listing.skipped) {
            Ok(found) => found,
            Err(missing) => {
                listing.missing.push(missing);
                continue;
            }
        };
        for path in paths {
            if let Some(identity) = folders.identity(&path) {
                if except.contains(&identity) {
                    let reason = "is the file of a store";
                    listing.skipped.push(Skipped { path, reason });
                    continue;
                }
                if !known.insert(identity) {
                    continue;
                }
            }
            let path = Some(path);
            listing.files.push(Listed {
                argument,
                path,
                is_named,
            });
        }
    }
    listing
}

impl Missing {
    pub(super) fn new(argument: usize, error: anyhow::Error) -> Self {
        Self {
            argument,
            is_empty: false,
            error,
        }
    }
}

impl Listed {
    /// A file that is given by its path, in an argument of this number.
    pub(super) fn named(argument: usize, path: PathBuf) -> Self {
        Self {
            argument,
            path: Some(path),
            is_named: true,
        }
    }

    /// The argument that names it, where it names something that is not there.
    pub(super) fn missing(&self) -> Option<Missing> {
        let path = self.path.as_ref().filter(|_| self.is_named)?;
        let error = fs::metadata(path).err()?;
        let is_absent = error.kind() == io::ErrorKind::NotFound;
        is_absent.then(|| Missing::new(self.argument, absent(path, error)))
    }

    /// Which argument names it, from 0.
    pub(super) fn argument(&self) -> usize {
        self.argument
    }

    /// Its path, where it is not standard input.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether an argument names the file itself.
    pub(super) fn is_named(&self) -> bool {
        self.is_named
    }

    /// Whether it can be read only once, as standard input and pipes can.
    pub(super) fn is_stream(&self) -> bool {
        let metadata = self.path.as_ref().map(fs::metadata);
        let is_regular = |found: fs::Metadata| found.is_file() || found.is_dir();
        metadata.is_none_or(|metadata| !metadata.map_or(true, is_regular))
    }

    /// Reads to the end, or one byte further than a document may have: the resolver then refuses it.
    pub(super) fn read(&self) -> std::result::Result<Document, Unread> {
        let most = Limits::default().document_bytes;
        let Some(path) = &self.path else {
            let read = read_all(io::stdin().lock(), most).context("failed to read standard input");
            let text = read.map_err(Unread::Absent)?;
            return Ok(Document::new("<stdin>", text));
        };
        match fs::File::open(path).and_then(|file| read_all(file, most)) {
            Ok(text) => Ok(Document::new(name(path), text)),
            Err(error) if self.is_named && error.kind() == io::ErrorKind::NotFound => {
                Err(Unread::Absent(absent(path, error)))
            }
            Err(error) => Err(Unread::Problem(Box::new(unreadable(path, &error)))),
        }
    }
}

impl Read {
    /// Whether no more documents can be taken.
    fn is_full(&self) -> bool {
        self.left_out.is_some()
    }

    fn leave_out(&mut self) {
        if let Some((_, others)) = &mut self.left_out {
            *others += 1;
        }
    }

    /// Takes a document, where it is not too much.
    pub(super) fn add(&mut self, document: Document) {
        if self.is_full() {
            self.leave_out();
            return;
        }
        self.bytes += document.text.len();
        if self.bytes > Limits::default().total_bytes {
            self.left_out = Some((document.name.to_string(), 0));
        } else {
            self.documents.push(document);
        }
    }

    pub(super) fn too_much(&self) -> Option<Problem> {
        let (name, others) = self.left_out.as_ref()?;
        let most = Limits::default().total_bytes >> 20;
        let message = format!(
            "the documents hold more than {most} MiB together: this one and {others} more are not read"
        );
        let hint = "give them in several calls";
        let place = Some(Place::new(&Arc::from(name.as_str()), 1, 1));
        Some(Problem::new(Class::DocumentLimit, place, message, hint))
    }
}

/// Reads to the end, or one byte further than may be.
pub(super) fn read_all(source: impl io::Read, most: usize) -> io::Result<Vec<u8>> {
    // Most documents are smaller, and are read at once.
    let mut text = Vec::with_capacity(4096);
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let mut source = source.take(most.saturating_add(1));
    source.read_to_end(&mut text)?;
    text.shrink_to_fit();
    Ok(text)
}

/// Where folders are in fact, each looked up once.
#[derive(Default)]
struct Folders(BTreeMap<PathBuf, Option<PathBuf>>);

impl Folders {
    /// What makes two paths one: links to a file are files of their own, as in Dapr.
    fn identity(&mut self, path: &Path) -> Option<PathBuf> {
        let folder = match path.parent()? {
            folder if folder.as_os_str().is_empty() => Path::new("."),
            folder => folder,
        };
        if !self.0.contains_key(folder) {
            let place = folder.canonicalize().ok();
            self.0.insert(folder.to_owned(), place);
        }
        let place = self.0.get(folder)?.as_ref()?;
        Some(place.join(path.file_name()?))
    }
}

fn absent(path: &Path, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("failed to read `{}`", shown(path)))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let place = Some(Place::new(&Arc::from(name(path)), 1, 1));
    let message = format!("the file cannot be read: {}", error.kind());
    let hint = "check its owner and its mode";
    Problem::new(Class::DocumentUnreadable, place, message, hint)
}

fn warn(text: &str, quiet: bool) {
    if !quiet {
        output::message(&format!("warning: {text}"));
    }
}

/// The name of a file's document: its path, and where that is no text its bytes, so that two paths
/// never have one.
pub(super) fn name(path: &Path) -> String {
    let bytes = || path.as_os_str().as_encoded_bytes().escape_ascii();
    path.to_str()
        .map_or_else(|| bytes().to_string(), str::to_owned)
}

/// A path for a terminal.
fn shown(path: &Path) -> String {
    terminal_safe(&path.to_string_lossy())
}

/// The files that an argument names, and whether it names one itself.
fn expand(
    number: usize,
    argument: &str,
    skipped: &mut Vec<Skipped>,
) -> std::result::Result<(Vec<PathBuf>, bool), Missing> {
    let path = Path::new(argument);
    let missing = |error| Missing::new(number, error);
    if path.is_dir() {
        return Ok((folder(path, skipped).map_err(missing)?, false));
    }
    if path.exists() || !argument.contains(['*', '?', '[', '{']) {
        let named = Listed::named(number, path.to_owned());
        return named
            .missing()
            .map_or_else(|| Ok((vec![path.to_owned()], true)), Err);
    }
    let (files, is_there) = pattern(argument).map_err(missing)?;
    if files.is_empty() {
        let error = format!("no file matches `{}`", terminal_safe(argument));
        return Err(Missing {
            is_empty: is_there,
            ..missing(anyhow::Error::msg(error))
        });
    }
    Ok((files, false))
}

fn folder(folder: &Path, left_out: &mut Vec<Skipped>) -> Result<Vec<PathBuf>> {
    let context = || format!("failed to read folder `{}`", shown(folder));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let path = entry.path();
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() {
            continue;
        }
        let skipped = if !is_yaml(&path) {
            Some("is not a YAML file")
        } else if kind.is_symlink() {
            match fs::metadata(&path) {
                Err(_) => Some("is a link to nothing"),
                Ok(target) if target.is_dir() => Some("is a link to a folder"),
                Ok(target) => reason_against(target.file_type()),
            }
        } else {
            reason_against(kind)
        };
        match skipped {
            None => files.push(path),
            Some(reason) => left_out.push(Skipped { path, reason }),
        }
    }
    files.sort_by(|a, b| {
        a.as_os_str()
            .as_encoded_bytes()
            .cmp(b.as_os_str().as_encoded_bytes())
    });
    Ok(files)
}

/// Why what is no folder is not read, if it is not.
fn reason_against(kind: fs::FileType) -> Option<&'static str> {
    // A pipe would keep its reader until somebody writes.
    (!kind.is_file()).then_some("is not a regular file")
}

/// Whether Dapr would read it: a name that ends in `.yaml` or `.yml`, in any case, and may have
/// nothing before that.
fn is_yaml(path: &Path) -> bool {
    // Not the extension: `.yaml` has none.
    let name = path.file_name().map(|name| name.to_string_lossy());
    let ending = name.as_deref().and_then(|name| name.rsplit_once('.'));
    ending.is_some_and(|(_, end)| {
        ["yaml", "yml"]
            .iter()
            .any(|yaml| end.eq_ignore_ascii_case(yaml))
    })
}

/// The files that match a pattern, in which `*` does not cross a `/` and `**` does; and whether where
/// they would be is there.
fn pattern(pattern: &str) -> Result<(Vec<PathBuf>, bool)> {
    let pattern = pattern.trim_start_matches("./");
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .with_context(|| format!("`{}` is not a pattern", terminal_safe(pattern)))?
        .compile_matcher();
    let fixed = pattern
        .split(['*', '?', '[', '{'])
        .next()
        .unwrap_or_default();
    let root = fixed.rsplit_once('/').map_or("", |(folder, _)| folder);
    let root = match root {
        "" if pattern.starts_with('/') => Path::new("/"),
        "" => Path::new("."),
        root => Path::new(root),
    };
    // Nothing can match in folders below these.
    let deepest = if pattern.contains("**") {
        usize::MAX
    } else {
        pattern.matches('/').count()
    };
    let mut files = Vec::new();
    let is_there = fs::read_dir(root).is_ok();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let named = path.strip_prefix("./").unwrap_or(&path);
            let depth = named.to_string_lossy().matches('/').count();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < deepest {
                    folders.push(path);
                }
            } else if glob.is_match(named) && path.is_file() {
                files.push(named.to_owned());
            }
        }
    }
    files.sort();
    Ok((files, is_there))
}
