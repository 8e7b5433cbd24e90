//! `[export]`: where the agent answers scrapes, the API and the page.
//!
//! Owns what these keys mean and their refusals. Must not open a socket or a file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use toml::Spanned;

use super::Config;
use super::error::{ConfigErrors, FlagProblems, Problems, ValueError};
use super::peers::{absolute, host_name, value};
use super::schema::{List, RawExport};

/// Where the agent listens without a word in the configuration.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9117);
/// Most names that `hosts` may hold.
pub(super) const MAX_HOSTS: usize = 64;

const NOWHERE: &str = "none";
const WITHOUT_TLS: &str =
    "is beyond loopback, where numbers, addresses of peers and the token would cross the network in plain text";

/// `[export]`: where the agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// `listen`; default [`DEFAULT_LISTEN`]. `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// `hosts`: what a request's `Host` may be besides loopback; in lower case, in the order written, no duplicates.
    pub hosts: Vec<String>,
    /// `per_peer`; default false. True: `/metrics` has the traffic of each peer, and so its addresses.
    pub per_peer: bool,
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
        Self { listen: Some(DEFAULT_LISTEN), hosts: Vec::new(), per_peer: false, tls: None }
    }
}

impl Export {
    fn refusal(&self) -> Option<ValueError> {
        let listen = self.listen.filter(|listen| !listen.ip().is_loopback() && self.tls.is_none())?;
        Some(
            ValueError::new(format!("\"{listen}\" {WITHOUT_TLS}"))
                .help("give [export] tls_cert and tls_key, or listen on 127.0.0.1 and let something else carry it"),
        )
    }
}

impl Config {
    /// This configuration with `--listen`, if it was given.
    pub fn with_listen(mut self, listen: Option<&str>) -> Result<Self, ConfigErrors> {
        let mut problems = FlagProblems::default();
        if let Some(text) = listen {
            match parse_listen(text) {
                Ok(listen) => self.export.listen = listen,
                Err(error) => problems.value("--listen", error),
            }
            if let Some(error) = self.export.refusal() {
                problems.value("--listen", error);
            }
        }
        problems.finish()?;
        Ok(self)
    }
}

/// An address with its port, or `none`.
pub fn parse_listen(text: &str) -> Result<Option<SocketAddr>, ValueError> {
    if text == NOWHERE {
        return Ok(None);
    }
    let refused = || {
        ValueError::new(format!("{text:?} is no address to listen on; expected such as \"127.0.0.1:9117\" or \"none\""))
    };
    match text.parse::<SocketAddr>() {
        Ok(listen) if listen.port() != 0 => Ok(Some(listen)),
        Ok(_) => Err(refused()),
        Err(_) => Err(match text.parse::<IpAddr>() {
            Ok(address) => {
                refused().help(format!("with its port: \"{}\"", SocketAddr::new(address, DEFAULT_LISTEN.port())))
            }
            Err(_) => refused(),
        }),
    }
}

pub(super) fn export(raw: RawExport, problems: &mut Problems<'_>) -> Export {
    let listen_span = raw.listen.as_ref().map(Spanned::span);
    let (cert_span, key_span) = (raw.tls_cert.as_ref().map(Spanned::span), raw.tls_key.as_ref().map(Spanned::span));
    let cert = value(raw.tls_cert, "export.tls_cert", absolute, problems);
    let key = value(raw.tls_key, "export.tls_key", absolute, problems);
    match (&cert_span, &key_span) {
        (Some(span), None) => {
            problems.push(span, || ("export.tls_cert: missing key \"tls_key\" beside it".to_owned(), None));
        }
        (None, Some(span)) => {
            problems.push(span, || ("export.tls_key: missing key \"tls_cert\" beside it".to_owned(), None));
        }
        _ => {}
    }
    let listen = value(raw.listen, "export.listen", parse_listen, problems);
    let export = Export {
        listen: listen.unwrap_or(Some(DEFAULT_LISTEN)),
        hosts: hosts(raw.hosts, problems),
        per_peer: raw.per_peer.unwrap_or(false),
        tls: cert.zip(key).map(|(cert, key)| ExportTls { cert, key }),
    };
    // What is wrong with the files is told above.
    if let (Some(span), None, None, Some(error)) = (listen_span, cert_span, key_span, export.refusal()) {
        problems.value(&span, "export.listen", error);
    }
    export
}

fn hosts(raw: Option<List<String>>, problems: &mut Problems<'_>) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for entry in raw.map(Spanned::into_inner).unwrap_or_default() {
        match host(entry.get_ref()) {
            Ok(name) if hosts.contains(&name) => {}
            Ok(_) if hosts.len() == MAX_HOSTS => {
                let error = ValueError::new(format!("{:?} is one too many: at most {MAX_HOSTS}", entry.get_ref()));
                problems.value(&entry.span(), "export.hosts", error);
            }
            Ok(name) => hosts.push(name),
            Err(error) => problems.value(&entry.span(), "export.hosts", error),
        }
    }
    hosts
}

/// A name or an address, without a port: as a URL has it, IPv6 in brackets or not.
fn host(text: &str) -> Result<String, ValueError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => host_name(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let export = parse("listen = \"0.0.0.0:9117\"\ntls_cert = \"/c\"\ntls_key = \"/k\"").unwrap();
        assert_eq!(export.tls, Some(ExportTls { cert: "/c".into(), key: "/k".into() }));
    }

    #[test]
    fn beyond_loopback_without_tls_is_refused_with_its_place() {
        for listen in ["0.0.0.0:9117", "[::]:9117", "10.0.0.5:9117"] {
            let error = parse(&format!("listen = \"{listen}\"")).unwrap_err();
            assert!(error.starts_with("nodewall.toml:2:10: export.listen: ") && error.contains("tls_cert"), "{error}");
            let error = Config::embedded().with_listen(Some(listen)).unwrap_err().to_string();
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
        assert_eq!(Config::embedded().with_listen(Some("none")).unwrap().export.listen, None);
    }
}
