//! Components as the documents have them, and as they come out resolved.

use std::fmt;
use std::sync::Arc;

use crate::guest::bindings::exports::keyref::secrets::resolver as wit;
use crate::problem::Place;
use crate::secret::SecretValue;

/// The kinds of resource that can hold references.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// `kind: Component`.
    Component,
    /// `kind: HTTPEndpoint`.
    HttpEndpoint,
}

impl Kind {
    /// The `kind` as written in a document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component => "Component",
            Self::HttpEndpoint => "HTTPEndpoint",
        }
    }
}

/// Where in its resource an item stands.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ItemPlace {
    /// `spec.metadata[]` of a Component.
    Metadata,
    /// `spec.headers[]` of an `HTTPEndpoint`.
    Header,
    /// `spec.clientTLS` of an `HTTPEndpoint`.
    ClientTls,
}

/// The `secretKeyRef` of an item, as written.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SecretKeyRef {
    /// The secret's name.
    pub name: String,
    /// The key, or empty where the document names none.
    pub key: String,
    /// Where the key stands, or the name where the document names none.
    pub key_position: Place,
}

/// A named value of a resource. `Debug` does not show the value: people paste passwords.
#[derive(Clone)]
#[non_exhaustive]
pub struct Item {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub place: ItemPlace,
    /// The literal value as the string that a component sees.
    pub value: Option<String>,
    /// `secretKeyRef`.
    pub secret_key_ref: Option<SecretKeyRef>,
    /// `envRef`, or empty.
    pub env_ref: String,
    /// Where its reference stands, or else the item.
    pub position: Place,
    /// Where a field stands that Dapr does not know and ignores, in the item or in its reference, if
    /// there is one.
    pub unknown_field: Option<Place>,
    /// The index of the request that it needs, in its batch.
    pub(crate) request: Option<usize>,
}

impl Item {
    /// Whether there can be a problem about it.
    fn can_fail(&self) -> bool {
        self.request.is_some() || self.value.is_none() || self.unknown_field.is_some()
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item")
            .field("name", &self.name)
            .field("place", &self.place)
            .field("value", &self.value.as_ref().map(|_| "[redacted]"))
            .field("secret_key_ref", &self.secret_key_ref)
            .field("env_ref", &self.env_ref)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// A resource as its document has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Component {
    /// Which kind of resource it is.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, or empty.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: Vec<(String, String)>,
    /// `metadata.annotations`.
    pub annotations: Vec<(String, String)>,
    /// `spec.type`; for an `HTTPEndpoint`, its `spec.baseUrl`.
    pub component_type: String,
    /// `spec.version`.
    pub version: String,
    /// `spec.ignoreErrors`.
    pub ignore_errors: bool,
    /// `spec.initTimeout`, as written.
    pub init_timeout: String,
    /// `auth.secretStore`, or empty.
    pub secret_store: String,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// Its items, in the order of the document.
    pub items: Vec<Item>,
    /// Where it begins.
    pub position: Place,
    /// Where `spec.type` stands.
    pub type_position: Place,
    /// Where `auth.secretStore` stands, or the resource where it has none.
    pub secret_store_position: Place,
}

impl Component {
    /// Whether it declares a secret store.
    pub fn is_secret_store(&self) -> bool {
        self.kind == Kind::Component && self.component_type.starts_with("secretstores.")
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let pairs = self.labels.iter().chain(&self.annotations);
        let pairs =
            pairs.map(|(key, value)| size_of::<(String, String)>() + key.len() + value.len());
        let scopes = self
            .scopes
            .iter()
            .map(|scope| size_of::<String>() + scope.len());
        // What a problem about an item takes, which has the names of both.
        let telling = 512 + self.name.len().min(1_000) + self.secret_store.len().min(1_000);
        let items = self.items.iter().map(|item| {
            let reference = item.secret_key_ref.as_ref();
            size_of::<Item>()
                + item.name.len()
                + item.value.as_ref().map_or(0, String::len)
                + item.env_ref.len()
                + reference.map_or(0, |reference| reference.name.len() + reference.key.len())
                + if item.can_fail() { telling } else { 0 }
        });
        let texts = [
            &self.name,
            &self.namespace,
            &self.component_type,
            &self.version,
            &self.init_timeout,
            &self.secret_store,
        ];
        size_of::<Self>()
            + texts.into_iter().map(String::len).sum::<usize>()
            + pairs.chain(scopes).chain(items).sum::<usize>()
    }

    /// Takes over what the guest says; `names` are those of the documents it was given. Nothing
    /// where it names a document that it was not given.
    pub(crate) fn from_guest(component: wit::Component, names: &[Arc<str>]) -> Option<Self> {
        let document = names.get(component.document as usize)?;
        let place = |position: wit::Position| Place::new(document, position.line, position.column);
        let items = component.items.into_iter().map(|item| Item {
            name: item.name,
            place: match item.place {
                wit::ItemPlace::Metadata => ItemPlace::Metadata,
                wit::ItemPlace::Header => ItemPlace::Header,
                wit::ItemPlace::ClientTls => ItemPlace::ClientTls,
            },
            value: item.value,
            secret_key_ref: item.secret_key_ref.map(|reference| SecretKeyRef {
                name: reference.name,
                key: reference.key,
                key_position: place(reference.key_position),
            }),
            env_ref: item.env_ref,
            position: place(item.position),
            unknown_field: item.unknown_field.map(place),
            request: item.request.map(|request| request as usize),
        });
        Some(Self {
            kind: match component.kind {
                wit::ComponentKind::Component => Kind::Component,
                wit::ComponentKind::HttpEndpoint => Kind::HttpEndpoint,
            },
            name: component.name,
            namespace: component.namespace,
            labels: component.labels,
            annotations: component.annotations,
            component_type: component.component_type,
            version: component.version,
            ignore_errors: component.ignore_errors,
            init_timeout: component.init_timeout,
            secret_store: component.secret_store,
            scopes: component.scopes,
            items: items.collect(),
            position: place(component.position),
            type_position: place(component.type_position),
            secret_store_position: place(component.secret_store_position),
        })
    }
}

/// Where a value came from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// A key of a secret.
    #[non_exhaustive]
    Secret {
        /// The store's name.
        store: String,
        /// The secret's name.
        secret: String,
        /// The key.
        key: String,
        /// The namespace of the component that asked, or empty.
        namespace: String,
    },
    /// An environment variable.
    Variable(String),
}

/// A resolved value. `Debug` shows neither kind: people paste passwords.
#[derive(Clone)]
#[non_exhaustive]
pub enum Value {
    /// Text of the document.
    Plain(String),
    /// What a store or the environment gave. Reading it is explicit.
    Secret(SecretValue),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain([redacted])",
            Self::Secret(_) => "Secret([redacted])",
        })
    }
}

/// A property of a resolved component.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Property {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub place: ItemPlace,
    /// The value.
    pub value: Value,
    /// Where the value came from; nothing for text of the document.
    pub origin: Option<Origin>,
    /// Where its reference stands, or else the item.
    pub position: Place,
    /// What the value was before something random was filled in, where that is so.
    pub(crate) unfilled: Option<Value>,
}

/// A component with all its references resolved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolvedComponent {
    /// The component as its document has it.
    pub component: Component,
    /// Its properties, in the order of the document, each name once: as in Dapr, the last of one
    /// name counts.
    pub properties: Vec<Property>,
}

impl ResolvedComponent {
    /// A property by its name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties
            .iter()
            .find(|property| property.name == name)
    }
}
