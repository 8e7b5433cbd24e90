//! Whom to believe: the authorities of the system or of one file, and what a refused certificate means. Must not open a connection.

use std::{io, path::Path, sync::Arc};

use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{
    error::{HttpError, failed},
    named::{PinnedVerifier, is_authority},
    presented::{PresentedCertificate, RecordingVerifier},
};
use nodewall_policy::config::{Trust, read_trusted};

/// A whole bundle of authorities is a quarter of this.
const MAX_CA_BYTES: u64 = 1 << 20;

/// Why nobody can be believed.
#[derive(Debug)]
pub struct Setup {
    problem: String,
    help: String,
}

impl Setup {
    /// What is wrong, and what to do.
    pub fn into_parts(self) -> (String, String) {
        (self.problem, self.help)
    }

    fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { problem: problem.into(), help: help.into() }
    }

    /// As the error of asking `url`.
    pub fn at(self, url: &str) -> HttpError {
        failed(url, self.problem, self.help)
    }
}

/// A client that believes the certificates in `ca`, or the system's authorities where there is none. Reads files.
pub fn client_config(ca: Option<&Path>) -> Result<ClientConfig, Setup> {
    client_with(verifier(ca)?)
}

/// The same, and the place where the server's own certificate is found after the handshake, believed or not.
pub fn recording_config(ca: Option<&Path>) -> Result<(ClientConfig, PresentedCertificate), Setup> {
    let witness = RecordingVerifier::new(verifier(ca)?);
    let shown = witness.shown();
    Ok((client_with(Arc::new(witness))?, shown))
}

fn client_with(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, Setup> {
    Ok(ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn verifier(ca: Option<&Path>) -> Result<Arc<dyn ServerCertVerifier>, Setup> {
    let provider = Arc::new(default_provider());
    let Some(path) = ca else {
        return Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(system_roots()?), provider)
            .build()
            .map_err(|error| unusable(&error))?);
    };
    let (roots, certificates) = file_roots(path)?;
    Ok(Arc::new(PinnedVerifier::new(roots, certificates, provider).map_err(|error| unusable(&error))?))
}

fn unusable(error: &dyn std::fmt::Display) -> Setup {
    Setup::new(format!("TLS can not be set up: {error}"), "please report it")
}

fn file_roots(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Setup> {
    let shown = path.display();
    // Whoever can write it can answer in the server's place.
    let text = read_trusted(path, Trust::OwnerOnly, MAX_CA_BYTES, "write the authority's certificate there")
        .map_err(|error| Setup::new(format!("ca {shown} {}", error.message), error.help.unwrap_or_default()))?;
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(text.as_bytes())) {
        let broken = |error: String| {
            let problem = format!("ca {shown}: certificate {number} can not be read: {error}");
            Setup::new(problem, "write certificates in PEM form (BEGIN CERTIFICATE) into it")
        };
        let certificate = certificate.map_err(|error| broken(error.to_string()))?;
        roots.add(certificate.clone()).map_err(|error| broken(error.to_string()))?;
        certificates.push(certificate);
    }
    if roots.is_empty() {
        let help = "write certificates in PEM form (BEGIN CERTIFICATE) into it";
        return Err(Setup::new(format!("ca {shown} holds no certificate"), help));
    }
    Ok((roots, certificates))
}

fn system_roots() -> Result<RootCertStore, Setup> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry some that nobody can read.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        let help = "install the package ca-certificates, or name the server's authority with ca";
        return Err(Setup::new(format!("this system names no certificate authorities{why}"), help));
    }
    Ok(roots)
}

/// Why a handshake failed.
#[derive(Debug)]
pub struct Refusal {
    /// It was the certificate, not the protocol.
    pub certificate: bool,
    pub problem: String,
    pub help: String,
}

impl Refusal {
    fn certificate(problem: String, help: impl Into<String>) -> Self {
        Self { certificate: true, problem, help: help.into() }
    }
}

/// As the error of asking `url`.
pub(super) fn refused(url: &str, host: &str, ca: Option<&Path>, error: &io::Error) -> HttpError {
    let Refusal { problem, help, .. } = refusal(host, ca, error);
    failed(url, problem, help)
}

/// What a failed handshake with `host` means.
pub fn refusal(host: &str, ca: Option<&Path>, error: &io::Error) -> Refusal {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(certificate)) = inner else {
        let problem = format!("there is no TLS with the server: {error}");
        return Refusal { certificate: false, problem, help: "see that https is spoken on this port".into() };
    };
    let believed =
        ca.map_or_else(|| "the system's authorities".to_owned(), |ca| format!("the authorities in {}", ca.display()));
    match certificate {
        // The second is what an authority of the same name and another key gets.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Refusal::certificate(
            format!("its certificate comes from none of {believed}"),
            "name the authority's certificate with ca (if you know that the server is the right one)",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Refusal::certificate(
            format!("its certificate is not for {host:?}: {certificate}"),
            "ask it by a name in its certificate, or give it one with this name",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::certificate(
            format!("its certificate has expired: {certificate}"),
            "renew it; see that this host's clock is right",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Refusal::certificate(
            format!("its certificate is not valid yet: {certificate}"),
            "see that this host's clock is right",
        ),
        authority if is_authority(authority) => Refusal::certificate(
            format!("its certificate says that it is an authority's own, and it is not one of {believed}"),
            "name this very certificate with ca (if you know that the server is the right one)",
        ),
        other => Refusal::certificate(
            format!("its certificate is refused: {other}"),
            "give the server a certificate that is in order",
        ),
    }
}
