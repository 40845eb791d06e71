//! TLS of the listeners, with certificates that are read again when they change, and clients that are
//! known by theirs for as long as somebody stands up for them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::{fs, io};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::api::looks::{LOOK_EVERY, Looks};

/// Files, in PEM, that make a listener speak TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The server's certificate, with those that it is signed by.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of which one must have signed a client's certificate; without them, clients
    /// need none.
    pub client_authorities: Option<PathBuf>,
}

impl TlsFiles {
    /// A server's certificate and key; clients need none.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_authorities: None,
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let paths = [
            Some(&self.certificate),
            Some(&self.key),
            self.client_authorities.as_ref(),
        ];
        paths.into_iter().flatten().map(PathBuf::as_path)
    }
}

/// What listeners speak TLS with at the time. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<Held>);

#[derive(Debug)]
struct Held {
    files: TlsFiles,
    configs: watch::Sender<Configs>,
}

/// The same for each protocol, but for what is agreed on with the client.
#[derive(Clone, Debug)]
struct Configs {
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    /// Who stands up for clients, where they need a certificate.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Of the files that they are made of.
    digest: [u8; 32],
}

impl Tls {
    /// Reads the files, and reads them again whenever they change. What is unfit then is told in
    /// the log, and leaves what was there; a failure says why in words.
    pub(crate) fn open(files: TlsFiles) -> Result<Self, String> {
        let configs = watch::Sender::new(read(&files)?);
        let held = Arc::new(Held { files, configs });
        tokio::spawn(look(Arc::downgrade(&held)));
        Ok(Self(held))
    }

    /// For HTTP: both of its versions.
    pub(crate) fn for_http(&self) -> Agreeing {
        self.agreeing(|configs| &configs.http)
    }

    /// For gRPC.
    pub(crate) fn for_grpc(&self) -> Agreeing {
        self.agreeing(|configs| &configs.grpc)
    }

    fn agreeing(&self, config: impl Fn(&Configs) -> &Arc<ServerConfig>) -> Agreeing {
        let mut configs = self.0.configs.subscribe();
        let config = Arc::clone(config(&configs.borrow_and_update()));
        Agreeing { config, configs }
    }
}

/// What a connection is to speak TLS with.
pub(crate) struct Agreeing {
    config: Arc<ServerConfig>,
    /// All that it belongs to, and what comes later.
    configs: watch::Receiver<Configs>,
}

impl Agreeing {
    /// Agrees on it with a client; also, what the client is known by, where it must be.
    pub(crate) async fn accept(
        self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<Known>)> {
        let stream = TlsAcceptor::from(self.config).accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let known = chain.map(|chain| Known {
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            configs: self.configs,
        });
        Ok((stream, known))
    }
}

/// A client that is known by its certificate.
pub(crate) struct Known {
    chain: Vec<CertificateDer<'static>>,
    configs: watch::Receiver<Configs>,
}

impl Known {
    /// Waits until nobody stands up for the client any more.
    pub(crate) async fn ends(&self) {
        let mut configs = self.configs.clone();
        while configs.changed().await.is_ok() {
            let clients = configs.borrow_and_update().clients.clone();
            let Some((own, others)) = self.chain.split_first() else {
                return;
            };
            let is_known = |clients: Arc<dyn ClientCertVerifier>| {
                let verified = clients.verify_client_cert(own, others, UnixTime::now());
                verified.is_ok()
            };
            if !clients.is_some_and(is_known) {
                return;
            }
        }
        // No listener is left: nothing changes any more.
        std::future::pending::<()>().await;
    }
}

/// Looks at the files until no listener is left.
async fn look(held: Weak<Held>) {
    let mut looks = Looks::default();
    let mut told = None;
    loop {
        let Some(held) = held.upgrade() else {
            return;
        };
        let files = held.files.clone();
        // Reading can wait for a disk far away.
        let looking = tokio::task::spawn_blocking(move || {
            let look = looks.look(files.paths());
            // Of three files that are exchanged one after the other, all are wanted.
            let read = (look.is_changed() && look.is_settled()).then(|| read(&files));
            (looks, read)
        });
        let Ok((looked, read)) = looking.await else {
            return;
        };
        looks = looked;
        match read {
            Some(Ok(configs)) => {
                told = None;
                let is_other = held.configs.send_if_modified(|current| {
                    let is_other = current.digest != configs.digest;
                    if is_other {
                        *current = configs;
                    }
                    is_other
                });
                if is_other {
                    tracing::info!("the certificate is read again");
                }
            }
            Some(Err(reason)) if told.as_ref() != Some(&reason) => {
                tracing::error!("the certificate is not read again: {reason}");
                told = Some(reason);
            }
            None | Some(Err(_)) => {}
        }
        drop(held);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn read(files: &TlsFiles) -> Result<Configs, String> {
    let mut digest = Sha256::new();
    let mut contents = |path: &Path| -> Result<_, String> {
        let contents = contents(path)?;
        digest.update(contents.len().to_le_bytes());
        digest.update(contents.as_slice());
        Ok(contents)
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| "there is no version of TLS to use".to_owned())?;
    let clients = match &files.client_authorities {
        None => None,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let unfit = |_| format!("`{}` holds no authority that can be used", path.display());
            for authority in certificates(path, &contents(path)?)? {
                roots.add(authority).map_err(unfit)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            Some(verifier.build().map_err(|error| error.to_string())?)
        }
    };
    let builder = match &clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
    };
    let chain = certificates(&files.certificate, &contents(&files.certificate)?)?;
    let key = contents(&files.key)?;
    let unfit = || format!("`{}` holds no private key", files.key.display());
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| unfit())?;
    let mut grpc = builder.with_single_cert(chain, key).map_err(|_| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!("`{key}` is no key that can be used for the certificate in `{certificate}`")
    })?;
    grpc.alpn_protocols = vec![b"h2".to_vec()];
    let mut http = grpc.clone();
    http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Configs {
        http: Arc::new(http),
        grpc: Arc::new(grpc),
        clients,
        digest: digest.finalize().into(),
    })
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| format!("`{}` holds no certificate", path.display()))
}

/// A file's contents, wiped when dropped: it may hold a key.
fn contents(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: io::Error| {
        let (path, reason) = (path.display(), error.kind());
        format!("failed to read `{path}`: {reason}")
    };
    fs::read(path).map(Zeroizing::new).map_err(failed)
}
