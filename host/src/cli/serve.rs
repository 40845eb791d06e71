//! `keyref serve`: Dapr's APIs, until a signal or a caller ends them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use keyref::api::{Access, Ending, Handle, Identity, Options, Server, Settings};
use keyref::env::{self, Environment};
use keyref::secret::SecretValue;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::{Global, ServeArguments};
use super::inputs::Inputs;
use super::loading::{self, Before, Refusal, fatal, load};
use super::reloading::Reloading;
use super::trail::Trail;
use super::{Status, session};

/// Serves until it is ended.
pub(super) async fn run(global: &Global, arguments: &ServeArguments) -> Result<Status> {
    let begin = Instant::now();
    if global.app_id.as_deref().is_some_and(|id| id.contains('.')) {
        return Ok(fatal("parameter app-id cannot contain dots"));
    }
    // Before anything can take long, so that none is missed.
    let mut signals = Signals::listen()?;
    let mut inputs = Inputs::of(global, arguments)?;
    let reading = tokio::task::spawn_blocking(move || (inputs.look(true), inputs));
    let (snapshot, mut inputs) = tokio::select! {
        read = reading => read?,
        () = signals.end.recv() => return Ok(Status::Done),
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
    let server = match Server::bind(options).await {
        Ok(server) => server,
        Err(error) => return Ok(fatal(&error.to_string())),
    };
    let handle = server.handle();
    let serving = tokio::spawn(server.run());
    let before = Before::default();
    let loaded = tokio::select! {
        loaded = load(global, &snapshot, &before) => loaded?,
        () = signals.end.recv() => {
            handle.end_now();
            return Ok(Status::Done);
        }
    };
    let served = match loaded {
        Ok(served) => served,
        Err(refusal) => {
            handle.end_now();
            return Ok(refusal.end());
        }
    };
    handle.load(served.loaded.clone());
    let elapsed = begin.elapsed().as_millis();
    tracing::info!(
        scope = "dapr.runtime",
        "dapr initialized. Status: Running. Init Elapsed {elapsed}ms"
    );
    let reloading = Reloading::new(global, arguments, &handle, inputs, snapshot, served);
    let steering = steer(reloading, &handle, signals);
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

/// Reloads what changes and ends the server at SIGTERM or SIGINT. Returns where it is to end at
/// once: at a second signal.
async fn steer(mut reloading: Reloading<'_>, handle: &Handle, mut signals: Signals) {
    tokio::select! {
        () = signals.end.recv() => {}
        () = reloading.run(&mut signals.hang_up) => {}
    }
    tracing::info!("shutting down");
    handle.shut_down();
    signals.end.recv().await;
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
    options.most_body = arguments.max_body_bytes;
    options.most_head = arguments.read_buffer_bytes;
    options.graceful_time = Duration::from_secs(arguments.dapr_graceful_shutdown_seconds);
    options.settings = effective(settings, arguments);
    Ok(options)
}

/// What configurations say of the server, and the command line beside them.
pub(super) fn effective(mut settings: Settings, arguments: &ServeArguments) -> Settings {
    for field in &settings.without_effect {
        tracing::warn!("`{field}` has no effect here");
    }
    settings.log.is_on |= arguments.enable_api_logging;
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
