//! `keyref serve`: Dapr's APIs, until a signal or a caller ends them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use keyref::api::{
    Access, ComponentsOptions, Ending, Handle, Identity, Options, Origins, Server, Settings,
    StatusOptions, TlsFiles, Token,
};
use keyref::env::{self, Environment};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::task::JoinHandle;

use super::app_process::{Addresses, AppProcess};
use super::arguments::{DropIn, Global, ServeArguments};
use super::caching;
use super::inputs::{Inputs, Snapshot};
use super::listen_host::ListenAddresses;
use super::loading::{self, Before, Served, load};
use super::refusal::{Refusal, fatal};
use super::reloading::Reloading;
use super::running::{Running, Times};
use super::signals::Signals;
use super::trail::Trail;
use super::watch::Watch;
use super::{Status, session};

/// How long the start waits for stores that others need: Dapr's own time for a component.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until it is ended.
pub(super) async fn run(global: &Global, arguments: &ServeArguments) -> Result<Status> {
    let begin = Instant::now();
    if global.app_id.as_deref().is_some_and(|id| id.contains('.')) {
        return Ok(fatal("parameter app-id cannot contain dots"));
    }
    raise_files();
    // Before anything can take long, so that none is missed.
    let mut signals = Signals::listen(!arguments.command.is_empty())?;
    arguments.drop_in.iter().for_each(name_without_meaning);
    let before = Before::with_cache(caching::cache(&arguments.cache)?);
    let (snapshot, inputs) = tokio::select! {
        read = read(global, arguments) => match read? {
            Ok(read) => read,
            Err(reason) => return Ok(fatal(&reason)),
        },
        _ = signals.end.recv() => return Ok(Status::Done),
    };
    let settings = match loading::settings(global, &snapshot, None) {
        Ok(settings) => settings,
        Err(problems) => return Ok(Refusal::from(problems).end()),
    };
    // The trail is written to its end when it is dropped.
    let (options, _trail) = match prepare(global, arguments, settings).await? {
        Ok(prepared) => prepared,
        Err(reason) => return Ok(fatal(&reason)),
    };
    let (identity, token) = (options.identity.clone(), options.access.token.clone());
    let server = match Server::bind(options).await {
        Ok(server) => server,
        Err(error) => return Ok(fatal(&error.to_string())),
    };
    let (handle, addresses) = (server.handle(), Addresses::of(&server, arguments, token));
    let serving = tokio::spawn(server.run());
    let begun = tokio::select! {
        begun = begin_serving(global, &snapshot, &handle, before, begin) => begun,
        _ = signals.end.recv() => Ok(Err(Status::Done)),
    };
    let begun = begun.map(|served| {
        let app = AppProcess::start(&arguments.command, &identity, &addresses);
        Ok((served?, app.map_err(|reason| reason.log())?))
    });
    let (served, app) = match begun {
        Ok(Ok(begun)) => begun,
        Ok(Err(status)) => {
            end_at_once(&handle, serving).await;
            return Ok(status);
        }
        Err(error) => {
            end_at_once(&handle, serving).await;
            return Err(error);
        }
    };
    let running = Running::new(serving, handle.clone(), app, Times::of(arguments));
    let watch = &mut Watch::new(inputs, snapshot.clone(), served.files.clone());
    let reloading = &mut Reloading::new(global, arguments, &handle, snapshot, served);
    let status = running.until_end(signals, reloading, watch).await;
    if let Some(counts) = &global.counts {
        counts.log();
    }
    Ok(status)
}

/// How to serve, or in words why that cannot be.
async fn prepare(
    global: &Global,
    arguments: &ServeArguments,
    settings: Settings,
) -> Result<std::result::Result<(Options, Trail), String>> {
    let addresses = match ListenAddresses::of(arguments).await {
        Ok(addresses) => addresses,
        Err(reason) => return Ok(Err(reason)),
    };
    let app_health = match arguments.app_health.check() {
        Ok(check) => check,
        Err(reason) => return Ok(Err(reason.to_owned())),
    };
    let environment = Environment::process();
    let mut options = options(global, arguments, settings, &environment, &addresses)?;
    options.identity.app_health = app_health;
    let trail = match Trail::open(arguments.audit_log.as_deref()) {
        Ok(trail) => trail,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    options.audit = trail.audit();
    Ok(Ok((options, trail)))
}

/// Reads all files, or says in words which cannot be.
async fn read(
    global: &Global,
    arguments: &ServeArguments,
) -> Result<std::result::Result<(Snapshot, Inputs), String>> {
    let mut inputs = Inputs::of(global, arguments)?;
    let reading = tokio::task::spawn_blocking(move || (inputs.read(), inputs));
    let (snapshot, mut inputs) = reading.await?;
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    for skipped in inputs.documents.skipped() {
        tracing::warn!("{skipped}");
    }
    Ok(Ok((snapshot, inputs)))
}

/// Loads what is to be served. Otherwise says how the command ends.
async fn begin_serving(
    global: &Global,
    snapshot: &Snapshot,
    handle: &Handle,
    before: Before<'_>,
    begin: Instant,
) -> Result<std::result::Result<Served, Status>> {
    let served = match load(global, snapshot, &before, PATIENCE).await? {
        Ok(served) => served,
        Err(refusal) => return Ok(Err(refusal.end())),
    };
    caching::warn_of_unknown(&served.loaded.resolver);
    handle.load(served.loaded.clone());
    let elapsed = begin.elapsed().as_millis();
    tracing::info!(
        scope = "dapr.runtime",
        "dapr initialized. Status: Running. Init Elapsed {elapsed}ms"
    );
    Ok(Ok(served))
}

/// Takes all the open files that the system grants, as programs in Go do: each connection is one.
fn raise_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
}

async fn end_at_once(handle: &Handle, serving: JoinHandle<Ending>) {
    handle.end_now();
    drop(serving.await);
}

/// Says, once, what of the command line of `daprd` has no meaning here.
fn name_without_meaning(drop_in: &DropIn) {
    if !drop_in.without_meaning.is_empty() {
        let names = drop_in.without_meaning.join(", ");
        tracing::warn!("without a meaning here: {names}");
    }
}

fn options(
    global: &Global,
    arguments: &ServeArguments,
    settings: Settings,
    environment: &Environment,
    addresses: &ListenAddresses,
) -> Result<Options> {
    let mut identity = Identity::new(global.app_id.clone().unwrap_or_default());
    identity.namespace = session::namespace(global, environment);
    identity.app_port = arguments.app_port.filter(|port| *port != 0);
    identity.app_protocol = arguments.app_protocol.to_lowercase();
    identity.app_authorities.clone_from(&arguments.app_tls_ca);
    identity.app_host.clone_from(&arguments.app_channel_address);
    let mut access = Access::default();
    access.token = token(
        environment,
        env::API_TOKEN,
        arguments.dapr_api_token_file.as_ref(),
    )?;
    if access.token.is_some() {
        tracing::info!("Enabled token authentication on HTTP and gRPC servers");
    }
    let origins = Origins::parse(&arguments.allowed_origins);
    let has_all = origins.as_ref().is_some_and(Origins::has_all);
    let is_guarded = access.token.is_some() || arguments.tls_client_ca.is_some();
    if !is_guarded && !arguments.allow_public_without_token {
        refuse_everybody(arguments, addresses, has_all)?;
    }
    let on = |port| {
        let hosts = addresses.api.iter();
        hosts.map(|host| SocketAddr::new(*host, port)).collect()
    };
    let mut options = Options::new(identity);
    options.http = on(arguments.dapr_http_port);
    options.grpc = on(arguments.dapr_grpc_port);
    let public = arguments.dapr_public_port;
    options.public = public.map(|port| SocketAddr::new(addresses.public, port));
    let metrics = SocketAddr::new(addresses.metrics, arguments.metrics_port);
    options.metrics = arguments.enable_metrics.then_some(metrics);
    let folder = Some(&arguments.unix_domain_socket).filter(|folder| !folder.is_empty());
    options.unix = folder.map(PathBuf::from);
    if let (Some(certificate), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) {
        let mut files = TlsFiles::new(certificate, key);
        files
            .client_authorities
            .clone_from(&arguments.tls_client_ca);
        options.tls = Some(files);
    }
    options.origins = origins;
    options.components = components(arguments, environment, addresses)?;
    options.status = status(arguments, environment, addresses)?;
    options.access = access;
    let file = arguments.app_api_token_file.as_ref();
    options.app_token = token(environment, env::APP_API_TOKEN, file)?;
    options.most_body = arguments.max_body_size;
    options.most_head = arguments.read_buffer_size;
    options.graceful_time = Duration::from_secs(arguments.dapr_graceful_shutdown_seconds);
    options.settings = effective(settings, arguments);
    if let Some(seconds) = global.timeout {
        options.request_time = Duration::from_secs(seconds);
    }
    Ok(options)
}

/// Where resolved components are served, if at all.
fn components(
    arguments: &ServeArguments,
    environment: &Environment,
    addresses: &ListenAddresses,
) -> Result<Option<ComponentsOptions>> {
    let Some(port) = arguments.components_port else {
        return Ok(None);
    };
    let address = SocketAddr::new(addresses.components, port);
    let mut options = ComponentsOptions::new(address);
    let file = arguments.components_token_file.as_ref();
    options.token = token(environment, env::COMPONENTS_TOKEN, file)?;
    options.refresh = Duration::from_secs(arguments.components_refresh);
    let is_open = options.token.is_none() && !arguments.allow_public_without_token;
    if is_open && !address.ip().is_loopback() {
        bail!(
            "components would be served with their secrets on an address that others can reach, \
             to everybody: set `{}`, listen on 127.0.0.1, or say `--allow-public-without-token`",
            env::COMPONENTS_TOKEN
        );
    }
    Ok(Some(options))
}

/// Where the status page is shown, if at all.
fn status(
    arguments: &ServeArguments,
    environment: &Environment,
    addresses: &ListenAddresses,
) -> Result<Option<StatusOptions>> {
    let Some(port) = arguments.admin_port else {
        return Ok(None);
    };
    let address = SocketAddr::new(addresses.admin, port);
    let mut options = StatusOptions::new(address);
    let file = arguments.admin_token_file.as_ref();
    options.token = token(environment, env::ADMIN_TOKEN, file)?;
    // Unlike what apps call, nothing needs it to be open.
    if options.token.is_none() && !address.ip().is_loopback() {
        bail!(
            "the names of secrets, and who has asked for them, would be shown on an address that \
             others can reach, to everybody: set `{}`, or listen on 127.0.0.1",
            env::ADMIN_TOKEN
        );
    }
    Ok(Some(options))
}

/// What configurations say of the server, and the command line beside them.
pub(super) fn effective(mut settings: Settings, arguments: &ServeArguments) -> Settings {
    for field in &settings.without_effect {
        tracing::warn!("`{field}` has no effect here");
    }
    if !settings.handlers.is_empty() {
        let names = settings.handlers.join("`, `");
        tracing::warn!("served without the handlers of `spec.httpPipeline`: `{names}`");
    }
    settings.log.is_on = arguments.enable_api_logging.unwrap_or(settings.log.is_on);
    settings
}

/// Refuses to serve secrets to callers of whom nothing is known and who may be anybody. TLS alone
/// tells them who the server is, and not the server who they are.
fn refuse_everybody(
    arguments: &ServeArguments,
    addresses: &ListenAddresses,
    has_all_origins: bool,
) -> Result<()> {
    let is_reachable = addresses.api.iter().any(|address| !address.is_loopback());
    let remedy = format!(
        "set `{}`, ask for certificates with `--tls-client-ca`, or say \
         `--allow-public-without-token`",
        env::API_TOKEN
    );
    if is_reachable && arguments.unix_domain_socket.is_empty() {
        bail!(
            "secrets would be served on an address that others can reach, to everybody: listen on \
             127.0.0.1, {remedy}"
        );
    }
    if has_all_origins {
        bail!(
            "secrets would be served to every page that a browser here opens: name the origins in \
             `--allowed-origins`, {remedy}"
        );
    }
    Ok(())
}

/// A token of a file or of the environment. As in Dapr, an empty one of the environment is none; one
/// that cannot be read is not.
fn token(environment: &Environment, name: &str, file: Option<&PathBuf>) -> Result<Option<Token>> {
    let token = environment.get(name);
    if token.is_none() && environment.is_set(name) {
        bail!("`{name}` is not UTF-8");
    }
    let token = token.filter(|token| !token.is_empty());
    match (token, file) {
        (Some(_), Some(_)) => bail!("`{name}` is set, and a file for it is given as well"),
        (None, Some(file)) => Ok(Some(Token::file(file)?)),
        (token, None) => Ok(token.map(Token::from)),
    }
}
