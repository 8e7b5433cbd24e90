//! Certificates made for the occasion. They must not be kept.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Someone who signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Valid {
    Now,
    Once,
    OneDay,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// A file in `directory` for the key `ca`.
    pub(crate) fn write(&self, directory: &Path) -> PathBuf {
        write_ca(directory, &self.issuer.pem())
    }

    /// What a server with these names presents.
    pub(crate) fn server(&self, names: &[&str], valid: Valid) -> Arc<ServerConfig> {
        let (params, key) = (leaf(names, valid), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        presented(vec![certificate.der().clone()], &key)
    }
}

/// A server that signed for itself, as a new cluster does, and its file for the key `ca`. `is_ca`: it says that it is an authority, as openssl does.
pub(crate) fn self_signed(
    names: &[&str],
    (is_ca, valid): (bool, Valid),
    directory: &Path,
) -> (Arc<ServerConfig>, PathBuf) {
    let (mut params, key) = (leaf(names, valid), KeyPair::generate().unwrap());
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = params.self_signed(&key).unwrap();
    (presented(vec![certificate.der().clone()], &key), write_ca(directory, &certificate.pem()))
}

fn leaf(names: &[&str], valid: Valid) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    (params.not_before, params.not_after) = match valid {
        Valid::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1)),
        Valid::Once => (date_time_ymd(2010, 1, 1), date_time_ymd(2011, 1, 1)),
        Valid::OneDay => (date_time_ymd(2119, 1, 1), date_time_ymd(2120, 1, 1)),
    };
    params
}

fn presented(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

fn write_ca(directory: &Path, pem: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    path
}
