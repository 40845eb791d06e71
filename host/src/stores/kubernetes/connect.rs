//! Makes the client: TLS, proxy, and what is sent with each request.
//!
//! kube's own way would take the process-wide cryptography of rustls, and set it where nobody has;
//! it would also log each request. Here the cryptography is given, and nothing is logged.

use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName,
};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::{Body, ConfigExt as _};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tower::{BoxError, ServiceBuilder};

use super::access::Access;
use crate::client_tls::{self, Authorities, Check, Identity, Unfit};
use crate::stores::StoreError;

/// How long a connection may take to be made, before TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// When a silent connection is looked after, and how often then.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The client for an API server.
pub(super) fn client(access: Access) -> Result<Client, StoreError> {
    let Access {
        mut config,
        proxy,
        authorities,
        credentials,
    } = access;
    let name = config.tls_server_name.take();
    let tls = Tls {
        config: Arc::new(tls(
            authorities,
            credentials.identity,
            config.accept_invalid_certs,
        )?),
        name: server_name(name)?,
    };
    config.auth_info = credentials.headers;
    // For the server's audit log.
    let agent = concat!("keyref/", env!("CARGO_PKG_VERSION")).parse();
    if let (Ok(name), Ok(agent)) = ("user-agent".parse(), agent) {
        config.headers.push((name, agent));
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    // So that a connection that only waits ends where its server has vanished.
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    let Some(proxy) = proxy else {
        return build(tls.over(tcp), &config);
    };
    match proxy.uri().scheme_str() {
        Some("http") => {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(password) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(password.clone());
            }
            build(tls.over(tunnel), &config)
        }
        Some("socks5" | "socks5h") => {
            let mut socks = SocksV5::new(proxy.uri().clone(), tcp);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            build(tls.over(socks), &config)
        }
        _ => Err(
            StoreError::misconfigured("the proxy before the API server is of no known kind")
                .with_hint("proxies can be `http://` or `socks5://`"),
        ),
    }
}

/// TLS over any transport.
struct Tls {
    config: Arc<ClientConfig>,
    name: Arc<dyn ResolveServerName + Send + Sync>,
}

impl Tls {
    fn over<T>(self, transport: T) -> HttpsConnector<T> {
        HttpsConnector::new(transport, self.config, false, self.name)
    }
}

fn build<T>(connector: HttpsConnector<T>, config: &kube::Config) -> Result<Client, StoreError>
where
    HttpsConnector<T>: Connect + Clone + Send + Sync + 'static,
{
    let unfit = |_| StoreError::misconfigured("the kubeconfig's user cannot be sent in headers");
    let stack = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(unfit)?)
        .layer(config.extra_headers_layer().map_err(unfit)?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector));
    Ok(Client::new(stack, config.default_namespace.as_str()))
}

fn tls(
    authorities: Option<Vec<CertificateDer<'static>>>,
    identity: Option<Identity>,
    accepts_any_server: bool,
) -> Result<ClientConfig, StoreError> {
    let check = if accepts_any_server {
        tracing::warn!("the kubeconfig turns the check of the API server's certificate off");
        Check::Nothing
    } else {
        Check::Name(authorities.map_or(Authorities::System, Authorities::Given))
    };
    client_tls::config(check, identity).map_err(|unfit| match unfit {
        Unfit::Version => StoreError::misconfigured("there is no version of TLS to use"),
        Unfit::Authorities => StoreError::misconfigured(
            "`certificate-authority` holds no certificate that can be used",
        ),
        Unfit::System => {
            StoreError::misconfigured("the operating system has no certificate authorities")
                .with_hint("set the cluster's `certificate-authority`")
        }
        Unfit::Key => StoreError::misconfigured("`client-key` is of no kind that can be used"),
    })
}

/// The name that the server's certificate must be for.
fn server_name(
    fixed: Option<String>,
) -> Result<Arc<dyn ResolveServerName + Send + Sync>, StoreError> {
    let Some(name) = fixed else {
        return Ok(Arc::new(DefaultServerNameResolver::default()));
    };
    let name = ServerName::try_from(name)
        .map_err(|_| StoreError::misconfigured("the cluster's `tls-server-name` is not a name"))?;
    Ok(Arc::new(FixedServerNameResolver::new(name)))
}
