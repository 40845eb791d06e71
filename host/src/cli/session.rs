//! What every verb works with: the documents, the resolver and the context.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use keyref::component::{Component, Origin};
use keyref::env::{self, Environment};
use keyref::error::Class;
use keyref::problem::{Problem, Severity, terminal_safe};
use keyref::stores::{BUILTIN_KUBERNETES, Grants};
use keyref::{
    BuildError, Cache, Context, Document, Earlier, Mode, Resolver, ResolverBuilder, suggest,
};

use super::arguments::{Global, ModeArgument};
use super::counts::Counts;
use super::diagnostics::Sources;
use super::documents::Read;
use super::given::{Given, Need};
use super::{Status, configurations, diagnostics, documents, output, waiting};

/// A command's settings, resolved.
pub(super) struct Session {
    pub(super) resolver: Resolver,
    pub(super) context: Context,
    pub(super) documents: Vec<Document>,
    pub(super) sources: Sources,
    /// What could not be read, and the stores of `--store` that could not be opened.
    pub(super) problems: Vec<Problem>,
    /// The names and kinds of the stores that `--store` gives.
    pub(super) given: Vec<(String, String)>,
    /// What is probably a slip in the files of `--config`.
    config_slips: Vec<Problem>,
}

/// Why there is no session: what `--config` gives cannot be used, or time has run out.
pub(super) struct Refused {
    pub(super) problems: Vec<Problem>,
    sources: Sources,
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
            .filter(|(name, _)| !named.contains(name.as_str()));
        let misspelt = unused.filter_map(|(name, _)| {
            let known = named.iter().copied();
            let others = known.filter(|other| !self.given.iter().any(|(given, _)| given == other));
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
    let surroundings = Surroundings::of(global)?;
    let (arguments, files) = (arguments.to_vec(), surroundings.files());
    let (paths, quiet) = (global.config.clone(), global.quiet);
    let reading = move || -> Result<_> {
        let read = documents::read(&arguments, &files, quiet)?;
        Ok((read, configurations::read(&paths)?))
    };
    let Some(read) = waiting::until_deadline(&surroundings.context, reading).await else {
        let message = "the documents could not be read before the deadline";
        let problem = Problem::new(Class::TimedOut, None, message, "");
        return Ok(Err(problem.into()));
    };
    let (read, configurations) = read?;
    begin(global, surroundings, read, configurations, need).await
}

/// What the command line and the environment say beside the documents.
pub(super) struct Surroundings {
    environment: Environment,
    pub(super) context: Context,
    /// Those of `--store`.
    pub(super) stores: Given,
    /// What secret stores have said; nothing is kept unless somebody says so.
    pub(super) cache: Cache,
    /// Those that need not be opened again.
    pub(super) earlier: Option<Earlier>,
}

impl Surroundings {
    /// Takes them from the process.
    ///
    /// # Errors
    /// Fails where an argument of `--store` is no store.
    pub(super) fn of(global: &Global) -> Result<Self> {
        let environment = environment(global);
        let context = context(global, &environment);
        let stores = Given::of(global, &context, &environment)?;
        Ok(Self {
            environment,
            context,
            stores,
            cache: Cache::default(),
            earlier: None,
        })
    }

    /// The files that stores are opened from, which are no documents.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.stores.files()
    }
}

/// Puts the resolver together for documents that have been read.
pub(super) async fn begin(
    global: &Global,
    surroundings: Surroundings,
    read: Read,
    configurations: Vec<Document>,
    need: Need,
) -> Result<std::result::Result<Session, Refused>> {
    let Surroundings {
        environment,
        context,
        stores,
        cache,
        earlier,
    } = surroundings;
    let given = stores.names();
    let (documents, mut problems) = (read.documents, read.problems);
    let denied = keyref::api::denied_types(&configurations, &environment, mode(global));
    let mut builder = builder(global, environment).cache(cache);
    if let Ok(denied) = &denied {
        builder = builder.deny_types(denied.clone());
    }
    let opening = stores.add_to(builder, need, &context, earlier.as_ref());
    let (mut builder, unusable) = opening.await;
    problems.extend(unusable);
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
        Ok(_) if let Err(wrong) = denied => {
            problems.extend(wrong);
            Ok(Err(Refused { problems, sources }))
        }
        Ok(resolver) => Ok(Ok(Session {
            resolver,
            context,
            documents,
            sources,
            problems,
            given,
            config_slips,
        })),
        Err(BuildError::Configuration(wrong)) => {
            problems.extend(wrong);
            Ok(Err(Refused { problems, sources }))
        }
        Err(error) => Err(error.into()),
    }
}

/// What no file decides.
fn builder(global: &Global, environment: Environment) -> ResolverBuilder {
    let mut builder = Resolver::builder()
        .mode(mode(global))
        .environment(environment)
        .allow_any_namespace()
        .allow_document_stores(Grants::all());
    if let Some(counts) = &global.counts {
        let counts: Arc<Counts> = Arc::clone(counts);
        builder = builder.observer(counts);
    }
    if global.kubernetes {
        builder.default_secret_store(BUILTIN_KUBERNETES)
    } else {
        builder
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

fn context(global: &Global, environment: &Environment) -> Context {
    let mut context = Context::new().with_caller("keyref");
    context.app_id.clone_from(&global.app_id);
    context.namespace = namespace(global, environment);
    if let Some(seconds) = global.timeout {
        context = context.with_timeout(Duration::from_secs(seconds));
    }
    context
}

/// The process's environment, with what a server adds to it.
pub(super) fn environment(global: &Global) -> Environment {
    Environment::process().with(global.serving.variables.iter().cloned())
}

/// The namespace to load components for.
pub(super) fn namespace(global: &Global, environment: &Environment) -> Option<String> {
    let given = global.namespace.clone();
    given.or_else(|| environment.text(env::NAMESPACE))
}

pub(super) fn mode(global: &Global) -> Mode {
    match global.mode {
        ModeArgument::Strict => Mode::Strict,
        ModeArgument::Dapr => Mode::Dapr,
    }
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
