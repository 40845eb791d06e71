//! Dapr's messages, and calls of its methods.

use std::collections::BTreeMap;

use crate::folder;
use crate::server::{Reply, Server};

/// What Dapr's `GetSecret` takes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetSecret {
    /// The store.
    #[prost(string, tag = "1")]
    pub store: String,
    /// The key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The metadata.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
}

/// `GetSecretResponse`, and one secret of a bulk answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Secret {
    /// The values.
    #[prost(btree_map = "string, string", tag = "1")]
    pub data: BTreeMap<String, String>,
}

/// What Dapr's `GetBulkSecret` takes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetBulk {
    /// The store.
    #[prost(string, tag = "1")]
    pub store: String,
}

/// `GetBulkSecretResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Bulk {
    /// The secrets.
    #[prost(btree_map = "string, message", tag = "1")]
    pub data: BTreeMap<String, Secret>,
}

/// What Dapr's `GetConfiguration` and `SubscribeConfiguration` take.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetItems {
    /// The store.
    #[prost(string, tag = "1")]
    pub store: String,
    /// The keys.
    #[prost(string, repeated, tag = "2")]
    pub keys: Vec<String>,
}

/// `ConfigurationItem`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    /// The value.
    #[prost(string, tag = "1")]
    pub value: String,
    /// The version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// What else is said of it.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
}

/// `GetConfigurationResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Items {
    /// The items.
    #[prost(btree_map = "string, message", tag = "1")]
    pub items: BTreeMap<String, Item>,
}

/// `SubscribeConfigurationResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Change {
    /// The subscription.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What has changed.
    #[prost(btree_map = "string, message", tag = "2")]
    pub items: BTreeMap<String, Item>,
}

/// `UnsubscribeConfigurationResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Unsubscribed {
    /// Whether there was such a subscription.
    #[prost(bool, tag = "1")]
    pub ok: bool,
    /// Why not.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// No fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

/// Two fields of text: what `SetMetadata` takes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Text {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The name of Dapr's service.
pub const DAPR: &str = "dapr.proto.runtime.v1.Dapr";

/// Reads one secret over gRPC.
pub fn get(server: &Server, store: &str, key: &str, metadata: &[(&str, &str)]) -> Reply<Secret> {
    let request = GetSecret {
        store: store.to_owned(),
        key: key.to_owned(),
        metadata: BTreeMap::new(),
    };
    server.call(&format!("{DAPR}/GetSecret"), &request, metadata)
}

/// Reads all secrets of a store over gRPC.
pub fn bulk(server: &Server, store: &str, metadata: &[(&str, &str)]) -> Reply<Bulk> {
    let store = store.to_owned();
    server.call(
        &format!("{DAPR}/GetBulkSecret"),
        &GetBulk { store },
        metadata,
    )
}

/// A store of a file, `file`, and one of the environment, `env`.
pub const STORES: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: file}
spec:
  type: secretstores.local.file
  version: v1
  metadata:
  - {name: secretsFile, value: secrets.json}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: env}
spec: {type: secretstores.local.env, version: v1, metadata: []}
";

/// A folder with these two stores and a server on it; one secret is denied.
pub fn two_stores(arguments: &[&str], variables: &[(&str, &str)]) -> (tempfile::TempDir, Server) {
    let work = folder(&[
        ("resources/stores.yaml", STORES.as_bytes()),
        ("secrets.json", br#"{"redis": "s3cr3t-one", "denied": "s3cr3t-two"}"#),
        (
            "scopes.yaml",
            b"kind: Configuration\nspec: {secrets: {scopes: [{storeName: file, deniedSecrets: [denied]}]}}\n",
        ),
    ]);
    let given = ["--resources", "resources", "--config", "scopes.yaml"];
    let arguments = [&given, arguments].concat();
    let server = Server::start(work.path(), &arguments, variables);
    (work, server)
}
