//! Keeps the certificate that a server showed, also where it is not believed, so that it can be named. Must not change who is believed.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// The server's own certificate, once it has shown one.
pub type PresentedCertificate = Arc<OnceLock<CertificateDer<'static>>>;

/// Verifies as another does.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    verifier: Arc<dyn ServerCertVerifier>,
    shown: PresentedCertificate,
}

impl RecordingVerifier {
    pub(super) fn new(verifier: Arc<dyn ServerCertVerifier>) -> Self {
        Self { verifier, shown: PresentedCertificate::default() }
    }

    pub(super) fn shown(&self) -> PresentedCertificate {
        Arc::clone(&self.shown)
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.shown.get_or_init(|| end_entity.clone().into_owned());
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
