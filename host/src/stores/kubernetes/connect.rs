//! Makes the client: TLS, proxy, and what is sent with each request.
//!
//! kube's own way would take the process-wide cryptography of rustls, and set it where nobody has;
//! it would also log each request. Here the cryptography is given, and nothing is logged.

use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{
    ConfigBuilderExt as _, DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector,
    ResolveServerName,
};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::{Body, ConfigExt as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tower::{BoxError, ServiceBuilder};

use super::access::Access;
use super::credentials::Identity;
use crate::stores::StoreError;

/// How long a connection may take to be made, before TLS.
const CONNECT: Duration = Duration::from_secs(5);

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
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| StoreError::misconfigured("there is no version of TLS to use"))?;
    let builder = if accepts_any_server {
        tracing::warn!("the kubeconfig turns the check of the API server's certificate off");
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(Arc::clone(&provider))))
    } else if let Some(authorities) = authorities {
        let mut roots = RootCertStore::empty();
        let (known, _) = roots.add_parsable_certificates(authorities);
        if known == 0 {
            return Err(StoreError::misconfigured(
                "`certificate-authority` holds no certificate that can be used",
            ));
        }
        builder.with_root_certificates(roots)
    } else {
        builder.with_native_roots().map_err(|_| {
            StoreError::misconfigured("the operating system has no certificate authorities")
                .with_hint("set the cluster's `certificate-authority`")
        })?
    };
    let Some(Identity { chain, key }) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| StoreError::misconfigured("`client-key` is of no kind that can be used"))?;
    // The server judges the certificate: rustls itself would refuse those of version 1.
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    Ok(builder.with_client_cert_resolver(Arc::new(certified)))
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

/// Accepts any certificate, as `insecure-skip-tls-verify` says. The server must still hold its key.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
