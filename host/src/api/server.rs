//! The server: its listeners, and how it begins and ends.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::api::access::Access;
use crate::api::app::{self, App};
use crate::api::audit::Audit;
use crate::api::components::{Components, ComponentsOptions};
use crate::api::cors::Origins;
use crate::api::end::Phase;
use crate::api::grpc::Grpc;
use crate::api::http::{Http, Surface};
use crate::api::identity::Identity;
use crate::api::listener::{DEFAULT_HEAD, Listener, Protocol};
use crate::api::loaded::Loaded;
use crate::api::metrics::Metrics;
use crate::api::service::Service;
use crate::api::settings::Settings;
use crate::api::status::{Reload, Status, StatusOptions};
use crate::api::tls::{Tls, TlsFiles};
use crate::api::token::Token;
use crate::api::traces::Traces;
use crate::problem::Problem;

/// Where and how to serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Whose server this is.
    pub identity: Identity,
    /// Who may call what.
    pub access: Access,
    /// What the app asks for as `dapr-api-token` where it is told something.
    pub app_token: Option<Token>,
    /// Where HTTP is served. At least one must bind.
    pub http: Vec<SocketAddr>,
    /// Where gRPC is served. At least one must bind.
    pub grpc: Vec<SocketAddr>,
    /// The folder for sockets, `dapr-<app id>-http.socket` and `dapr-<app id>-grpc.socket`, that
    /// take the place of all addresses for HTTP and gRPC.
    pub unix: Option<PathBuf>,
    /// What HTTP, gRPC, resolved components and the status page speak TLS with; they do not where there
    /// is nothing. Sockets, metrics and the public port never do.
    pub tls: Option<TlsFiles>,
    /// The pages in a browser that may call over HTTP; none where there is nothing.
    pub origins: Option<Origins>,
    /// Where health and metadata alone are served over HTTP, without a token.
    pub public: Option<SocketAddr>,
    /// Where Prometheus reads metrics, without a token; without it nothing is recorded.
    pub metrics: Option<SocketAddr>,
    /// Who is told of requests for secrets: an [`AuditLog`](crate::api::AuditLog), or whatever the
    /// embedder has.
    pub audit: Option<Arc<dyn Audit>>,
    /// Where components with their references resolved are served; not at all.
    pub components: Option<ComponentsOptions>,
    /// Where the status page is shown; nowhere. Without it, nothing is kept for it.
    pub status: Option<StatusOptions>,
    /// How many bytes a body, or a gRPC message, may have: 4 MiB.
    pub most_body: usize,
    /// How many bytes the head of a request may have: 4 KiB, to which HTTP/1 adds 4 KiB. Over HTTP/1
    /// it has 100 fields at the most, and 1,000 where this is more than the default.
    pub most_head: usize,
    /// How many connections each listener serves at a time; others wait.
    pub connections: usize,
    /// How long a request may take: a minute.
    pub request_time: Duration,
    /// How long requests under way may take once the server ends: 5 s.
    pub graceful_time: Duration,
    /// What Configurations say; nothing.
    pub settings: Settings,
}

impl Options {
    /// Serves on a free port of the loopback address each.
    pub fn new(identity: Identity) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            identity,
            access: Access::default(),
            app_token: None,
            http: vec![free],
            grpc: vec![free],
            unix: None,
            tls: None,
            origins: None,
            public: None,
            metrics: None,
            audit: None,
            components: None,
            status: None,
            most_body: 4 << 20,
            most_head: DEFAULT_HEAD,
            connections: 20_000,
            request_time: Duration::from_mins(1),
            graceful_time: Duration::from_secs(5),
            settings: Settings::default(),
        }
    }
}

/// Why a server cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// No address of a protocol could be bound.
    #[error("could not listen on any endpoint for {protocol}: {address}: {reason}")]
    Bind {
        /// `HTTP`, `gRPC`, `public HTTP`, `metrics`, `components` or `status`.
        protocol: &'static str,
        /// The last address that was tried.
        address: SocketAddr,
        /// Why it could not be bound.
        reason: io::ErrorKind,
    },
    /// A socket could not be made in its folder.
    #[error("could not listen on the UNIX socket `{path}`: {reason}")]
    Unix {
        /// Where it was to be.
        path: PathBuf,
        /// Why it could not be made.
        reason: io::ErrorKind,
    },
    /// The files for TLS cannot be used.
    #[error("could not speak TLS: {reason}")]
    Tls {
        /// What is wrong with them.
        reason: String,
    },
    /// The app cannot be told anything.
    #[error("{reason}")]
    App {
        /// What is wrong with how it is reached.
        reason: String,
    },
    /// Traces cannot be sent.
    #[error("traces cannot be sent: {reason}")]
    Traces {
        /// What is wrong with where they are to go.
        reason: String,
    },
    /// There is no address for a protocol.
    #[error("there is no address to listen on for {protocol}")]
    NoAddress {
        /// `HTTP` or `gRPC`.
        protocol: &'static str,
    },
}

/// A server that is bound. Requests are answered once it runs; those for secrets once something is
/// loaded.
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    listeners: Vec<Listener>,
    http: Vec<SocketAddr>,
    grpc: Vec<SocketAddr>,
    /// The file that is gRPC's socket.
    socket: Option<PathBuf>,
    public: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    components: Option<(Components, SocketAddr)>,
    status: Option<SocketAddr>,
    connections: usize,
    graceful_time: Duration,
}

/// Steers a server while it runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    service: Arc<Service>,
}

impl Server {
    /// Binds all addresses.
    ///
    /// # Errors
    /// Fails where no address of a protocol can be bound, files for TLS cannot be used, or the
    /// app speaks what is not known.
    pub async fn bind(options: Options) -> Result<Self, ServeError> {
        let service = service(&options)?;
        let (most_head, most_body) = (options.most_head, options.most_body);
        let whole = Http {
            service: Arc::clone(&service),
            surface: Surface::Whole,
            most_body,
            checks_host: checks_host(&options),
            origins: options.origins,
        };
        let of_grpc = Protocol::Grpc(Grpc::new(Arc::clone(&service), most_body));
        let of_public = Protocol::Http(Http {
            surface: Surface::Public,
            origins: None,
            ..whole.clone()
        });
        let of_metrics = Protocol::Http(Http {
            surface: Surface::Metrics,
            origins: None,
            ..whole.clone()
        });
        let of_http = Protocol::Http(whole);
        let tls = open(options.tls)?;
        let place = Place {
            folder: options.unix.as_deref(),
            app_id: &service.identity.app_id,
            tls: tls.as_ref(),
        };
        let http = bind_api("HTTP", &options.http, &place, &of_http, most_head).await?;
        // Dapr's limit for gRPC's heads is that of its messages.
        let grpc = bind_api("gRPC", &options.grpc, &place, &of_grpc, most_body).await?;
        let public = bind_one("public HTTP", options.public, &of_public, most_head).await?;
        let metrics = bind_one("metrics", options.metrics, &of_metrics, most_head).await?;
        let most = (most_body, most_head);
        let of_components = bind_components(&service, options.components, place.tls, most);
        let (components, of_components) = of_components.await?;
        let of_status = bind_status(
            &service,
            options.status,
            components.as_ref(),
            place.tls,
            most_head,
        );
        let of_status = of_status.await?;
        Ok(Self {
            http: addresses(&http),
            grpc: addresses(&grpc),
            socket: grpc.iter().find_map(Listener::path).map(Path::to_owned),
            public: public.first().and_then(Listener::address),
            metrics: metrics.first().and_then(Listener::address),
            components: components.zip(of_components.first().and_then(Listener::address)),
            status: of_status.first().and_then(Listener::address),
            listeners: [http, grpc, public, metrics, of_components, of_status]
                .into_iter()
                .flatten()
                .collect(),
            service,
            connections: options.connections,
            graceful_time: options.graceful_time,
        })
    }

    /// Where HTTP is served.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where gRPC is served.
    pub fn grpc(&self) -> &[SocketAddr] {
        &self.grpc
    }

    /// The socket where gRPC is served, where it is a file.
    pub fn grpc_socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Where health and metadata alone are served.
    pub fn public(&self) -> Option<SocketAddr> {
        self.public
    }

    /// Where Prometheus reads metrics.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Where components with their references resolved are served.
    pub fn components(&self) -> Option<SocketAddr> {
        let (_, address) = self.components.as_ref()?;
        Some(*address)
    }

    /// Where the status page is shown.
    pub fn status(&self) -> Option<SocketAddr> {
        self.status
    }

    /// Steers this server.
    pub fn handle(&self) -> Handle {
        Handle {
            service: Arc::clone(&self.service),
        }
    }

    /// Serves until a caller or the handle ends it. What is under way then may finish within the
    /// graceful time.
    pub async fn run(self) -> Ending {
        let mut running = JoinSet::new();
        for listener in self.listeners {
            running.spawn(listener.run(Arc::clone(&self.service), self.connections));
        }
        let traces = self.service.traces.as_ref();
        let sending = traces.map(|traces| traces.run());
        let end = &self.service.end;
        tokio::select! {
            () = end.reaches(Phase::Ending) => {}
            () = async { watch_app(&self.service).await; std::future::pending().await } => {}
            () = refresh(self.components.as_ref()) => {}
        }
        let finished = async { while running.join_next().await.is_some() {} };
        let ending = tokio::select! {
            biased;
            () = end.reaches(Phase::Now) => Ending::AtOnce,
            () = finished => Ending::Finished,
            () = tokio::time::sleep(self.graceful_time) => Ending::Late,
        };
        end.advance(Phase::Now);
        if let (Some(traces), Some(sending)) = (traces, sending)
            && ending != Ending::AtOnce
        {
            traces.finish(sending).await;
        }
        ending
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ending {
    /// All that was under way has finished.
    Finished,
    /// The graceful time was over before that.
    Late,
    /// A caller or the handle wanted no more of it.
    AtOnce,
}

impl Handle {
    /// Serves this from now on, in place of what was there before. From the first time on, the
    /// server is ready.
    pub fn load(&self, loaded: Loaded) {
        self.service.load(loaded);
    }

    /// Goes by these settings from now on, in place of those of [`Options::settings`]. What they say
    /// of metrics and traces counts at the next start.
    pub fn set(&self, settings: Settings) {
        self.service.set(settings);
    }

    /// Counts, for metrics, that what is served was read again, and takes note of what came of it, for
    /// the status page, with what is wrong with what was not taken over.
    pub fn note_reload(&self, outcome: Reload, problems: &[Problem]) {
        if let Some(metrics) = &self.service.metrics {
            metrics.reloaded(outcome == Reload::Whole);
        }
        if let Some(kept) = &self.service.kept {
            kept.history.reload(outcome, problems);
        }
    }

    /// Waits until the app is not healthy, or not there yet: then there is nobody to put the end off
    /// for. An app without a port stays healthy.
    pub async fn app_is_lost(&self) {
        match &self.service.app {
            Some(app) => app.health.is_lost().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the server: what is under way may finish.
    pub fn shut_down(&self) {
        self.service.end.advance(Phase::Ending);
    }

    /// Ends the server at once.
    pub fn end_now(&self) {
        self.service.end.advance(Phase::Now);
    }
}

/// The state behind the listeners.
fn service(options: &Options) -> Result<Arc<Service>, ServeError> {
    let (identity, request_time) = (&options.identity, options.request_time);
    let recorded = &options.settings.metrics;
    let recorded = options
        .metrics
        .filter(|_| recorded.is_on)
        .map(|_| Metrics::new(identity, recorded));
    let app = App::of(identity, options.app_token.clone(), request_time);
    let app = app.map_err(|reason| ServeError::App { reason })?;
    let traces = traces(&options.settings, identity)?;
    let (identity, access) = (identity.clone(), options.access.clone());
    let service = Service::new(identity, access, app, request_time, recorded)
        .with_settings(options.settings.clone())
        .with_traces(traces)
        .with_audit(options.audit.clone());
    Ok(Arc::new(match &options.status {
        Some(_) => service.with_kept(),
        None => service,
    }))
}

/// Binds an address, where there is one.
async fn bind_one(
    name: &'static str,
    address: Option<SocketAddr>,
    protocol: &Protocol,
    most_head: usize,
) -> Result<Vec<Listener>, ServeError> {
    match address {
        Some(address) => bind_any(name, &[address], None, protocol, most_head).await,
        None => Ok(Vec::new()),
    }
}

/// Whether HTTP is for this machine alone and for everybody there, pages in a browser as well. One that
/// speaks TLS has no certificate for their names.
fn checks_host(options: &Options) -> bool {
    let is_local = options
        .http
        .iter()
        .all(|address| address.ip().is_loopback());
    let is_open = options.access.token.is_none() && options.tls.is_none();
    is_local && is_open && options.unix.is_none()
}

/// Reads the files for TLS, where there are any.
fn open(files: Option<TlsFiles>) -> Result<Option<Tls>, ServeError> {
    let tls = files.map(Tls::open).transpose();
    tls.map_err(|reason| ServeError::Tls { reason })
}

/// What makes traces, where they are wanted.
fn traces(settings: &Settings, identity: &Identity) -> Result<Option<Traces>, ServeError> {
    let traces = Traces::of(&settings.traces, &identity.app_id);
    traces.map_err(|reason| ServeError::Traces { reason })
}

/// Where HTTP and gRPC are served, and how, besides their addresses.
struct Place<'p> {
    /// The folder for sockets, which take the place of addresses.
    folder: Option<&'p Path>,
    app_id: &'p str,
    tls: Option<&'p Tls>,
}

/// Binds HTTP or gRPC.
async fn bind_api(
    name: &'static str,
    addresses: &[SocketAddr],
    place: &Place<'_>,
    protocol: &Protocol,
    most_head: usize,
) -> Result<Vec<Listener>, ServeError> {
    let Some(folder) = place.folder else {
        return bind_any(name, addresses, place.tls, protocol, most_head).await;
    };
    let socket = format!("dapr-{}-{}.socket", place.app_id, name.to_lowercase());
    let listener = bind_unix(name, folder, &socket, protocol.clone(), most_head)?;
    Ok(vec![listener])
}

/// Makes a socket in a folder.
fn bind_unix(
    name: &'static str,
    folder: &Path,
    socket: &str,
    protocol: Protocol,
    most_head: usize,
) -> Result<Listener, ServeError> {
    let bound = Listener::bind_unix(folder, socket, protocol, most_head);
    let listener = bound.map_err(|error| ServeError::Unix {
        path: folder.join(socket),
        reason: error.kind(),
    })?;
    if let Some(path) = listener.path() {
        tracing::info!("{name} server listening on UNIX socket: {}", path.display());
    }
    Ok(listener)
}

/// Binds what can be bound.
async fn bind_any(
    name: &'static str,
    addresses: &[SocketAddr],
    tls: Option<&Tls>,
    protocol: &Protocol,
    most_head: usize,
) -> Result<Vec<Listener>, ServeError> {
    let mut listeners = Vec::new();
    let mut failed = None;
    for &address in addresses {
        match Listener::bind(address, tls.cloned(), protocol.clone(), most_head).await {
            Ok(listener) => {
                let address = listener.address().unwrap_or(address);
                tracing::info!("{name} server listening on TCP address: {address}");
                listeners.push(listener);
            }
            Err(error) => {
                let reason = error.kind();
                tracing::debug!("failed to listen on {address}: {reason}");
                failed = Some((address, reason));
            }
        }
    }
    match failed {
        Some((address, reason)) if listeners.is_empty() => Err(ServeError::Bind {
            protocol: name,
            address,
            reason,
        }),
        None if listeners.is_empty() => Err(ServeError::NoAddress { protocol: name }),
        _ => Ok(listeners),
    }
}

/// Where listeners listen, but for those that are files.
fn addresses(listeners: &[Listener]) -> Vec<SocketAddr> {
    let addresses = listeners.iter().filter_map(Listener::address);
    addresses.collect()
}

/// Binds what serves resolved components, where that is wanted.
async fn bind_components(
    service: &Arc<Service>,
    options: Option<ComponentsOptions>,
    tls: Option<&Tls>,
    (most_body, most_head): (usize, usize),
) -> Result<(Option<Components>, Vec<Listener>), ServeError> {
    let Some(options) = options else {
        return Ok((None, Vec::new()));
    };
    let address = options.address;
    let components = Components::new(Arc::clone(service), options, most_body);
    let protocol = Protocol::Components(components.clone());
    let bound = bind_any("components", &[address], tls, &protocol, most_head).await?;
    Ok((Some(components), bound))
}

/// Binds what shows the status page, where that is wanted.
async fn bind_status(
    service: &Arc<Service>,
    options: Option<StatusOptions>,
    components: Option<&Components>,
    tls: Option<&Tls>,
    most_head: usize,
) -> Result<Vec<Listener>, ServeError> {
    let (Some(options), Some(kept)) = (options, service.kept.clone()) else {
        return Ok(Vec::new());
    };
    let components = components.cloned();
    let status = Status::new(Arc::clone(service), kept, components, options.token);
    let protocol = Protocol::Status(status);
    bind_any("status", &[options.address], tls, &protocol, most_head).await
}

/// Keeps resolved components up, for ever.
async fn refresh(components: Option<&(Components, SocketAddr)>) {
    match components {
        Some((components, _)) => components.refresh().await,
        None => std::future::pending().await,
    }
}

/// Waits until the app listens on its port, if it has one, and asks for its health from then on.
async fn watch_app(service: &Service) {
    let Some(port) = service.identity.app_port else {
        return;
    };
    let host = service.identity.app_host.as_str();
    while TcpStream::connect((host, port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tracing::info!("application discovered on port {port}");
    service.set_app_ready();
    if let (Some(app), Some(check)) = (&service.app, &service.identity.app_health) {
        app::watch(app, check, service.metrics.as_ref()).await;
    }
}
