//! The formats of the configuration's text values: for each its reader, and what the schema says of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::{Schema, json_schema};

use super::address::{host_address, parse_allowed, parse_bound, parse_peer};
use super::error::ValueError;
use super::given::Format;
use super::interface::InterfacePattern;
use super::proxy::Proxy;
use super::rule_name::{MAX_NOTE_CHARS, RESERVED_RULE_NAMES, note, rule_name};
use super::values::{
    absolute, dns_server, host, host_and_port, host_name, https_url, parse_listen, push_url, secret_file, size, time,
    url, url_host,
};
use super::version::ClusterVersion;

const HOUR_S: u64 = 60 * 60;
pub(super) const PREFIX: &str = "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$";
const SIZE: &str = "^[0-9]+ *(KiB|MiB|GiB|TiB)$";
const URL: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[^#@]+$";

fn seconds(least_s: u64, most_s: u64) -> std::ops::RangeInclusive<Duration> {
    Duration::from_secs(least_s)..=Duration::from_secs(most_s)
}

fn syslog_address(text: &str) -> Result<(String, u16), ValueError> {
    host_and_port(text).ok_or_else(|| {
        ValueError::new(format!(
            "{text:?} is no receiver; expected such as \"logs.example:6514\" or \"[2001:db8::1]:514\""
        ))
    })
}

macro_rules! formats {
    ($($name:ident: $value:ty = $read:expr, $title:literal $(expects $expected:literal)?, $schema:tt;)+) => {$(
        #[doc = $title]
        pub(super) struct $name;

        impl Format for $name {
            type Value = $value;
            $(const EXPECTED: &'static str = $expected;)?

            fn read(text: &str) -> Result<$value, ValueError> {
                let read: fn(&str) -> Result<$value, ValueError> = $read;
                read(text)
            }

            fn schema() -> Schema {
                let mut schema = json_schema!($schema);
                schema.insert("type".into(), "string".into());
                schema.insert("title".into(), $title.into());
                schema
            }
        }
    )+};
}

formats! {
    AbsolutePath: PathBuf = absolute, "absolute path", { "pattern": "^/" };
    SecretFile: PathBuf = secret_file, "absolute path, or the name of a systemd credential", { "minLength": 1 };
    Interface: InterfacePattern = str::parse, "name of an interface, or its beginning and a `*`",
        { "minLength": 1, "maxLength": 15, "pattern": "^[^ /:*]+[*]?$" };
    Peer: IpNet = parse_peer, "address or prefix", { "pattern": PREFIX };
    PeerBound: IpNet = parse_bound, "prefix", { "pattern": PREFIX };
    AllowedSource: IpNet = parse_allowed, "address or prefix", { "pattern": PREFIX };
    HostAddress: IpAddr = host_address, "address", { "pattern": "^[0-9A-Fa-f.:]+$" };
    HostName: String = host_name, "host name", { "minLength": 1, "maxLength": 254 };
    HostOrAddress: String = host, "name or address", { "minLength": 1 };
    AgentHost: String = url_host, "name or address", { "minLength": 1 };
    DnsServer: SocketAddr = dns_server, "address with its port", { "pattern": ":[0-9]{1,5}$" };
    ListenAddress: Option<SocketAddr> = parse_listen, "address with its port, or `\"none\"`",
        { "pattern": "^(none|[^ ]+:[1-9][0-9]{0,4})$" };
    SyslogAddress: (String, u16) = syslog_address, "`\"host:port\"`, IPv6 in brackets", { "pattern": ":[0-9]{1,5}$" };
    Url: String = url, "`https://` or `http://` address without user, password and `#`", { "pattern": URL };
    HttpsUrl: String = https_url, "`https://` address of a node, without query",
        { "pattern": "^[Hh][Tt][Tt][Pp][Ss]://[^#@?]+$" };
    PushUrl: String = push_url, "`http://` to this host, or `https://`", { "pattern": URL };
    ProxyUrl: Proxy = str::parse, "`http://host:port` or `http://user@host:port`", { "minLength": 1 };
    Interval: Duration = |text| time(text, seconds(1, 24 * HOUR_S), "such as \"30s\", \"5m\" or \"72h\", between 1s and 24h"),
        "time from `\"1s\"` to `\"24h\"`", { "pattern": "^[0-9]" };
    RemovalDelay: Duration = |text| time(text, seconds(1, 366 * 24 * HOUR_S), "such as \"30s\", \"5m\" or \"72h\", between 1s and 366d"),
        "time from `\"1s\"` to `\"366d\"`", { "pattern": "^[0-9]" };
    Age: Duration = |text| time(text, seconds(HOUR_S, 3660 * 24 * HOUR_S), "such as \"90d\" or \"12h\", between 1h and 3660d"),
        "time, 1h to 3660d", { "pattern": "^[0-9]" };
    StoreSize: u64 = |text| size(text, 16 << 20..=1 << 40), "size, 16MiB to 1TiB", { "pattern": SIZE };
    OutputSize: u64 = |text| size(text, 64 << 10..=1 << 40), "size, 64KiB to 1TiB", { "pattern": SIZE };
    // A bare 1.300 is the number 1.3 to TOML, so only text is taken.
    Version: ClusterVersion = str::parse, "text such as `\"1.300\"` or `\"1.300.12.20240101-120000\"`"
        expects "a version in quotes, such as \"1.300\"",
        { "pattern": "^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(\\.(0|[1-9][0-9]*)(\\.[0-9]{8}-[0-9]{6})?)?$" };
    RuleName: String = rule_name, "1 to 31 of `a-z`, `0-9`, `_`, `-`",
        { "pattern": "^[a-z0-9_-]{1,31}$", "not": { "enum": RESERVED_RULE_NAMES } };
    Note: String = note, "one line, at most 600 characters", { "maxLength": MAX_NOTE_CHARS };
}
