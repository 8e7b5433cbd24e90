//! `[mission_control]`: whom this node reports to, so that what goes there is counted by itself; and how the vendor's Mission Control is reached, for
//! `doctor --mission-control`.
//!
//! Owns the vendor's addresses, what these keys mean and their refusals. It opens and closes nothing: who may reach which port is the rules' word alone.
//! Must not look a name up.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use node_ebpf_common::policy::MAX_MISSION_ADDRESSES;
use serde::{Deserialize, Serialize};

use super::enums::ProfileName;
use super::error::ValueError;
use super::formats::{ProxyUrl, SecretFile};
use super::given::{Given, Text};
use super::port::PortRange;
use super::problems::Problems;
use super::proxy::Proxy;
use super::schema::RawMissionControl;

/// The vendor's addresses of `mcsvc.dynatrace.com` ("Cluster node ports", section "Mission Control").
pub const MISSION_CONTROL_ADDRESSES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(13, 228, 109, 33)),
    IpAddr::V4(Ipv4Addr::new(52, 5, 224, 56)),
    IpAddr::V4(Ipv4Addr::new(52, 200, 165, 10)),
    IpAddr::V4(Ipv4Addr::new(52, 221, 165, 63)),
];
/// HTTPS.
const MISSION_CONTROL_PORT: u16 = 443;
/// The vendor's name of it.
const DEFAULT_MISSION_CONTROL_HOST: &str = "mcsvc.dynatrace.com";

/// Whom outbound TCP is counted apart for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissionControl {
    /// Sorted, no duplicates. Empty: nobody.
    pub addresses: Vec<IpAddr>,
    /// TCP port.
    pub port: u16,
}

/// How Mission Control is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissionLink {
    /// A name or an address; also what the certificate is to name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `None`: straight.
    pub proxy: Option<Proxy>,
    /// Certificates (PEM) to trust instead of the system's; an absolute path.
    pub ca: Option<PathBuf>,
}

impl Default for MissionControl {
    fn default() -> Self {
        Self { addresses: Vec::new(), port: MISSION_CONTROL_PORT }
    }
}

impl MissionControl {
    /// What counts where the file says nothing.
    pub fn of_profile(profile: ProfileName) -> Self {
        let addresses = match profile {
            ProfileName::None => Vec::new(),
            _ => MISSION_CONTROL_ADDRESSES.to_vec(),
        };
        Self { addresses, ..Self::default() }
    }
}

/// The table's two parts. Behind a proxy, what goes to the proxy is what goes to Mission Control.
pub(super) fn mission_control(
    raw: RawMissionControl,
    profile: ProfileName,
    problems: &mut Problems<'_>,
) -> (MissionControl, MissionLink) {
    let port_span = raw.port.span().unwrap_or_default();
    let port = problems.take(raw.port);
    if let Some(range) = port.filter(|port| port.count() > 1) {
        let error = format!("\"{range}\" is a range; expected one port such as 443");
        problems.refuse(&port_span, ValueError::new(error));
    }
    let link = MissionLink {
        host: problems.take(raw.host).unwrap_or_else(|| DEFAULT_MISSION_CONTROL_HOST.to_owned()),
        port: port.map_or(MISSION_CONTROL_PORT, PortRange::first),
        ca: problems.take(raw.ca),
        proxy: proxy(raw.proxy, raw.proxy_password_file, problems),
    };
    let mut found = MissionControl::of_profile(profile);
    found.port = link.proxy.as_ref().map_or(link.port, |proxy| proxy.port);
    if let Some(proxy) = link.proxy.as_ref().and_then(|proxy| proxy.host.parse().ok()) {
        found.addresses = vec![proxy];
    }
    if let Some(span) = raw.addresses.span() {
        found.addresses = problems.elements(raw.addresses).into_iter().map(|(address, _)| address).collect();
        found.addresses.sort_unstable();
        found.addresses.dedup();
        let v4 = found.addresses.iter().filter(|address| address.is_ipv4()).count();
        let most = v4.max(found.addresses.len() - v4);
        if most > MAX_MISSION_ADDRESSES {
            let error = ValueError::new(format!("{most} of one family; at most {MAX_MISSION_ADDRESSES} fit"));
            problems.refuse(&span, error.help("where a proxy is used, name the proxy's address and port instead"));
        }
    }
    if !raw.enabled.or(true) {
        found.addresses.clear();
    }
    (found, link)
}

fn proxy(
    raw: Given<Text<ProxyUrl>>,
    password_file: Given<Text<SecretFile>>,
    problems: &mut Problems<'_>,
) -> Option<Proxy> {
    let (password_span, password_file) = (password_file.span(), problems.take(password_file));
    let is_named = raw.span().is_some();
    let proxy = problems.take(raw);
    let has_user = proxy.as_ref().is_some_and(|proxy| proxy.user.is_some());
    if let Some(span) = password_span.filter(|_| !has_user && (proxy.is_some() || !is_named)) {
        let error = ValueError::new("proxy names no user");
        problems.refuse(&span, error.help("name who logs in: proxy = \"http://user@proxy.example:3128\""));
    }
    Some(Proxy { password_file, ..proxy? })
}
