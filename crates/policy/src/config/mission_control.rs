//! `[mission_control]`: whom this node reports to, so that what goes there is counted by itself.
//!
//! Owns the vendor's addresses. It opens and closes nothing: who may reach which port is the rules' word alone.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::{check_peer, show};
use super::error::{Problems, ValueError};
use super::mission_link::MissionLink;
use super::schema::List;
use super::word::ProfileName;

/// The vendor's addresses of `mcsvc.dynatrace.com` ("Cluster node ports", section "Mission Control").
pub const MISSION_CONTROL_ADDRESSES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(13, 228, 109, 33)),
    IpAddr::V4(Ipv4Addr::new(52, 5, 224, 56)),
    IpAddr::V4(Ipv4Addr::new(52, 200, 165, 10)),
    IpAddr::V4(Ipv4Addr::new(52, 221, 165, 63)),
];
/// HTTPS.
pub const MISSION_CONTROL_PORT: u16 = 443;
/// Most addresses of one family.
pub const MAX_MISSION_CONTROL_ADDRESSES: usize = node_ebpf_common::policy::MAX_MISSION_ADDRESSES;

/// Whom outbound TCP is counted apart for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissionControl {
    /// Sorted, no duplicates. Empty: nobody.
    pub addresses: Vec<IpAddr>,
    /// TCP port.
    pub port: u16,
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

/// `link`: how it is reached. Behind a proxy, what goes to the proxy is what goes to Mission Control.
pub(super) fn mission_control(
    enabled: Option<bool>,
    addresses: Option<List<String>>,
    link: &MissionLink,
    profile: ProfileName,
    problems: &mut Problems<'_>,
) -> MissionControl {
    let mut found = MissionControl::of_profile(profile);
    found.port = link.proxy.as_ref().map_or(link.port, |proxy| proxy.port);
    if let Some(proxy) = link.proxy.as_ref().and_then(|proxy| proxy.host.parse().ok()) {
        found.addresses = vec![proxy];
    }
    if let Some(raw) = addresses {
        found.addresses.clear();
        let span = raw.span();
        for entry in raw.into_inner() {
            match address(entry.get_ref()) {
                Ok(address) => found.addresses.push(address),
                Err(error) => problems.value(&entry.span(), "mission_control.addresses", error),
            }
        }
        found.addresses.sort_unstable();
        found.addresses.dedup();
        let v4 = found.addresses.iter().filter(|address| address.is_ipv4()).count();
        let most = v4.max(found.addresses.len() - v4);
        if most > MAX_MISSION_CONTROL_ADDRESSES {
            problems.push(&span, || {
                let message = format!(
                    "mission_control.addresses: {most} of one family; at most {MAX_MISSION_CONTROL_ADDRESSES} fit"
                );
                (message, Some("where a proxy is used, name the proxy's address and port instead".to_owned()))
            });
        }
    }
    if enabled == Some(false) {
        found.addresses.clear();
    }
    found
}

fn address(text: &str) -> Result<IpAddr, ValueError> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(ValueError::new(format!("{text:?} is not an address; expected such as \"52.5.224.56\""))
            .help("names are not looked up here, and a prefix is nobody's address"));
    };
    check_peer(IpNet::from(address))
        .map_err(|_| ValueError::new(format!("\"{}\" is no host's address", show(&IpNet::from(address)))))?;
    Ok(address)
}
