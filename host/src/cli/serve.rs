//! `keyref serve`: Dapr's APIs, until a signal or a caller ends them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use keyref::Mode;
use keyref::api::{
    Access, Ending, Handle, Identity, Loaded, LoadedComponent, Options, Server, Settings,
};
use keyref::env::{self, Environment};
use keyref::error::Class;
use keyref::problem::Problem;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::{Global, ServeArguments};
use super::given::Need;
use super::session::{self, Session};
use super::{Status, configurations, diagnostics};

/// What a component can do, in Dapr's words: the kinds that can keep several values in a secret.
const MULTIPLE_VALUES: &str = "MULTIPLE_KEY_VALUES_PER_SECRET";

/// Serves until it is ended.
pub(super) async fn run(global: &Global, arguments: &ServeArguments) -> Result<Status> {
    let begin = Instant::now();
    if global.app_id.as_deref().is_some_and(|id| id.contains('.')) {
        return Ok(fatal("parameter app-id cannot contain dots"));
    }
    // Before anything can take long, so that none is missed.
    let signals = Signals::listen()?;
    let environment = Environment::process();
    let settings = match settings(global, &environment)? {
        Ok(settings) => settings,
        Err(problems) => return Ok(refuse(&problems)),
    };
    let options = options(global, arguments, &settings, &environment)?;
    let server = match Server::bind(options).await {
        Ok(server) => server,
        Err(error) => return Ok(fatal(&error.to_string())),
    };
    let handle = server.handle();
    let serving = tokio::spawn(server.run());
    match load(global, arguments).await? {
        Ok(loaded) => handle.load(loaded),
        Err(problems) => {
            handle.end_now();
            return Ok(refuse(&problems));
        }
    }
    let elapsed = begin.elapsed().as_millis();
    tracing::info!(
        scope = "dapr.runtime",
        "dapr initialized. Status: Running. Init Elapsed {elapsed}ms"
    );
    let steering = steer(global, arguments, &handle, signals);
    tokio::select! {
        ending = serving => Ok(match ending {
            Ok(Ending::Finished) => Status::Done,
            Ok(Ending::Late) => {
                tracing::warn!("requests were still under way at the end");
                Status::Done
            }
            Ok(_) => Status::Fault,
            Err(_) => Status::Defect,
        }),
        () = steering => Ok(Status::Fault),
    }
}

/// The signals that mean something.
struct Signals {
    end: EndSignals,
    hang_up: Signal,
}

/// Those that end the server.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("failed to listen for signals");
        let end = EndSignals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        };
        let hang_up = listen(SignalKind::hangup())?;
        Ok(Self { end, hang_up })
    }
}

impl EndSignals {
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reloads at SIGHUP and ends the server at SIGTERM or SIGINT. Returns where it is to end at once:
/// at a second signal.
async fn steer(global: &Global, arguments: &ServeArguments, handle: &Handle, mut signals: Signals) {
    loop {
        tokio::select! {
            () = signals.end.recv() => break,
            _ = signals.hang_up.recv() => reload(global, arguments, handle).await,
        }
    }
    tracing::info!("shutting down");
    handle.shut_down();
    signals.end.recv().await;
}

/// Reads all documents again. What is wrong with them keeps what was there before.
async fn reload(global: &Global, arguments: &ServeArguments, handle: &Handle) {
    match load(global, arguments).await {
        Ok(Ok(loaded)) => {
            handle.load(loaded);
            tracing::info!("reloaded");
        }
        Ok(Err(problems)) => {
            problems.iter().for_each(log);
            tracing::error!("not reloaded: what was loaded before is still served");
        }
        Err(error) => tracing::error!("not reloaded: {error:#}"),
    }
}

/// Opens the stores of the documents and lists the components, or says why that cannot be.
async fn load(
    global: &Global,
    arguments: &ServeArguments,
) -> Result<std::result::Result<Loaded, Vec<Problem>>> {
    let session = match session::open(global, &arguments.resources, Need::Values).await? {
        Ok(session) => session,
        Err(refused) => return Ok(Err(refused.problems)),
    };
    let inspected = session
        .resolver
        .inspect(session.documents.clone(), &session.context);
    let components = inspected.await.components;
    let documents = session.documents.clone();
    let opening = session.resolver.with_stores_of(documents, &session.context);
    let (resolver, problems) = opening.await;
    let mut all = session.problems.clone();
    all.extend(problems);
    all.extend(session.slips(&resolver.stores(), &[]));
    let optional: BTreeSet<&str> = components
        .iter()
        .filter(|inspected| inspected.component.ignore_errors)
        .map(|inspected| inspected.component.name.as_str())
        .collect();
    let (errors, warnings): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|problem| is_fatal(problem, &session, &optional));
    if !errors.is_empty() {
        return Ok(Err(errors));
    }
    warnings.iter().for_each(log);
    let named = &session.given;
    let mut listed: Vec<_> = named
        .iter()
        .map(|(name, kind)| LoadedComponent::new(name, kind, "v1"))
        .collect();
    for inspected in &components {
        let component = &inspected.component;
        let is_given = named.iter().any(|(name, _)| *name == component.name);
        let is_lost = component.is_secret_store() && !resolver.has_store(&component.name);
        if component.name.is_empty() || is_given || is_lost {
            continue;
        }
        let (name, kind) = (&component.name, &component.component_type);
        let listing = LoadedComponent::new(name, kind, &component.version);
        let capabilities = capabilities(component);
        listed.push(listing.with_capabilities(capabilities));
    }
    Ok(Ok(Loaded::new(resolver, listed)))
}

/// What the metadata says that a store can do.
fn capabilities(component: &keyref::component::Component) -> Vec<String> {
    let kind = component.component_type.to_ascii_lowercase();
    let is_multiple = || {
        let mut items = component.items.iter();
        items.any(|item| {
            let is_set = item.value.as_deref().is_some_and(|text| {
                ["y", "yes", "true", "t", "on", "1"]
                    .contains(&text.trim().to_ascii_lowercase().as_str())
            });
            item.name.eq_ignore_ascii_case("multiValued") && is_set
        })
    };
    match kind.as_str() {
        "secretstores.kubernetes" => vec![MULTIPLE_VALUES.to_owned()],
        "secretstores.local.file" if is_multiple() => vec![MULTIPLE_VALUES.to_owned()],
        _ => Vec::new(),
    }
}

/// Whether a problem ends the start. As in Dapr, what `ignoreErrors` marks does not; in Dapr mode a
/// document that is not YAML does not either.
fn is_fatal(problem: &Problem, session: &Session, optional: &BTreeSet<&str>) -> bool {
    let subject = problem.subject.as_ref();
    let is_optional = subject.is_some_and(|subject| optional.contains(subject.component.as_str()));
    let is_left_out =
        session.resolver.mode() == Mode::Dapr && problem.class == Class::DocumentSyntax;
    diagnostics::is_error(problem) && !is_optional && !is_left_out
}

/// What the files of `--config` say of the server.
fn settings(
    global: &Global,
    environment: &Environment,
) -> Result<std::result::Result<Settings, Vec<Problem>>> {
    let configurations = configurations::read(&global.config)?;
    let mode = session::mode(global);
    let settings = Settings::read(&configurations, environment, mode);
    if let Ok(settings) = &settings {
        for field in &settings.without_effect {
            tracing::warn!("`{field}` has no effect here");
        }
    }
    Ok(settings)
}

fn options(
    global: &Global,
    arguments: &ServeArguments,
    settings: &Settings,
    environment: &Environment,
) -> Result<Options> {
    let mut identity = Identity::new(global.app_id.clone().unwrap_or_default());
    identity.namespace = session::namespace(global, environment);
    identity.app_port = arguments.app_port.filter(|port| *port != 0);
    identity.app_protocol.clone_from(&arguments.app_protocol);
    identity.app_host.clone_from(&arguments.app_channel_address);
    let mut access = Access::default();
    // As in Dapr, an empty token is none.
    access.token = environment
        .get(env::API_TOKEN)
        .filter(|token| !token.is_empty());
    access.allowed.clone_from(&settings.allowed);
    access.denied.clone_from(&settings.denied);
    let addresses = &arguments.dapr_listen_addresses;
    let is_reachable = addresses.iter().any(|address| !address.is_loopback());
    if is_reachable && access.token.is_none() && !arguments.allow_public_without_token {
        bail!(
            "secrets would be served on an address that others can reach, to everybody: set \
             `{}`, listen on 127.0.0.1, or say `--allow-public-without-token`",
            env::API_TOKEN
        );
    }
    if access.token.is_some() {
        tracing::info!("Enabled token authentication on HTTP and gRPC servers");
    }
    let on = |port| {
        let addresses = addresses.iter();
        addresses
            .map(move |address: &IpAddr| SocketAddr::new(*address, port))
            .collect()
    };
    let mut options = Options::new(identity);
    options.http = on(arguments.dapr_http_port);
    options.grpc = on(arguments.dapr_grpc_port);
    let public = arguments.dapr_public_port;
    options.public = public.map(|port| SocketAddr::new(arguments.dapr_public_listen_address, port));
    options.access = access;
    options.most_body = arguments.max_body_bytes;
    options.most_head = arguments.read_buffer_bytes;
    options.graceful_time = Duration::from_secs(arguments.dapr_graceful_shutdown_seconds);
    options.log_calls = arguments.enable_api_logging || settings.log_calls;
    Ok(options)
}

/// Logs what ends the start, and says how the command ends.
fn refuse(problems: &[Problem]) -> Status {
    problems.iter().for_each(log);
    let first = problems
        .iter()
        .find(|problem| diagnostics::is_error(problem));
    let first = first.map_or("nothing could be loaded", |problem| {
        problem.message.as_str()
    });
    fatal(first);
    session::status(problems)
}

fn fatal(message: &str) -> Status {
    tracing::error!(fatal = true, "Fatal error from runtime: {message}");
    Status::Fault
}

/// Logs a problem with its place and what to do about it.
fn log(problem: &Problem) {
    let place = problem.place.as_ref().map(ToString::to_string);
    let (place, hint) = (place.as_deref(), Some(problem.hint.as_str()));
    let hint = hint.filter(|hint| !hint.is_empty());
    let class = problem.class.code();
    if diagnostics::is_error(problem) {
        tracing::error!(place, hint, class, "{}", problem.message);
    } else {
        tracing::warn!(place, hint, class, "{}", problem.message);
    }
}
