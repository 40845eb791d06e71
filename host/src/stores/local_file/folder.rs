//! A folder of secrets, as Kubernetes mounts them and as they are laid out by hand.
//!
//! A file is a secret with one key of its own name; a folder is a secret with a key for each file.
//! Values are the files' bytes, with a line break at the end where there is one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Secrets;
use super::source::{Source, shown, unreadable};
use crate::secret::{Secret, SecretValue};
use crate::stores::StoreError;

/// The most that the files of a folder may hold together.
const MAX_BYTES: usize = 64 << 20;

/// What a file counts beside its bytes.
const FILE_COST: usize = 1 << 10;

pub(super) fn read(path: &Path) -> Result<Secrets, StoreError> {
    let root = path
        .canonicalize()
        .map_err(|error| unreadable(path, &error))?;
    let mut folder = Folder {
        root,
        left: Some(MAX_BYTES),
    };
    let mut secrets = Secrets::new();
    for (name, entry) in entries(path)? {
        let secret = match folder.kind(&entry)? {
            Kind::File(real) => [(name.as_str(), folder.value(&real, &entry)?)]
                .into_iter()
                .collect(),
            Kind::Folder => folder.secret(&entry)?,
        };
        secrets.insert(name, secret);
    }
    if folder.left.is_none() {
        let (path, limit) = (shown(path), MAX_BYTES >> 20);
        return Err(StoreError::misconfigured(format!(
            "`{path}` holds more than {limit} MiB"
        )));
    }
    Ok(secrets)
}

struct Folder {
    /// Where the folder really is: links do not lead out of it.
    root: PathBuf,
    /// How much may still be read.
    left: Option<usize>,
}

enum Kind {
    /// A file, and where it really is.
    File(PathBuf),
    Folder,
}

impl Folder {
    fn kind(&self, path: &Path) -> Result<Kind, StoreError> {
        let failed = |error| unreadable(path, &error);
        let real = path.canonicalize().map_err(failed)?;
        let shown = shown(path);
        if !real.starts_with(&self.root) {
            let what = format!("`{shown}` is a link that leads out of the folder of secrets");
            return Err(StoreError::misconfigured(what));
        }
        let kind = fs::metadata(&real).map_err(failed)?.file_type();
        if kind.is_dir() {
            Ok(Kind::Folder)
        } else if kind.is_file() {
            Ok(Kind::File(real))
        } else {
            Err(StoreError::misconfigured(format!(
                "`{shown}` is neither a file nor a folder"
            )))
        }
    }

    fn secret(&mut self, path: &Path) -> Result<Secret, StoreError> {
        let mut keys = BTreeMap::new();
        for (key, entry) in entries(path)? {
            let Kind::File(real) = self.kind(&entry)? else {
                let shown = shown(&entry);
                return Err(
                    StoreError::misconfigured(format!("`{shown}` is a folder too deep")).with_hint(
                        "a folder of secrets holds files, and a folder in it only files",
                    ),
                );
            };
            keys.insert(key, self.value(&real, &entry)?);
        }
        Ok(keys.into_iter().collect())
    }

    /// What a file holds; nothing once the limit is reached.
    fn value(&mut self, path: &Path, name: &Path) -> Result<SecretValue, StoreError> {
        if self.left.is_none() {
            return Ok(SecretValue::from(""));
        }
        let source = Source::read(path, name)?;
        self.left = self
            .left
            .and_then(|left| left.checked_sub(source.bytes().len().saturating_add(FILE_COST)));
        Ok(SecretValue::new(source.bytes()))
    }
}

/// The entries of a folder, by name. The kubelet keeps its own under names that begin with `..`.
fn entries(folder: &Path) -> Result<BTreeMap<String, PathBuf>, StoreError> {
    let failed = |error| unreadable(folder, &error);
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().into_string().map_err(|_| {
            let shown = shown(folder);
            StoreError::misconfigured(format!("`{shown}` has an entry whose name is not UTF-8"))
        })?;
        if !name.starts_with("..") {
            entries.insert(name, entry.path());
        }
    }
    Ok(entries)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::tests::{Folder, listing};
    use super::read;

    #[test]
    fn file_is_a_secret_and_a_folder_is_one_with_many_keys() {
        let folder = Folder::new();
        folder.write("token", b"t0k3n\n");
        folder.write("binary", b"\xFF\0");
        folder.write("redis/password", b"pw");
        folder.write("redis/.dockerconfigjson", b"{}");
        fs::create_dir(folder.path().join("empty")).unwrap();
        let secrets = read(folder.path()).unwrap();
        assert_eq!(secrets["binary"].get("binary").unwrap().reveal(), b"\xFF\0");
        assert!(secrets["empty"].is_empty());
        let texts = secrets
            .into_iter()
            .filter(|(name, _)| name != "binary")
            .collect();
        assert_eq!(
            listing(&texts),
            [
                "redis/.dockerconfigjson={}",
                "redis/password=pw",
                "token/token=t0k3n\n"
            ]
        );
    }

    #[test]
    fn volume_of_the_kubelet_is_read_through_its_links() {
        let folder = Folder::new();
        folder.write("redis/..2024_01_01/password", b"pw");
        symlink("..2024_01_01", folder.path().join("redis/..data")).unwrap();
        symlink("..data/password", folder.path().join("redis/password")).unwrap();
        assert_eq!(
            listing(&read(folder.path()).unwrap()),
            ["redis/password=pw"]
        );
        let volume = folder.path().join("redis");
        assert_eq!(listing(&read(&volume).unwrap()), ["password/password=pw"]);
    }

    #[test]
    fn link_out_of_the_folder_is_refused() {
        let folder = Folder::new();
        folder.write("outside", b"s3cr3t");
        folder.write("inside/token", b"");
        symlink("../outside", folder.path().join("inside/link")).unwrap();
        let error = read(&folder.path().join("inside")).unwrap_err();
        assert!(
            error
                .message
                .ends_with("inside/link` is a link that leads out of the folder of secrets")
        );
    }

    #[test]
    fn folder_too_deep_is_refused() {
        let folder = Folder::new();
        folder.write("a/b/c", b"");
        assert!(
            read(folder.path())
                .unwrap_err()
                .message
                .ends_with("a/b` is a folder too deep")
        );
    }
}
