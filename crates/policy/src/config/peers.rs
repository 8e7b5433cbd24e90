//! `[peers]`: who the cluster's nodes are, and which sources to learn them from.
//!
//! Owns what these keys mean and their refusals. Must not ask a source or look whether a file is there.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use toml::Spanned;

use super::address::{SourceCount, parse_bound, parse_peer};
use super::error::{Problems, ValueError};
use super::schema::{List, RawDynatraceApi, RawHttpSd, RawPeers};

/// How long a learnt peer stays after the last source that knew it dropped it: the vendor's own wait before an address is reused.
pub const DEFAULT_REMOVAL_DELAY: Duration = Duration::from_secs(72 * 60 * 60);
/// How often HTTP service discovery is asked.
pub const DEFAULT_HTTP_SD_INTERVAL: Duration = Duration::from_secs(60);
/// How often the vendor's cluster API is asked.
pub const DEFAULT_API_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Most host names that one configuration may look up.
pub const MAX_DNS_NAMES: usize = 64;

const SHORTEST_TIME: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(366 * 24 * 60 * 60);
pub(super) const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Of a host name and of one of its labels (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// `[peers]`: the cluster's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// Sorted by prefix, no duplicates (the file's entry is kept over the flag's).
    pub named: Vec<NamedPeer>,
    /// `within`: bounds for learnt peers; sorted, no duplicates. Never empty with `dns` or an http:// address.
    pub within: Vec<IpNet>,
    /// `file`: an absolute path.
    pub file: Option<PathBuf>,
    /// `dns`: names in lower case without the last dot, in the order written, no duplicates.
    pub dns: Vec<String>,
    /// `dns_server`: who is asked for them. `None`: whom the system asks.
    pub dns_server: Option<SocketAddr>,
    /// `vendor_firewall`; default false.
    pub vendor_firewall: bool,
    /// `removal_delay`; default [`DEFAULT_REMOVAL_DELAY`].
    pub removal_delay: Duration,
    /// `[peers.http_sd]`.
    pub http_sd: Option<HttpSd>,
    /// `[peers.dynatrace_api]`.
    pub dynatrace_api: Option<DynatraceApi>,
}

/// `[peers.http_sd]`: Prometheus' HTTP service discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSd {
    /// An http:// or https:// address without credentials.
    pub url: String,
    /// Certificates (PEM) to trust instead of the system's; an absolute path.
    pub ca: Option<PathBuf>,
    /// How often to ask.
    pub interval: Duration,
}

/// `[peers.dynatrace_api]`: the vendor's cluster API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynatraceApi {
    /// An https:// address of a node, without credentials, without a `/` at its end.
    pub url: String,
    /// Where the token is: an absolute path, or the plain name of a systemd credential.
    pub token_file: PathBuf,
    /// Certificates (PEM) to trust instead of the system's; an absolute path.
    pub ca: Option<PathBuf>,
    /// How often to ask.
    pub interval: Duration,
}

/// A peer that the operator named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPeer {
    /// An address (full length) or a prefix.
    pub prefix: IpNet,
    /// Where it was named.
    pub from: PeerOrigin,
}

/// Where a named peer was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerOrigin {
    /// `static` in `[peers]`.
    Config,
    /// `--peer`.
    CommandLine,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            named: Vec::new(),
            within: Vec::new(),
            file: None,
            dns: Vec::new(),
            dns_server: None,
            vendor_firewall: false,
            removal_delay: DEFAULT_REMOVAL_DELAY,
            http_sd: None,
            dynatrace_api: None,
        }
    }
}

impl Peers {
    /// There are sources besides `static`.
    pub fn has_sources(&self) -> bool {
        self.file.is_some()
            || !self.dns.is_empty()
            || self.vendor_firewall
            || self.http_sd.is_some()
            || self.dynatrace_api.is_some()
    }
}

pub(super) fn peers(raw: RawPeers, sources: &mut SourceCount, problems: &mut Problems<'_>) -> Peers {
    let mut named = BTreeSet::new();
    for entry in raw.static_peers.map(Spanned::into_inner).unwrap_or_default() {
        match parse_peer(entry.get_ref()).and_then(|net| sources.add(net).map(|()| net)) {
            Ok(net) => drop(named.insert(net)),
            Err(error) => problems.value(&entry.span(), "peers.static", error),
        }
    }
    let bounded = raw.within.as_ref().is_some_and(|within| !within.get_ref().is_empty());
    let mut within = BTreeSet::new();
    for entry in raw.within.map(Spanned::into_inner).unwrap_or_default() {
        match parse_bound(entry.get_ref()) {
            Ok(net) => drop(within.insert(net)),
            Err(error) => problems.value(&entry.span(), "peers.within", error),
        }
    }
    let unbounded = |problems: &mut Problems<'_>, span: &Range<usize>, key: &str| {
        if !bounded {
            problems.push(span, || {
                (
                    format!("{key}: whoever can forge its answers could let anyone in; it needs [peers] within"),
                    Some("name the networks in which the cluster's nodes are: within = [\"10.0.0.0/16\"]".to_owned()),
                )
            });
        }
    };
    let dns_span = raw.dns.as_ref().filter(|names| !names.get_ref().is_empty()).map(Spanned::span);
    if let Some(span) = &dns_span {
        unbounded(problems, span, "peers.dns");
    }
    if let Some(url) = raw.http_sd.as_ref().and_then(|table| table.get_ref().0.url.as_ref())
        && is_plain(url.get_ref())
    {
        unbounded(problems, &url.span(), "peers.http_sd.url");
    }
    if let Some(server) = raw.dns_server.as_ref().filter(|_| dns_span.is_none()) {
        problems
            .push(&server.span(), || ("peers.dns_server: there are no names in dns to ask it for".to_owned(), None));
    }
    Peers {
        named: named.into_iter().map(|prefix| NamedPeer { prefix, from: PeerOrigin::Config }).collect(),
        within: within.into_iter().collect(),
        file: value(raw.file, "peers.file", absolute, problems),
        dns: names(raw.dns, problems),
        dns_server: value(raw.dns_server, "peers.dns_server", server, problems),
        vendor_firewall: raw.vendor_firewall.unwrap_or(false),
        removal_delay: value(raw.removal_delay, "peers.removal_delay", |text| time(text, LONGEST_DELAY), problems)
            .unwrap_or(DEFAULT_REMOVAL_DELAY),
        http_sd: raw.http_sd.and_then(|table| http_sd(table.span(), table.into_inner().0, problems)),
        dynatrace_api: raw.dynatrace_api.and_then(|table| dynatrace_api(table.span(), table.into_inner().0, problems)),
    }
}

fn http_sd(span: Range<usize>, raw: RawHttpSd, problems: &mut Problems<'_>) -> Option<HttpSd> {
    let ca = value(raw.ca, "peers.http_sd.ca", absolute, problems);
    let interval = interval(raw.interval, "peers.http_sd.interval", DEFAULT_HTTP_SD_INTERVAL, problems);
    let url = required(raw.url, &span, "peers.http_sd", "url", url, problems)?;
    Some(HttpSd { url, ca, interval })
}

fn dynatrace_api(span: Range<usize>, raw: RawDynatraceApi, problems: &mut Problems<'_>) -> Option<DynatraceApi> {
    let ca = value(raw.ca, "peers.dynatrace_api.ca", absolute, problems);
    let interval = interval(raw.interval, "peers.dynatrace_api.interval", DEFAULT_API_INTERVAL, problems);
    let url = required(raw.url, &span, "peers.dynatrace_api", "url", secret_url, problems);
    let token_file = required(raw.token_file, &span, "peers.dynatrace_api", "token_file", token_place, problems);
    Some(DynatraceApi { url: url?, token_file: token_file?, ca, interval })
}

pub(super) fn value<T>(
    raw: Option<Spanned<String>>,
    key: &str,
    read: impl Fn(&str) -> Result<T, ValueError>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let raw = raw?;
    match read(raw.get_ref()) {
        Ok(value) => Some(value),
        Err(error) => {
            problems.value(&raw.span(), key, error);
            None
        }
    }
}

fn required<T>(
    raw: Option<Spanned<String>>,
    table: &Range<usize>,
    name: &str,
    key: &str,
    read: impl Fn(&str) -> Result<T, ValueError>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    if raw.is_none() {
        problems.push(table, || (format!("{name}: missing key \"{key}\""), None));
    }
    value(raw, &format!("{name}.{key}"), read, problems)
}

fn interval(raw: Option<Spanned<String>>, key: &str, default: Duration, problems: &mut Problems<'_>) -> Duration {
    value(raw, key, |text| time(text, LONGEST_INTERVAL), problems).unwrap_or(default)
}

fn names(raw: Option<List<String>>, problems: &mut Problems<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in raw.map(Spanned::into_inner).unwrap_or_default() {
        match host_name(entry.get_ref()) {
            Ok(name) if names.contains(&name) => {}
            Ok(_) if names.len() == MAX_DNS_NAMES => {
                let error = ValueError::new(format!("{:?} is one too many: at most {MAX_DNS_NAMES}", entry.get_ref()));
                problems.value(&entry.span(), "peers.dns", error);
            }
            Ok(name) => names.push(name),
            Err(error) => problems.value(&entry.span(), "peers.dns", error),
        }
    }
    names
}

pub(super) fn host_name(text: &str) -> Result<String, ValueError> {
    if text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() {
        return Err(ValueError::new(format!("{text:?} is no host name")).help("addresses belong into static"));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
        return Err(ValueError::new(format!("{text:?} is no host name; expected such as \"nodes.cluster.example\"")));
    }
    Ok(name.to_ascii_lowercase())
}

fn server(text: &str) -> Result<SocketAddr, ValueError> {
    let refused = || ValueError::new(format!("{text:?} is no DNS server; expected such as \"10.0.0.53:53\""));
    match text.parse::<SocketAddr>() {
        Ok(server) if server.port() != 0 => Ok(server),
        Ok(_) => Err(refused()),
        Err(_) => Err(match text.parse::<IpAddr>() {
            Ok(address) => refused().help(format!("with its port: \"{}\"", SocketAddr::new(address, 53))),
            Err(_) => refused(),
        }),
    }
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, ValueError> {
    if text.contains('\0') || !Path::new(text).is_absolute() {
        return Err(ValueError::new(format!("{text:?} is not an absolute path"))
            .help("begin with /: a service has no directory that a path could be relative to"));
    }
    Ok(PathBuf::from(text))
}

/// A path, or a name under which systemd hands a credential over.
pub(super) fn token_place(text: &str) -> Result<PathBuf, ValueError> {
    let is_name = !text.is_empty() && !text.contains(['/', '\0']) && text != "." && text != "..";
    if is_name {
        return Ok(PathBuf::from(text));
    }
    absolute(text).map_err(|error| error.help("an absolute path, or the name of a systemd credential"))
}

pub(super) fn time(text: &str, longest: Duration) -> Result<Duration, ValueError> {
    let expected = || {
        format!("expected such as \"30s\", \"5m\" or \"72h\", between 1s and {}", humantime::format_duration(longest))
    };
    match humantime::parse_duration(text) {
        Ok(time) if (SHORTEST_TIME..=longest).contains(&time) => Ok(time),
        Ok(_) => Err(ValueError::new(format!("{text:?} is out of bounds; {}", expected()))),
        Err(_) => Err(ValueError::new(format!("{text:?} is not a time; {}", expected()))),
    }
}

pub(super) fn is_plain(text: &str) -> bool {
    text.get(.."http://".len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

/// An http:// or https:// address, as it was written.
pub(super) fn url(text: &str) -> Result<String, ValueError> {
    let refused = |why: &str| ValueError::new(format!("{why}; expected such as \"https://sd.example:8080/nodes\""));
    let (Ok(uri), false) = (text.parse::<Uri>(), text.contains(char::is_control)) else {
        return Err(refused(&format!("{text:?} is no URL")));
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(refused(&format!("{text:?} does not begin with https:// or http://")));
    };
    if authority.as_str().contains('@') {
        // The URL is the source's name in every output.
        return Err(refused("a URL with a user or a password in it is refused"));
    }
    let host_bytes = authority.as_str().len() - authority.port().map_or(0, |port| port.as_str().len() + 1);
    if authority.host().is_empty() || host_bytes != authority.host().len() || authority.port_u16() == Some(0) {
        return Err(refused(&format!("{text:?} names no host, or no port")));
    }
    if text.contains('#') {
        return Err(refused(&format!("{text:?} has a fragment (#), which no server sees")));
    }
    Ok(text.to_owned())
}

/// The same for a request that carries a token.
fn secret_url(text: &str) -> Result<String, ValueError> {
    let url = url(text)?;
    if is_plain(&url) {
        return Err(ValueError::new(format!("{text:?} would send the token in plain text; expected https://")));
    }
    if url.contains('?') {
        return Err(ValueError::new(format!("{text:?} has a query; expected the cluster's address alone")));
    }
    Ok(url.trim_end_matches('/').to_owned())
}
