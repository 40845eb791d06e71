//! The app that a server starts: its environment, the signals it gets, and how it ended.

use std::ffi::OsString;
use std::io::{ErrorKind, stdin};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use keyref::api::{Identity, Server, Token};
use keyref::env;
use keyref::problem::terminal_safe;
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};

use super::Status;
use super::arguments::ServeArguments;
use super::refusal::fatal;

/// An app that has been started; killed when dropped.
#[derive(Debug)]
pub(super) struct AppProcess {
    child: Child,
}

/// Why an app could not be started: the status that shells have for it.
#[derive(Debug)]
pub(super) struct NotStarted {
    message: String,
    status: u8,
}

impl NotStarted {
    /// Logs why, and says how the command ends.
    pub(super) fn log(&self) -> Status {
        fatal(&self.message);
        Status::App(self.status)
    }
}

/// Where the app finds the server, and what it sends there.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    http: Vec<SocketAddr>,
    grpc: Vec<SocketAddr>,
    /// The file that is gRPC's socket.
    socket: Option<PathBuf>,
    metrics: Option<SocketAddr>,
    is_tls: bool,
    token: Option<Token>,
}

impl Addresses {
    pub(super) fn of(server: &Server, arguments: &ServeArguments, token: Option<Token>) -> Self {
        let socket = server.grpc_socket();
        Self {
            http: server.http().to_vec(),
            grpc: server.grpc().to_vec(),
            // The app may change its folder.
            socket: socket.and_then(|socket| std::path::absolute(socket).ok()),
            metrics: server.metrics(),
            is_tls: arguments.tls_cert.is_some(),
            token,
        }
    }
}

/// What is for the server alone: the identity of a sidecar towards Dapr's control plane.
const NOT_FOR_APPS: &[&str] = &[
    "DAPR_CERT_CHAIN",
    "DAPR_CERT_KEY",
    "DAPR_SENTRY_TOKEN_FILE",
    "DAPR_TRUST_ANCHORS",
    env::ADMIN_TOKEN,
    env::COMPONENTS_TOKEN,
];

impl AppProcess {
    /// Starts a command, if there is one, with the variables that `dapr run` sets.
    ///
    /// It inherits the environment, since the SDK needs `DAPR_API_TOKEN` (also where the server has it
    /// from a file, as it is when the app starts) and the app itself
    /// `APP_API_TOKEN`, but neither what is for the server alone nor addresses of another server.
    pub(super) fn start(
        command: &[OsString],
        identity: &Identity,
        addresses: &Addresses,
    ) -> Result<Option<Self>, NotStarted> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(None);
        };
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        for name in NOT_FOR_APPS {
            command.env_remove(name);
        }
        command
            .env("APP_PROTOCOL", &identity.app_protocol)
            .env("APP_CHANNEL_ADDRESS", &identity.app_host);
        if !identity.app_id.is_empty() {
            command.env("APP_ID", &identity.app_id);
        }
        if let Some(port) = identity.app_port {
            command.env("APP_PORT", port.to_string());
        }
        addresses.tell(&mut command);
        let program = terminal_safe(&program.to_string_lossy());
        match command.spawn() {
            Ok(child) => {
                tracing::info!("started the app `{program}`");
                Ok(Some(Self { child }))
            }
            Err(error) => Err(NotStarted {
                message: format!("the app `{program}` cannot be started: {}", error.kind()),
                status: match error.kind() {
                    ErrorKind::NotFound => 127,
                    _ => 126,
                },
            }),
        }
    }

    /// Sends a signal, unless the app has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| id.try_into().ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            // It may end just now.
            let _ = kill_process(id, signal);
        }
    }

    /// Passes on a signal that has ended the server. An interrupt from a terminal has gone to all
    /// who are in its foreground, and many an app takes a second one for impatience.
    pub(super) fn pass_on(&self, signal: Signal) {
        let is_told = signal == Signal::INT && tcgetpgrp(stdin()).is_ok_and(|id| id == getpgrp());
        if !is_told {
            self.signal(signal);
        }
    }

    /// Waits for its end; its status, as shells have it. Can be dropped and called again.
    pub(super) async fn wait(&mut self) -> u8 {
        match self.child.wait().await {
            Ok(status) => code(status),
            Err(error) => {
                tracing::error!("the app cannot be waited for: {}", error.kind());
                1
            }
        }
    }

    /// Waits for its end, and no longer than this before it is killed.
    pub(super) async fn wait_or_kill(&mut self, time: Duration) -> u8 {
        if let Ok(status) = tokio::time::timeout(time, self.wait()).await {
            return status;
        }
        tracing::warn!("the app has not ended in time and is killed");
        self.signal(Signal::KILL);
        self.wait().await
    }
}

/// The app's status, or 128 and the number of the signal that ended it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

impl Addresses {
    /// Tells the app.
    fn tell(&self, command: &mut Command) {
        self.point_to(command, "DAPR_HTTP", &self.http);
        self.point_to(command, "DAPR_GRPC", &self.grpc);
        if let Some(socket) = &self.socket {
            let mut endpoint = OsString::from("unix://");
            endpoint.push(socket);
            command.env("DAPR_GRPC_ENDPOINT", endpoint);
        }
        command.env_remove("DAPR_METRICS_PORT");
        if let Some(metrics) = self.metrics {
            command.env("DAPR_METRICS_PORT", metrics.port().to_string());
        }
        // What the server asks for, the app needs: this is who it is meant for.
        let token = self.token.as_ref().and_then(Token::first);
        if let Some(token) = token.as_ref().and_then(|token| token.reveal_text().ok()) {
            command.env(env::API_TOKEN, token);
        }
    }

    /// Says where a protocol is served: the port, and the endpoint where that is not the one that
    /// SDKs take for granted. With TLS this machine goes by its name, as in most certificates.
    fn point_to(&self, command: &mut Command, name: &str, addresses: &[SocketAddr]) {
        let (port, endpoint) = (format!("{name}_PORT"), format!("{name}_ENDPOINT"));
        command.env_remove(&port).env_remove(&endpoint);
        let local = addresses.iter().find(|address| is_local(address.ip()));
        let Some(address) = local.or(addresses.first()) else {
            return;
        };
        command.env(port, address.port().to_string());
        match (self.is_tls, local) {
            (true, Some(local)) => {
                command.env(endpoint, format!("https://localhost:{}", local.port()));
            }
            (true, None) => {
                command.env(endpoint, format!("https://{address}"));
            }
            (false, Some(_)) => {}
            (false, None) => {
                command.env(endpoint, format!("http://{address}"));
            }
        }
    }
}

/// Whether who connects to 127.0.0.1 gets there.
fn is_local(address: IpAddr) -> bool {
    address == Ipv4Addr::LOCALHOST || address.is_unspecified()
}
