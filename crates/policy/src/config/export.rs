//! `[export]`: where the agent answers scrapes, the API and the page.
//!
//! Owns what these keys mean and their refusals. Must not open a socket or a file.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::ValueError;
use super::problems::Problems;
use super::schema::RawExport;
use super::values::DEFAULT_LISTEN;

/// Most names that `hosts` may hold.
pub(super) const MAX_HOSTS: usize = 64;

const WITHOUT_TLS: &str =
    "is beyond loopback, where numbers, addresses of peers and the token would cross the network in plain text";

/// `[export]`: where the agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// `listen`; default 127.0.0.1:9117. `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// `hosts`: what a request's `Host` may be besides loopback; in lower case, in the order written, no duplicates.
    pub hosts: Vec<String>,
    /// `per_peer`; default false. True: `/metrics` has the traffic of each peer, and so its addresses.
    pub per_peer: bool,
    /// `token_file`: an absolute path, or the name of a systemd credential. `None`: the agent makes the token.
    pub token_file: Option<PathBuf>,
    /// `tls_cert` and `tls_key`. Always there beyond loopback.
    pub tls: Option<ExportTls>,
}

/// The certificate that the agent shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportTls {
    /// `tls_cert`: the chain, PEM; an absolute path.
    pub cert: PathBuf,
    /// `tls_key`: PEM; an absolute path.
    pub key: PathBuf,
}

impl Default for Export {
    fn default() -> Self {
        Self { listen: Some(DEFAULT_LISTEN), hosts: Vec::new(), per_peer: false, token_file: None, tls: None }
    }
}

impl Export {
    /// Why it may not answer there.
    pub(super) fn refusal(&self) -> Option<ValueError> {
        let listen = self.listen.filter(|listen| !listen.ip().is_loopback() && self.tls.is_none())?;
        Some(
            ValueError::new(format!("\"{listen}\" {WITHOUT_TLS}"))
                .help("give [export] tls_cert and tls_key, or listen on 127.0.0.1 and let something else carry it"),
        )
    }
}

pub(super) fn export(raw: RawExport, problems: &mut Problems<'_>) -> Export {
    let (listen_span, cert_span, key_span) = (raw.listen.span(), raw.tls_cert.span(), raw.tls_key.span());
    let (cert, key) = (problems.take(raw.tls_cert), problems.take(raw.tls_key));
    match (&cert_span, &key_span) {
        (Some(span), None) => problems.refuse(span, ValueError::new("missing key \"tls_key\" beside it")),
        (None, Some(span)) => problems.refuse(span, ValueError::new("missing key \"tls_cert\" beside it")),
        _ => {}
    }
    let export = Export {
        listen: problems.take(raw.listen).unwrap_or(Some(DEFAULT_LISTEN)),
        hosts: problems.distinct(raw.hosts, MAX_HOSTS),
        per_peer: raw.per_peer.or(false),
        token_file: problems.take(raw.token_file),
        tls: cert.zip(key).map(|(cert, key)| ExportTls { cert, key }),
    };
    // What is wrong with the files is told above.
    if let (Some(span), None, None, Some(error)) = (listen_span, cert_span, key_span, export.refusal()) {
        problems.refuse(&span, error);
    }
    export
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::parse_listen;

    fn parse(export: &str) -> Result<Export, String> {
        Config::parse(&format!("[export]\n{export}\n"), "nodewall.toml").map(|c| c.export).map_err(|e| e.to_string())
    }

    #[test]
    fn without_a_word_it_is_loopback_alone() {
        let export = Config::embedded().export;
        assert_eq!((export.listen, export.tls), (Some("127.0.0.1:9117".parse().unwrap()), None));
        assert_eq!(parse("").unwrap(), Export::default());
    }

    #[test]
    fn every_key_is_understood() {
        let export =
            parse("listen = \"[::1]:9118\"\nhosts = [\"Node1.example.\", \"[fd00::5]\", \"node1.example\"]").unwrap();
        assert_eq!(export.listen, Some("[::1]:9118".parse().unwrap()));
        assert_eq!(export.hosts, ["node1.example", "fd00::5"]);
        assert_eq!(parse("listen = \"none\"").unwrap().listen, None);
        assert!(parse("per_peer = true").unwrap().per_peer && !parse("per_peer = false").unwrap().per_peer);
        assert_eq!(parse("").unwrap().token_file, None);
        assert_eq!(parse("token_file = \"/t\"").unwrap().token_file, Some("/t".into()));
        let export = parse("listen = \"0.0.0.0:9117\"\ntls_cert = \"/c\"\ntls_key = \"/k\"").unwrap();
        assert_eq!(export.tls, Some(ExportTls { cert: "/c".into(), key: "/k".into() }));
    }

    #[test]
    fn beyond_loopback_without_tls_is_refused_with_its_place() {
        for listen in ["0.0.0.0:9117", "[::]:9117", "10.0.0.5:9117"] {
            let error = parse(&format!("listen = \"{listen}\"")).unwrap_err();
            assert!(error.starts_with("nodewall.toml:2:10: export.listen: ") && error.contains("tls_cert"), "{error}");
            let error = Config::embedded().with_listen(Some(parse_listen(listen).unwrap())).unwrap_err().to_string();
            assert!(error.starts_with("--listen: ") && error.contains("tls_cert"), "{error}");
        }
        for (text, wanted) in [
            ("tls_cert = \"/c\"", "export.tls_cert: missing key \"tls_key\""),
            ("tls_key = \"/k\"", "export.tls_key: missing key \"tls_cert\""),
            ("listen = \"127.0.0.1\"", "with its port: \"127.0.0.1:9117\""),
            ("listen = \"127.0.0.1:0\"", "is no address to listen on"),
            ("listen = \"localhost:9117\"", "is no address to listen on"),
            ("hosts = [\"a b\"]", "export.hosts: \"a b\" is no host name"),
            ("tls_cert = \"c\"\ntls_key = \"/k\"", "\"c\" is not an absolute path"),
            ("per_peer = \"yes\"", "expected true or false"),
            ("port = 1", "unknown key \"port\""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        assert_eq!(Config::embedded().with_listen(Some(None)).unwrap().export.listen, None);
    }
}
