//! What is shown to the API server: a token, a password or a certificate.

use std::str;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::config::{AuthInfo, ExecConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};

use super::files::{self, Files, given};
use crate::client_tls::Identity;
use crate::stores::StoreError;

/// Credentials, and where more of them come from.
pub(super) struct Credentials {
    /// What kube sends in headers, and nothing that it would read or run otherwise.
    pub(super) headers: AuthInfo,
    /// The client's own certificate.
    pub(super) identity: Option<Identity>,
    /// A program that prints what is missing.
    pub(super) plugin: Option<ExecConfig>,
    /// When they end.
    pub(super) valid_until: Option<Timestamp>,
}

impl Credentials {
    /// The credentials of a kubeconfig's user.
    pub(super) fn of_user(mut user: AuthInfo, files: Files<'_>) -> Result<Self, StoreError> {
        if user.auth_provider.is_some() {
            return Err(StoreError::misconfigured(
                "the kubeconfig's user has an `auth-provider`, which Kubernetes no longer knows",
            )
            .with_hint("use the provider's `exec` plugin"));
        }
        let data = given(user.client_certificate_data.as_ref());
        let path = given(user.client_certificate.as_ref());
        let chain = files.pem("client-certificate", data, path)?;
        let data = user
            .client_key_data
            .as_ref()
            .map(revealed)
            .filter(|data| !data.is_empty());
        let key = files.pem("client-key", data, given(user.client_key.as_ref()))?;
        let identity = match (chain, key) {
            (Some(chain), Some(key)) => Some(identity(&chain, &key)?),
            (None, None) => None,
            _ => {
                return Err(StoreError::misconfigured(
                    "the kubeconfig's user has one of `client-certificate` and `client-key`",
                ));
            }
        };
        let plugin = user.exec.take();
        let token = user.token.take();
        let token_file = user.token_file.take();
        let has_password = user.username.is_some() && user.password.is_some();
        let mut credentials = Self {
            headers: user,
            identity,
            plugin: None,
            valid_until: None,
        };
        match (token, given(token_file.as_ref())) {
            _ if has_password => {}
            (Some(token), _) => credentials.set_token(revealed(&token))?,
            (None, Some(path)) => credentials.set_token_file(path, files)?,
            (None, None) => credentials.plugin = plugin,
        }
        Ok(credentials)
    }

    /// Sends this token. What no header can hold is no token, and kube panics at it.
    pub(super) fn set_token(&mut self, token: &str) -> Result<(), StoreError> {
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(StoreError::misconfigured(
                "the token of the kubeconfig's user is empty, or holds what no token can hold",
            ));
        }
        self.headers.token = Some(SecretString::from(token));
        Ok(())
    }

    /// Sends the token that stands in a file, which others may renew.
    fn set_token_file(&mut self, path: &str, files: Files<'_>) -> Result<(), StoreError> {
        let path = files.path(path)?;
        let bytes = files::read(&path, "the file of the kubeconfig's `tokenFile`")?;
        let text = str::from_utf8(&bytes).unwrap_or_default();
        self.set_token(text)?;
        if text.trim().len() < text.len() {
            // kube would send the line break too, so the file is read anew by another link.
            self.valid_until = Some(Timestamp::now() + SignedDuration::from_mins(2));
        } else if let Some(path) = path.to_str() {
            self.headers.token = None;
            self.headers.token_file = Some(path.to_owned());
        }
        Ok(())
    }
}

/// Reads a certificate and its key.
pub(super) fn identity(chain: &[u8], key: &[u8]) -> Result<Identity, StoreError> {
    let chain = certificates(chain, "client-certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        StoreError::misconfigured("`client-key` is not a private key in PEM without password")
    })?;
    Ok(Identity { chain, key })
}

/// Reads certificates, at least one.
pub(super) fn certificates(
    pem: &[u8],
    name: &str,
) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| StoreError::misconfigured(format!("`{name}` holds no certificates in PEM")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the operator's credentials are for the API server"
)]
fn revealed(secret: &SecretString) -> &str {
    secret.expose_secret()
}
