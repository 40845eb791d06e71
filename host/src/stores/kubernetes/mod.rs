//! `secretstores.kubernetes`: the Secrets of a cluster, by namespace.
//!
//! ```text
//! store -> api (retries, time) -> link (finds the server, once) -> access -> kubeconfig, files
//!             |                                                 -> plugin -> credentials
//!             +-> question, object, failure                     -> connect (TLS, proxy)
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use self::api::{Answer, Api};
use self::question::Question;
use crate::context::Context;
use crate::error::Class;
use crate::secret::Secret;
use crate::stores::{
    BulkRequest, Registration, SecretRequest, SecretStore, StoreConfig, StoreError,
};

mod access;
pub(crate) mod api;
mod connect;
mod credentials;
#[cfg(feature = "serve")]
pub(crate) mod events;
pub(crate) mod failure;
mod files;
mod kubeconfig;
mod link;
mod object;
mod plugin;
pub(crate) mod question;
#[cfg(test)]
mod tests;

pub(super) const REGISTRATION: Registration = Registration {
    kind: "secretstores.kubernetes",
    summary: "Secrets of a Kubernetes cluster",
    argument: "defaultNamespace",
    argument_is_path: false,
    is_namespaced: true,
    files: access::kubeconfigs,
    build: |config| Ok(Arc::new(Kubernetes::from_config(config)?)),
};

/// The Secrets of a Kubernetes cluster: each a secret with the keys of its `data`.
///
/// The namespace is the request's, else the resolver's, else the property `defaultNamespace`.
///
/// The API server is found as Dapr does: by the pod's service account, else by the kubeconfig of
/// the property `kubeconfigPath`, of `KUBECONFIG`, or in `~/.kube/config`. The property `context`
/// names one of the kubeconfig's contexts and so passes the service account over. Nothing is read
/// before the first request, and the environment is the one that the settings were given.
///
/// Each secret costs one GET. What may pass (429, 5xx, a lost connection) is tried again, at most
/// four times in all and 30 seconds, or until the [`Context`]'s deadline.
///
/// A name or namespace that Kubernetes does not allow (`a/b`, `..`, `Name`) is absent without a
/// question; Dapr reports an error of its client for some of them.
pub struct Kubernetes {
    name: String,
    /// The resolver's namespace.
    namespace: Option<String>,
    default_namespace: Option<String>,
    api: Api,
}

impl Kubernetes {
    /// A store that asks through a client of your own, in this namespace unless a request names
    /// another one.
    ///
    /// `kube` is not part of keyref's own promises: this function follows its major version. Set
    /// `default_retry` of `kube::Config` to false, since the store tries again by itself.
    pub fn new(client: kube::Client, default_namespace: impl Into<String>) -> Self {
        Self {
            name: String::new(),
            namespace: None,
            default_namespace: Some(default_namespace.into()),
            api: Api::of_client(client),
        }
    }

    /// A store with the properties `defaultNamespace`, `kubeconfigPath` and `context`.
    ///
    /// # Errors
    /// Fails where a property is not text, or no namespace can be called so. Whether they lead to
    /// an API server shows at the first request.
    pub fn from_config(config: &StoreConfig) -> Result<Self, StoreError> {
        for property in [access::KUBECONFIG_PATH, access::CONTEXT] {
            config.text(property)?;
        }
        let default_namespace = config
            .text("defaultNamespace")?
            .filter(|name| !name.is_empty());
        if default_namespace.is_some_and(|name| !question::is_namespace(name)) {
            return Err(StoreError::misconfigured(
                "`defaultNamespace` is not a namespace's name",
            ));
        }
        if let (Some(name), Some(grants)) = (default_namespace, config.grants()) {
            let own = config.namespace.as_deref() == Some(name);
            if !own && !grants.allows_namespace(name) {
                return Err(StoreError::new(
                    Class::PolicyDenied,
                    "documents may not take this `defaultNamespace`",
                )
                .with_hint(
                    "grant the namespace with `Grants::namespace`, or give the store itself",
                ));
            }
        }
        Ok(Self {
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            default_namespace: default_namespace.map(str::to_owned),
            api: Api::of_settings(config.clone()),
        })
    }

    /// The namespace to ask in.
    fn namespace<'a>(&'a self, requested: &'a str) -> Result<&'a str, StoreError> {
        [
            Some(requested),
            self.namespace.as_deref(),
            self.default_namespace.as_deref(),
        ]
        .into_iter()
        .flatten()
        .find(|namespace| !namespace.is_empty())
        .ok_or_else(|| {
            // Dapr's own words.
            StoreError::misconfigured(
                "namespace is missing on metadata and NAMESPACE env variable, and no default \
                     namespace is set",
            )
            .with_hint("set the store's `defaultNamespace`, or NAMESPACE")
        })
    }

    /// All secrets of a namespace; `None` where the list ran out of date between two pages.
    async fn list(
        &self,
        namespace: &str,
        until: Instant,
    ) -> Result<Option<BTreeMap<String, Secret>>, StoreError> {
        let mut secrets = BTreeMap::new();
        let mut next: Option<String> = None;
        loop {
            let question = Question::List {
                namespace,
                next: next.as_deref(),
            };
            let page = match self.api.ask(question, until).await? {
                Answer::Found(body) => object::page(&body),
                Answer::Absent => return Ok(None),
            };
            let page = page.ok_or_else(|| failure::unreadable(question))?;
            secrets.extend(page.secrets);
            match page.next {
                Some(token) => next = Some(token),
                None => return Ok(Some(secrets)),
            }
        }
    }
}

#[async_trait]
impl SecretStore for Kubernetes {
    async fn get(
        &self,
        request: &SecretRequest,
        context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        let namespace = self.namespace(&request.namespace)?;
        let question = Question::Get {
            namespace,
            name: &request.name,
        };
        if !question.can_have_an_answer() {
            return Ok(None);
        }
        match self.api.ask(question, api::until(context)).await? {
            Answer::Found(body) => object::secret(&body)
                .map(Some)
                .ok_or_else(|| failure::unreadable(question)),
            Answer::Absent => Ok(None),
        }
    }

    async fn bulk(
        &self,
        request: &BulkRequest,
        context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        let namespace = self.namespace(&request.namespace)?;
        let question = Question::List {
            namespace,
            next: None,
        };
        if !question.can_have_an_answer() {
            return Ok(BTreeMap::new());
        }
        let until = api::until(context);
        if let Some(secrets) = self.list(namespace, until).await? {
            return Ok(secrets);
        }
        // The server keeps a list for some minutes; a second one starts at its present state.
        self.list(namespace, until)
            .await?
            .ok_or_else(|| failure::outdated(question))
    }

    fn is_namespaced(&self) -> bool {
        REGISTRATION.is_namespaced
    }

    /// In the API server's own words, which Dapr hands on.
    fn absence(&self, name: &str) -> String {
        format!("secrets \"{name}\" not found")
    }
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes")
            .field("name", &self.name)
            .field("default_namespace", &self.default_namespace)
            .finish_non_exhaustive()
    }
}
