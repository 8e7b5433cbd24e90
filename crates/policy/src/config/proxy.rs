//! An HTTP proxy as the configuration names it.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use http::uri::Authority;

use super::error::ValueError;
use super::values::host;

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

impl FromStr for Proxy {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
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
        Ok(Self { host: name, port, user: user.map(Into::into), password_file: None })
    }
}
