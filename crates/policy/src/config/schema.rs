//! Which keys there are, and what is said of each: the structs that the text is read into, and the schema that is made from them.
//!
//! A key's comment is its description in the schema, in docs/CONFIGURATION.md and in the packaged file. Must not judge values beyond their type.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::value::Error as NoValue;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::enums::{
    Access, AttachMode, ClassMode, InterfaceAttach, LaterFragments, Mode, OutputKind, ProfileAccess, ProfileName,
    Protocol, SyslogFraming, SyslogTransport, Tunnels,
};
use super::formats::{
    AbsolutePath, Age, AgentHost, AllowedSource, DnsServer, HostAddress, HostName, HostOrAddress, HttpsUrl, Interface,
    Interval, ListenAddress, Note, OutputSize, Peer, PeerBound, ProxyUrl, PushUrl, RemovalDelay, RuleName, SecretFile,
    StoreSize, SyslogAddress, Url, Version,
};
use super::given::{Given, List, Number, Ports, Table, Text};
use super::interface_peers::RawInterfacePeers;

/// The configuration of nodewall. Strings such as addresses, times and URLs are judged further by `nodewall check`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "nodewall.toml", transform = in_order::<Self>)]
pub(super) struct RawFile {
    /// Audit counts and records what would be dropped, and drops nothing.
    #[schemars(extend("default" = Mode::Enforce))]
    pub(super) mode: Given<Mode>,
    /// What is filtered: names, or beginnings such as `"bond*"`.
    #[schemars(title = "list of names", example = ("eth0", "bond*"), extend("minItems" = 1))]
    #[schemars(extend("x-default" = "every way in: Ethernet interfaces that are up, but `lo`, slaves, bridges and container veths"))]
    pub(super) interfaces: List<Text<Interface>>,
    /// The program runs in the driver; at the kernel's tc hook, where the driver has no XDP or others' programs are to run, too; or in its generic XDP hook. Never chosen silently.
    #[schemars(extend("default" = AttachMode::Native))]
    pub(super) attach_mode: Given<AttachMode>,
    /// True: having no peers is right; nobody reaches the cluster's ports.
    #[schemars(extend("default" = false))]
    pub(super) single_node: Given<bool>,
    /// Who may send IPIP, 6in4, GRE, VXLAN, Geneve and foo-over-UDP, on whatever UDP ports this host unpacks them.
    #[schemars(extend("default" = Tunnels::Peers))]
    pub(super) tunnels: Given<Tunnels>,
    /// Who may send IP fragments after the first. They carry no port; the first one, without which none is delivered, is always judged.
    #[schemars(extend("default" = LaterFragments::All))]
    pub(super) later_fragments: Given<LaterFragments>,
    /// Lets your rules close ports 22, 53, 67, 68 and `lockout_ports`, and a policy cut the SSH session that `apply` came through.
    #[schemars(extend("default" = false))]
    pub(super) allow_lockout: Given<bool>,
    /// More ports that no policy may close, such as those of your own SSH or console.
    #[schemars(title = "list of ports and ranges", example = ("2222",))]
    pub(super) lockout_ports: List<Ports>,
    /// Which of the vendor's tables of ports counts, and its options.
    #[schemars(title = "the vendor's table of ports")]
    pub(super) profile: Table<RawProfile>,
    /// Where the cluster's nodes are learnt. All sources together make the peers.
    #[schemars(title = "the cluster's nodes")]
    pub(super) peers: Table<RawPeers>,
    /// Whom this node reports to: what is sent there is counted by itself. Opens and closes nothing.
    #[schemars(title = "Mission Control")]
    pub(super) mission_control: Table<RawMissionControl>,
    /// Where the agent answers scrapes, programs and browsers.
    #[schemars(title = "metrics, API and page")]
    pub(super) export: Table<RawExport>,
    /// Sends the counters to the vendor. Without this table nothing is sent; the table alone is enough where the vendor's agent runs.
    #[schemars(title = "push to the vendor", extend("x-commented" = true))]
    pub(super) push: Given<Table<RawPush>>,
    /// What is counted beyond what always is.
    #[schemars(title = "counters")]
    pub(super) counters: Table<RawCounters>,
    /// What is kept of denied frames, in a store in the state directory.
    #[schemars(title = "evidence")]
    pub(super) evidence: Table<RawEvidence>,
    /// The sums of all traffic per port and peer, kept beside the evidence: `nodewall usage`.
    #[schemars(title = "ledger of traffic")]
    pub(super) ledger: Table<RawLedger>,
    /// An interface that differs from the rest. Repeat the table for each.
    #[schemars(title = "single interfaces", extend("x-commented" = true))]
    pub(super) interface: List<Table<RawInterface>>,
    /// A port class of your own. Repeat the table for each.
    #[schemars(title = "port classes of your own", extend("x-commented" = true))]
    pub(super) rule: List<Table<RawRule>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = in_order::<Self>)]
pub(super) struct RawProfile {
    /// Which of the vendor's tables; none: your rules alone.
    #[schemars(extend("default" = ProfileName::DynatraceManaged))]
    pub(super) name: Given<ProfileName>,
    /// Decides 8443: public below 1.166, else cluster.
    #[schemars(example = &"1.300")]
    pub(super) cluster_version: Given<Text<Version>>,
    /// Who reaches 8443. Wins over the version; upgraded clusters may still need public.
    #[schemars(example = ProfileAccess::Cluster, extend("x-default" = "by the version, else `\"cluster\"`"))]
    pub(super) agent_port_8443: Given<ProfileAccess>,
    /// Who reaches 8022; public where it stands in for 443.
    #[schemars(extend("default" = ProfileAccess::Cluster))]
    pub(super) web_port_8022: Given<ProfileAccess>,
    /// Classes of the table that only audit, also where the rest is enforced; blocked sources are dropped all the same.
    #[schemars(title = "list of classes", example = ("agent",))]
    pub(super) audit: List<Text<RuleName>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = in_order::<Self>)]
pub(super) struct RawPeers {
    /// The cluster's nodes, typed in.
    #[serde(rename = "static")]
    #[schemars(title = "list of addresses and prefixes", example = ("10.0.0.11", "10.0.0.12", "2001:db8:1::/64"))]
    pub(super) static_peers: List<Text<Peer>>,
    /// A file of addresses and prefixes, one a line; watched.
    #[schemars(example = &"/etc/nodewall/peers")]
    pub(super) file: Given<Text<AbsolutePath>>,
    /// True: the peers that Dynatrace Managed's own firewall service wrote into iptables, or, where it is off, firewalld's zones or the service's file name; looked at every 30 seconds.
    #[schemars(extend("default" = false))]
    pub(super) vendor_firewall: Given<bool>,
    /// Their A and AAAA addresses; needs `within`.
    #[schemars(title = "list of host names, at most 64", example = ("nodes.cluster.example",), extend("maxItems" = 64))]
    pub(super) dns: List<Text<HostName>>,
    /// Who is asked for the names in `dns`.
    #[schemars(example = &"10.0.0.53:53", extend("x-default" = "the system's"))]
    pub(super) dns_server: Given<Text<DnsServer>>,
    /// Learnt peers outside of these are held; `static` and `file` need not be inside.
    #[schemars(title = "list of prefixes", example = ("10.0.0.0/16",))]
    pub(super) within: List<Text<PeerBound>>,
    /// How long a learnt peer stays after the last source that knew it dropped it.
    #[schemars(extend("default" = "72h"))]
    pub(super) removal_delay: Given<Text<RemovalDelay>>,
    /// Peers by Prometheus' HTTP service discovery. Without this table nobody is asked.
    #[schemars(title = "HTTP service discovery", extend("x-commented" = true))]
    pub(super) http_sd: Given<Table<RawHttpSd>>,
    /// Peers by the vendor's cluster API. Without this table nobody is asked.
    #[schemars(title = "the vendor's cluster API", extend("x-commented" = true))]
    pub(super) dynatrace_api: Given<Table<RawDynatraceApi>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]), transform = in_order::<Self>)]
pub(super) struct RawHttpSd {
    /// What is asked; `http://` needs `within`.
    #[schemars(example = &"https://inventory.example/cluster.json")]
    pub(super) url: Given<Text<Url>>,
    /// PEM file of the certificates to trust.
    #[schemars(example = &"/etc/nodewall/inventory-ca.pem", extend("x-default" = "the system's certificates"))]
    pub(super) ca: Given<Text<AbsolutePath>>,
    /// How often.
    #[schemars(extend("default" = "60s"))]
    pub(super) interval: Given<Text<Interval>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url", "token_file"]), transform = in_order::<Self>)]
pub(super) struct RawDynatraceApi {
    /// What is asked; never in plain text, for the token's sake.
    #[schemars(example = &"https://10.0.0.11")]
    pub(super) url: Given<Text<HttpsUrl>>,
    /// Where the API token is.
    #[schemars(example = &"/etc/nodewall/token")]
    pub(super) token_file: Given<Text<SecretFile>>,
    /// PEM file of the certificates to trust.
    #[schemars(example = &"/etc/nodewall/cluster-ca.pem", extend("x-default" = "the system's certificates"))]
    pub(super) ca: Given<Text<AbsolutePath>>,
    /// How often.
    #[schemars(extend("default" = "5m"))]
    pub(super) interval: Given<Text<Interval>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = in_order::<Self>)]
pub(super) struct RawMissionControl {
    /// False: nothing is told apart.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Given<bool>,
    /// What is counted as sent there. Behind a proxy: the proxy's.
    #[schemars(title = "list of addresses, at most 8 of each family")]
    #[schemars(example = ("13.228.109.33", "52.5.224.56", "52.200.165.10", "52.221.165.63"))]
    #[schemars(extend("x-default" = "the vendor's: 13.228.109.33, 52.5.224.56, 52.200.165.10, 52.221.165.63; with profile `none`: nobody; with a `proxy` that is named by its address: that"))]
    pub(super) addresses: List<Text<HostAddress>>,
    /// Whom `nodewall doctor --mission-control` connects to; also what the certificate must name.
    #[schemars(extend("default" = "mcsvc.dynatrace.com"))]
    pub(super) host: Given<Text<HostOrAddress>>,
    /// Its TCP port. With `proxy`, what is sent to the proxy's port is counted instead.
    #[schemars(title = "a port", extend("default" = 443))]
    pub(super) port: Given<Ports>,
    /// An HTTP proxy that is asked to connect (CONNECT).
    #[schemars(example = &"http://proxy.example:3128")]
    pub(super) proxy: Given<Text<ProxyUrl>>,
    /// The proxy user's password (basic login); owned by root, mode 0600.
    #[schemars(example = &"/etc/nodewall/proxy-password")]
    pub(super) proxy_password_file: Given<Text<SecretFile>>,
    /// Certificates (PEM) to trust instead.
    #[schemars(example = &"/etc/nodewall/proxy-ca.pem", extend("x-default" = "the system's authorities"))]
    pub(super) ca: Given<Text<AbsolutePath>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = in_order::<Self>)]
pub(super) struct RawExport {
    /// Where; `"none"`: nowhere. `--listen` wins. Beyond loopback it needs `tls_cert` and `tls_key`.
    #[schemars(extend("default" = "127.0.0.1:9117"))]
    pub(super) listen: Given<Text<ListenAddress>>,
    /// What a request may call the agent besides loopback's names and the address it listens on; the first stands in the address that `nodewall page` prints.
    #[schemars(title = "list of names and addresses, at most 64", example = ("node1.cluster.example",))]
    pub(super) hosts: List<Text<AgentHost>>,
    /// True: `/metrics` has each peer's traffic too, and with it the peers' addresses, without a token.
    #[schemars(extend("default" = false))]
    pub(super) per_peer: Given<bool>,
    /// A token of your own that programs send to the API, instead of the one that each start of the agent makes.
    #[schemars(example = &"/etc/nodewall/web-token")]
    pub(super) token_file: Given<Text<SecretFile>>,
    /// PEM file of the certificate and those between it and the authority.
    #[schemars(example = &"/etc/nodewall/tls.pem")]
    pub(super) tls_cert: Given<Text<AbsolutePath>>,
    /// PEM file of its private key; not readable by all.
    #[schemars(example = &"/etc/nodewall/tls.key")]
    pub(super) tls_key: Given<Text<AbsolutePath>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = in_order::<Self>)]
pub(super) struct RawPush {
    /// The local agent, or `https://…/api/v2/metrics/ingest` of an environment.
    #[schemars(extend("default" = "http://localhost:14499/metrics/ingest"))]
    pub(super) url: Given<Text<PushUrl>>,
    /// An access token with the scope `metrics.ingest`; needed with `https://`, refused without.
    #[schemars(example = &"/etc/nodewall/ingest-token")]
    pub(super) token_file: Given<Text<SecretFile>>,
    /// Certificates (PEM) to trust instead.
    #[schemars(example = &"/etc/nodewall/environment-ca.pem", extend("x-default" = "the system's authorities"))]
    pub(super) ca: Given<Text<AbsolutePath>>,
    /// How often the counters are read, and what is new is sent.
    #[schemars(extend("default" = "60s"))]
    pub(super) interval: Given<Text<Interval>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = in_order::<Self>)]
pub(super) struct RawCounters {
    /// True: each port's traffic is also counted for each peer, in both directions.
    #[schemars(extend("default" = true))]
    pub(super) per_peer: Given<bool>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = in_order::<Self>)]
pub(super) struct RawEvidence {
    /// False: nothing is recorded; what was recorded stays.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Given<bool>,
    /// How much is kept of the first frame of a denied flow; 0: none is captured.
    #[schemars(title = "bytes, 0 to 1500", extend("default" = 256))]
    pub(super) capture_bytes: Given<Number<0, 1500>>,
    /// How many are captured at most; those beyond are counted.
    #[schemars(title = "frames a second, 0 to 100000", extend("default" = 256))]
    pub(super) captures_per_second: Given<Number<0, 100_000>>,
    /// Of the store; the oldest goes first.
    #[schemars(extend("default" = "1GiB"))]
    pub(super) max_size: Given<Text<StoreSize>>,
    /// How long it is kept.
    #[schemars(extend("default" = "90d"))]
    pub(super) max_age: Given<Text<Age>>,
    /// Where each record goes besides the store, as a line of JSON. Repeat the table for each.
    #[schemars(title = "where records go besides", extend("x-commented" = true, "maxItems" = 8))]
    pub(super) output: List<Table<RawOutput>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = in_order::<Self>)]
pub(super) struct RawLedger {
    /// For how long each minute is kept.
    #[schemars(extend("default" = "48h"))]
    pub(super) minutes: Given<Text<Age>>,
    /// For how long each hour is kept.
    #[schemars(extend("default" = "90d"))]
    pub(super) hours: Given<Text<Age>>,
    /// For how long each day of UTC is kept.
    #[schemars(extend("default" = "730d"))]
    pub(super) days: Given<Text<Age>>,
    /// For how long it is kept before a first use of a port, or a peer that falls silent, is an event.
    #[schemars(extend("default" = "7d"))]
    pub(super) learning: Given<Text<Age>>,
    /// Of the minutes, of the hours and of the days, each; the oldest goes first.
    #[schemars(extend("default" = "64MiB"))]
    pub(super) max_size: Given<Text<StoreSize>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["kind"]), transform = in_order::<Self>)]
pub(super) struct RawOutput {
    /// What takes the records.
    #[schemars(example = OutputKind::File, extend("x-for" = "all"))]
    pub(super) kind: Given<OutputKind>,
    /// The file that is written; older ones are `path.1`, `path.2` and so on.
    #[schemars(example = &"/var/log/nodewall/denied.json", extend("x-for" = "file", "x-default" = "required"))]
    pub(super) path: Given<Text<AbsolutePath>>,
    /// Of one file.
    #[schemars(extend("default" = "64MiB", "x-for" = "file"))]
    pub(super) max_size: Given<Text<OutputSize>>,
    /// How many older files are kept.
    #[schemars(title = "files, 1 to 1000", extend("default" = 8, "x-for" = "file"))]
    pub(super) keep: Given<Number<1, 1000>>,
    /// The server.
    #[schemars(example = &"logs.example:6514", extend("x-for" = "syslog", "x-default" = "required"))]
    pub(super) address: Given<Text<SyslogAddress>>,
    /// How it is reached; udp: what is lost on the way is not known.
    #[schemars(extend("default" = SyslogTransport::Tcp, "x-for" = "syslog"))]
    pub(super) transport: Given<SyslogTransport>,
    /// How messages of a connection are told apart; newline: for receivers that know no other (Logstash, Fluent Bit, syslog-ng's `network()`).
    #[schemars(extend("default" = SyslogFraming::OctetCounting, "x-for" = "syslog by TCP or TLS"))]
    pub(super) framing: Given<SyslogFraming>,
    /// Certificates (PEM) to trust instead.
    #[schemars(example = &"/etc/nodewall/logs-ca.pem")]
    #[schemars(extend("x-for" = "syslog by TLS", "x-default" = "the system's authorities"))]
    pub(super) ca: Given<Text<AbsolutePath>>,
    /// The head of the store's chain is sent each minute, so that evidence that was changed on the node is found out.
    #[schemars(extend("default" = true, "x-for" = "syslog"))]
    pub(super) chain_head: Given<bool>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"], "anyOf" = [{ "required": ["attach"] }, { "required": ["peers"] }]), transform = in_order::<Self>)]
pub(super) struct RawInterface {
    /// Its name; no pattern.
    #[schemars(example = &"eth1")]
    pub(super) name: Given<Text<Interface>>,
    /// How it is filtered; tc: also a device without an Ethernet header; none: it is open on purpose, and no alarm tells of it.
    #[schemars(example = InterfaceAttach::None, extend("x-default" = "as `attach_mode` says"))]
    pub(super) attach: Given<InterfaceAttach>,
    /// Which peers may come in by it; the others are outsiders there.
    #[schemars(title = "`\"all\"`, `\"none\"` or list of prefixes", example = ("10.1.0.0/16",), extend("x-default" = "all"))]
    pub(super) peers: Given<RawInterfacePeers>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "ports", "access"]), transform = in_order::<Self>)]
pub(super) struct RawRule {
    /// The class's name in every output.
    #[schemars(example = &"jmx-from-ops")]
    pub(super) name: Given<Text<RuleName>>,
    /// Which ports; both ends of a range are included.
    #[schemars(title = "list of `\"9042\"`, `9042`, `\"5701-5711\"`", example = ("7199",))]
    #[schemars(extend("minItems" = 1))]
    pub(super) ports: List<Ports>,
    /// Which protocols.
    #[schemars(title = "list of `\"tcp\"`, `\"udp\"`", extend("minItems" = 1, "default" = ["tcp", "udp"]))]
    pub(super) protocols: List<Protocol>,
    /// Anyone, peers only, nobody.
    #[schemars(example = Access::Cluster)]
    pub(super) access: Given<Access>,
    /// Sources let in besides; any width but `/0`. Not with public access.
    #[schemars(title = "list of addresses and prefixes", example = ("192.0.2.0/24",))]
    pub(super) also_allow: List<Text<AllowedSource>>,
    /// This class only audits, also where the rest is enforced; blocked sources are dropped all the same.
    #[schemars(example = ClassMode::Audit, extend("x-default" = "the file's `mode`"))]
    pub(super) mode: Given<ClassMode>,
    /// For people.
    #[schemars(example = &"JMX from the operations network")]
    pub(super) note: Given<Text<Note>>,
}

/// A profile's file: the same rules under a heading.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRuleFile {
    pub(super) about: String,
    pub(super) rule: List<Table<RawRule>>,
}

/// The JSON Schema (draft 7) of nodewall.toml.
pub fn schema() -> Schema {
    SchemaSettings::draft07()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<RawFile>()
}

/// Notes the order in which people read a table's keys, which JSON does not keep.
fn in_order<'de, T: Deserialize<'de>>(schema: &mut Schema) {
    let mut keys: &[&str] = &[];
    let _ = T::deserialize(FieldNames(&mut keys));
    schema.insert("x-order".into(), keys.into());
}

/// What serde asks for when it reads a struct: its fields in the order of their declaration.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = NoValue;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, NoValue> {
        *self.0 = fields;
        Err(NoValue::custom("there is no value"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("there is no value"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
