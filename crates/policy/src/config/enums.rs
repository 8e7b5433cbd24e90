//! The keys whose value is one of a few words. Owns the words; must not know what they cause.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::ValueError;

/// `a, b or c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// `"a", "b" or "c"`.
pub(crate) fn one_of(words: &[&str]) -> String {
    listed(&words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>())
}

/// The known word that the operator most likely meant.
pub(crate) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known.iter().map(|word| (strsim::damerau_levenshtein(found, word), *word)).min()?;
    // A third of the word wrong is a slip; more is another word.
    (best.0 <= (found.chars().count().max(3) / 3).max(1)).then_some(best.1)
}

/// An enum whose values are words: parsing, printing, and one wording of the refusal.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident is $what:literal: $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every value, in the order in which messages list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word as it is written in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ValueError::new(format!(
                        "{text:?} is not {}; expected {}", $what, one_of(Self::WORDS)
                    ))),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(&one_of($name::WORDS))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words: Vec<String> = Self::WORDS.iter().map(|word| format!("`{word:?}`")).collect();
                json_schema!({ "title": listed(&words), "type": "string", "enum": Self::WORDS })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// Whether a drop verdict drops. Named nowhere: enforce.
    Mode is "a mode":
    /// Packets with a drop verdict are dropped.
    Enforce = "enforce",
    /// Same verdicts, same counters, nothing dropped.
    Audit = "audit",
}

words! {
    /// What a class may do otherwise than the file says. There is no `enforce`: a policy that audits drops nothing, which is what every lever relies on.
    ClassMode is "a mode of a class, which follows the file's without this key":
    /// What the class denies is counted and recorded, and not dropped.
    Audit = "audit",
}

words! {
    /// What takes evidence besides the store.
    OutputKind is "a kind of output":
    /// Files.
    File = "file",
    /// Standard output.
    Stdout = "stdout",
    /// The system's journal.
    Journald = "journald",
    /// A syslog server.
    Syslog = "syslog",
}

words! {
    /// How a syslog server is reached.
    SyslogTransport is "a transport":
    /// One datagram a line (RFC 5426): what is lost on the way is not known.
    Udp = "udp",
    /// One connection (RFC 6587).
    Tcp = "tcp",
    /// The same in TLS (RFC 5425).
    Tls = "tls",
}

words! {
    /// How a syslog server knows where a message of a connection ends.
    SyslogFraming is "a framing":
    /// Its length stands before it (RFC 5425; RFC 6587, 3.4.1).
    OctetCounting = "octet-counting",
    /// A line feed stands behind it (RFC 6587, 3.4.2).
    Newline = "newline",
}

words! {
    /// Where on the interface the program runs. Never chosen silently: anything but native only when asked for.
    AttachMode is "an attach mode":
    /// In the driver.
    Native = "native",
    /// At the kernel's tc hook, after GRO, beside the programs of others.
    Tc = "tc",
    /// In the kernel's generic XDP hook, after GRO.
    Generic = "generic",
}

words! {
    /// How one interface is attached.
    InterfaceAttach is "a way to attach":
    /// In the driver.
    Native = "native",
    /// At the kernel's tc hook, after GRO, beside the programs of others; also for devices without an Ethernet header.
    Tc = "tc",
    /// In the kernel's generic XDP hook, after GRO.
    Generic = "generic",
    /// Not at all: it is open on purpose.
    None = "none",
}

words! {
    /// Who may send tunnelled traffic (IPIP, 6in4, GRE, VXLAN, Geneve).
    Tunnels is "a tunnel setting":
    /// Only peers.
    Peers = "peers",
    /// Anyone.
    All = "all",
}

words! {
    /// Who may send fragments after the first, which carry no port.
    LaterFragments is "a fragment setting":
    /// Only peers.
    Peers = "peers",
    /// Anyone: the first fragment, without which the others are never delivered, was judged.
    All = "all",
}

words! {
    /// Who may reach a port class.
    Access is "an access":
    /// Anyone.
    Public = "public",
    /// Peers, and what `also_allow` adds.
    Cluster = "cluster",
    /// Nobody but what `also_allow` adds.
    Closed = "closed",
}

words! {
    /// What the profile's options may make of a port.
    ProfileAccess is "an access for this port":
    /// Peers only.
    Cluster = "cluster",
    /// Anyone.
    Public = "public",
}

words! {
    /// The two protocols whose ports a policy can name.
    Protocol is "a protocol":
    /// TCP.
    Tcp = "tcp",
    /// UDP.
    Udp = "udp",
}

words! {
    /// The profiles that are compiled in, and `none`.
    ProfileName is "a profile":
    /// The vendor's table as of this product's start.
    DynatraceManaged = "dynatrace-managed",
    /// The vendor's present table.
    DynatraceManagedCurrent = "dynatrace-managed-current",
    /// No classes but your own rules.
    None = "none",
}

impl From<ProfileAccess> for Access {
    fn from(access: ProfileAccess) -> Self {
        match access {
            ProfileAccess::Cluster => Self::Cluster,
            ProfileAccess::Public => Self::Public,
        }
    }
}
