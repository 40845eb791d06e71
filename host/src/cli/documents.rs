//! Files, folders, patterns and standard input as documents.
//!
//! A folder is read as Dapr reads one: its `.yaml` and `.yml` files in the order of their bytes,
//! and nothing below it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use globset::GlobBuilder;
use keyref::problem::terminal_safe;
use keyref::{Document, Limits};

use super::output;

/// Reads documents in the order given. Files of `except` are left out.
pub(super) fn read(arguments: &[String], except: &[PathBuf], quiet: bool) -> Result<Vec<Document>> {
    let except: BTreeSet<PathBuf> = except
        .iter()
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let limits = Limits::default();
    let (mut documents, mut total) = (Vec::new(), 0);
    let mut add = |name: String, text: Vec<u8>| {
        total += text.len().min(limits.document_bytes);
        if total > limits.total_bytes {
            let most = limits.total_bytes >> 20;
            bail!("the documents hold more than {most} MiB together: give them in several calls");
        }
        documents.push(Document::new(name, text));
        Ok(())
    };
    let mut stdin_read = false;
    // A file that two arguments name is read once.
    let mut known = BTreeSet::new();
    for argument in arguments {
        if argument == "-" {
            if std::mem::replace(&mut stdin_read, true) {
                bail!("`-` is given twice, and standard input can be read only once");
            }
            let text = read_all(io::stdin().lock(), &limits)?;
            add("<stdin>".to_owned(), text)?;
            continue;
        }
        for path in expand(argument, quiet)? {
            if let Ok(path) = path.canonicalize()
                && (except.contains(&path) || !known.insert(path))
            {
                continue;
            }
            let file = fs::File::open(&path)
                .with_context(|| format!("failed to open `{}`", shown(&path)))?;
            let text = read_all(file, &limits)
                .with_context(|| format!("failed to read `{}`", shown(&path)))?;
            add(path.display().to_string(), text)?;
        }
    }
    Ok(documents)
}

/// Reads to the end, or one byte further than a document may have: the resolver then refuses it.
fn read_all(source: impl io::Read, limits: &Limits) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let most = u64::try_from(limits.document_bytes).unwrap_or(u64::MAX);
    let mut source = source.take(most.saturating_add(1));
    source.read_to_end(&mut text)?;
    Ok(text)
}

/// A path for a terminal.
fn shown(path: &Path) -> String {
    terminal_safe(&path.to_string_lossy())
}

/// The files that an argument names.
fn expand(argument: &str, quiet: bool) -> Result<Vec<PathBuf>> {
    let path = Path::new(argument);
    if path.is_dir() {
        return folder(path, quiet);
    }
    if path.exists() || !argument.contains(['*', '?', '[', '{']) {
        return Ok(vec![path.to_owned()]);
    }
    let files = pattern(argument)?;
    if files.is_empty() {
        bail!("no file matches `{}`", terminal_safe(argument));
    }
    Ok(files)
}

fn folder(folder: &Path, quiet: bool) -> Result<Vec<PathBuf>> {
    let context = || format!("failed to read folder `{}`", shown(folder));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let path = entry.path();
        if entry.file_type().with_context(context)?.is_dir() {
            continue;
        }
        let skipped = if !is_yaml(&path) {
            Some("is not a YAML file")
        } else if !path.exists() {
            Some("is a link to nothing")
        } else if path.is_dir() {
            Some("is a link to a folder")
        } else if !path.is_file() {
            // A pipe would keep its reader until somebody writes.
            Some("is not a regular file")
        } else {
            None
        };
        match skipped {
            None => files.push(path),
            Some(_) if quiet => {}
            Some(reason) => output::message(&format!(
                "warning: `{}` {reason} and is not loaded",
                shown(&path)
            )),
        }
    }
    files.sort_by(|a, b| {
        a.as_os_str()
            .as_encoded_bytes()
            .cmp(b.as_os_str().as_encoded_bytes())
    });
    Ok(files)
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

/// The files that match a pattern, in which `*` does not cross a `/` and `**` does.
fn pattern(pattern: &str) -> Result<Vec<PathBuf>> {
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
    Ok(files)
}
