//! How a resolver is put together.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cache::Cache;
use crate::config;
use crate::denied_types::DeniedTypes;
use crate::document::Document;
use crate::env::Environment;
use crate::guest::{Guest, GuestError};
use crate::inner::Inner;
use crate::limits::Limits;
use crate::mode::Mode;
use crate::observer::Observer;
use crate::opened_store::OpenedStore;
use crate::policy::Policy;
use crate::problem::Problem;
use crate::resolver::Resolver;
use crate::secrets::{Secrets, Setup};
use crate::stores::{Grants, SecretStore, StoreError};

/// Puts a [`Resolver`] together. What is not given here, documents cannot reach.
#[derive(Default)]
pub struct ResolverBuilder {
    stores: Vec<(String, Arc<dyn SecretStore>)>,
    opened: Vec<OpenedStore>,
    unusable: Vec<(String, StoreError)>,
    policy: Policy,
    configurations: Vec<Document>,
    mode: Mode,
    limits: Limits,
    environment: Option<Environment>,
    namespaces: BTreeSet<String>,
    any_namespace: bool,
    default_store: Option<String>,
    document_stores: Option<Grants>,
    denied_types: DeniedTypes,
    observer: Option<Arc<dyn Observer>>,
    cache: Cache,
    guest: Option<Guest>,
}

impl ResolverBuilder {
    /// Adds a store under a name.
    #[must_use]
    pub fn store(self, name: impl Into<String>, store: impl SecretStore) -> Self {
        self.shared_store(name, Arc::new(store))
    }

    /// Adds a store that is shared already.
    #[must_use]
    pub fn shared_store(mut self, name: impl Into<String>, store: Arc<dyn SecretStore>) -> Self {
        self.stores.push((name.into(), store));
        self
    }

    /// Adds a store that was opened from its settings, in place of one of the same name.
    #[must_use]
    pub fn opened_store(mut self, store: OpenedStore) -> Self {
        self.opened.push(store);
        self
    }

    /// Says that there is a store of this name, and why it cannot be used: what refers to it fails
    /// with this error, and all else goes on.
    #[must_use]
    pub fn unusable_store(mut self, name: impl Into<String>, error: StoreError) -> Self {
        self.unusable.push((name.into(), error));
        self
    }

    /// Adds a Dapr Configuration, whose `spec.secrets.scopes` become the policy. As in Dapr, the
    /// last of several that has scopes counts, and variables such as `${NAME}` are filled in from
    /// the builder's environment; one that is not set is refused in strict mode.
    #[must_use]
    pub fn configuration(mut self, document: Document) -> Self {
        self.configurations.push(document);
        self
    }

    /// Sets the policy. Open by default.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the mode. Strict by default.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets documents reference environment variables. None by default.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Lets documents of this namespace read secrets of it, whatever namespace the context has.
    #[must_use]
    pub fn allow_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespaces.insert(namespace.into());
        self
    }

    /// Lets documents read secrets of whatever namespace they name.
    #[must_use]
    pub fn allow_any_namespace(mut self) -> Self {
        self.any_namespace = true;
        self
    }

    /// Uses this store for references whose component names none, as Dapr uses `kubernetes` in a
    /// cluster. None by default.
    #[must_use]
    pub fn default_secret_store(mut self, name: impl Into<String>) -> Self {
        self.default_store = Some(name.into());
        self
    }

    /// Opens stores that documents declare, within what is granted. None by default.
    #[must_use]
    pub fn allow_document_stores(mut self, grants: Grants) -> Self {
        self.document_stores = Some(grants);
        self
    }

    /// Leaves out components of these types, with a warning: a Configuration's `components.deny`.
    /// None by default.
    #[must_use]
    pub fn deny_types(mut self, types: DeniedTypes) -> Self {
        self.denied_types = types;
        self
    }

    /// Tells this observer what happens.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Keeps what stores say as this cache has it, policy being asked all the same. By default each
    /// read asks the store.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Runs this guest. By default it is [`Guest::embedded`].
    #[must_use]
    pub fn guest(mut self, guest: Guest) -> Self {
        self.guest = Some(guest);
        self
    }

    /// Loads the guest.
    ///
    /// Where it is the embedded one, the process's first resolver installs wasmtime's signal
    /// handlers (SIGSEGV and SIGILL; by platform SIGFPE and SIGBUS, too), which pass on what is not
    /// the guest's, and reserves 4 GiB of address space for each of 128 instances, which all
    /// resolvers share. With the feature `no-signals` there are no handlers, and 64 MiB each.
    ///
    /// # Errors
    /// Fails where the guest cannot be loaded, and where a configuration is wrong: a policy that
    /// cannot be read must not leave stores open.
    pub fn build(self) -> Result<Resolver, BuildError> {
        let guest = match self.guest {
            Some(guest) => guest,
            None => Guest::embedded()?,
        };
        let environment = self.environment.unwrap_or_else(Environment::none);
        let configured = config::read(
            &guest,
            self.configurations,
            &environment,
            self.mode,
            &self.limits,
        )
        .map_err(BuildError::Configuration)?;
        let secrets = Secrets::new(Setup {
            policy: self.policy.configured(configured.policy),
            environment,
            namespaces: (!self.any_namespace).then_some(self.namespaces),
            default_store: self.default_store,
            observer: self.observer.clone(),
            cache: self.cache,
        });
        for (name, store) in self.stores {
            secrets.insert(name, store);
        }
        for store in self.opened {
            store.insert(&secrets);
        }
        for (name, error) in self.unusable {
            secrets.insert_broken(name, error);
        }
        Ok(Resolver::from_inner(Inner {
            guest,
            secrets,
            mode: self.mode,
            limits: self.limits,
            observer: self.observer,
            slips: configured.warnings,
            document_stores: self.document_stores.map(Arc::new),
            denied_types: self.denied_types,
        }))
    }
}

/// Why a resolver cannot be built.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A configuration is wrong; the problems say where.
    #[error("the configuration is not valid")]
    Configuration(Vec<Problem>),
    /// The guest cannot be loaded.
    #[error(transparent)]
    Guest(#[from] GuestError),
}

impl std::fmt::Debug for ResolverBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResolverBuilder")
            .field("mode", &self.mode)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
