//! Files that a kubeconfig refers to.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::object;
use crate::stores::{StoreConfig, StoreError};

/// The largest file that is read. Kubeconfigs of many clusters are some 100 KiB.
const LARGEST: usize = 4 << 20;

/// Which files may be read.
#[derive(Clone, Copy)]
pub(super) enum Files<'a> {
    /// Any file: an operator wrote the kubeconfig.
    Any,
    /// Those that a document was granted.
    Granted(&'a StoreConfig),
}

impl<'a> Files<'a> {
    /// Those that settings may name.
    pub(super) fn of(settings: &'a StoreConfig) -> Self {
        if settings.is_from_document() {
            Self::Granted(settings)
        } else {
            Self::Any
        }
    }

    /// The path to read, if it may be.
    pub(super) fn path(self, path: &str) -> Result<PathBuf, StoreError> {
        match self {
            Self::Any => Ok(PathBuf::from(path)),
            Self::Granted(settings) => {
                let path = settings.readable_path(path)?;
                // A pipe or a device could keep its reader for ever.
                path.is_file().then_some(path).ok_or_else(|| {
                    StoreError::misconfigured("the path that a document names is not a file's")
                })
            }
        }
    }

    /// What stands in the kubeconfig itself, in base64, or else in a file.
    pub(super) fn pem(
        self,
        name: &str,
        data: Option<&str>,
        path: Option<&str>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        match (data, path) {
            (Some(data), _) => object::decode(data).map(Some).ok_or_else(|| {
                StoreError::misconfigured(format!("the kubeconfig's `{name}-data` is not base64"))
            }),
            (None, Some(path)) => {
                let name = format!("the file of the kubeconfig's `{name}`");
                read(&self.path(path)?, &name).map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

/// A setting, unless it is empty.
pub(super) fn given(setting: Option<&String>) -> Option<&str> {
    setting
        .map(String::as_str)
        .filter(|setting| !setting.is_empty())
}

/// Reads a file.
pub(super) fn read(path: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let unreadable = |error: io::Error| {
        StoreError::misconfigured(format!("{name} cannot be read: {}", error.kind()))
    };
    // One byte more than may be, so that a file too large is noticed, all of it made ready, so that
    // no copy is left behind by a buffer that grows.
    let mut file = File::open(path)
        .map_err(unreadable)?
        .take(LARGEST as u64 + 1);
    let length = file
        .get_ref()
        .metadata()
        .map_err(unreadable)?
        .len()
        .min(file.limit());
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > LARGEST {
        return Err(StoreError::misconfigured(format!(
            "{name} is larger than 4 MiB"
        )));
    }
    Ok(bytes)
}
