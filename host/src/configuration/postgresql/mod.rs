//! `configuration.postgresql`: the rows of a table.
//!
//! A trigger of the table tells a channel which row has changed, and what the table holds is read
//! again. Of several rows of a key the one with the highest number as its version counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use self::server::Notifications;
use self::settings::Settings;
use super::hub::{Backend, Change, Connection, Hub, Topic, is_of_connection};
use super::{ConfigurationStore, Item, Items, ItemsRequest, Registration};
use crate::context::Context;
use crate::deadline::within;
use crate::error::Class;
use crate::problem::printable;
use crate::stores::{StoreConfig, StoreError};

mod connection_string;
mod server;
mod settings;
mod tls;

pub(super) const REGISTRATION: Registration = Registration {
    kind: "configuration.postgresql",
    summary: "the rows of a PostgreSQL table, watched",
    build: |config| Ok(Arc::new(Postgresql::from_config(config)?)),
};

/// The same under Dapr's other name for it.
pub(super) const ALIAS: Registration = Registration {
    kind: "configuration.postgres",
    ..REGISTRATION
};

/// What names the channel in a request, where the store's settings do not.
const CHANNEL: &str = "pgNotifyChannel";
/// How many rows are read at most.
const MOST_ROWS: usize = 100_000;

/// The rows of a PostgreSQL table with the columns `key`, `value`, `version` and `metadata`.
///
/// Nothing is asked before the first request.
pub struct Postgresql {
    server: Arc<Server>,
    hub: Hub<Server>,
}

impl Postgresql {
    /// A store with Dapr's properties, `connectionString`, `table` and so on.
    ///
    /// # Errors
    /// Fails where a property is missing, cannot be read, or asks for a login of Azure or AWS.
    /// Whether they lead to a server and a table shows at the first request.
    pub fn from_config(config: &StoreConfig) -> Result<Self, StoreError> {
        let server = Arc::new(Server {
            name: config.name.clone(),
            settings: Settings::read(config)?,
            client: Mutex::default(),
        });
        Ok(Self {
            hub: Hub::new(&config.name, Arc::clone(&server)),
            server,
        })
    }

    /// The channel that tells of changes. The store's own comes first, as in Dapr.
    fn channel(&self, request: &ItemsRequest) -> Result<String, StoreError> {
        let named = || {
            let mut metadata = request.metadata.iter();
            let named = metadata.find(|(name, _)| name.eq_ignore_ascii_case(CHANNEL));
            named.map(|(_, channel)| channel.clone())
        };
        let channel = self.server.settings.channel.clone().or_else(named);
        let channel = channel.filter(|channel| !channel.is_empty());
        let Some(channel) = channel else {
            let message = "notifyChannel must be set in component metadata or request metadata";
            let hint = format!("set `notifyChannel`, or `metadata.{CHANNEL}` of the request");
            return Err(StoreError::misconfigured(message).with_hint(hint));
        };
        if !settings::is_name(&channel) {
            let message = format!("`{CHANNEL}` is not {}", settings::NAME);
            return Err(StoreError::misconfigured(message));
        }
        Ok(channel)
    }
}

#[async_trait]
impl ConfigurationStore for Postgresql {
    async fn get(&self, request: &ItemsRequest, context: &Context) -> Result<Items, StoreError> {
        if let Some(key) = request.keys.iter().find(|key| !is_key(key)) {
            let message = format!("invalid key : '{}'", printable(key));
            return Err(StoreError::new(Class::KeyAbsent, message));
        }
        within(context, self.server.read(&request.keys)).await
    }

    async fn watch(
        &self,
        request: &ItemsRequest,
        context: &Context,
    ) -> Result<watch::Receiver<Arc<Items>>, StoreError> {
        let mut topic = Topic::of(request);
        topic.channel = self.channel(request)?;
        self.hub.join(topic, context).await
    }

    fn is_deaf(&self) -> bool {
        self.hub.is_out()
    }

    /// The old row, as if it were an update: that is what Dapr hands on.
    fn deletion(&self, last: &Item) -> Item {
        last.clone()
    }
}

impl fmt::Debug for Postgresql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgresql")
            .field("name", &self.server.name)
            .finish_non_exhaustive()
    }
}

/// A server, and the connection that questions go through.
struct Server {
    /// The store's name.
    name: String,
    settings: Settings,
    client: Mutex<Option<Arc<Client>>>,
}

impl Server {
    /// Reads keys, or all that there are. Where a connection that was there already fails, once more
    /// through a new one.
    async fn read(&self, keys: &[String]) -> Result<Items, StoreError> {
        let known = self.shared().clone();
        if let Some(client) = known.filter(|client| !client.is_closed()) {
            match self.settings.read_items(&client, keys).await {
                Err(error) if is_of_connection(&error) => *self.shared() = None,
                read => return read,
            }
        }
        // Several may connect at a time, and none waits for another.
        let (client, _) = Box::pin(self.settings.connect()).await?;
        let client = Arc::new(client);
        let read = self.settings.read_items(&client, keys).await;
        if !read.as_ref().is_err_and(is_of_connection) {
            *self.shared() = Some(client);
        }
        read
    }

    fn shared(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    async fn read_items(&self, client: &Client, keys: &[String]) -> Result<Items, StoreError> {
        let table = &self.table;
        let (wanted, parameters): (_, &[(&(dyn ToSql + Sync), Type)]) = if keys.is_empty() {
            ("", &[])
        } else {
            (" WHERE key = ANY($1)", &[(&keys, Type::TEXT_ARRAY)])
        };
        // In one order, so that of rows with one version the same one is taken each time.
        let query = format!(
            "SELECT key::text, value::text, version::text, metadata::text FROM {table}{wanted} \
             ORDER BY 1, 3, 2 LIMIT {}",
            MOST_ROWS + 1
        );
        let rows = self.answer(client.query_typed(&query, parameters)).await?;
        if rows.len() > MOST_ROWS {
            let message = format!("the table has more than {MOST_ROWS} rows");
            let error = StoreError::new(Class::Internal, message);
            return Err(error.with_hint("ask for the keys that are wanted"));
        }
        newest(rows.iter().map(item))
    }
}

/// The row of each key that has the highest number as its version, or the first where none is higher.
fn newest(
    rows: impl Iterator<Item = Result<(String, Item), StoreError>>,
) -> Result<Items, StoreError> {
    let number = |item: &Item| item.version.parse::<i64>().unwrap_or(-1);
    let mut items = Items::new();
    for row in rows {
        let (key, item) = row?;
        let is_newer = |known: &Item| number(&item) > number(known);
        if items.get(&key).is_none_or(is_newer) {
            items.insert(key, item);
        }
    }
    Ok(items)
}

fn item(row: &Row) -> Result<(String, Item), StoreError> {
    let column = |index| {
        let text: Result<Option<String>, _> = row.try_get(index);
        text.unwrap_or_default()
    };
    let lacks = |what: &str| StoreError::new(Class::Internal, format!("a row lacks its {what}"));
    let key = column(0).ok_or_else(|| lacks("key"))?;
    let named = |what: &str| lacks(&format!("{what}, that of key `{}`", printable(&key)));
    let value = column(1).ok_or_else(|| named("value"))?;
    let version = column(2).ok_or_else(|| named("version"))?;
    let metadata = match column(3) {
        None => BTreeMap::new(),
        Some(text) => {
            let metadata = serde_json::from_str::<Option<BTreeMap<String, String>>>(&text);
            let metadata = metadata.map_err(|_| named("metadata of texts"))?;
            metadata.unwrap_or_default()
        }
    };
    let mut item = Item::new(value, version);
    item.metadata = metadata;
    Ok((key, item))
}

/// Whether a key can be asked for, by Dapr's rule.
fn is_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.all(|b| b.is_ascii_alphanumeric() || b"./_".contains(&b))
}

#[async_trait]
impl Backend for Server {
    async fn connect(self: Arc<Self>) -> Result<Box<dyn Connection>, StoreError> {
        let (client, notifications) = Box::pin(self.settings.connect()).await?;
        Ok(Box::new(Listener {
            server: self,
            client,
            notifications,
            channels: BTreeMap::new(),
        }))
    }
}

/// A connection that listens to channels.
struct Listener {
    server: Arc<Server>,
    client: Client,
    notifications: Notifications,
    /// How many topics listen to each channel.
    channels: BTreeMap<String, usize>,
}

impl Listener {
    /// Names are checked, and need no escapes.
    async fn run(&self, verb: &str, channel: &str) -> Result<(), StoreError> {
        let command = format!("{verb} \"{channel}\"");
        let settings = &self.server.settings;
        settings.answer(self.client.batch_execute(&command)).await
    }
}

#[async_trait]
impl Connection for Listener {
    async fn listen(&mut self, topic: &Topic) -> Result<(), StoreError> {
        let count = self.channels.entry(topic.channel.clone()).or_default();
        *count += 1;
        if *count == 1 {
            self.run("LISTEN", &topic.channel).await?;
        }
        Ok(())
    }

    async fn forget(&mut self, topic: &Topic) -> Result<(), StoreError> {
        let Some(count) = self.channels.get_mut(&topic.channel) else {
            return Ok(());
        };
        *count -= 1;
        if *count == 0 {
            self.channels.remove(&topic.channel);
            self.run("UNLISTEN", &topic.channel).await?;
        }
        Ok(())
    }

    async fn read(&mut self, keys: &[String]) -> Result<Items, StoreError> {
        self.server.read(keys).await
    }

    async fn changed(&mut self) -> Result<Change, StoreError> {
        let payloads = self.notifications.next().await?;
        let keys: Option<Option<BTreeSet<String>>> =
            payloads.map(|payloads| payloads.iter().map(|payload| key(payload)).collect());
        Ok(keys.flatten().map_or(Change::Any, Change::Keys))
    }
}

/// The key of the row in a notification: `{"data": {"key": …}}`, its name in any case.
fn key(payload: &str) -> Option<String> {
    let payload: Value = serde_json::from_str(payload).ok()?;
    let mut row = payload.get("data")?.as_object()?.iter();
    let (_, key) = row.find(|(name, _)| name.eq_ignore_ascii_case("key"))?;
    key.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{is_key, key, newest};
    use crate::configuration::Item;

    #[test]
    fn the_highest_number_is_the_newest() {
        for (versions, expected) in [
            (&["1", "10", "9"][..], "10"),
            (&["b", "a"], "b"),
            (&["x", "0"], "0"),
            (&["-1", "x"], "-1"),
            (&["x", "-1"], "x"),
            (&["99999999999999999999", "1"], "1"),
        ] {
            let rows = versions.iter().map(|version| {
                Ok((
                    "k".to_owned(),
                    Item::new(format!("value {version}"), *version),
                ))
            });
            let items = newest(rows).unwrap();
            assert_eq!(items["k"].version, expected, "{versions:?}");
        }
    }

    #[test]
    fn keys_are_those_of_dapr() {
        for text in ["", "a.b/C_9"] {
            assert!(is_key(text), "{text}");
        }
        for text in ["a b", "a-b", "é", "a;", "a\n"] {
            assert!(!is_key(text), "{text}");
        }
    }

    #[test]
    fn a_notification_names_its_row() {
        let of = |payload: &str| key(payload);
        assert_eq!(of(r#"{"data":{"KEY":"a"}}"#).as_deref(), Some("a"));
        for payload in ["", "{}", r#"{"data":"a"}"#, r#"{"data":{"key":1}}"#] {
            assert_eq!(of(payload), None, "{payload}");
        }
    }
}
