//! `secretstores.local.file`: secrets in one file, or in a folder as Kubernetes mounts them.
//!
//! | path | read as |
//! |---|---|
//! | `.yaml`, `.yml` | a tree as in JSON, or manifests of Kubernetes secrets |
//! | `.toml` | a tree as in JSON |
//! | `.env`, `*.env`, `.env.*` | variables, each a secret with one key of its own name |
//! | a folder | a secret in each file, with one key of its own name; a folder in it is one secret |
//! | all else | JSON, by Dapr's rules |
//!
//! A tree is flattened: `{"redis": {"users": ["x"]}}` is the secret `redis:users:0` with one key of
//! that name, or, where the store is multi-valued, the secret `redis` with the key `users:0`.
//! Empty objects and arrays are nothing, and neither is `null`. Numbers and booleans are their text
//! as it stands in the file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use self::scalar::ScalarText;
use self::source::Source;
use crate::context::Context;
use crate::secret::Secret;
use crate::stores::{
    BulkRequest, Registration, SecretRequest, SecretStore, StoreConfig, StoreError,
};

mod dotenv;
mod flattener;
mod folder;
mod json;
mod manifest;
mod scalar;
mod source;
mod toml;
mod yaml;

pub(super) const REGISTRATION: Registration = Registration {
    kind: "secretstores.local.file",
    summary: "a file of secrets in JSON, YAML, TOML or dotenv, or a folder of them",
    argument: "secretsFile",
    build: |config| Ok(Arc::new(from_config(config)?)),
};

type Secrets = BTreeMap<String, Secret>;

/// Secrets in a file or a folder, read once when the store is made, as in Dapr: what is written to
/// the file later is not seen.
///
/// A file holds at most 16 MiB.
///
/// ```
/// use keyref::stores::LocalFile;
///
/// # let folder = std::env::temp_dir().join(format!("keyref-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("secrets.json");
/// std::fs::write(&path, r#"{"redis": {"password": "s3cr3t"}}"#)?;
///
/// // The secret `redis:password`.
/// let store = LocalFile::open(&path)?;
/// // The secret `redis` with the key `password`.
/// let store = LocalFile::options().with_multi_valued(true).open(&path)?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LocalFile {
    secrets: Secrets,
}

impl LocalFile {
    /// Reads a file or folder with the default options.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::options().open(path)
    }

    /// The options that a file can be opened with.
    pub fn options() -> LocalFileOptions {
        LocalFileOptions::default()
    }
}

/// How the tree in a file becomes secrets; from [`LocalFile::options`].
#[derive(Clone, Debug)]
pub struct LocalFileOptions {
    separator: String,
    multi_valued: bool,
    scalars: ScalarText,
}

impl LocalFileOptions {
    /// Joins the names on the way to a value with this. Empty for the default, `:`.
    #[must_use]
    pub fn with_separator(mut self, separator: impl Into<String>) -> Self {
        self.separator = separator.into();
        if self.separator.is_empty() {
            self.separator = Self::default().separator;
        }
        self
    }

    /// Makes one secret of each object at the top, and its values the secret's keys. As in Dapr,
    /// only objects and text count there.
    ///
    /// Without this, which is the default, each value is a secret with one key of its own name.
    #[must_use]
    pub fn with_multi_valued(mut self, multi_valued: bool) -> Self {
        self.multi_valued = multi_valued;
        self
    }

    /// Reads a file or folder.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<LocalFile, StoreError> {
        self.open_as(path.as_ref(), path.as_ref())
    }

    /// The same for a file that goes by another path, whose name then says how it is read.
    fn open_as(&self, path: &Path, name: &Path) -> Result<LocalFile, StoreError> {
        let secrets = if path.is_dir() {
            folder::read(path)?
        } else {
            self.read(&Source::read(path, name)?)?
        };
        Ok(LocalFile { secrets })
    }

    fn read(&self, source: &Source) -> Result<Secrets, StoreError> {
        let format = Format::of(source.path());
        // Whatever Dapr can read, it reads as JSON.
        if self.scalars == ScalarText::Dapr
            && format != Format::Json
            && let Ok(secrets) = json::read(source, self)
        {
            return Ok(secrets);
        }
        match format {
            Format::Json => json::read(source, self),
            Format::Yaml => yaml::read(source, self),
            Format::Toml => toml::read(source, self),
            Format::Dotenv => dotenv::read(source),
        }
    }
}

impl Default for LocalFileOptions {
    fn default() -> Self {
        Self { separator: ":".to_owned(), multi_valued: false, scalars: ScalarText::Plain }
    }
}

#[async_trait]
impl SecretStore for LocalFile {
    async fn get(
        &self,
        request: &SecretRequest,
        _context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        Ok(self.secrets.get(&request.name).cloned())
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Ok(self.secrets.clone())
    }
}

fn from_config(config: &StoreConfig) -> Result<LocalFile, StoreError> {
    let path = config.text("secretsFile")?.unwrap_or_default();
    if path.is_empty() {
        return Err(StoreError::misconfigured("missing local secrets file in metadata")
            .with_hint("set the property `secretsFile` to the path of a file or folder"));
    }
    let mut options = LocalFile::options()
        .with_separator(config.text("nestedSeparator")?.unwrap_or_default())
        .with_multi_valued(config.flag("multiValued")?);
    if config.dapr_mode {
        options.scalars = ScalarText::Dapr;
    }
    // The readable path is where links lead to, and need not have the extension.
    options.open_as(&config.readable_path(path)?, Path::new(path))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Json,
    Yaml,
    Toml,
    Dotenv,
}

impl Format {
    fn of(path: &Path) -> Self {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_lowercase();
        // The extension of `.env` is none, in the words of the standard library.
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            Some("toml") => Self::Toml,
            Some("env") => Self::Dotenv,
            _ if name.starts_with(".env.") => Self::Dotenv,
            _ => Self::Json,
        }
    }
}
