//! Values of flags, as they are typed. They are judged here, so that a wrong one is a usage error in every command, also in one that has no use for it.

use std::time::Duration;

use ipnet::IpNet;

use nodewall_policy::config::{InterfacePattern, Protocol, ValueError, parse_blocked, parse_listen, parse_peer};

pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    text.parse().map_err(|error| refusal(&error))
}

/// The longest time that makes sense; also keeps sums of times from overflowing.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|e| format!("{e}; expected such as 90s, 5m, 1h30m"))?;
    if duration < Duration::from_secs(1) || duration > LONGEST {
        return Err("expected between 1s and 366d".to_owned());
    }
    Ok(duration)
}

pub(super) fn top_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|e| format!("{e}; expected such as 500ms, 1s, 10s"))?;
    if interval < Duration::from_millis(100) || interval > Duration::from_secs(3600) {
        return Err("expected between 100ms and 1h".to_owned());
    }
    Ok(interval)
}

pub(super) fn blocked(text: &str) -> Result<IpNet, String> {
    parse_blocked(text).map_err(|error| refusal(&error))
}

pub(super) fn one_line(text: &str) -> Result<String, String> {
    if text.chars().count() > 200 || text.chars().any(char::is_control) {
        return Err("expected one line of at most 200 characters".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn peer(text: &str) -> Result<String, String> {
    parse_peer(text).map(|_| text.to_owned()).map_err(|error| refusal(&error))
}

pub(super) fn listen(text: &str) -> Result<String, String> {
    parse_listen(text).map(|_| text.to_owned()).map_err(|error| refusal(&error))
}

pub(super) fn peer_prefix(text: &str) -> Result<IpNet, String> {
    parse_peer(text).map_err(|error| refusal(&error))
}

pub(super) fn interface(text: &str) -> Result<String, String> {
    text.parse::<InterfacePattern>().map(|_| text.to_owned()).map_err(|error| refusal(&error))
}

/// In one line, as clap wants it.
pub(super) fn refusal(error: &ValueError) -> String {
    error.help.as_ref().map_or_else(|| error.message.clone(), |help| format!("{}; {help}", error.message))
}
