//! The stores that the command line gives: those of `--store`, and that of `--kubernetes`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, bail};
use futures_util::future::join_all;
use keyref::env::Environment;
use keyref::problem::{Problem, terminal_safe};
use keyref::stores::{self, BUILTIN_KUBERNETES, StoreConfig, StoreError, Unopened};
use keyref::{Context, Earlier, OpenedStore, ResolverBuilder, suggest};

use super::arguments::{Global, ModeArgument};
use super::diagnostics;

/// What a command needs of stores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// To read from them.
    Values,
    /// To know that they are there.
    Names,
}

/// A store of the command line.
enum Opened {
    Store(OpenedStore),
    /// What stands for it, where only its name is needed.
    Name(Unopened),
}

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

    /// The files that `--store` names. They are no documents.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let path = |config: &StoreConfig| {
            let kind = stores::registration(&config.kind).filter(|kind| kind.argument_is_path)?;
            config.text(kind.argument).ok()?.map(PathBuf::from)
        };
        self.named.iter().filter_map(path).collect()
    }

    /// Adds them to a resolver, opened if anything is to be read from them; why some cannot be used.
    pub(super) async fn add_to(
        self,
        mut builder: ResolverBuilder,
        need: Need,
        context: &Context,
        earlier: Option<&Earlier>,
    ) -> (ResolverBuilder, Vec<Problem>) {
        let mut problems = Vec::new();
        // One that hangs holds up no other.
        let opening = self
            .named
            .into_iter()
            .chain(self.builtin)
            .map(async |config| {
                let name = config.name.clone();
                (name, open(config, need, context, earlier).await)
            });
        for (name, opened) in join_all(opening).await {
            builder = match opened {
                Ok(Opened::Store(store)) => builder.opened_store(store),
                Ok(Opened::Name(stand_in)) => builder.store(name, stand_in),
                Err(error) => {
                    problems.push(diagnostics::store_problem(&name, error.clone()));
                    builder.unusable_store(name, error)
                }
            };
        }
        (builder, problems)
    }
}

async fn open(
    config: StoreConfig,
    need: Need,
    context: &Context,
    earlier: Option<&Earlier>,
) -> std::result::Result<Opened, StoreError> {
    if let (Need::Names, Some(kind)) = (need, stores::registration(&config.kind)) {
        return Ok(Opened::Name(Unopened::of(kind)));
    }
    let opened = OpenedStore::open(config, context, earlier).await;
    opened.map(Opened::Store)
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
