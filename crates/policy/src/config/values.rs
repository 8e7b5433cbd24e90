//! Values that are text: names of hosts, paths, times, sizes, URLs. One reader for each, for the file and for flags alike.
//!
//! Owns the refusals. Must not look a name up, or look whether a file is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;

use super::error::ValueError;

/// Of a host name and of one of its labels (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// A host's name, in lower case and without its last dot.
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

/// A name or an address.
pub(super) fn host(text: &str) -> Result<String, ValueError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => host_name(text),
    }
}

/// The same as a URL has it: IPv6 in brackets or not.
pub(super) fn url_host(text: &str) -> Result<String, ValueError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() { host(bare) } else { host_name(text) }
}

/// A name or an address, and a port; IPv6 in brackets.
pub(super) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| is_port && *port != 0)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok()?.to_string(),
        None => match host.parse::<Ipv4Addr>() {
            Ok(address) => address.to_string(),
            Err(_) => host_name(host).ok()?,
        },
    };
    Some((host, port))
}

/// Of a DNS server: an address with its port.
pub(super) fn dns_server(text: &str) -> Result<SocketAddr, ValueError> {
    socket(text, "DNS server; expected such as \"10.0.0.53:53\"", 53)
}

/// An address with its port. `wanted`: what it should be; `usual_port`: which port is shown where there is none.
fn socket(text: &str, wanted: &str, usual_port: u16) -> Result<SocketAddr, ValueError> {
    if let Some(socket) = text.parse::<SocketAddr>().ok().filter(|socket| socket.port() != 0) {
        return Ok(socket);
    }
    let shown = |address| format!("with its port: \"{}\"", SocketAddr::new(address, usual_port));
    Err(ValueError { message: format!("{text:?} is no {wanted}"), help: text.parse().ok().map(shown), denied: false })
}

/// A path that does not depend on where the process is.
pub(super) fn absolute(text: &str) -> Result<PathBuf, ValueError> {
    if text.contains('\0') || !Path::new(text).is_absolute() {
        return Err(ValueError::new(format!("{text:?} is not an absolute path"))
            .help("begin with /: a service has no directory that a path could be relative to"));
    }
    Ok(PathBuf::from(text))
}

/// A path, or a name under which systemd hands a credential over.
pub(super) fn secret_file(text: &str) -> Result<PathBuf, ValueError> {
    let is_name = !text.is_empty() && !text.contains(['/', '\0']) && text != "." && text != "..";
    if is_name {
        return Ok(PathBuf::from(text));
    }
    absolute(text).map_err(|error| error.help("an absolute path, or the name of a systemd credential"))
}

/// A time as people write it.
pub(super) fn time(text: &str, bounds: RangeInclusive<Duration>, expected: &str) -> Result<Duration, ValueError> {
    match humantime::parse_duration(text) {
        Ok(time) if bounds.contains(&time) => Ok(time),
        Ok(_) => Err(ValueError::new(format!("{text:?} is out of bounds; expected {expected}"))),
        Err(_) => Err(ValueError::new(format!("{text:?} is not a time; expected {expected}"))),
    }
}

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A whole number and a binary unit.
pub(super) fn size(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, ValueError> {
    let expected = || {
        format!(
            "expected such as \"512MiB\" or \"1GiB\", between {} and {}",
            shown(*bounds.start()),
            shown(*bounds.end())
        )
    };
    let read = UNITS.iter().find_map(|(unit, bytes)| {
        let digits = text.strip_suffix(unit)?.trim_end_matches(' ');
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        digits.parse::<u64>().ok()?.checked_mul(*bytes)
    });
    match read {
        Some(bytes) if bounds.contains(&bytes) => Ok(bytes),
        Some(_) => Err(ValueError::new(format!("{text:?} is out of bounds; {}", expected()))),
        None => Err(ValueError::new(format!("{text:?} is not a size; {}", expected()))),
    }
}

fn shown(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// Whether a URL is one of plain HTTP.
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
pub(super) fn https_url(text: &str) -> Result<String, ValueError> {
    let url = url(text)?;
    if is_plain(&url) {
        return Err(ValueError::new(format!("{text:?} would send the token in plain text; expected https://")));
    }
    if url.contains('?') {
        return Err(ValueError::new(format!("{text:?} has a query; expected the cluster's address alone")));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The same, but plain HTTP to this host is no danger.
pub(super) fn push_url(text: &str) -> Result<String, ValueError> {
    let url = url(text)?;
    if is_plain(&url) && !is_this_host(&url) {
        let problem =
            format!("{text:?} would send to another host in plain text; expected https://, or http:// to localhost");
        return Err(ValueError::new(problem));
    }
    Ok(url)
}

fn is_this_host(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where the agent listens without a word in the configuration.
pub(super) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9117);

/// An address with its port, or `none`.
pub fn parse_listen(text: &str) -> Result<Option<SocketAddr>, ValueError> {
    if text == "none" {
        return Ok(None);
    }
    socket(text, "address to listen on; expected such as \"127.0.0.1:9117\" or \"none\"", DEFAULT_LISTEN.port())
        .map(Some)
}
