//! `[mission_control]`: how the vendor's Mission Control is reached, for `doctor --mission-control`.
//!
//! Owns what these keys mean and their refusals. Opens and closes nothing, and must not look a name up.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use http::uri::Authority;

use super::error::{Problems, ValueError};
use super::peers::{absolute, host_name, token_place, value};
use super::port::{PortRange, not_a_port};
use super::schema::{RawMissionControl, RawPort};

/// The vendor's name of it.
pub const DEFAULT_MISSION_CONTROL_HOST: &str = "mcsvc.dynatrace.com";
/// HTTPS.
const DEFAULT_PORT: u16 = 443;

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

/// An HTTP proxy that is asked to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// A name or an address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whom to log in as (basic).
    pub user: Option<String>,
    /// Where the password is: an absolute path, or the plain name of a systemd credential.
    pub password_file: Option<PathBuf>,
}

impl Default for MissionLink {
    fn default() -> Self {
        Self { host: DEFAULT_MISSION_CONTROL_HOST.into(), port: DEFAULT_PORT, proxy: None, ca: None }
    }
}

pub(super) fn mission_link(raw: RawMissionControl, problems: &mut Problems<'_>) -> MissionLink {
    let mut link = MissionLink::default();
    if let Some(host) = value(raw.host, "mission_control.host", host, problems) {
        link.host = host;
    }
    if let Some(port) = raw.port {
        match one_port(port.get_ref()) {
            Ok(port) => link.port = port,
            Err(error) => problems.value(&port.span(), "mission_control.port", error),
        }
    }
    link.ca = value(raw.ca, "mission_control.ca", absolute, problems);
    let password_span = raw.proxy_password_file.as_ref().map(toml::Spanned::span);
    let password_file = value(raw.proxy_password_file, "mission_control.proxy_password_file", token_place, problems);
    let proxy_named = raw.proxy.is_some();
    link.proxy = value(raw.proxy, "mission_control.proxy", proxy, problems);
    let has_user = link.proxy.as_ref().is_some_and(|proxy| proxy.user.is_some());
    if let Some(span) = password_span.filter(|_| !has_user && (link.proxy.is_some() || !proxy_named)) {
        problems.push(&span, || {
            let help = "name who logs in: proxy = \"http://user@proxy.example:3128\"";
            ("mission_control.proxy_password_file: proxy names no user".to_owned(), Some(help.to_owned()))
        });
    }
    if let Some(proxy) = &mut link.proxy {
        proxy.password_file = password_file;
    }
    link
}

fn host(text: &str) -> Result<String, ValueError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => host_name(text),
    }
}

fn proxy(text: &str) -> Result<Proxy, ValueError> {
    let refused = |why: String| {
        Err(ValueError::new(format!(
            "{why}; expected such as \"http://proxy.example:3128\" or \"http://user@proxy.example:3128\""
        )))
    };
    let Some(rest) = text.strip_prefix("http://") else {
        return refused("it does not begin with http://".into());
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
    // Not shown: it may be a password.
    if user.is_some_and(|user| user.contains(':')) {
        return refused("a password does not belong into the configuration: write it into a file and name that with proxy_password_file".into());
    }
    if user.is_some_and(|user| user.is_empty() || !user.bytes().all(|byte| byte.is_ascii_graphic())) {
        return refused("the user's name is empty, or has characters that no user's name has".into());
    }
    let Ok(authority) = place.parse::<Authority>() else {
        return refused(format!("{place:?} is no host and port"));
    };
    let Some(port) = authority.port_u16().filter(|port| *port != 0) else {
        return refused(format!("{place:?} names no port"));
    };
    let name = authority.host();
    let name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().map(|v6| v6.to_string()).ok(),
        None => host(name).ok(),
    };
    let Some(name) = name else { return refused(format!("{place:?} names no host")) };
    Ok(Proxy { host: name, port, user: user.map(Into::into), password_file: None })
}

fn one_port(raw: &RawPort) -> Result<u16, ValueError> {
    let range = match raw {
        RawPort::Text(text) => text.parse(),
        RawPort::Integer(port) => PortRange::from_integer(*port),
        RawPort::Other(found) => Err(not_a_port(found)),
    }?;
    if range.count() == 1 {
        Ok(range.first())
    } else {
        Err(ValueError::new(format!("\"{range}\" is a range; expected one port such as 443")))
    }
}
