//! `configuration.local.file`: items of a file in YAML or JSON, read again when it changes.
//!
//! Dapr has no such store. The file holds a mapping from keys to values, or to `value`, `version`
//! and `metadata`; a version that is not given comes from the value.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_yaml::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{ConfigurationStore, Item, Items, ItemsRequest, Registration};
use crate::context::Context;
use crate::stamp::Stamp;
use crate::stores::StoreError;

pub(super) const REGISTRATION: Registration = Registration {
    kind: "configuration.local.file",
    summary: "a file in YAML or JSON, watched",
    build: |config| {
        let Some(path) = config.text("configFile")?.filter(|path| !path.is_empty()) else {
            let error = StoreError::misconfigured("`configFile` is missing");
            return Err(error.with_hint("set it to the path of a file in YAML or JSON"));
        };
        let path = config.readable_path(path)?;
        Ok(Arc::new(LocalFile::open(path)?))
    },
};

/// How often the file is looked at. Looking works everywhere, for links that are exchanged and for
/// volumes over a network as well, and costs one call of the system.
///
/// Who writes a file in place may stand still between two writes for some tens of milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many looks a file may go on changing before it is read nevertheless.
const MOST_LOOKS: u32 = 5;
/// For how many looks a file that has become empty is taken for one that is about to be written: who
/// writes it may stand still for longer than that, and all items would be gone for a moment.
const EMPTY_LOOKS: u32 = 4;
/// How long the first request may wait for that.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How many bytes a file may have.
const MOST_BYTES: u64 = 4 << 20;
/// How many bytes of a digest make a version.
const VERSION_BYTES: usize = 8;

/// The items of a file.
#[derive(Debug)]
pub struct LocalFile {
    file: Arc<Watched>,
    /// When it was opened.
    stamp: Option<Stamp>,
    /// Set once somebody reads: from then on the file is looked at. Says whether it has been.
    looking: OnceLock<watch::Receiver<bool>>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    items: watch::Sender<Arc<Items>>,
}

impl LocalFile {
    /// Reads a file, which is read again whenever it changes. What is broken then is told in the
    /// log, and leaves the items as they were.
    ///
    /// # Errors
    /// Fails where the file cannot be read, or is not a mapping of items.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let stamp = Stamp::of(&path);
        let items = watch::Sender::new(Arc::new(read(&path)?));
        Ok(Self {
            file: Arc::new(Watched { path, items }),
            stamp,
            looking: OnceLock::new(),
        })
    }

    /// Looks at the file from now on, for as long as somebody has the store or watches it. It may have
    /// changed since it was opened: waits until that is known, or cannot be for now.
    async fn look(&self) {
        let looking = self.looking.get_or_init(|| {
            let (looked, looking) = watch::channel(false);
            let seen = Seen {
                stamp: self.stamp,
                ..Seen::default()
            };
            tokio::spawn(look(Arc::downgrade(&self.file), seen, looked));
            looking
        });
        let mut looking = looking.clone();
        let looked = looking.wait_for(|is_done| *is_done);
        let _in_time = tokio::time::timeout(FIRST_LOOK, looked).await;
    }
}

#[async_trait]
impl ConfigurationStore for LocalFile {
    async fn get(&self, request: &ItemsRequest, _context: &Context) -> Result<Items, StoreError> {
        self.look().await;
        let items = Arc::clone(&self.file.items.borrow());
        let wanted = items.iter().filter(|(key, _)| request.wants(key));
        Ok(wanted
            .map(|(key, item)| (key.clone(), item.clone()))
            .collect())
    }

    async fn watch(
        &self,
        _request: &ItemsRequest,
        _context: &Context,
    ) -> Result<watch::Receiver<Arc<Items>>, StoreError> {
        self.look().await;
        Ok(self.file.items.subscribe())
    }
}

/// Looks at the file until nobody is interested any more.
async fn look(file: Weak<Watched>, mut seen: Seen, looked: watch::Sender<bool>) {
    let mut told = None;
    loop {
        let Some(watched) = file.upgrade() else {
            return;
        };
        // Reading can wait for a disk far away.
        let looking = tokio::task::spawn_blocking(move || {
            let read = seen.look(&watched.path);
            (watched, seen, read)
        });
        let Ok((watched, now, read)) = looking.await else {
            return;
        };
        seen = now;
        match read {
            Some(Ok(items)) => {
                told = None;
                let items = Arc::new(items);
                watched.items.send_if_modified(|current| {
                    let is_new = *current != items;
                    *current = items;
                    is_new
                });
            }
            Some(Err(error)) if told.as_ref() != Some(&error) => {
                tracing::error!(
                    path = %watched.path.display(),
                    "configuration is not taken over: {}", error.message
                );
                told = Some(error);
            }
            None | Some(Err(_)) => {}
        }
        drop(watched);
        looked.send_if_modified(|is_done| {
            let was_done = std::mem::replace(is_done, *is_done || !seen.is_changing());
            was_done != *is_done
        });
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What was seen of a file.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// At the last look.
    stamp: Option<Stamp>,
    /// For how many looks it has been changing.
    looks: u32,
    /// Whether it was read as it was at the last look.
    is_read: bool,
}

impl Seen {
    /// Whether it is not known yet what it will hold.
    fn is_changing(&self) -> bool {
        self.looks > 0 && self.looks <= MOST_LOOKS
    }

    /// Reads a file that has changed, once a second look finds it as the first did: one that is
    /// being written has lost the keys that are not there yet.
    fn look(&mut self, path: &Path) -> Option<Result<Items, StoreError>> {
        let now = Stamp::of(path);
        let is_awaited = (1..EMPTY_LOOKS).contains(&self.looks) && is_empty(path);
        let is_settled = self.stamp == now && !is_awaited;
        self.stamp = now;
        self.looks = if is_settled { 0 } else { self.looks + 1 };
        self.is_read &= is_settled;
        if self.is_changing() || self.is_read {
            return None;
        }
        let read = read(path);
        // It may have changed meanwhile.
        self.is_read = is_settled && Stamp::of(path) == now;
        (self.is_read || self.looks > MOST_LOOKS).then_some(read)
    }
}

fn is_empty(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0)
}

fn read(path: &Path) -> Result<Items, StoreError> {
    let failed = |error: &io::Error| {
        let message = format!("failed to read the file: {}", error.kind());
        StoreError::misconfigured(message).of_property("configFile")
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut file = file.take(MOST_BYTES + 1);
    file.read_to_end(&mut text)
        .map_err(|error| failed(&error))?;
    if text.len() > usize::try_from(MOST_BYTES).unwrap_or(usize::MAX) {
        let message = format!("the file has more than {MOST_BYTES} bytes");
        return Err(StoreError::misconfigured(message).of_property("configFile"));
    }
    parse(&text).map_err(|error| error.of_property("configFile"))
}

/// An item that says more than its value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    value: Value,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    metadata: Option<std::collections::BTreeMap<String, String>>,
}

/// Reads items. What is wrong is told by its line or key; nothing of a value is shown.
fn parse(text: &[u8]) -> Result<Items, StoreError> {
    let value: Value = serde_yaml::from_slice(text).map_err(|error| {
        let place = error
            .location()
            .map(|place| format!(" on line {}", place.line()));
        let message = format!("the file is not YAML{}", place.unwrap_or_default());
        StoreError::misconfigured(message)
    })?;
    let mapping = match value {
        Value::Null => return Ok(Items::new()),
        Value::Mapping(mapping) => mapping,
        _ => {
            let error = StoreError::misconfigured("the file is not a mapping of keys to values");
            return Err(error.with_hint("write `KEY: VALUE`, a line for each"));
        }
    };
    let mut items = Items::new();
    for (key, value) in mapping {
        let Some(key) = scalar(&key) else {
            return Err(StoreError::misconfigured("a key is not text"));
        };
        let item = item(value).ok_or_else(|| {
            let message = format!(
                "the value of `{}` is not text",
                crate::problem::printable(&key)
            );
            StoreError::misconfigured(message)
                .with_hint("write text, or a mapping with `value`, `version` and `metadata`")
        })?;
        items.insert(key, item);
    }
    Ok(items)
}

fn item(value: Value) -> Option<Item> {
    let (value, version, metadata) = match value {
        value @ Value::Mapping(_) => {
            let written: Written = serde_yaml::from_value(value).ok()?;
            (written.value, written.version, written.metadata)
        }
        value => (value, None, None),
    };
    let value = scalar(&value)?;
    Some(Item {
        version: version.unwrap_or_else(|| version_of(&value)),
        metadata: metadata.unwrap_or_default(),
        value,
    })
}

/// A scalar as text. Numbers with a fraction are not: `1.10` would become `1.1`.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// A version that changes when the value does.
fn version_of(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let mut version = String::with_capacity(VERSION_BYTES * 2);
    for byte in digest.iter().take(VERSION_BYTES) {
        let _ = write!(version, "{byte:02x}");
    }
    version
}

#[cfg(test)]
mod tests {
    use super::{EMPTY_LOOKS, LocalFile, MOST_LOOKS, Seen, parse, version_of};
    use crate::configuration::{ConfigurationStore as _, Item, Items, ItemsRequest};
    use crate::context::Context;

    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

    fn items(text: &str) -> Items {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn items_are_values_or_mappings() {
        let found = items(
            "a: x\nb: 8080\nc: true\nd: {value: y, version: '7', metadata: {k: v}}\n'': ''\n",
        );
        assert_eq!(found["a"], Item::new("x", version_of("x")));
        assert_eq!(found["b"].value, "8080");
        assert_eq!(found["c"].value, "true");
        assert_eq!(
            (found["d"].value.as_str(), found["d"].version.as_str()),
            ("y", "7")
        );
        assert_eq!(found["d"].metadata["k"], "v");
        assert_eq!(found[""].value, "");
        assert_eq!(items(""), Items::new());
        assert_eq!(items("{\"a\": \"x\"}")["a"].value, "x");
    }

    #[test]
    fn versions_come_from_values() {
        assert_eq!(version_of("x"), version_of("x"));
        assert_ne!(version_of("x"), version_of("y"));
        assert_eq!(version_of("").len(), 16);
    }

    #[test]
    fn what_is_wrong_is_named_without_a_value() {
        for (text, message) in [
            ("a: s3cr3t\nb: [s3cr3t", "the file is not YAML on line 3"),
            ("s3cr3t", "the file is not a mapping of keys to values"),
            ("a: 1.10", "the value of `a` is not text"),
            ("a: [s3cr3t]", "the value of `a` is not text"),
            (
                "a: {value: s3cr3t, vesion: 1}",
                "the value of `a` is not text",
            ),
            ("[s3cr3t]: b", "a key is not text"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(!error.message.contains("s3cr3t"), "{}", error.message);
            assert!(
                error
                    .message
                    .starts_with(message.split(" on ").next().unwrap()),
                "{text}: {}",
                error.message
            );
        }
    }

    #[test]
    fn a_file_that_is_being_written_is_not_read() {
        let file = std::env::temp_dir().join(format!("keyref-{}.yaml", uuid::Uuid::new_v4()));
        let mut seen = Seen::default();
        let mut look = || seen.look(&file).map(Result::unwrap);
        std::fs::write(&file, "a: one").unwrap();
        assert_eq!(look(), None);
        assert_eq!(look().unwrap()["a"].value, "one");
        assert_eq!(look(), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(look(), None);
        std::fs::write(&file, "a: other").unwrap();
        assert_eq!(look(), None);
        assert_eq!(look().unwrap()["a"].value, "other");
        // One that stays empty has no items.
        std::fs::write(&file, "").unwrap();
        for _ in 0..EMPTY_LOOKS {
            assert_eq!(look(), None);
        }
        assert_eq!(look(), Some(Items::new()));
        assert_eq!(look(), None);
        // One that is never at rest is read nevertheless.
        let changing = (1..=MOST_LOOKS + 1).map(|look| "\n".repeat(look as usize));
        let read: Vec<_> = changing
            .map(|end| {
                std::fs::write(&file, format!("a: last{end}")).unwrap();
                look().map(|items| items["a"].value.clone())
            })
            .collect();
        let waiting = vec![None; MOST_LOOKS as usize];
        assert_eq!(read, [waiting, vec![Some("last".to_owned())]].concat());
        std::fs::remove_file(&file).unwrap();
    }

    #[tokio::test]
    async fn the_first_read_knows_what_has_changed_since_the_start() {
        let file = std::env::temp_dir().join(format!("keyref-{}.yaml", uuid::Uuid::new_v4()));
        for is_watched in [false, true] {
            std::fs::write(&file, "a: old").unwrap();
            let store = LocalFile::open(&file).unwrap();
            std::fs::write(&file, "a: newer").unwrap();
            let (request, context) = (ItemsRequest::default(), Context::new());
            let items = if is_watched {
                let states = store.watch(&request, &context).await.unwrap();
                Items::clone(&states.borrow())
            } else {
                store.get(&request, &context).await.unwrap()
            };
            assert_eq!(items["a"].value, "newer");
        }
        // What cannot be read any more is as it was.
        let store = LocalFile::open(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let read = store.get(&ItemsRequest::default(), &Context::new()).await;
        assert_eq!(read.unwrap()["a"].value, "newer");
    }

    #[tokio::test]
    async fn changes_are_seen_and_broken_ones_are_not_taken_over() {
        let file = std::env::temp_dir().join(format!("keyref-{}.yaml", uuid::Uuid::new_v4()));
        std::fs::write(&file, "a: one").unwrap();
        let store = LocalFile::open(&file).unwrap();
        let (request, context) = (ItemsRequest::default(), Context::new());
        let mut states = store.watch(&request, &context).await.unwrap();
        let mut write = async |text: &str, value: &str| {
            std::fs::write(&file, text).unwrap();
            let changed = async {
                while states.borrow_and_update()["a"].value != value {
                    states.changed().await.unwrap();
                }
            };
            tokio::time::timeout(PATIENCE, changed).await.unwrap();
        };
        write("a: two", "two").await;
        // Of the same length, at once.
        write("a: six", "six").await;
        std::fs::write(&file, "a: [").unwrap();
        tokio::time::sleep(super::LOOK_EVERY * 4).await;
        assert_eq!(
            store.get(&request, &context).await.unwrap()["a"].value,
            "six"
        );
        std::fs::remove_file(&file).unwrap();
        tokio::time::sleep(super::LOOK_EVERY * 4).await;
        assert_eq!(
            store.get(&request, &context).await.unwrap()["a"].value,
            "six"
        );
        std::fs::write(&file, "b: new").unwrap();
        let changed = async {
            while !states.borrow_and_update().contains_key("b") {
                states.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, changed).await.unwrap();
        let items = store.get(&request, &context).await.unwrap();
        assert_eq!(items.keys().collect::<Vec<_>>(), ["b"]);
        std::fs::remove_file(&file).unwrap();
    }
}
