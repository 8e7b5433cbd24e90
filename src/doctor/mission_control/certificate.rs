//! What a server's certificate says of itself. Must not judge it.

use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use nodewall_https::PresentedCertificate;

/// Whose it is, who signed it, and until when. `None`: none was shown, or it can not be read.
pub(super) fn describe(shown: &PresentedCertificate) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(shown.get()?).ok()?;
    let text = format!(
        "subject {}, issued by {}, valid from {} to {}",
        certificate.subject(),
        certificate.issuer(),
        certificate.validity().not_before,
        certificate.validity().not_after
    );
    // A certificate can say anything.
    Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect())
}
