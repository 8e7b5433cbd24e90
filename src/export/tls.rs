//! The certificate that the exporters show. Reads two files; must not open a connection.

use std::{path::Path, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use nodewall_policy::config::{ExportTls, Trust, read_trusted};

/// A chain is a hundredth of this.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// What shows the certificate, or why there is none: in one line, with the file.
pub(super) fn acceptor(tls: &ExportTls) -> Result<TlsAcceptor, String> {
    let chain = pem(&tls.cert, "tls_cert", Trust::OwnerOnly)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("tls_cert {}: {error}", tls.cert.display()))?;
    if chain.is_empty() {
        return Err(format!("tls_cert {} holds no certificate in PEM form", tls.cert.display()));
    }
    let key = PrivateKeyDer::from_pem_slice(pem(&tls.key, "tls_key", Trust::Key)?.as_bytes())
        .map_err(|error| format!("tls_key {}: {error}; expected a private key in PEM form", tls.key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| format!("tls_cert {} and tls_key {}: {error}", tls.cert.display(), tls.key.display()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn pem(path: &Path, key: &str, trust: Trust) -> Result<String, String> {
    read_trusted(path, trust, MAX_PEM_BYTES, "write it there").map_err(|error| {
        let help = error.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
        format!("{key} {} {}{help}", path.display(), error.message)
    })
}
