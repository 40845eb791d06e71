//! `keyref serve`: Dapr's APIs, until a signal or a caller ends them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use keyref::api::{Access, Ending, Handle, Identity, Options, Server, Settings};
use keyref::env::{self, Environment};
use keyref::secret::SecretValue;
use tokio::task::JoinHandle;

use super::app_process::{Addresses, AppProcess};
use super::arguments::{DropIn, Global, ServeArguments};
use super::inputs::{Inputs, Snapshot};
use super::loading::{self, Before, Refusal, Served, fatal, load};
use super::reloading::Reloading;
use super::running::{Running, Times};
use super::signals::Signals;
use super::trail::Trail;
use super::{Status, session};

/// Serves until it is ended.
pub(super) async fn run(global: &Global, arguments: &ServeArguments) -> Result<Status> {
    let begin = Instant::now();
    if global.app_id.as_deref().is_some_and(|id| id.contains('.')) {
        return Ok(fatal("parameter app-id cannot contain dots"));
    }
    // Before anything can take long, so that none is missed.
    let mut signals = Signals::listen(!arguments.command.is_empty())?;
    if let Some(drop_in) = &arguments.drop_in {
        name_without_meaning(drop_in);
    }
    let mut inputs = Inputs::of(global, arguments)?;
    let reading = tokio::task::spawn_blocking(move || (inputs.look(true), inputs));
    let (snapshot, mut inputs) = tokio::select! {
        read = reading => read?,
        _ = signals.end.recv() => return Ok(Status::Done),
    };
    let snapshot = snapshot?;
    for skipped in inputs.skipped() {
        tracing::warn!("{skipped}");
    }
    let settings = match loading::settings(global, &snapshot) {
        Ok(settings) => settings,
        Err(problems) => return Ok(Refusal::from(problems).end()),
    };
    let mut options = options(global, arguments, settings, &Environment::process())?;
    let trail = match Trail::open(arguments.audit_log.as_deref()) {
        Ok(trail) => trail,
        Err(error) => return Ok(fatal(&format!("{error:#}"))),
    };
    options.audit = trail.audit();
    let identity = options.identity.clone();
    let server = match Server::bind(options).await {
        Ok(server) => server,
        Err(error) => return Ok(fatal(&error.to_string())),
    };
    let (handle, addresses) = (server.handle(), Addresses::of(&server));
    let serving = tokio::spawn(server.run());
    let begun = tokio::select! {
        begun = begin_serving(global, &snapshot, &handle, begin) => begun,
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
    let times = Times::of(arguments);
    let running = Running::new(serving, handle.clone(), app, times);
    let mut reloading = Reloading::new(global, arguments, &handle, inputs, snapshot, served);
    let status = running.until_end(signals, &mut reloading).await;
    if let Some(counts) = &global.counts {
        counts.log();
    }
    Ok(status)
}

/// Loads what is to be served. Otherwise says how the command ends.
async fn begin_serving(
    global: &Global,
    snapshot: &Snapshot,
    handle: &Handle,
    begin: Instant,
) -> Result<std::result::Result<Served, Status>> {
    let served = match load(global, snapshot, &Before::default()).await? {
        Ok(served) => served,
        Err(refusal) => return Ok(Err(refusal.end())),
    };
    handle.load(served.loaded.clone());
    let elapsed = begin.elapsed().as_millis();
    tracing::info!(
        scope = "dapr.runtime",
        "dapr initialized. Status: Running. Init Elapsed {elapsed}ms"
    );
    Ok(Ok(served))
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
) -> Result<Options> {
    let mut identity = Identity::new(global.app_id.clone().unwrap_or_default());
    identity.namespace = session::namespace(global, environment);
    identity.app_port = arguments.app_port.filter(|port| *port != 0);
    identity.app_protocol.clone_from(&arguments.app_protocol);
    identity.app_host.clone_from(&arguments.app_channel_address);
    let mut access = Access::default();
    // As in Dapr, an empty token is none.
    access.token = token(environment, env::API_TOKEN)?;
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
    let metrics = SocketAddr::new(arguments.metrics_listen_address, arguments.metrics_port);
    options.metrics = arguments.enable_metrics.then_some(metrics);
    options.access = access;
    options.app_token = token(environment, env::APP_API_TOKEN)?;
    options.most_body = arguments.max_body_size;
    options.most_head = arguments.read_buffer_size;
    options.graceful_time = Duration::from_secs(arguments.dapr_graceful_shutdown_seconds);
    options.settings = effective(settings, arguments);
    if let Some(seconds) = global.timeout {
        options.request_time = Duration::from_secs(seconds);
    }
    Ok(options)
}

/// What configurations say of the server, and the command line beside them.
pub(super) fn effective(mut settings: Settings, arguments: &ServeArguments) -> Settings {
    for field in &settings.without_effect {
        tracing::warn!("`{field}` has no effect here");
    }
    settings.log.is_on = arguments.enable_api_logging.unwrap_or(settings.log.is_on);
    settings
}

/// A token of the environment. As in Dapr, an empty one is none; one that cannot be read is not.
fn token(environment: &Environment, name: &str) -> Result<Option<SecretValue>> {
    let token = environment.get(name);
    if token.is_none() && environment.is_set(name) {
        bail!("`{name}` is not UTF-8");
    }
    Ok(token.filter(|token| !token.is_empty()))
}
