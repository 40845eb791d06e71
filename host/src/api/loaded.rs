//! What a server serves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::configuration::ConfigurationStore;
use crate::document::Document;
use crate::problem::Problem;
use crate::resiliency::{Policies, Resiliency};
use crate::resolver::Resolver;

/// What is loaded: exchanged as a whole, so that a request sees the old or the new.
#[derive(Clone)]
#[non_exhaustive]
pub struct Loaded {
    /// Answers for secrets; its stores are those that requests can name.
    pub resolver: Resolver,
    /// Every component that is loaded, for the metadata.
    pub components: Vec<LoadedComponent>,
    /// Configuration stores by name.
    pub configurations: BTreeMap<String, Arc<dyn ConfigurationStore>>,
    /// Components that could not be loaded and may fail, for metrics.
    pub failed: Vec<LoadedComponent>,
    /// What is wrong and does not keep the rest from being served, for the status page.
    pub problems: Vec<Problem>,
    /// The documents whose components are served with their references resolved, where
    /// [`Options::components`](crate::api::Options::components) says so.
    pub documents: Arc<[Document]>,
    /// What is done where a store, or the app that is told of configuration, fails to answer.
    pub resiliency: Resiliency,
    /// The same for each store.
    pub(crate) policies: Policies,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("resolver", &self.resolver)
            .field("components", &self.components)
            .field("configurations", &self.configurations.keys())
            .field("failed", &self.failed)
            .field("problems", &self.problems)
            .field("documents", &self.documents)
            .field("resiliency", &self.resiliency)
            .field("policies", &self.policies)
            .finish()
    }
}

impl Loaded {
    /// What a resolver answers for, with the components to name in the metadata.
    pub fn new(resolver: Resolver, components: Vec<LoadedComponent>) -> Self {
        Self {
            resolver,
            components,
            configurations: BTreeMap::new(),
            failed: Vec::new(),
            problems: Vec::new(),
            documents: Arc::default(),
            resiliency: Resiliency::default(),
            policies: Policies::default(),
        }
    }

    /// Sets what is done where a store, or the app that is told of configuration, fails to answer.
    #[must_use]
    pub fn with_resiliency(mut self, resiliency: Resiliency) -> Self {
        self.resiliency = resiliency;
        self
    }

    /// Sets the documents whose components are served with their references resolved, and listed on
    /// the status page.
    #[must_use]
    pub fn with_documents(mut self, documents: impl Into<Arc<[Document]>>) -> Self {
        self.documents = documents.into();
        self
    }

    /// Adds a configuration store under a name.
    #[must_use]
    pub fn with_configuration(
        mut self,
        name: impl Into<String>,
        store: Arc<dyn ConfigurationStore>,
    ) -> Self {
        self.configurations.insert(name.into(), store);
        self
    }
}

/// A component, as the metadata names it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LoadedComponent {
    /// Its name.
    pub name: String,
    /// Its `spec.type`.
    pub component_type: String,
    /// Its `spec.version`.
    pub version: String,
    /// What it can do, in Dapr's words.
    pub capabilities: Vec<String>,
}

impl LoadedComponent {
    /// A component without capabilities.
    pub fn new(
        name: impl Into<String>,
        component_type: impl Into<String>,
        version: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            component_type: component_type.into(),
            version: version.into(),
            capabilities: Vec::new(),
        }
    }

    /// The same with capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Vec<String>) -> Self {
        self.capabilities = capabilities;
        self
    }
}
