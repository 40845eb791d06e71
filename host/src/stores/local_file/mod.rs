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
use std::path::{Path, PathBuf};
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
mod escape;
mod flattener;
mod folder;
mod json;
mod leaves;
mod manifest;
mod node;
mod scalar;
mod source;
mod toml;
mod yaml;

pub(super) const REGISTRATION: Registration = Registration {
    kind: "secretstores.local.file",
    summary: "a file of secrets in JSON, YAML, TOML or dotenv, or a folder of them",
    argument: SECRETS_FILE,
    argument_is_path: true,
    is_namespaced: false,
    files: |config| {
        let path = config.text(SECRETS_FILE).ok().flatten();
        path.map(PathBuf::from).into_iter().collect()
    },
    build: |config| Ok(Arc::new(from_config(config)?)),
};

type Secrets = BTreeMap<String, Secret>;

/// Secrets in a file or a folder, read once when the store is made, as in Dapr: what is written to
/// the file later is not seen.
///
/// A file holds at most 16 MiB, and at most 4 MiB of YAML.
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
    ///
    /// # Errors
    /// Fails where it cannot be read, is not what its name says, or gives two values one name. The
    /// error shows a place, and nothing of what stands there.
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
    ///
    /// # Errors
    /// Fails as [`LocalFile::open`] does.
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
        Self {
            separator: ":".to_owned(),
            multi_valued: false,
            scalars: ScalarText::Plain,
        }
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

    fn answers_at_once(&self) -> bool {
        true
    }

    fn known_names(&self) -> Vec<&str> {
        self.secrets.keys().map(String::as_str).collect()
    }
}

/// The property that names the file.
const SECRETS_FILE: &str = "secretsFile";

fn from_config(config: &StoreConfig) -> Result<LocalFile, StoreError> {
    let path = config.text(SECRETS_FILE)?.unwrap_or_default();
    if path.is_empty() {
        return Err(
            StoreError::misconfigured("missing local secrets file in metadata")
                .with_hint("set the property `secretsFile` to the path of a file or folder")
                .of_property(SECRETS_FILE),
        );
    }
    let mut options = LocalFile::options()
        .with_separator(config.text("nestedSeparator")?.unwrap_or_default())
        .with_multi_valued(config.flag("multiValued")?);
    if config.dapr_mode {
        options.scalars = ScalarText::Dapr;
    }
    // The readable path is where links lead to, and need not have the extension.
    let readable = config.readable_path(path).and_then(|readable| {
        // A pipe or a device could keep its reader for ever: only an operator may name one.
        let is_endless = || readable.exists() && !readable.is_file() && !readable.is_dir();
        if config.is_from_document() && is_endless() {
            let message = "the path that a document names is not that of a file or folder";
            return Err(StoreError::misconfigured(message));
        }
        Ok(readable)
    });
    let opened = readable.and_then(|readable| options.open_as(&readable, Path::new(path)));
    opened.map_err(|error| error.of_property(SECRETS_FILE))
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
        let name = path
            .file_name()
            .and_then(OsStr::to_str)
            .unwrap_or_default()
            .to_lowercase();
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{LocalFile, REGISTRATION, Secrets, from_config};
    use crate::stores::StoreConfig;

    /// Secrets as `secret/key=value`, sorted.
    pub(super) fn listing(secrets: &Secrets) -> Vec<String> {
        let entries = secrets.iter().flat_map(|(name, secret)| {
            secret
                .iter()
                .map(move |(key, value)| (name, key, value.reveal_text().unwrap()))
        });
        entries
            .map(|(name, key, value)| format!("{name}/{key}={value}"))
            .collect()
    }

    /// A folder for one test.
    pub(super) struct Folder(PathBuf);

    impl Folder {
        pub(super) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("keyref-local-file-{}-{next}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(super) fn path(&self) -> &Path {
            &self.0
        }

        pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn config(path: &Path) -> StoreConfig {
        StoreConfig::new("secrets", REGISTRATION.kind)
            .with_property("secretsFile", path.to_str().unwrap())
    }

    #[test]
    fn name_of_a_file_says_how_it_is_read() {
        let folder = Folder::new();
        for (name, text) in [
            ("a.json", r#"{"k": "v"}"#),
            ("a.JSON", r#"{"k": "v"}"#),
            ("secrets", r#"{"k": "v"}"#),
            ("a.conf", r#"{"k": "v"}"#),
            ("a.yaml", "k: v"),
            ("a.yml", "k: v"),
            ("a.toml", "k = 'v'"),
            (".env", "k=v"),
            ("prod.env", "k=v"),
            (".env.local", "k=v"),
        ] {
            let store = LocalFile::open(folder.write(name, text.as_bytes())).unwrap();
            assert_eq!(listing(&store.secrets), ["k/k=v"], "{name}");
        }
    }

    #[test]
    fn properties_are_those_of_dapr() {
        let folder = Folder::new();
        let config = config(&folder.write("a.json", br#"{"a": {"b": {"c": "v"}}}"#));
        let read = |config: &StoreConfig| listing(&from_config(config).unwrap().secrets);
        assert_eq!(read(&config), ["a:b:c/a:b:c=v"]);
        let config = config.with_property("nestedSeparator", "__");
        assert_eq!(read(&config), ["a__b__c/a__b__c=v"]);
        let config = config
            .with_property("multiValued", "yes")
            .with_property("nestedSeparator", "");
        assert_eq!(read(&config), ["a/b:c=v"]);
    }

    #[test]
    fn missing_property_has_the_text_of_dapr() {
        for config in [
            StoreConfig::new("s", REGISTRATION.kind),
            StoreConfig::new("s", REGISTRATION.kind).with_property("secretsFile", ""),
        ] {
            let error = from_config(&config).unwrap_err();
            assert_eq!(error.message, "missing local secrets file in metadata");
        }
    }

    #[test]
    fn dapr_mode_reads_json_by_any_name_and_prints_as_dapr() {
        let folder = Folder::new();
        let text = br#"{"n": 1000000, "b": true, "z": null, "n": 42}"#;
        for name in ["a.json", "a.yaml", "a.toml", "a.env"] {
            let mut config = config(&folder.write(name, text));
            config.dapr_mode = true;
            assert_eq!(
                listing(&from_config(&config).unwrap().secrets),
                [
                    "b/b=%!s(bool=true)",
                    "n/n=%!s(float64=42)",
                    "z/z=%!s(<nil>)"
                ],
                "{name}"
            );
        }
        let mut config = config(&folder.write("tree.yaml", b"n: 42"));
        config.dapr_mode = true;
        assert_eq!(listing(&from_config(&config).unwrap().secrets), ["n/n=42"]);
    }

    #[test]
    fn no_output_shows_a_value() {
        let folder = Folder::new();
        let path = folder.write("a.json", br#"{"k": "s3cr3t"}"#);
        assert!(!format!("{:?}", LocalFile::open(path).unwrap()).contains("s3cr3t"));
        for (name, text) in [
            ("a.json", r#"{"k": "s3cr3t" s3cr3t"#),
            ("a.json", r#""s3cr3t""#),
            ("a.json", r#"{"k": "s3cr3t\q"}"#),
            ("a.yaml", "k: 's3cr3t"),
            ("a.yaml", "k: !s3cr3t s3cr3t"),
            ("a.yaml", "k: *s3cr3t"),
            ("a.yaml", "s3cr3t"),
            (
                "a.yaml",
                "apiVersion: v1\nkind: Secret\nmetadata: {name: n}\ndata: {k: s3cr3t!}",
            ),
            ("a.toml", "k = s3cr3t"),
            ("a.toml", "k = 's3cr3t' s3cr3t"),
            (".env", "k='s3cr3t's3cr3t"),
            (".env", "k=s3cr3t$s3cr3t"),
            (".env", "s3cr3t"),
        ] {
            let error = LocalFile::open(folder.write(name, text.as_bytes())).unwrap_err();
            assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
        }
    }
}
