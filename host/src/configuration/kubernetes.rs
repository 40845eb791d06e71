//! `configuration.kubernetes`: the data of a ConfigMap.
//!
//! The API server tells what becomes of it. Each item has the version of the whole, so what changes
//! is told by values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::hub::{Backend, Change, Connection, Hub, Topic};
use super::{ConfigurationStore, Item, Items, ItemsRequest, Registration, property};
use crate::context::Context;
use crate::env;
use crate::error::Class;
use crate::stores::kubernetes::api::{self, Answer, Api};
use crate::stores::kubernetes::events::Events;
use crate::stores::kubernetes::failure;
use crate::stores::kubernetes::question::{Question, is_name, is_namespace};
use crate::stores::{StoreConfig, StoreError};

pub(super) const REGISTRATION: Registration = Registration {
    kind: "configuration.kubernetes",
    summary: "the data of a ConfigMap, watched",
    build: |config| Ok(Arc::new(Kubernetes::from_config(config)?)),
};

/// The namespace where none is set, as in Dapr.
const NAMESPACE: &str = "default";

/// The data of a ConfigMap.
///
/// The API server is found as that of `secretstores.kubernetes`. Nothing is read before the first
/// request. To list and to watch the ConfigMap is all that has to be granted.
pub struct Kubernetes {
    map: Arc<ConfigMap>,
    hub: Hub<ConfigMap>,
}

impl Kubernetes {
    /// A store with the properties `configMapName` and `kubeconfigPath`, and `context` as the secret
    /// store has it. The namespace is that of the settings, else `NAMESPACE`, else `default`.
    ///
    /// # Errors
    /// Fails where no ConfigMap or namespace can be called so, or a property cannot be read. Whether
    /// they lead to an API server shows at the first request.
    pub fn from_config(config: &StoreConfig) -> Result<Self, StoreError> {
        let hint = "set it to the name of a ConfigMap";
        let name = property::required(config, "configMapName", hint)?;
        if !is_name(name) {
            return Err(property::unreadable(
                "configMapName",
                "a name that Kubernetes allows",
            ));
        }
        property::time(config, "resyncPeriod", Duration::from_secs(1))?;
        for property in ["kubeconfigPath", "context"] {
            property::text(config, property)?;
        }
        let given = config.namespace.clone();
        let namespace = given
            .or_else(|| config.environment.text(env::NAMESPACE))
            .filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or_else(|| NAMESPACE.to_owned());
        if !is_namespace(&namespace) {
            let message = "the namespace is not one that Kubernetes allows";
            return Err(StoreError::misconfigured(message).with_hint("set NAMESPACE"));
        }
        let map = Arc::new(ConfigMap {
            name: name.to_owned(),
            namespace,
            api: Api::of_settings(config.clone()),
            version: Mutex::default(),
        });
        Ok(Self {
            hub: Hub::new(&config.name, Arc::clone(&map)),
            map,
        })
    }
}

#[async_trait]
impl ConfigurationStore for Kubernetes {
    async fn get(&self, request: &ItemsRequest, context: &Context) -> Result<Items, StoreError> {
        let (mut items, _) = self.map.list(api::until(context)).await?;
        items.retain(|key, _| request.wants(key));
        Ok(items)
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

    fn begins_with_all(&self) -> bool {
        true
    }

    /// Not by its version, which is that of the whole ConfigMap.
    fn is_same(&self, last: &Item, now: &Item) -> bool {
        last.value == now.value && last.metadata == now.metadata
    }

    fn deletion(&self, _last: &Item) -> Item {
        let mut item = Item::new("", self.map.version().clone());
        item.metadata
            .insert("deleted".to_owned(), "true".to_owned());
        item
    }
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes")
            .field("namespace", &self.map.namespace)
            .field("name", &self.map.name)
            .finish_non_exhaustive()
    }
}

/// A ConfigMap, and the way to it.
struct ConfigMap {
    name: String,
    namespace: String,
    api: Api,
    /// The last version that was told, for what is told of deletions.
    version: Mutex<String>,
}

impl ConfigMap {
    fn question(&self) -> Question<'_> {
        Question::ConfigMap {
            namespace: &self.namespace,
            name: &self.name,
        }
    }

    fn version(&self) -> std::sync::MutexGuard<'_, String> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is now, and the version from which on it can be followed.
    async fn list(&self, until: Instant) -> Result<(Items, String), StoreError> {
        let unreadable = || failure::unreadable(self.question());
        let Answer::Found(body) = self.api.ask(self.question(), until).await? else {
            return Err(unreadable());
        };
        let list: List = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        let mut items = list.items.into_iter();
        let items = items.next().map(Object::into_items).unwrap_or_default();
        Ok((items, list.metadata.version))
    }
}

#[async_trait]
impl Backend for ConfigMap {
    async fn connect(self: Arc<Self>) -> Result<Box<dyn Connection>, StoreError> {
        let mut following = Following {
            map: self,
            items: Items::new(),
            events: None,
        };
        following.begin().await?;
        Ok(Box::new(following))
    }
}

/// A ConfigMap that is followed.
struct Following {
    map: Arc<ConfigMap>,
    items: Items,
    events: Option<Events>,
}

impl Following {
    /// Reads it, and follows it from there.
    async fn begin(&mut self) -> Result<(), StoreError> {
        self.events = None;
        let (items, version) = self.map.list(api::until(&Context::new())).await?;
        self.events = Some(self.map.api.follow(self.map.question(), &version).await?);
        self.show(items, version);
        Ok(())
    }

    fn show(&mut self, items: Items, version: String) {
        *self.map.version() = version;
        self.items = items;
    }

    /// Whether an event changes what there is.
    fn apply(&mut self, event: &[u8]) -> Result<bool, StoreError> {
        let unreadable = || failure::unreadable(self.map.question());
        let event: Event = serde_json::from_slice(event).map_err(|_| unreadable())?;
        let object = match event.kind.as_str() {
            "ADDED" | "MODIFIED" | "DELETED" => event.object,
            "BOOKMARK" => return Ok(false),
            // Too much has happened meanwhile: what there is now is read again.
            _ => {
                let message = "the API server cannot tell what has happened";
                return Err(StoreError::new(Class::Unreachable, message));
            }
        };
        let object: Object = serde_json::from_value(object).map_err(|_| unreadable())?;
        let version = object.metadata.version.clone();
        let items = match event.kind.as_str() {
            "DELETED" => Items::new(),
            _ => object.into_items(),
        };
        self.show(items, version);
        Ok(true)
    }
}

#[async_trait]
impl Connection for Following {
    async fn listen(&mut self, _topic: &Topic) -> Result<(), StoreError> {
        Ok(())
    }

    async fn forget(&mut self, _topic: &Topic) -> Result<(), StoreError> {
        Ok(())
    }

    async fn read(&mut self, keys: &[String]) -> Result<Items, StoreError> {
        if self.events.is_none() {
            self.begin().await?;
        }
        if keys.is_empty() {
            return Ok(self.items.clone());
        }
        let known = keys.iter().filter_map(|key| self.items.get_key_value(key));
        Ok(known
            .map(|(key, item)| (key.clone(), item.clone()))
            .collect())
    }

    async fn changed(&mut self) -> Result<Change, StoreError> {
        while let Some(events) = &mut self.events {
            match events.next().await? {
                Some(event) if self.apply(&event)? => return Ok(Change::Any),
                Some(_) => {}
                // As the server does from time to time. They begin again with the next read, which
                // is not given up halfway.
                None => {
                    self.events = None;
                    return Ok(Change::Any);
                }
            }
        }
        std::future::pending().await
    }
}

#[derive(Deserialize)]
struct List {
    metadata: Metadata,
    items: Vec<Object>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
    /// In base64, which is handed on as it is.
    #[serde(default)]
    binary_data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default, rename = "resourceVersion")]
    version: String,
}

impl Object {
    fn into_items(self) -> Items {
        let version = self.metadata.version;
        let texts = self.data.into_iter();
        let mut items: Items = texts
            .map(|(key, value)| (key, Item::new(value, &version)))
            .collect();
        for (key, value) in self.binary_data {
            let mut item = Item::new(value, &version);
            item.metadata
                .insert("encoding".to_owned(), "base64".to_owned());
            items.insert(key, item);
        }
        items
    }
}
