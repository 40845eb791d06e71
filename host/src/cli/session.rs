//! What every verb works with: the documents, the resolver and the context.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use keyref::component::{Component, Origin};
use keyref::env::{self, Environment};
use keyref::error::Class;
use keyref::problem::{Problem, Severity, terminal_safe};
use keyref::stores::{self, BUILTIN_KUBERNETES, Grants, SecretStore, StoreConfig};
use keyref::{BuildError, Context, Document, Mode, Resolver, suggest};

use super::arguments::{Global, ModeArgument};
use super::diagnostics::Sources;
use super::{Status, configurations, diagnostics, documents, output};

/// Work that lasts longer than this shows that it goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// A command's settings, resolved.
pub(super) struct Session {
    pub(super) resolver: Resolver,
    pub(super) context: Context,
    pub(super) documents: Vec<Document>,
    pub(super) sources: Sources,
    /// The names of the stores that `--store` gives.
    given: Vec<String>,
    /// What is probably a slip in the files of `--config`.
    config_slips: Vec<Problem>,
}

/// Why there is no session: what `--store` or `--config` gives cannot be used.
pub(super) struct Refused {
    pub(super) problems: Vec<Problem>,
    sources: Sources,
}

impl Refused {
    /// Prints why, and says how the command ends.
    pub(super) fn print(&self, global: &Global) -> Status {
        diagnostics::print(&self.problems, &self.sources, global);
        status(&self.problems)
    }
}

impl Session {
    /// What is probably a slip: scopes of the policy for stores that do not exist, and stores that
    /// `--store` gives under nearly the name that references use.
    pub(super) fn slips(&self, stores: &[String], references: &[Origin]) -> Vec<Problem> {
        let named: BTreeSet<&str> = references
            .iter()
            .filter_map(|reference| match reference {
                Origin::Secret { store, .. } => Some(store.as_str()),
                _ => None,
            })
            .collect();
        let unused = self
            .given
            .iter()
            .filter(|name| !named.contains(name.as_str()));
        let misspelt = unused.filter_map(|name| {
            let known = named.iter().copied();
            let others = known.filter(|other| !self.given.iter().any(|given| given == other));
            let meant = suggest::nearest(name, others)?;
            let message = format!("no reference names the store `{}`", terminal_safe(name));
            let hint = format!("did you mean `--store {}=…`?", terminal_safe(meant));
            let mut problem = Problem::new(Class::StoreUnknown, None, message, hint);
            problem.severity = Severity::Warning;
            Some(problem)
        });
        let mut problems = self.config_slips.clone();
        problems.extend(self.resolver.unknown_scopes(stores));
        problems.extend(misspelt);
        problems
    }
}

/// Reads documents and puts the resolver together. The documents are the operator's own, so they
/// may declare stores; a program to run they may not name.
pub(super) fn open(
    global: &Global,
    arguments: &[String],
) -> Result<std::result::Result<Session, Refused>> {
    let environment = Environment::process();
    let context = context(global, &environment);
    let exchanged: Vec<StoreConfig> = global
        .store
        .iter()
        .map(|store| store_config(store, global, &context, &environment))
        .collect::<Result<_>>()?;
    let documents = documents::read(arguments, &files_of_stores(global), global.quiet)?;
    let mut builder = Resolver::builder()
        .mode(mode(global))
        .environment(environment.clone())
        .allow_any_namespace()
        .allow_document_stores(Grants::all());
    for config in &exchanged {
        match stores::open(config) {
            Ok(store) => builder = builder.shared_store(&config.name, store),
            Err(error) => {
                return Ok(Err(Refused {
                    problems: vec![diagnostics::store_problem(&config.name, error)],
                    sources: Sources::default(),
                }));
            }
        }
    }
    if global.kubernetes {
        builder = builder.default_secret_store(BUILTIN_KUBERNETES);
        let is_builtin = |config: &StoreConfig| config.name == BUILTIN_KUBERNETES;
        if !exchanged.iter().any(is_builtin) {
            let store = builtin_store(&context, environment)?;
            builder = builder.shared_store(BUILTIN_KUBERNETES, store);
        }
    }
    let mut sources = Sources::of(&documents);
    let mut slips = Vec::new();
    for document in configurations::read(&global.config)? {
        sources.add(&document);
        slips.extend(configurations::slip(&document));
        builder = builder.configuration(document);
    }
    #[cfg(feature = "guest")]
    if let Some(path) = &global.guest {
        builder = builder.guest(guest(path)?);
    }
    match builder.build() {
        Ok(resolver) => Ok(Ok(Session {
            resolver,
            context,
            documents,
            sources,
            given: exchanged.into_iter().map(|config| config.name).collect(),
            config_slips: slips,
        })),
        Err(BuildError::Configuration(problems)) => Ok(Err(Refused { problems, sources })),
        Err(error) => Err(error.into()),
    }
}

/// The guest of `--guest`.
#[cfg(feature = "guest")]
fn guest(path: &std::path::Path) -> Result<keyref::guest::Guest> {
    use anyhow::Context as _;

    let shown = || {
        format!(
            "failed to read `{}`",
            terminal_safe(&path.to_string_lossy())
        )
    };
    let guest = std::fs::read(path).with_context(shown)?;
    Ok(keyref::guest::Guest::from_component(&guest)?)
}

/// The files that `--store` names, which are no documents.
fn files_of_stores(global: &Global) -> Vec<PathBuf> {
    let arguments = global
        .store
        .iter()
        .filter_map(|store| store.split_once('=')?.1.split_once(':'));
    arguments
        .map(|(_, argument)| PathBuf::from(argument))
        .collect()
}

/// The store that Dapr has in Kubernetes without a component.
fn builtin_store(context: &Context, environment: Environment) -> Result<Arc<dyn SecretStore>> {
    let mut config = StoreConfig::new(BUILTIN_KUBERNETES, "secretstores.kubernetes")
        .with_environment(environment);
    config.namespace.clone_from(&context.namespace);
    Ok(stores::open(&config)?)
}

fn context(global: &Global, environment: &Environment) -> Context {
    let mut context = Context::new().with_caller("keyref");
    context.app_id.clone_from(&global.app_id);
    context.namespace = global
        .namespace
        .clone()
        .or_else(|| environment.text(env::NAMESPACE));
    if let Some(seconds) = global.timeout {
        context = context.with_timeout(Duration::from_secs(seconds));
    }
    context
}

fn mode(global: &Global) -> Mode {
    match global.mode {
        ModeArgument::Strict => Mode::Strict,
        ModeArgument::Dapr => Mode::Dapr,
    }
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

/// Waits for work, and shows on a terminal that it goes on where it lasts.
pub(super) async fn wait<T>(
    global: &Global,
    what: &'static str,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    let visible = !global.quiet && std::io::stderr().is_terminal();
    if !visible {
        return work.await;
    }
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    let bar = indicatif::ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(120));
    let done = work.await;
    bar.finish_and_clear();
    done
}

/// The status that some problems lead to.
pub(super) fn status(problems: &[Problem]) -> Status {
    let errors = problems
        .iter()
        .filter(|problem| diagnostics::is_error(problem));
    let worst = errors
        .map(|problem| problem.class)
        .max_by_key(|class| class.exit_status());
    worst.map_or(Status::Done, status_of)
}

/// The status that a failure of this class leads to.
pub(super) fn status_of(class: Class) -> Status {
    if class.exit_status() == 1 {
        Status::Fault
    } else {
        Status::Defect
    }
}

/// `type/version`, as people write it.
pub(super) fn type_of(component: &Component) -> String {
    if component.version.is_empty() {
        component.component_type.clone()
    } else {
        format!("{}/{}", component.component_type, component.version)
    }
}

/// Prints what a call took.
pub(super) fn print_stats(global: &Global, stats: &keyref::Stats) {
    if global.stats {
        output::message(&format!(
            "backend calls: {}, cache hits: {}, parse: {:?}, fetch: {:?}, place: {:?}",
            stats.backend_calls, stats.cache_hits, stats.parse, stats.fetch, stats.place
        ));
    }
}
