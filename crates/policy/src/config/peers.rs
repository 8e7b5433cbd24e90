//! `[peers]`: who the cluster's nodes are, and which sources to learn them from.
//!
//! Owns what these keys mean and their refusals. Must not ask a source or look whether a file is there.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::error::ValueError;
use super::given::Table;
use super::problems::Problems;
use super::schema::{RawDynatraceApi, RawHttpSd, RawPeers};
use super::source_count::SourceCount;
use super::values::is_plain;

/// How long a learnt peer stays after the last source that knew it dropped it: the vendor's own wait before an address is reused.
pub const DEFAULT_REMOVAL_DELAY: Duration = Duration::from_secs(72 * 60 * 60);
/// How often HTTP service discovery is asked.
pub(super) const DEFAULT_HTTP_SD_INTERVAL: Duration = Duration::from_secs(60);
/// How often the vendor's cluster API is asked.
pub(super) const DEFAULT_API_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Most host names that one configuration may look up.
const MAX_DNS_NAMES: usize = 64;

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
    let is_bounded = !raw.within.is_empty();
    let mut needs_bounds = |span: &Range<usize>, problems: &mut Problems<'_>| {
        if !is_bounded {
            let error = ValueError::new("whoever can forge its answers could let anyone in; it needs [peers] within");
            let help = "name the networks in which the cluster's nodes are: within = [\"10.0.0.0/16\"]";
            problems.refuse(span, error.help(help));
        }
    };
    let asks_dns = !raw.dns.is_empty();
    if let Some(span) = raw.dns.span().filter(|_| asks_dns) {
        needs_bounds(&span, problems);
    }
    if let Some(span) = raw.dns_server.span().filter(|_| !asks_dns) {
        problems.refuse(&span, ValueError::new("there are no names in dns to ask it for"));
    }
    let named = sources.counted(raw.static_peers, problems);
    let mut within: Vec<IpNet> = problems.elements(raw.within).into_iter().map(|(net, _)| net).collect();
    within.sort_unstable();
    within.dedup();
    Peers {
        named: named.into_iter().map(|prefix| NamedPeer { prefix, from: PeerOrigin::Config }).collect(),
        within,
        file: problems.take(raw.file),
        dns: problems.distinct(raw.dns, MAX_DNS_NAMES),
        dns_server: problems.take(raw.dns_server),
        vendor_firewall: raw.vendor_firewall.or(false),
        removal_delay: problems.take(raw.removal_delay).unwrap_or(DEFAULT_REMOVAL_DELAY),
        http_sd: raw.http_sd.spanned().and_then(|table| http_sd(table, &mut needs_bounds, problems)),
        dynatrace_api: raw.dynatrace_api.spanned().and_then(|table| dynatrace_api(table, problems)),
    }
}

fn http_sd(
    table: Spanned<Table<RawHttpSd>>,
    needs_bounds: &mut impl FnMut(&Range<usize>, &mut Problems<'_>),
    problems: &mut Problems<'_>,
) -> Option<HttpSd> {
    let (place, Table(raw)) = (table.span(), table.into_inner());
    let ca = problems.take(raw.ca);
    let interval = problems.take(raw.interval).unwrap_or(DEFAULT_HTTP_SD_INTERVAL);
    let url_span = raw.url.span();
    let url = problems.required(raw.url, (&place, "peers.http_sd"), "url")?;
    if let Some(span) = url_span.filter(|_| is_plain(&url)) {
        needs_bounds(&span, problems);
    }
    Some(HttpSd { url, ca, interval })
}

fn dynatrace_api(table: Spanned<Table<RawDynatraceApi>>, problems: &mut Problems<'_>) -> Option<DynatraceApi> {
    let (place, Table(raw)) = (table.span(), table.into_inner());
    let ca = problems.take(raw.ca);
    let interval = problems.take(raw.interval).unwrap_or(DEFAULT_API_INTERVAL);
    let url = problems.required(raw.url, (&place, "peers.dynatrace_api"), "url");
    let token_file = problems.required(raw.token_file, (&place, "peers.dynatrace_api"), "token_file");
    Some(DynatraceApi { url: url?, token_file: token_file?, ca, interval })
}
