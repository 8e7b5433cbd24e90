//! Values of flags, as they are typed. They are judged here, so that a wrong one is a usage error in every command, also in one that has no use for it.

use std::{net::SocketAddr, time::Duration};

use nodewall_policy::config::ValueError;

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

pub(super) fn one_line(text: &str) -> Result<String, String> {
    if text.chars().count() > 200 || text.chars().any(char::is_control) {
        return Err("expected one line of at most 200 characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Where to listen; `None`: nowhere.
pub(super) type Listen = Option<SocketAddr>;

/// A reader of the configuration's, its refusal in one line, as clap wants it.
pub(super) fn read<T>(reader: fn(&str) -> Result<T, ValueError>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        reader(text).map_err(|ValueError { message, help, .. }| match help {
            Some(help) => format!("{message}; {help}"),
            None => message,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use crate::cli::Cli;

    #[test]
    fn a_wrong_value_is_refused_as_in_the_file_and_names_the_flag() {
        for (flag, value, told) in [
            ("--peer", "10.0.0", "\"10.0.0\" is not an address or prefix; expected"),
            (
                "--peer",
                "10.0.0.5/24",
                "\"10.0.0.5/24\" has bits set beyond its prefix length; expected \"10.0.0.0/24\"",
            ),
            ("--peer", "0.0.0.0/0", "\"0.0.0.0/0\" would make every address a peer"),
            ("--mode", "off", "[possible values: audit, enforce]"),
            ("--interface", "lo", "\"lo\" is never attached"),
            ("--interface", "", "is not an interface name"),
        ] {
            let error = Cli::try_parse_from(["nodewall", "check", flag, value]).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains(flag), "{error}");
        }
    }
}
