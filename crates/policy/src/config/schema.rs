//! The shape of the text: serde structs, unknown keys refused, every value with its span; and serde's errors in our words.
//!
//! Owns which keys exist. Must not judge values beyond their type.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors, Source};
use super::word::{
    Access, AttachMode, LaterFragments, Mode, OutputKind, ProfileAccess, ProfileName, Protocol, SyslogTransport,
    Tunnels, nearest, one_of,
};

/// A list whose elements and whole have spans.
pub(crate) type List<T> = Spanned<Vec<Spanned<T>>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    pub(crate) mode: Option<Mode>,
    pub(crate) interfaces: Option<List<String>>,
    pub(crate) attach_mode: Option<AttachMode>,
    pub(crate) single_node: Option<bool>,
    pub(crate) tunnels: Option<Tunnels>,
    pub(crate) later_fragments: Option<LaterFragments>,
    pub(crate) allow_lockout: Option<bool>,
    pub(crate) lockout_ports: Option<List<RawPort>>,
    #[serde(default)]
    pub(crate) profile: Table<RawProfile>,
    #[serde(default)]
    pub(crate) peers: Table<RawPeers>,
    pub(crate) push: Option<Spanned<Table<RawPush>>>,
    #[serde(default)]
    pub(crate) mission_control: Table<RawMissionControl>,
    #[serde(default)]
    pub(crate) export: Table<RawExport>,
    #[serde(default)]
    pub(crate) counters: Table<RawCounters>,
    #[serde(default)]
    pub(crate) evidence: Table<RawEvidence>,
    #[serde(default)]
    pub(crate) rule: Vec<Spanned<Table<RawRule>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProfile {
    pub(crate) name: Option<ProfileName>,
    pub(crate) cluster_version: Option<Spanned<RawVersion>>,
    pub(crate) agent_port_8443: Option<ProfileAccess>,
    pub(crate) web_port_8022: Option<ProfileAccess>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPeers {
    #[serde(rename = "static")]
    pub(crate) static_peers: Option<List<String>>,
    pub(crate) within: Option<List<String>>,
    pub(crate) file: Option<Spanned<String>>,
    pub(crate) dns: Option<List<String>>,
    pub(crate) dns_server: Option<Spanned<String>>,
    pub(crate) vendor_firewall: Option<bool>,
    pub(crate) removal_delay: Option<Spanned<String>>,
    pub(crate) http_sd: Option<Spanned<Table<RawHttpSd>>>,
    pub(crate) dynatrace_api: Option<Spanned<Table<RawDynatraceApi>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMissionControl {
    pub(crate) enabled: Option<bool>,
    pub(crate) addresses: Option<List<String>>,
    pub(crate) host: Option<Spanned<String>>,
    pub(crate) port: Option<Spanned<RawPort>>,
    pub(crate) proxy: Option<Spanned<String>>,
    pub(crate) proxy_password_file: Option<Spanned<String>>,
    pub(crate) ca: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCounters {
    pub(crate) per_peer: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEvidence {
    pub(crate) enabled: Option<bool>,
    pub(crate) capture_bytes: Option<Spanned<i64>>,
    pub(crate) captures_per_second: Option<Spanned<i64>>,
    pub(crate) max_size: Option<Spanned<String>>,
    pub(crate) max_age: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) output: Vec<Spanned<Table<RawOutput>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOutput {
    pub(crate) kind: Option<OutputKind>,
    pub(crate) path: Option<Spanned<String>>,
    pub(crate) max_size: Option<Spanned<String>>,
    pub(crate) keep: Option<Spanned<i64>>,
    pub(crate) address: Option<Spanned<String>>,
    pub(crate) transport: Option<Spanned<SyslogTransport>>,
    pub(crate) ca: Option<Spanned<String>>,
    pub(crate) chain_head: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawHttpSd {
    pub(crate) url: Option<Spanned<String>>,
    pub(crate) ca: Option<Spanned<String>>,
    pub(crate) interval: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDynatraceApi {
    pub(crate) url: Option<Spanned<String>>,
    pub(crate) token_file: Option<Spanned<String>>,
    pub(crate) ca: Option<Spanned<String>>,
    pub(crate) interval: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawExport {
    pub(crate) listen: Option<Spanned<String>>,
    pub(crate) hosts: Option<List<String>>,
    pub(crate) per_peer: Option<bool>,
    pub(crate) tls_cert: Option<Spanned<String>>,
    pub(crate) tls_key: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPush {
    pub(crate) url: Option<Spanned<String>>,
    pub(crate) token_file: Option<Spanned<String>>,
    pub(crate) ca: Option<Spanned<String>>,
    pub(crate) interval: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRule {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) ports: Option<List<RawPort>>,
    pub(crate) protocols: Option<Spanned<Vec<Protocol>>>,
    pub(crate) access: Option<Access>,
    pub(crate) also_allow: Option<List<String>>,
    pub(crate) note: Option<Spanned<String>>,
}

/// A profile's file: the same rules under a heading.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRuleFile {
    pub(crate) about: Spanned<String>,
    pub(crate) rule: Vec<Spanned<Table<RawRule>>>,
}

/// A table and nothing else: serde's derived structs would also take a list, field by field.
#[derive(Debug, Default)]
pub(crate) struct Table<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Table)
            }
        }
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

/// A port as it was written.
#[derive(Debug)]
pub(crate) enum RawPort {
    Text(String),
    Integer(i64),
    /// A number or word that is never a port, as the message shows it.
    Other(String),
}

impl<'de> Deserialize<'de> for RawPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = RawPort;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port such as 9042 or a range such as \"5701-5711\"")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawPort, E> {
                Ok(RawPort::Text(text.to_owned()))
            }

            fn visit_i64<E>(self, port: i64) -> Result<RawPort, E> {
                Ok(RawPort::Integer(port))
            }

            fn visit_f64<E>(self, number: f64) -> Result<RawPort, E> {
                Ok(RawPort::Other(number.to_string()))
            }

            fn visit_bool<E>(self, word: bool) -> Result<RawPort, E> {
                Ok(RawPort::Other(word.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A version's text. A bare 1.300 is the number 1.3 to TOML, so only text is taken.
#[derive(Debug)]
pub(crate) struct RawVersion(pub(crate) String);

impl<'de> Deserialize<'de> for RawVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = RawVersion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version in quotes, such as \"1.300\"")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawVersion, E> {
                Ok(RawVersion(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Reads the text into its shape.
pub(crate) fn read<T: de::DeserializeOwned>(source: Source<'_>) -> Result<T, ConfigErrors> {
    toml::from_str(source.text).map_err(|error| explain(source, &error).into())
}

/// The library's error in our form: its span as a place, the key in front, unknown keys with the one that was meant.
fn explain(source: Source<'_>, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let (mut message, help) = reword(error.message());
    if message == "duplicate key" {
        message = format!("{message} {:?}", source.text.get(span.clone()).unwrap_or_default());
    }
    // Text that is no TOML has no keys to name.
    let key = DeTable::parse(source.text).ok().and_then(|table| key_at(table.get_ref(), span.start));
    if let Some(key) = key.filter(|_| !message.starts_with("unknown key")) {
        message = format!("{key}: {message}");
    }
    source.error(&span, message, help)
}

fn reword(message: &str) -> (String, Option<String>) {
    if let Some(unknown) = message.strip_prefix("unknown field ") {
        // serde's wording: unknown field `x`, expected one of `a`, `b`
        let mut names = unknown.split('`').skip(1).step_by(2);
        let found = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        let meant = nearest(found, &known).map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
        return (format!("unknown key {found:?}{meant}"), Some(format!("known here: {}", known.join(", "))));
    }
    if let Some(missing) = message.strip_prefix("missing field ") {
        return (format!("missing key {}", missing.replace('`', "\"")), None);
    }
    let message = message
        .replace("expected a sequence", "expected a list in square brackets")
        .replace("expected a boolean", &format!("expected {}", one_of(&["true", "false"]).replace('"', "")))
        .replace("invalid type: map", "invalid type: a table")
        .replace("invalid type: sequence", "invalid type: a list");
    // The library's own messages may run over several lines.
    (message.lines().collect::<Vec<_>>().join("; "), None)
}

/// The key whose name or value is at a byte offset: `profile.name`, or within `[[rule]]` the bare key.
fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        if let Some(inner) = key_within(value.get_ref(), offset) {
            return Some(if name == "rule" { inner } else { format!("{name}.{inner}") });
        }
        (key.span().contains(&offset) || value.span().contains(&offset)).then(|| name.to_string())
    })
}

fn key_within(value: &DeValue<'_>, offset: usize) -> Option<String> {
    match value {
        DeValue::Table(table) => key_at(table, offset),
        DeValue::Array(array) => array.iter().find_map(|element| key_within(element.get_ref(), offset)),
        _ => None,
    }
}
