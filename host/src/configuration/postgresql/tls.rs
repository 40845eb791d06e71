//! TLS of a connection string.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::connection_string::Parameters;
use super::settings::wrong;
use crate::client_tls::{self, Authorities, Check, Identity, Unfit};
use crate::stores::{StoreConfig, StoreError};

/// TLS by `sslmode`, as Dapr's library has it: only `verify-ca` and `verify-full` check the server's
/// certificate, and `require` does where an authority is given.
pub(super) fn read(
    config: &StoreConfig,
    parameters: &mut Parameters,
) -> Result<(SslMode, MakeRustlsConnect), StoreError> {
    let mut part = |name| {
        parameters
            .remove(name)
            .filter(|text: &String| !text.is_empty())
    };
    let (mode, root) = (part("sslmode"), part("sslrootcert"));
    let (certificate, key) = (part("sslcert"), part("sslkey"));
    let authorities = match root.as_deref() {
        None | Some("system") => Authorities::System,
        Some(path) => Authorities::Given(certificates(config, path, "sslrootcert")?),
    };
    let (mode, check) = match (mode.as_deref().unwrap_or("prefer"), &root) {
        ("disable", _) => (SslMode::Disable, Check::Nothing),
        ("allow" | "prefer", _) => (SslMode::Prefer, Check::Nothing),
        ("require", None) => (SslMode::Require, Check::Nothing),
        ("require" | "verify-ca", _) => (SslMode::Require, Check::Chain(authorities)),
        ("verify-full", _) => (SslMode::Require, Check::Name(authorities)),
        _ => return Err(wrong("has an `sslmode` that is not known")),
    };
    let identity = match (certificate, key) {
        (Some(chain), Some(key)) => {
            let chain = certificates(config, &chain, "sslcert")?;
            let key = PrivateKeyDer::from_pem_slice(&file(config, &key, "sslkey")?);
            let key =
                key.map_err(|_| wrong("has an `sslkey` that is no key in PEM without password"))?;
            Some(Identity { chain, key })
        }
        (None, None) => None,
        _ => return Err(wrong("has only one of `sslcert` and `sslkey`")),
    };
    let tls = client_tls::config(check, identity).map_err(|unfit| match unfit {
        Unfit::Key => wrong("has an `sslkey` of a kind that cannot be used"),
        Unfit::Authorities => wrong("has an `sslrootcert` that cannot be used"),
        Unfit::Version | Unfit::System => {
            StoreError::misconfigured("the operating system has no certificate authorities")
                .with_hint("set `sslRootCert` to a file of them")
        }
    })?;
    Ok((mode, MakeRustlsConnect::new(tls)))
}

fn certificates(
    config: &StoreConfig,
    path: &str,
    name: &str,
) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let pem = file(config, path, name)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.ok().filter(|found| !found.is_empty());
    certificates.ok_or_else(|| wrong(&format!("has an `{name}` without certificates in PEM")))
}

fn file(config: &StoreConfig, path: &str, name: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let path = config.readable_path(path)?;
    let read = std::fs::read(path).map(Zeroizing::new);
    read.map_err(|error| {
        let kind = error.kind();
        wrong(&format!("has an `{name}` that cannot be read: {kind}"))
    })
}
