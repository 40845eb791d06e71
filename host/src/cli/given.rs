//! The stores that the command line gives: those of `--store`, and that of `--kubernetes`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use futures_util::future::join_all;
use keyref::env::Environment;
use keyref::error::Class;
use keyref::problem::terminal_safe;
use keyref::stores::{self, BUILTIN_KUBERNETES, SecretStore, StoreConfig, StoreError, Unopened};
use keyref::{Context, suggest};

use super::arguments::{Global, ModeArgument};
use super::waiting;

/// What a command needs of stores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// To read from them.
    Values,
    /// To know that they are there.
    Names,
}

/// A store of `--store`, or why it cannot be used.
pub(super) type Opened = std::result::Result<Arc<dyn SecretStore>, StoreError>;

/// The settings of these stores.
pub(super) struct Given {
    named: Vec<StoreConfig>,
    /// The store that Dapr has in Kubernetes without a component.
    builtin: Option<StoreConfig>,
}

impl Given {
    /// Takes the command line apart.
    ///
    /// # Errors
    /// Fails where an argument is no store, and where two have one name.
    pub(super) fn of(
        global: &Global,
        context: &Context,
        environment: &Environment,
    ) -> Result<Self> {
        let mut names = BTreeSet::new();
        let named = global.store.iter().map(|store| {
            let config = store_config(store, global, context, environment)?;
            if !names.insert(config.name.clone()) {
                let name = terminal_safe(&config.name);
                bail!("`--store {name}=…` is given twice: name each store once");
            }
            Ok(config)
        });
        let named = named.collect::<Result<Vec<_>>>()?;
        let builtin = global.kubernetes && !names.contains(BUILTIN_KUBERNETES);
        let builtin = builtin.then(|| {
            let mut config = StoreConfig::new(BUILTIN_KUBERNETES, "secretstores.kubernetes")
                .with_environment(environment.clone());
            config.namespace.clone_from(&context.namespace);
            config
        });
        Ok(Self { named, builtin })
    }

    /// The names and kinds that `--store` gives.
    pub(super) fn names(&self) -> Vec<(String, String)> {
        self.named
            .iter()
            .map(|config| (config.name.clone(), config.kind.clone()))
            .collect()
    }

    /// The files that `--store` names, each with its store. They are no documents.
    pub(super) fn files(&self) -> Vec<(String, PathBuf)> {
        let path = |config: &StoreConfig| {
            let kind = stores::registration(&config.kind).filter(|kind| kind.argument_is_path)?;
            let path = config.text(kind.argument).ok()??;
            Some((config.name.clone(), PathBuf::from(path)))
        };
        self.named.iter().filter_map(path).collect()
    }

    /// Opens them, if anything is to be read from them.
    pub(super) async fn open(self, need: Need, context: &Context) -> Vec<(String, Opened)> {
        let configs = self.named.into_iter().chain(self.builtin);
        join_all(configs.map(|config| open(config, need, context))).await
    }
}

/// Opens one, which others that hang do not hold up.
async fn open(config: StoreConfig, need: Need, context: &Context) -> (String, Opened) {
    let name = config.name.clone();
    let opening = move || match (need, stores::registration(&config.kind)) {
        (Need::Names, Some(kind)) => Ok(Arc::new(Unopened::of(kind)) as Arc<dyn SecretStore>),
        _ => stores::open(&config),
    };
    let opened = waiting::until_deadline(context, opening).await;
    let opened = opened.unwrap_or_else(|| {
        let message = "it could not be opened before the deadline";
        Err(StoreError::new(Class::TimedOut, message))
    });
    (name, opened)
}

/// Takes apart `NAME=KIND:ARGUMENT`.
fn store_config(
    store: &str,
    global: &Global,
    context: &Context,
    environment: &Environment,
) -> Result<StoreConfig> {
    let Some((name, rest)) = store.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        bail!("`--store` takes NAME=KIND:ARGUMENT, such as `vault=local.file:secrets.json`");
    };
    let (kind, argument) = match rest.split_once(':') {
        Some((kind, argument)) => (kind, Some(argument)),
        None => (rest, None),
    };
    let kind = match kind.strip_prefix("secretstores.") {
        Some(_) => kind.to_owned(),
        None => format!("secretstores.{kind}"),
    };
    let Some(registration) = stores::registration(&kind) else {
        let known = stores::REGISTRY
            .iter()
            .map(|known| known.kind.trim_start_matches("secretstores."));
        let kind = kind.trim_start_matches("secretstores.");
        bail!(
            "unknown store kind in `--store {}=…`; {}",
            terminal_safe(name),
            suggest::among("known kinds", kind, known)
        );
    };
    let mut config = StoreConfig::new(name, kind).with_environment(environment.clone());
    config.namespace.clone_from(&context.namespace);
    config.dapr_mode = global.mode == ModeArgument::Dapr;
    if let Some(argument) = argument {
        config = config.with_property(registration.argument, argument);
    }
    Ok(config)
}
