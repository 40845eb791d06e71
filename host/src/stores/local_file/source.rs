//! The bytes of one file, and errors that point into them without a word of what stands there.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::problem::printable;
use crate::stores::StoreError;

/// The most that a file may hold.
const MAX_BYTES: usize = 16 << 20;

/// A file that was read. Its bytes are wiped when it is dropped.
pub(super) struct Source {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

impl Source {
    /// Reads a file that errors call by a path which can be another.
    pub(super) fn read(path: &Path, name: &Path) -> Result<Self, StoreError> {
        let bytes = read(path).map_err(|error| unreadable(name, &error))?;
        let source = Self {
            path: name.to_owned(),
            bytes,
        };
        if source.bytes.len() > MAX_BYTES {
            return Err(source.error(format_args!("holds more than {} MiB", MAX_BYTES >> 20)));
        }
        Ok(source)
    }

    #[cfg(test)]
    pub(super) fn of(path: &str, bytes: &[u8]) -> Self {
        Self {
            path: path.into(),
            bytes: Zeroizing::new(bytes.to_vec()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn text(&self) -> Result<&str, StoreError> {
        std::str::from_utf8(&self.bytes)
            .map_err(|error| self.error_at(error.valid_up_to(), "is not UTF-8"))
    }

    /// An error about the whole file, such as "holds no mapping".
    pub(super) fn error(&self, what: impl Display) -> StoreError {
        StoreError::misconfigured(format!("`{}` {what}", shown(&self.path)))
    }

    /// An error about the byte at an offset.
    pub(super) fn error_at(&self, offset: usize, what: impl Display) -> StoreError {
        let before = self.bytes.get(..offset).unwrap_or(&self.bytes);
        let lines = before.split(|byte| *byte == b'\n');
        let last = lines.clone().next_back().unwrap_or_default();
        // Columns count characters, and bytes like 0b10xx_xxxx only continue one.
        let column = last.iter().filter(|byte| **byte & 0xC0 != 0x80).count() + 1;
        let line = lines.count();
        self.error_in(line, column, what)
    }

    /// An error about a line and column, both from 1.
    pub(super) fn error_in(&self, line: usize, column: usize, what: impl Display) -> StoreError {
        let path = shown(&self.path);
        StoreError::misconfigured(format!("`{path}:{line}:{column}` {what}"))
    }
}

/// An error about a path that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> StoreError {
    let why = match error.kind() {
        ErrorKind::NotFound => "not found".to_owned(),
        kind => kind.to_string(),
    };
    let error = StoreError::misconfigured(format!("failed to read `{}`: {why}", shown(path)));
    if why != "not found" || path.is_absolute() {
        return error;
    }
    if path.starts_with("~") {
        return error.with_hint("`~` stands for a home folder in shells alone: write it out");
    }
    match std::env::current_dir() {
        Ok(folder) => error.with_hint(format!(
            "the path is relative to the working directory, `{}`",
            shown(&folder)
        )),
        Err(_) => error.with_hint("the path is relative to the working directory"),
    }
}

/// A path for a message, each of its parts printable.
pub(super) fn shown(path: &Path) -> String {
    let parts = path.iter().map(|part| printable(&part.to_string_lossy()));
    parts.collect::<PathBuf>().to_string_lossy().into_owned()
}

/// Reads a file, or a pipe, up to a byte more than is allowed.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut file = File::open(path)?;
    let expected = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.min(MAX_BYTES) + 1));
    loop {
        // A vector that grows leaves its bytes behind, so it is filled and then exchanged.
        let room = bytes.capacity() - bytes.len();
        if file.by_ref().take(room as u64).read_to_end(&mut bytes)? < room
            || bytes.len() > MAX_BYTES
        {
            return Ok(bytes);
        }
        let capacity = (bytes.capacity() * 2).clamp(1 << 12, MAX_BYTES + 1);
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&bytes);
        bytes = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::Source;
    use crate::stores::StoreError;

    fn read(path: &str) -> StoreError {
        Source::read(path.as_ref(), path.as_ref()).err().unwrap()
    }

    #[test]
    fn errors_point_at_a_character_and_quote_nothing() {
        let source = Source::of("s.json", "{\n \"ä\": s3cr3t".as_bytes());
        assert_eq!(source.error_at(0, "is odd").message, "`s.json:1:1` is odd");
        assert_eq!(source.error_at(9, "is odd").message, "`s.json:2:7` is odd");
        assert_eq!(
            source.error_at(99, "is odd").message,
            "`s.json:2:13` is odd"
        );
    }

    #[test]
    fn missing_file_says_what_its_path_is_relative_to() {
        let error = read("no-such-file.json");
        assert_eq!(
            error.message,
            "failed to read `no-such-file.json`: not found"
        );
        assert!(
            error.hint.contains("working directory, `/"),
            "{}",
            error.hint
        );
        let error = read("/no-such-file.json");
        assert_eq!(error.hint, "");
    }

    #[test]
    fn text_must_be_utf_8() {
        let error = Source::of("s.toml", b"a = 1\nb\xFF").text().unwrap_err();
        assert_eq!(error.message, "`s.toml:2:2` is not UTF-8");
    }

    #[cfg(unix)]
    #[test]
    fn endless_file_is_refused() {
        let error = read("/dev/zero");
        assert_eq!(error.message, "`/dev/zero` holds more than 16 MiB");
    }
}
