//! Where the API server is, and what to show it: all that is known before the first connection.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use kube::Config;
use kube::config::{AuthInfo, Cluster, ExecAuthCluster};
use rustls::pki_types::CertificateDer;

use super::credentials::{self, Credentials};
use super::files::{Files, given};
use super::kubeconfig;
use crate::env::Environment;
use crate::stores::{Grants, StoreConfig, StoreError};

/// The property that names a kubeconfig.
pub(super) const KUBECONFIG_PATH: &str = "kubeconfigPath";
/// The property that names one of its contexts.
pub(super) const CONTEXT: &str = "context";
/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// An API server and the credentials for it.
pub(super) struct Access {
    /// The address and what kube sends in headers.
    pub(super) config: Config,
    pub(super) proxy: Option<Intercept>,
    /// The authorities that certify the server; without them, those of the operating system.
    pub(super) authorities: Option<Vec<CertificateDer<'static>>>,
    pub(super) credentials: Credentials,
}

/// Finds out what a store's settings lead to.
pub(super) fn access(settings: &StoreConfig) -> Result<Access, StoreError> {
    let environment = &settings.environment;
    let path = settings
        .text(KUBECONFIG_PATH)?
        .filter(|path| !path.is_empty());
    let context = settings
        .text(CONTEXT)?
        .filter(|context| !context.is_empty());
    if context.is_none()
        && let Some((cluster, user)) = in_cluster(environment)
    {
        return Access::new(&cluster, user, environment, Files::Any);
    }
    let kubeconfig = match path {
        Some(path) => {
            let name = format!("the kubeconfig of `{KUBECONFIG_PATH}`");
            kubeconfig::read(&Files::of(settings).path(path)?, &name)?
        }
        None => kubeconfig::of_environment(environment)?,
    };
    let (cluster, user) = kubeconfig::choose(kubeconfig, context, settings.is_from_document())?;
    // The operator's kubeconfig does what the operator wrote. A document that brings one of its
    // own, or chooses among the operator's clusters, is held to its grants.
    let files = if path.is_some() {
        Files::of(settings)
    } else {
        Files::Any
    };
    let access = Access::new(&cluster, user, environment, files)?;
    if let Some(grants) = settings.grants() {
        if path.is_some() || context.is_some() {
            access.stays_on(grants)?;
        }
        if path.is_some() {
            access.trusts_nobody_else()?;
        }
    }
    Ok(access)
}

/// The kubeconfigs that a store's settings lead to. What they refer to is read with them.
pub(super) fn kubeconfigs(settings: &StoreConfig) -> Vec<PathBuf> {
    let text = |property| settings.text(property).ok().flatten();
    let text = |property| text(property).filter(|text| !text.is_empty());
    let environment = &settings.environment;
    match text(KUBECONFIG_PATH) {
        _ if text(CONTEXT).is_none() && in_cluster(environment).is_some() => Vec::new(),
        Some(path) => vec![PathBuf::from(path)],
        None => kubeconfig::paths(environment),
    }
}

/// The pod's own service account, where there is one.
fn in_cluster(environment: &Environment) -> Option<(Cluster, AuthInfo)> {
    let text = |name| environment.text(name).filter(|text| !text.is_empty());
    let host = text("KUBERNETES_SERVICE_HOST")?;
    let port = text("KUBERNETES_SERVICE_PORT")?;
    let token = format!("{SERVICE_ACCOUNT}/token");
    if !Path::new(&token).exists() {
        return None;
    }
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let cluster = Cluster {
        server: Some(format!("https://{host}:{port}")),
        certificate_authority: Some(format!("{SERVICE_ACCOUNT}/ca.crt")),
        ..Cluster::default()
    };
    Some((
        cluster,
        AuthInfo {
            token_file: Some(token),
            ..AuthInfo::default()
        },
    ))
}

impl Access {
    fn new(
        cluster: &Cluster,
        user: AuthInfo,
        environment: &Environment,
        files: Files<'_>,
    ) -> Result<Self, StoreError> {
        let mut config = given(cluster.server.as_ref())
            .and_then(|url| url.parse().ok())
            .map(Config::new)
            .filter(is_usable)
            .ok_or_else(|| {
                StoreError::misconfigured("the cluster's `server` is not a URL that can be used")
                    .with_hint("write it as `https://HOST:PORT`, without a user or a password")
            })?;
        config.tls_server_name = given(cluster.tls_server_name.as_ref()).map(str::to_owned);
        config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or_default();
        let proxy = proxy(cluster, &config, environment)?;
        let name = "certificate-authority";
        let data = given(cluster.certificate_authority_data.as_ref());
        let authorities = files
            .pem(name, data, given(cluster.certificate_authority.as_ref()))?
            .map(|pem| credentials::certificates(&pem, name))
            .transpose()?;
        let mut credentials = Credentials::of_user(user, files)?;
        if let Some(plugin) = &mut credentials.plugin
            && plugin.provide_cluster_info
        {
            // It reads the authority's file again, which could just be read.
            plugin.cluster = ExecAuthCluster::try_from(cluster).ok();
        }
        Ok(Self {
            config,
            proxy,
            authorities,
            credentials,
        })
    }

    /// Refuses an address, or one on the way to it, that a document was not granted.
    fn stays_on(&self, grants: &Grants) -> Result<(), StoreError> {
        let proxy = self.proxy.as_ref().map(Intercept::uri);
        for url in [Some(&self.config.cluster_url), proxy]
            .into_iter()
            .flatten()
        {
            let host = url.host().unwrap_or_default();
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            if !grants.allows_host(host) && !grants.allows_host(bare) {
                return Err(StoreError::misconfigured(
                    "the kubeconfig leads to a host that documents may not reach",
                )
                .with_hint("grant its host, or give the store itself"));
            }
        }
        Ok(())
    }

    /// Refuses what only an operator's kubeconfig may ask for.
    fn trusts_nobody_else(&self) -> Result<(), StoreError> {
        let refused = if self.credentials.plugin.is_some() {
            "`exec`, a program to run"
        } else if self.config.accept_invalid_certs {
            "`insecure-skip-tls-verify`"
        } else {
            return Ok(());
        };
        let message = format!("the kubeconfig of a document may not have {refused}");
        Err(StoreError::misconfigured(message).with_hint("give the store itself, or take it out"))
    }

    /// Where the server is, for messages.
    pub(super) fn place(&self) -> String {
        let server = address(&self.config);
        match &self.proxy {
            None => format!(" at `{server}`"),
            Some(proxy) => {
                let proxy = address(&Config::new(proxy.uri().clone()));
                format!(" at `{server}` through proxy `{proxy}`")
            }
        }
    }
}

fn address(config: &Config) -> String {
    let url = &config.cluster_url;
    let host = url.host().unwrap_or_default();
    match url.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether a client can be made for this address. A user in it would be seen in logs.
fn is_usable(config: &Config) -> bool {
    let url = &config.cluster_url;
    matches!(url.scheme_str(), Some("http" | "https"))
        && url.host().is_some_and(|host| !host.is_empty())
        && url
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'))
}

/// The proxy before the server: the kubeconfig's, else the environment's.
fn proxy(
    cluster: &Cluster,
    config: &Config,
    environment: &Environment,
) -> Result<Option<Intercept>, StoreError> {
    let server = &config.cluster_url;
    if let Some(url) = given(cluster.proxy_url.as_ref()) {
        let proxy = Matcher::builder().all(url).build().intercept(server);
        return proxy.map(Some).ok_or_else(|| {
            StoreError::misconfigured("the cluster's `proxy-url` is not a URL that can be used")
        });
    }
    let text = |upper, lower| {
        environment
            .text(upper)
            .or_else(|| environment.text(lower))
            .unwrap_or_default()
    };
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    if host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
    {
        return Ok(None);
    }
    let matcher = Matcher::builder()
        .https(text("HTTPS_PROXY", "https_proxy"))
        .no(text("NO_PROXY", "no_proxy"))
        .build();
    Ok(matcher.intercept(server))
}
