//! Configuration text to meaning: `nodewall.toml` and the command line's overrides become a [`Config`], or errors that name
//! file, line, column and what was expected.
//!
//! Owns the format and every refusal that the text alone decides. Must not know the profiles' ports (that is `policy`), and does no
//! I/O but reading the file named.

mod address;
mod enums;
mod error;
mod evidence;
mod export;
mod file;
mod formats;
mod given;
mod interface;
mod interface_peers;
mod interface_table;
mod ledger;
mod manual;
mod mission_control;
mod model;
mod origin;
mod overrides;
mod peers;
mod port;
mod problems;
mod proxy;
mod push;
mod rule;
mod rule_name;
mod schema;
mod source_count;
mod text;
mod trusted;
mod values;
mod version;

#[cfg(test)]
mod tests;

pub use self::address::{
    MIN_PEER_PREFIX_V4_BITS, MIN_PEER_PREFIX_V6_BITS, check_peer, parse_allowed, parse_blocked, parse_bound,
    parse_peer, parse_prefix, show,
};
pub(crate) use self::enums::one_of;
pub use self::enums::{
    Access, AttachMode, ClassMode, InterfaceAttach, LaterFragments, Mode, OutputKind, ProfileAccess, ProfileName,
    Protocol, SyslogFraming, SyslogTransport, Tunnels,
};
pub use self::error::{ConfigError, ConfigErrors, ValueError};
pub use self::evidence::{Evidence, EvidenceOutput, Syslog};
pub use self::export::{Export, ExportTls};
pub use self::file::{DEFAULT_PATH, resolve};
pub use self::interface::InterfacePattern;
pub use self::interface_peers::InterfacePeers;
pub use self::ledger::Ledger;
pub use self::manual::{Chosen, Key, commented_file};
pub use self::mission_control::{MISSION_CONTROL_ADDRESSES, MissionControl, MissionLink};
pub use self::model::{Config, Counters, Profile};
pub use self::origin::ConfigOrigin;
pub use self::overrides::Overrides;
pub use self::peers::{DEFAULT_REMOVAL_DELAY, DynatraceApi, HttpSd, NamedPeer, PeerOrigin, Peers};
pub use self::port::{PortRange, PortSet};
pub use self::proxy::Proxy;
pub use self::push::Push;
pub(crate) use self::rule::RuleFile;
pub use self::rule::{LOCKOUT_PORTS, MAX_RULE_GROUPS, Rule};
pub use self::schema::schema;
pub use self::source_count::{MAX_ADDRESSES, MAX_PREFIXES, SourceCount};
pub use self::trusted::{MAX_FILE_BYTES, Trust, read_trusted};
pub use self::values::parse_listen;
pub use self::version::{AGENT_PORT, ClusterVersion};
