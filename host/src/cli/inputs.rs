//! The files that a server is started with, as they were last read.
//!
//! They are looked at again and again: that works for links that are exchanged, for mounted volumes
//! and over a network as well, and costs a call of the system for each file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use keyref::Document;
use keyref::problem::Problem;
use keyref::stamp::{Stamp, Stamps};

use super::arguments::{Global, ServeArguments};
use super::documents::{self, Listed, Missing, Read, Skipped, Unread};
use super::session::Surroundings;

/// How many looks a file may go on changing before it is read nevertheless.
const MOST_LOOKS: u32 = 4;

/// The files of a server.
pub(super) struct Inputs {
    pub(super) documents: Files,
    pub(super) configurations: Files,
}

/// What the files held at one time.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    pub(super) documents: Entries,
    pub(super) configurations: Entries,
}

/// What files held.
pub(super) type Entries = Vec<Arc<Entry>>;

/// A file as it was read.
pub(super) struct Entry {
    name: Arc<str>,
    text: std::result::Result<Document, Problem>,
}

impl Inputs {
    /// The files of `--resources`, without those that stores are opened from, and those of
    /// `--config`.
    ///
    /// # Errors
    /// Fails where an argument of `--store` is no store.
    pub(super) fn of(global: &Global, arguments: &ServeArguments) -> Result<Self> {
        let except = Surroundings::of(global)?.files();
        let resources = arguments.resources.clone();
        let paths = global.config.iter().enumerate();
        let configurations = paths.map(|(number, path)| Listed::named(number, path.clone()));
        let configurations = configurations.collect();
        Ok(Self {
            documents: Files::new(Arguments::Texts(resources, except)),
            configurations: Files::new(Arguments::Paths(configurations)),
        })
    }

    /// Reads all.
    ///
    /// # Errors
    /// Fails where an argument names nothing, or a folder cannot be read.
    pub(super) fn read(&mut self) -> Result<Snapshot> {
        let configurations = self.configurations.read();
        let documents = self.documents.read();
        Ok(Snapshot {
            documents: documents.context("failed to load components")?,
            configurations: configurations.context("error loading configuration")?,
        })
    }
}

impl Snapshot {
    /// The documents, and those that cannot be read.
    pub(super) fn read(&self) -> Read {
        let mut read = Read::default();
        for entry in &self.documents {
            match &entry.text {
                Ok(document) => read.add(document.clone()),
                Err(problem) => read.problems.push(problem.clone()),
            }
        }
        read.problems.extend(read.too_much());
        let unread = self.configurations.iter();
        let unread = unread.filter_map(|entry| entry.text.as_ref().err().cloned());
        read.problems.extend(unread);
        read
    }

    /// The configurations that can be read.
    pub(super) fn configurations(&self) -> Vec<Document> {
        let entries = self.configurations.iter();
        entries
            .filter_map(|entry| entry.text.as_ref().ok().cloned())
            .collect()
    }

    /// Whether a file of this name is not as it is in another.
    pub(super) fn differs(&self, other: &Self, name: &str) -> bool {
        let entries = |snapshot: &Self| -> Vec<_> {
            let of_name = |entries: &[Arc<Entry>]| {
                let mut entries = entries.iter();
                entries.find(|entry| *entry.name == *name).map(Arc::as_ptr)
            };
            vec![
                of_name(&snapshot.documents),
                of_name(&snapshot.configurations),
            ]
        };
        entries(self) != entries(other)
    }

    /// The names of the documents that are not as they are in another.
    pub(super) fn changed_documents(&self, other: &Self) -> Vec<String> {
        let names = self.documents.iter().chain(&other.documents);
        let names = names.map(|entry| entry.name.to_string());
        names.filter(|name| self.differs(other, name)).collect()
    }

    /// The same with the files of these names as they are in another.
    pub(super) fn with(&self, other: &Self, names: &BTreeSet<String>) -> Self {
        Self {
            documents: merged(&self.documents, &other.documents, names),
            configurations: merged(&self.configurations, &other.configurations, names),
        }
    }
}

impl PartialEq for Snapshot {
    /// What is read anew and found the same stays the same entry.
    fn eq(&self, other: &Self) -> bool {
        let same = |one: &[Arc<Entry>], other: &[Arc<Entry>]| {
            let mut both = one.iter().zip(other);
            one.len() == other.len() && both.all(|(one, other)| Arc::ptr_eq(one, other))
        };
        same(&self.documents, &other.documents) && same(&self.configurations, &other.configurations)
    }
}

fn merged(
    entries: &[Arc<Entry>],
    others: &[Arc<Entry>],
    names: &BTreeSet<String>,
) -> Vec<Arc<Entry>> {
    let is_named = |entry: &&Arc<Entry>| names.contains(&*entry.name);
    let mut replaced: BTreeMap<&str, &Arc<Entry>> = others
        .iter()
        .filter(is_named)
        .map(|entry| (&*entry.name, entry))
        .collect();
    let mut merged: Vec<_> = entries
        .iter()
        .filter_map(|entry| match replaced.remove(&*entry.name) {
            Some(other) => Some(Arc::clone(other)),
            None => (!names.contains(&*entry.name)).then(|| Arc::clone(entry)),
        })
        .collect();
    merged.extend(replaced.into_values().cloned());
    merged
}

/// What names files.
pub(super) enum Arguments {
    /// Files, folders and patterns; without these files.
    Texts(Vec<String>, Vec<PathBuf>),
    /// Files alone.
    Paths(Vec<Listed>),
}

/// The files of arguments, each as it was last read. A file that has just changed counts as it was
/// before, until a second look finds it as the first did: it may be in the middle of being written.
pub(super) struct Files {
    arguments: Arguments,
    known: BTreeMap<Listed, Known>,
    /// What was skipped at the last look, and what of it has not been told.
    known_skipped: Vec<Skipped>,
    skipped: Vec<Skipped>,
}

/// What is known of a file.
#[derive(Default)]
struct Known {
    /// At the last look.
    seen: Option<Stamp>,
    /// For how many looks it has been changing.
    looks: u32,
    /// What it held when it was read, and its stamp then, where it need not be read again.
    taken: Option<(Option<Stamp>, Arc<Entry>)>,
}

impl Files {
    pub(super) fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            known: BTreeMap::new(),
            known_skipped: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Reads all.
    ///
    /// # Errors
    /// Fails where an argument names nothing, or a folder cannot be read.
    fn read(&mut self) -> Result<Entries> {
        let (entries, mut missing) = self.look(true);
        missing
            .drain(..)
            .next()
            .map_or(Ok(entries), |missing| Err(missing.error))
    }

    /// Reads what has changed. At once, nothing is waited for. What an argument named that names
    /// nothing now is missed rather than gone, unless that is a pattern: it counts as before.
    pub(super) fn look(&mut self, at_once: bool) -> (Entries, Vec<Missing>) {
        let (listed, mut missing) = self.list();
        for file in &listed {
            self.known.entry(file.clone()).or_default();
        }
        let is_missed = |missing: &Missing| !missing.is_empty;
        let missed = missing.iter().filter(|missing| is_missed(missing));
        let missed: BTreeSet<_> = missed.map(|missing| missing.argument).collect();
        for (file, known) in &mut self.known {
            if missed.contains(&file.argument()) {
                continue;
            }
            if let Err(error) = known.look(file, listed.contains(file), at_once) {
                missing.push(Missing::new(file.argument(), error));
            }
        }
        let is_there = |known: &Known| known.taken.is_some() || known.seen.is_some();
        self.known.retain(|_, known| is_there(known));
        let taken = self.known.values().filter_map(|known| known.taken.as_ref());
        let entries = taken.map(|(_, entry)| Arc::clone(entry)).collect();
        (entries, missing)
    }

    fn list(&mut self) -> (BTreeSet<Listed>, Vec<Missing>) {
        match &self.arguments {
            Arguments::Texts(texts, except) => {
                let listing = documents::list(texts, except);
                if listing.skipped != self.known_skipped {
                    self.skipped.clone_from(&listing.skipped);
                    self.known_skipped = listing.skipped;
                }
                (listing.files.into_iter().collect(), listing.missing)
            }
            Arguments::Paths(paths) => {
                let missing = paths.iter().filter_map(Listed::missing).collect();
                (paths.iter().cloned().collect(), missing)
            }
        }
    }

    /// The files of a folder that are not read, where those have changed.
    pub(super) fn skipped(&mut self) -> Vec<Skipped> {
        std::mem::take(&mut self.skipped)
    }
}

impl Known {
    fn look(&mut self, file: &Listed, is_listed: bool, at_once: bool) -> Result<()> {
        if self.taken.is_some() && file.is_stream() {
            // What it held is gone, and nobody may ever write to it again.
            return Ok(());
        }
        let Some(path) = file.path() else {
            self.taken = Some((None, Arc::new(Entry::read(file)?)));
            return Ok(());
        };
        let now = Stamp::of(path).filter(|_| is_listed);
        let is_settled = at_once || now == self.seen;
        self.looks = if is_settled { 0 } else { self.looks + 1 };
        self.seen = now;
        let is_read = |(stamp, _): &(Option<Stamp>, _)| *stamp == now && now.is_some();
        let is_waiting = !is_settled && self.looks <= MOST_LOOKS;
        if is_waiting || (!at_once && self.taken.as_ref().is_some_and(is_read)) {
            return Ok(());
        }
        // One that is there and cannot be looked at is read, which says why.
        let is_gone = || now.is_none() && matches!(path.try_exists(), Ok(false));
        if !is_listed || (!file.is_named() && is_gone()) {
            self.taken = None;
            return Ok(());
        }
        let entry = Entry::read(file)?;
        // It may have changed meanwhile, or so recently that the clock cannot tell.
        let is_certain = !at_once && Stamp::of(path) == now;
        let stamp = now.filter(|_| is_certain);
        self.taken = Some(match self.taken.take() {
            Some((_, before)) if before.is_as(&entry) => (stamp, before),
            _ => (stamp, Arc::new(entry)),
        });
        Ok(())
    }
}

impl Entry {
    fn read(file: &Listed) -> Result<Self> {
        let text = match file.read() {
            Ok(document) => Ok(document),
            Err(Unread::Absent(error)) => return Err(error),
            Err(Unread::Problem(problem)) => Err(*problem),
        };
        let name = match &text {
            Ok(document) => Arc::clone(&document.name),
            Err(_) => file.path().map_or_else(String::new, documents::name).into(),
        };
        Ok(Self { name, text })
    }

    fn is_as(&self, other: &Self) -> bool {
        match (&self.text, &other.text) {
            (Ok(text), Ok(other)) => text.text == other.text,
            (Err(problem), Err(other)) => problem.message == other.message,
            _ => false,
        }
    }
}

/// The files, or folders of files, that a store reads.
#[derive(Clone)]
pub(super) struct StoreFile {
    /// Just before the store was opened.
    taken: Stamps,
    /// At the last look.
    seen: Stamps,
    /// For how many looks it has been changing.
    looks: u32,
}

impl StoreFile {
    /// Files that were read just after they were so.
    pub(super) fn new(taken: Stamps) -> Self {
        Self {
            seen: taken.clone(),
            taken,
            looks: 0,
        }
    }

    /// Whether it is to be read: it has changed, and does no longer, or has for long.
    pub(super) fn look(&mut self) -> bool {
        let now = self.taken.again();
        let is_settled = self.seen == now;
        self.looks = if is_settled { 0 } else { self.looks + 1 };
        self.seen = now;
        (is_settled || self.looks > MOST_LOOKS) && self.taken != self.seen
    }

    /// The same, where what was seen last is what was read.
    pub(super) fn taken(&self) -> Self {
        Self::new(self.seen.clone())
    }

    /// Whether the other is the same file, read at the same time.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.taken == other.taken
    }

    /// Whether it can be read only once.
    pub(super) fn is_pipe(&self) -> bool {
        self.seen.has_pipe()
    }
}
