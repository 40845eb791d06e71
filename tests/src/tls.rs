//! Certificates, and a client that sees them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// An authority in a folder, whose name its files have.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
    name: String,
}

impl Authority {
    /// Makes an authority: `NAME.pem` and `NAME.key`.
    pub fn make(folder: &Path, name: &str) -> Self {
        openssl(
            folder,
            name,
            &["-addext", "basicConstraints=critical,CA:TRUE"],
        );
        Self::at(folder, name)
    }

    /// One that is there.
    pub fn at(folder: &Path, name: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Makes a certificate for `localhost`, `NAME.pem` and `NAME.key`.
    pub fn sign(&self, name: &str) {
        let file = |end| format!("{}.{end}", self.name);
        let arguments = [
            "-CA",
            &file("pem"),
            "-CAkey",
            &file("key"),
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ];
        openssl(&self.folder, name, &arguments);
    }

    /// A client that trusts this authority, and shows a certificate of the folder.
    pub fn client(&self, certificate: Option<&str>, protocols: &[&str]) -> Client {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.folder, &self.name) {
            roots.add(authority).expect("it is an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are versions")
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = self.folder.join(format!("{name}.key"));
                let key = PrivateKeyDer::from_pem_file(key).expect("it is a key");
                let chain = certificates(&self.folder, name);
                let config = builder.with_client_auth_cert(chain, key);
                config.expect("the key is that of the certificate")
            }
        };
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        Client(Arc::new(config))
    }
}

/// A server's side of TLS, with a certificate of the folder.
pub fn acceptor(folder: &Path, name: &str, protocol: &str) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_no_client_auth()
        .with_single_cert(certificates(folder, name), key.expect("it is a key"))
        .expect("the key is that of the certificate");
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A client.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// Connects, and waits until TLS is agreed on.
    pub async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").expect("it is a name");
        let connector = TlsConnector::from(Arc::clone(&self.0));
        connector.connect(name, stream).await
    }
}

/// The certificates of a file.
pub fn certificates(folder: &Path, name: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(folder.join(format!("{name}.pem")));
    let found: Result<_, _> = found.expect("it can be read").collect();
    found.expect("they are certificates")
}

fn openssl(folder: &Path, name: &str, arguments: &[&str]) {
    let key = format!("{name}.key");
    let certificate = format!("{name}.pem");
    let subject = format!("/CN={name}");
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", &subject])
        .args(["-keyout", &key, "-out", &certificate])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is on PATH; on Debian: apt-get install openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
