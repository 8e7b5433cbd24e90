//! Who is believed in a handshake: whom rustls believes, and a server whose own certificate the operator named. rustls believes one that signed for itself only if
//! it says that it is no authority; what `openssl req -x509` makes, and so many a cluster has, says that it is one. Named itself, byte for byte, it is believed all
//! the same. Keeps what a server showed, also where it is not believed, so that it can be named.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// The server's own certificate, once it has shown one.
pub type PresentedCertificate = Arc<OnceLock<CertificateDer<'static>>>;

/// Verifies as rustls does, with this one exception.
#[derive(Debug)]
pub(super) struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    shown: PresentedCertificate,
}

impl Verifier {
    /// `roots` are the authorities; `named`: certificates that are believed as a server's own, too.
    pub(super) fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { usual, named, shown: PresentedCertificate::default() })
    }

    /// Where the server's certificate is found after the handshake, believed or not.
    pub(super) fn shown(&self) -> PresentedCertificate {
        Arc::clone(&self.shown)
    }
}

/// The server's certificate says that it is an authority's. Told only of one that is within its time: webpki looks at that before.
pub(super) fn is_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(OtherError(other)) = error else { return false };
    matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.shown.get_or_init(|| end_entity.clone().into_owned());
        match self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(error)) if is_authority(&error) && self.named.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
