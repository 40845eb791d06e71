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
use keyref::stores::{
    self, BUILTIN_KUBERNETES, Grants, SecretStore, StoreConfig, StoreError, Unopened,
};
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
    /// What could not be read, and the stores of `--store` that could not be opened.
    pub(super) problems: Vec<Problem>,
    /// The names of the stores that `--store` gives.
    given: Vec<String>,
    /// What is probably a slip in the files of `--config`.
    config_slips: Vec<Problem>,
}

/// Why there is no session: what `--config` gives cannot be used, or time has run out.
pub(super) struct Refused {
    pub(super) problems: Vec<Problem>,
    sources: Sources,
}

/// What a command needs of stores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// To read from them.
    Values,
    /// To know that they are there.
    Names,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
            sources: Sources::default(),
        }
    }
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
        problems.extend_from_slice(self.resolver.configuration_slips());
        problems.extend(self.resolver.unknown_scopes(stores));
        problems.extend(misspelt);
        problems
    }
}

/// Reads documents and puts the resolver together. The documents are the operator's own, so they
/// may declare stores; a program to run they may not name.
pub(super) async fn open(
    global: &Global,
    arguments: &[String],
    need: Need,
) -> Result<std::result::Result<Session, Refused>> {
    let environment = Environment::process();
    let context = context(global, &environment);
    let exchanged = exchanged(global, &context, &environment)?;
    let given = exchanged.iter().map(|config| config.name.clone()).collect();
    let (arguments, files) = (arguments.to_vec(), files_of_stores(&exchanged));
    let (paths, quiet) = (global.config.clone(), global.quiet);
    let reading = move || -> Result<_> {
        let read = documents::read(&arguments, &files, quiet)?;
        Ok((read, configurations::read(&paths)?))
    };
    let Some(read) = until_deadline(&context, reading).await else {
        let message = "the documents could not be read before the deadline";
        let problem = Problem::new(Class::TimedOut, None, message, "");
        return Ok(Err(problem.into()));
    };
    let (read, configurations) = read?;
    let (documents, mut problems) = (read.documents, read.problems);
    let mut builder = Resolver::builder()
        .mode(mode(global))
        .environment(environment.clone())
        .allow_any_namespace()
        .allow_document_stores(Grants::all());
    for (name, store) in open_stores(exchanged, need, &context).await {
        match store {
            Ok(store) => builder = builder.shared_store(name, store),
            Err(error) => {
                problems.push(diagnostics::store_problem(&name, error.clone()));
                builder = builder.unusable_store(name, error);
            }
        }
    }
    if global.kubernetes {
        builder = builder.default_secret_store(BUILTIN_KUBERNETES);
        if !is_given(global, BUILTIN_KUBERNETES) {
            let store = builtin_store(&context, environment)?;
            builder = builder.shared_store(BUILTIN_KUBERNETES, store);
        }
    }
    let mut sources = Sources::of(&documents);
    let mut config_slips = Vec::new();
    for document in configurations {
        sources.add(&document);
        config_slips.extend(configurations::slip(&document));
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
            problems,
            given,
            config_slips,
        })),
        Err(BuildError::Configuration(problems)) => Ok(Err(Refused { problems, sources })),
        Err(error) => Err(error.into()),
    }
}

/// Does what can wait for a pipe or a file far away, and gives up at the deadline.
async fn until_deadline<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let work = tokio::task::spawn_blocking(work);
    let done = match context.deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok()?,
        None => work.await,
    };
    match done {
        Ok(done) => Some(done),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A store of `--store`, or why it cannot be used.
type Opened = std::result::Result<Arc<dyn SecretStore>, StoreError>;

/// Opens the stores of `--store`, if anything is to be read from them.
async fn open_stores(
    configs: Vec<StoreConfig>,
    need: Need,
    context: &Context,
) -> Vec<(String, Opened)> {
    let names: Vec<String> = configs.iter().map(|config| config.name.clone()).collect();
    let open = move |config: &StoreConfig| match (need, stores::registration(&config.kind)) {
        (Need::Names, Some(kind)) => Ok(Arc::new(Unopened::of(kind)) as Arc<dyn SecretStore>),
        _ => stores::open(config),
    };
    let opening = move || configs.iter().map(open).collect::<Vec<_>>();
    let late = || {
        let message = "it could not be opened before the deadline";
        Err(StoreError::new(Class::TimedOut, message))
    };
    let opened = until_deadline(context, opening).await;
    let opened = opened.unwrap_or_else(|| names.iter().map(|_| late()).collect());
    names.into_iter().zip(opened).collect()
}

/// The settings of the stores that `--store` gives, each name once.
fn exchanged(
    global: &Global,
    context: &Context,
    environment: &Environment,
) -> Result<Vec<StoreConfig>> {
    let mut names = BTreeSet::new();
    let configs = global.store.iter().map(|store| {
        let config = store_config(store, global, context, environment)?;
        if !names.insert(config.name.clone()) {
            let name = terminal_safe(&config.name);
            bail!("`--store {name}=…` is given twice: name each store once");
        }
        Ok(config)
    });
    configs.collect()
}

/// Whether `--store` gives a store of this name.
fn is_given(global: &Global, name: &str) -> bool {
    let mut given = global.store.iter();
    given.any(|store| {
        store
            .split_once('=')
            .is_some_and(|(given, _)| given == name)
    })
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
fn files_of_stores(exchanged: &[StoreConfig]) -> Vec<PathBuf> {
    let path = |config: &StoreConfig| {
        let kind = stores::registration(&config.kind).filter(|kind| kind.argument_is_path)?;
        config.text(kind.argument).ok()?.map(PathBuf::from)
    };
    exchanged.iter().filter_map(path).collect()
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
