//! Whom to believe: the authorities of the system or of one file, and what a refused certificate means. Must not open a connection.

use std::{io, path::Path, sync::Arc};

use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{
    error::{HttpError, failed},
    verifier::{PresentedCertificate, Verifier, is_authority},
};
use nodewall_policy::config::{Trust, read_trusted};

/// A whole bundle of authorities is a quarter of this.
const MAX_CA_BYTES: u64 = 1 << 20;

/// Why there is no TLS with a server.
#[derive(Debug, thiserror::Error)]
#[error("{problem}; {help}")]
pub struct TlsError {
    /// It was the server's certificate.
    pub certificate: bool,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub help: String,
}

impl TlsError {
    fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { certificate: false, problem: problem.into(), help: help.into() }
    }

    fn unusable(error: impl std::fmt::Display) -> Self {
        Self::new(format!("TLS can not be set up: {error}"), "please report it")
    }

    /// As the error of asking `url`.
    pub fn at(self, url: &str) -> HttpError {
        failed(url, self.problem, self.help)
    }
}

/// A client that believes the certificates in `ca`, or the system's authorities where there is none. Reads files.
pub fn client_config(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    Ok(recording_config(ca)?.0)
}

/// The same, and the place where the server's own certificate is found after the handshake, believed or not.
pub fn recording_config(ca: Option<&Path>) -> Result<(ClientConfig, PresentedCertificate), TlsError> {
    let provider = Arc::new(default_provider());
    let (roots, named) = ca.map_or_else(|| Ok((system_roots()?, Vec::new())), file_roots)?;
    let verifier = Verifier::new(roots, named, provider.clone()).map_err(TlsError::unusable)?;
    let shown = verifier.shown();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((config, shown))
}

fn file_roots(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let shown = path.display();
    let help = "write certificates in PEM form (BEGIN CERTIFICATE) into it";
    // Whoever can write it can answer in the server's place.
    let text = read_trusted(path, Trust::OwnerOnly, MAX_CA_BYTES, "write the authority's certificate there")
        .map_err(|error| TlsError::new(format!("ca {shown} {}", error.message), error.help.unwrap_or_default()))?;
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(text.as_bytes())) {
        let broken =
            |error: String| TlsError::new(format!("ca {shown}: certificate {number} can not be read: {error}"), help);
        let certificate = certificate.map_err(|error| broken(error.to_string()))?;
        roots.add(certificate.clone()).map_err(|error| broken(error.to_string()))?;
        certificates.push(certificate);
    }
    if roots.is_empty() {
        return Err(TlsError::new(format!("ca {shown} holds no certificate"), help));
    }
    Ok((roots, certificates))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry some that nobody can read.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        let help = "install the package ca-certificates, or name the server's authority with ca";
        return Err(TlsError::new(format!("this system names no certificate authorities{why}"), help));
    }
    Ok(roots)
}

/// What a failed handshake with `host` means.
pub fn refusal(host: &str, ca: Option<&Path>, error: &io::Error) -> TlsError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(certificate)) = inner else {
        let problem = format!("there is no TLS with the server: {error}");
        return TlsError::new(problem, "see that https is spoken on this port");
    };
    let believed =
        ca.map_or_else(|| "the system's authorities".to_owned(), |ca| format!("the authorities in {}", ca.display()));
    let (problem, help) = match certificate {
        // The second is what an authority of the same name and another key gets.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            format!("comes from none of {believed}"),
            "name the authority's certificate with ca (if you know that the server is the right one)",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("is not for {host:?}: {certificate}"),
            "ask it by a name in its certificate, or give it one with this name",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (format!("has expired: {certificate}"), "renew it; see that this host's clock is right")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (format!("is not valid yet: {certificate}"), "see that this host's clock is right")
        }
        authority if is_authority(authority) => (
            format!("says that it is an authority's own, and it is not one of {believed}"),
            "name this very certificate with ca (if you know that the server is the right one)",
        ),
        other => (format!("is refused: {other}"), "give the server a certificate that is in order"),
    };
    TlsError { certificate: true, ..TlsError::new(format!("its certificate {problem}"), help) }
}
