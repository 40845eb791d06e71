//! TLS as a client: rustls with ring, given to each connection and never set for the process.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// What a server's certificate must be.
pub(crate) enum Check {
    /// For the server's name, and certified.
    Name(Authorities),
    /// Certified, for whatever name.
    #[cfg_attr(
        not(feature = "configuration-postgresql"),
        expect(dead_code, reason = "only PostgreSQL has such a mode")
    )]
    Chain(Authorities),
    /// Any. The server must still hold its key.
    Nothing,
}

/// Who certifies servers.
pub(crate) enum Authorities {
    /// Those that the operating system knows.
    System,
    /// These alone.
    Given(Vec<CertificateDer<'static>>),
}

/// A certificate, with those above it, and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Why there can be no TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unfit {
    /// There is no version of it to use.
    Version,
    /// The authorities hold no certificate that can be used.
    Authorities,
    /// The operating system knows no authorities.
    System,
    /// The client's key is of no kind that can be used.
    Key,
}

/// The settings of connections to servers that pass this check.
pub(crate) fn config(check: Check, identity: Option<Identity>) -> Result<ClientConfig, Unfit> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| Unfit::Version)?;
    let builder = match check {
        Check::Name(authorities) => builder.with_root_certificates(roots(authorities)?),
        Check::Chain(authorities) => {
            let roots = Arc::new(roots(authorities)?);
            let verifier =
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let verifier = verifier.build().map_err(|_| Unfit::Authorities)?;
            let verifier = Arc::new(AnyName(verifier));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        }
        Check::Nothing => {
            let verifier = Arc::new(AnyServer(Arc::clone(&provider)));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        }
    };
    let Some(Identity { chain, key }) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| Unfit::Key)?;
    // The server judges the certificate: rustls itself would refuse those of version 1.
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    Ok(builder.with_client_cert_resolver(Arc::new(certified)))
}

fn roots(authorities: Authorities) -> Result<RootCertStore, Unfit> {
    let (authorities, unfit) = match authorities {
        Authorities::System => {
            let found = rustls_native_certs::load_native_certs();
            (found.certs, Unfit::System)
        }
        Authorities::Given(authorities) => (authorities, Unfit::Authorities),
    };
    let mut roots = RootCertStore::empty();
    let (known, _) = roots.add_parsable_certificates(authorities);
    if known == 0 { Err(unfit) } else { Ok(roots) }
}

/// Accepts any certificate.
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

/// Accepts certificates that are certified, for whatever name: the name is looked at last.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
