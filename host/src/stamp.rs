//! What tells that a file has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How deep a folder is looked into: Kubernetes mounts a secret as a folder of files.
const DEEPEST: usize = 2;

/// What tells that a file has changed, be it written in place or exchanged. Links are followed.
///
/// A file that is written twice within what the clock can tell, to the same length, has one stamp:
/// who reads it looks once more some milliseconds later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    identity: Identity,
}

impl Stamp {
    /// That of the file, or folder, at a path; nothing where there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self::of_metadata(&metadata))
    }

    fn of_metadata(metadata: &fs::Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            identity: Identity::of(metadata),
        }
    }
}

/// What tells that one of several files has changed, or a file in one of several folders.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stamps {
    paths: Vec<PathBuf>,
    found: Vec<Option<Stamp>>,
    has_pipe: bool,
}

impl Stamps {
    /// Those of the files and folders at these paths.
    pub fn of(paths: Vec<PathBuf>) -> Self {
        let mut stamps = Self::default();
        for path in &paths {
            stamps.add(path, DEEPEST);
        }
        Self { paths, ..stamps }
    }

    /// Those of the same files and folders as they are now.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(self.paths.clone())
    }

    /// Whether there is nothing that could change.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether one of the paths leads to a pipe or a device, which can be read once and has no stamp.
    pub fn has_pipe(&self) -> bool {
        self.has_pipe
    }

    fn add(&mut self, path: &Path, depth: usize) {
        let metadata = fs::metadata(path).ok();
        let is = |kind: fn(&fs::Metadata) -> bool| metadata.as_ref().is_some_and(kind);
        let is_folder = is(fs::Metadata::is_dir);
        let is_pipe = is(|metadata| !metadata.is_file() && !metadata.is_dir());
        self.has_pipe |= is_pipe && depth == DEEPEST;
        let stamped = metadata.filter(|_| !is_pipe);
        self.found.push(stamped.as_ref().map(Stamp::of_metadata));
        if let Some(depth) = depth.checked_sub(1)
            && is_folder
            && let Ok(entries) = fs::read_dir(path)
        {
            let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in &paths {
                self.add(path, depth);
            }
        }
    }
}

/// Which file it is, and when it was last touched in any way: a link may lead to another one of the
/// same age, and a copy may bring its age along.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Identity {
    device: u64,
    number: u64,
    /// In seconds and nanoseconds.
    changed: (i64, i64),
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;

        Self {
            device: metadata.dev(),
            number: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::{Stamp, Stamps};

    #[test]
    fn writing_and_exchanging_change_it_and_reading_does_not() {
        let folder = std::env::temp_dir().join(format!("keyref-stamp-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, other) = (folder.join("a"), folder.join("b"));
        assert_eq!(Stamp::of(&path), None);
        fs::write(&path, "1").unwrap();
        let age = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(age).unwrap();
        let first = Stamp::of(&path);
        assert_eq!(fs::read(&path).unwrap(), b"1");
        assert_eq!(Stamp::of(&path), first);
        fs::write(&path, "22").unwrap();
        assert_ne!(Stamp::of(&path), first);
        // Of the same length and age.
        fs::write(&other, "2").unwrap();
        let file = File::options().write(true).open(&other).unwrap();
        file.set_modified(age).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::of(&path), first);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn folders_count_with_their_files_and_devices_are_told_apart() {
        let folder = std::env::temp_dir().join(format!("keyref-stamps-{}", std::process::id()));
        fs::create_dir_all(folder.join("secret")).unwrap();
        let stamps = Stamps::of(vec![folder.clone(), folder.join("absent")]);
        assert_eq!(stamps.again(), stamps);
        fs::write(folder.join("secret/key"), "1").unwrap();
        let written = stamps.again();
        assert_ne!(written, stamps);
        fs::write(folder.join("secret/key"), "22").unwrap();
        assert_ne!(written.again(), written);
        assert!(!written.has_pipe());
        assert!(Stamps::of(vec!["/dev/null".into()]).has_pipe());
        fs::remove_dir_all(&folder).unwrap();
    }
}
