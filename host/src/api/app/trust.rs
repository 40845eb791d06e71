//! Whose certificate the app's server must have.

use std::fs;
use std::net::IpAddr;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::api::identity::Identity;
use crate::client_tls::{self, Authorities, Check, Unfit};

/// TLS towards the app. Dapr accepts any certificate. Here that is so on this machine alone, where
/// apps have certificates of their own making and nobody stands between; elsewhere one of the
/// authorities given, or of the operating system's, must have signed it.
pub(super) fn config(
    identity: &Identity,
    is_needed: bool,
    is_http2: bool,
) -> Result<ClientConfig, String> {
    let given = identity.app_authorities.as_ref().filter(|_| is_needed);
    let check = if let Some(path) = given {
        let text = fs::read(path);
        let path = path.display();
        let text = text.map_err(|error| format!("`{path}`: {}", error.kind()))?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.ok().filter(|found| !found.is_empty());
        let found = found.ok_or_else(|| format!("`{path}` holds no certificate authority"))?;
        Check::Name(Authorities::Given(found))
    } else if !is_needed || is_local(&identity.app_host) {
        Check::Nothing
    } else {
        Check::Name(Authorities::System)
    };
    let config = client_tls::config(check, None);
    let mut config = config.map_err(|unfit| match unfit {
        Unfit::System => "the operating system has no certificate authorities".to_owned(),
        Unfit::Authorities => "`--app-tls-ca` holds no authority that can be used".to_owned(),
        Unfit::Version | Unfit::Key => "there is no version of TLS to use".to_owned(),
    })?;
    // As in Dapr, which speaks HTTP/2 with TLS to apps that speak gRPC alone.
    let protocol: &[u8] = if is_http2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

fn is_local(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Result<IpAddr, _> = bare.unwrap_or(host).parse();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_this_machine_is_local() {
        for host in ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["10.0.0.1", "0.0.0.0", "app", "localhost.evil", "[::2]", ""] {
            assert!(!is_local(host), "{host}");
        }
    }
}
