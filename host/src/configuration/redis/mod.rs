//! `configuration.redis`: the strings of a Redis database.
//!
//! A value `V||VERSION` is the value `V` of version `VERSION`. Redis tells which keys have changed,
//! and what they hold is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _};
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{Msg, cmd};
use tokio::sync::watch;
use tokio::time::sleep;

use self::settings::Settings;
use super::hub::{Backend, Change, Connection, Hub, Topic, is_of_connection};
use super::{ConfigurationStore, Item, Items, ItemsRequest, Registration};
use crate::context::Context;
use crate::deadline::within;
use crate::error::Class;
use crate::pause::pause;
use crate::problem::printable;
use crate::stores::{StoreConfig, StoreError};

mod server;
mod settings;

pub(super) const REGISTRATION: Registration = Registration {
    kind: "configuration.redis",
    summary: "the strings of a Redis database, watched",
    build: |config| Ok(Arc::new(Redis::from_config(config)?)),
};

/// The setting of the server that says which events it tells.
const EVENTS: &str = "notify-keyspace-events";
/// What has to be among them, as Dapr has it: of keys, by commands for keys and strings, and where a
/// key expires or has to make room.
const WANTED_EVENTS: &str = "Kg$xe";
/// Those that `A` stands for.
const ALL_EVENTS: &str = "g$lshzxetd";
/// How many keys are asked for at a time.
const AT_ONCE: usize = 500;
/// How many keys there may be where all are asked for.
const MOST_KEYS: usize = 100_000;
/// What stands between a value and its version.
const SEPARATOR: &str = "||";

/// The strings of a Redis database.
///
/// Nothing is asked before the first request. Empty values, values of other types and what is not
/// UTF-8 are left out. The server's `notify-keyspace-events` are added to, never taken from.
pub struct Redis {
    server: Arc<Server>,
    hub: Hub<Server>,
}

impl Redis {
    /// A store with Dapr's properties, `redisHost` and so on.
    ///
    /// # Errors
    /// Fails where a property is missing, cannot be read, or asks for a cluster, for sentinels or
    /// for a login of Azure. Whether they lead to a server shows at the first request.
    pub fn from_config(config: &StoreConfig) -> Result<Self, StoreError> {
        let server = Arc::new(Server {
            name: config.name.clone(),
            settings: Settings::read(config)?,
            connection: Mutex::default(),
            refusal_is_told: AtomicBool::new(false),
        });
        Ok(Self {
            hub: Hub::new(&config.name, Arc::clone(&server)),
            server,
        })
    }
}

#[async_trait]
impl ConfigurationStore for Redis {
    async fn get(&self, request: &ItemsRequest, context: &Context) -> Result<Items, StoreError> {
        within(context, self.server.read(&request.keys)).await
    }

    async fn watch(
        &self,
        request: &ItemsRequest,
        context: &Context,
    ) -> Result<watch::Receiver<Arc<Items>>, StoreError> {
        self.hub.join(Topic::of(request), context).await
    }

    fn is_deaf(&self) -> bool {
        self.hub.is_out()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("name", &self.server.name)
            .finish_non_exhaustive()
    }
}

/// A server, and the connection that questions go through.
struct Server {
    /// The store's name.
    name: String,
    settings: Settings,
    connection: Mutex<Option<MultiplexedConnection>>,
    /// Whether the log says that the server's settings cannot be changed.
    refusal_is_told: AtomicBool,
}

impl Server {
    /// Reads keys, or all that there are, and tries again where the connection fails.
    async fn read(&self, keys: &[String]) -> Result<Items, StoreError> {
        let mut attempt = 0;
        loop {
            let error = match self.read_once(keys).await {
                Ok(items) => return Ok(items),
                Err(error) => error,
            };
            if !is_of_connection(&error) {
                return Err(error);
            }
            *self.shared() = None;
            attempt += 1;
            if attempt > self.settings.retries {
                return Err(error);
            }
            let (first, longest) = (self.settings.first_pause, self.settings.longest_pause);
            sleep(pause(attempt, first, longest)).await;
        }
    }

    async fn read_once(&self, keys: &[String]) -> Result<Items, StoreError> {
        let mut connection = self.connection().await?;
        let all;
        let keys = if keys.is_empty() {
            all = self.keys(&mut connection).await?;
            &all
        } else {
            keys
        };
        let mut items = Items::new();
        for keys in keys.chunks(AT_ONCE) {
            // What is absent or of another type is nothing here, where GET fails.
            let command = cmd("MGET").arg(keys).to_owned();
            let values = self.settings.ask(&mut connection, &command).await?;
            let values: Vec<Option<Vec<u8>>> = values;
            for (key, value) in keys.iter().zip(values) {
                if let Some(item) = value.and_then(item) {
                    items.insert(key.clone(), item);
                }
            }
        }
        Ok(items)
    }

    /// All keys. `KEYS` would hold the server up.
    async fn keys(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Vec<String>, StoreError> {
        let (mut keys, mut cursor) = (BTreeSet::new(), 0_u64);
        loop {
            let mut command = cmd("SCAN");
            command.arg(cursor).arg("COUNT").arg(2 * AT_ONCE);
            let page = self.settings.ask(connection, &command).await?;
            let (next, page): (u64, Vec<Vec<u8>>) = page;
            keys.extend(
                page.into_iter()
                    .filter_map(|key| String::from_utf8(key).ok()),
            );
            if keys.len() > MOST_KEYS {
                let message = format!("the database has more than {MOST_KEYS} keys");
                let error = StoreError::new(Class::Internal, message);
                return Err(error.with_hint("ask for those that are wanted"));
            }
            if next == 0 {
                return Ok(keys.into_iter().collect());
            }
            cursor = next;
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        let shared = self.shared().clone();
        if let Some(connection) = shared {
            return Ok(connection);
        }
        // Several may connect at a time, and none waits for another.
        let connection = self.settings.connection().await?;
        *self.shared() = Some(connection.clone());
        Ok(connection)
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the server tell of changes, where it does not yet.
    async fn turn_events_on(&self) -> Result<(), StoreError> {
        let mut connection = self.settings.connection().await?;
        let mut command = cmd("CONFIG");
        command.arg("GET").arg(EVENTS);
        let now = self.settings.ask(&mut connection, &command).await;
        let now = now.map(|now: BTreeMap<String, String>| now.get(EVENTS).cloned());
        let set = match now {
            Ok(now) => match merged(now.as_deref().unwrap_or_default()) {
                None => return Ok(()),
                Some(merged) => {
                    let mut command = cmd("CONFIG");
                    command.arg("SET").arg(EVENTS).arg(merged);
                    self.settings.ask(&mut connection, &command).await
                }
            },
            Err(error) => Err(error),
        };
        match set {
            Err(error) if is_of_connection(&error) => Err(error),
            Err(_) => {
                if !self.refusal_is_told.swap(true, Ordering::Relaxed) {
                    let name = printable(&self.name);
                    tracing::warn!(
                        "configuration store {name}: Redis refuses to change `{EVENTS}`, so changes \
                         are only told where it is set to `{WANTED_EVENTS}` already"
                    );
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for Server {
    async fn connect(self: Arc<Self>) -> Result<Box<dyn Connection>, StoreError> {
        // Set for each connection: a server that has restarted may have forgotten it.
        self.turn_events_on().await?;
        let (sink, stream) = self.settings.events().await?.split();
        Ok(Box::new(Events {
            server: self,
            sink,
            stream,
            listeners: BTreeMap::new(),
        }))
    }
}

/// A connection that is told of events.
struct Events {
    server: Arc<Server>,
    sink: PubSubSink,
    stream: PubSubStream,
    /// How many topics listen to each channel.
    listeners: BTreeMap<String, usize>,
}

impl Events {
    fn prefix(&self) -> String {
        format!("__keyspace@{}__:", self.server.settings.database)
    }

    /// The channels of a topic; where it wants all keys, the pattern of all channels.
    fn channels(&self, topic: &Topic) -> Vec<String> {
        let prefix = self.prefix();
        let channels = topic.keys.iter();
        channels.map(|key| format!("{prefix}{key}")).collect()
    }

    fn pattern(&self) -> String {
        self.prefix() + "*"
    }

    /// The key that an event is about.
    fn key(&self, event: &Msg) -> Option<String> {
        let key = event.get_channel_name().strip_prefix(&self.prefix())?;
        Some(key.to_owned())
    }
}

#[async_trait]
impl Connection for Events {
    async fn listen(&mut self, topic: &Topic) -> Result<(), StoreError> {
        let is_new = |listeners: &mut BTreeMap<_, _>, channel: &String| {
            let count = listeners.entry(channel.clone()).or_insert(0_usize);
            *count += 1;
            *count == 1
        };
        let settings = &self.server.settings;
        if topic.keys.is_empty() {
            let pattern = self.pattern();
            if is_new(&mut self.listeners, &pattern) {
                settings.answer(self.sink.psubscribe(pattern)).await?;
            }
            return Ok(());
        }
        let mut channels = self.channels(topic);
        channels.retain(|channel| is_new(&mut self.listeners, channel));
        for channels in channels.chunks(AT_ONCE) {
            settings.answer(self.sink.subscribe(channels)).await?;
        }
        Ok(())
    }

    async fn forget(&mut self, topic: &Topic) -> Result<(), StoreError> {
        let is_last = |listeners: &mut BTreeMap<_, usize>, channel: &String| {
            let Some(count) = listeners.get_mut(channel) else {
                return false;
            };
            *count -= 1;
            *count == 0 && listeners.remove(channel).is_some()
        };
        let settings = &self.server.settings;
        if topic.keys.is_empty() {
            let pattern = self.pattern();
            if is_last(&mut self.listeners, &pattern) {
                settings.answer(self.sink.punsubscribe(pattern)).await?;
            }
            return Ok(());
        }
        let mut channels = self.channels(topic);
        channels.retain(|channel| is_last(&mut self.listeners, channel));
        for channels in channels.chunks(AT_ONCE) {
            settings.answer(self.sink.unsubscribe(channels)).await?;
        }
        Ok(())
    }

    async fn read(&mut self, keys: &[String]) -> Result<Items, StoreError> {
        self.server.read(keys).await
    }

    async fn changed(&mut self) -> Result<Change, StoreError> {
        let first = self.stream.next().await.ok_or_else(server::broken)?;
        let mut keys: BTreeSet<_> = self.key(&first).into_iter().collect();
        // What else has come, so that it is read once.
        while let Some(Some(event)) = self.stream.next().now_or_never() {
            keys.extend(self.key(&event));
        }
        Ok(Change::Keys(keys))
    }
}

/// The item that a value is; nothing where it is empty or not text.
fn item(value: Vec<u8>) -> Option<Item> {
    let text = String::from_utf8(value).ok()?;
    let mut parts = text.split(SEPARATOR);
    let value = parts.next().filter(|value| !value.is_empty())?;
    Some(Item::new(value, parts.next().unwrap_or_default()))
}

/// The events of a server with those that are wanted; nothing where they are among them.
fn merged(now: &str) -> Option<String> {
    let has = |event| now.contains(event) || now.contains('A') && ALL_EVENTS.contains(event);
    let missing: String = WANTED_EVENTS.chars().filter(|event| !has(*event)).collect();
    (!missing.is_empty()).then(|| format!("{now}{missing}"))
}

#[cfg(test)]
mod tests {
    use super::{item, merged};
    use crate::configuration::Item;

    #[test]
    fn a_value_ends_before_its_version() {
        let read = |text: &str| item(text.into());
        assert_eq!(read("v"), Some(Item::new("v", "")));
        assert_eq!(read("v||"), Some(Item::new("v", "")));
        assert_eq!(read("v||1.0"), Some(Item::new("v", "1.0")));
        assert_eq!(read("v||1||rest"), Some(Item::new("v", "1")));
        assert_eq!(read("v|1"), Some(Item::new("v|1", "")));
        assert_eq!(read(""), None);
        assert_eq!(read("||1"), None);
        assert_eq!(item(vec![0xff]), None);
    }

    #[test]
    fn events_are_added_to_and_never_taken_from() {
        for (now, after) in [
            ("", Some("Kg$xe")),
            ("E", Some("EKg$xe")),
            ("AK", None),
            ("AE", Some("AEK")),
            ("g$xK", Some("g$xKe")),
            ("KEA", None),
            ("lEm", Some("lEmKg$xe")),
        ] {
            assert_eq!(merged(now).as_deref(), after, "{now:?}");
        }
    }
}
