//! The source `dns`: the A and AAAA records of one host name. Each name is a source of its own, so that one that fails takes no other with it. Must
//! not take half of an answer for a whole one, nor the silence of one family for the other's.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, Record, RecordType},
    },
};
use ipnet::IpNet;
use tokio::time::timeout;

use super::{Answer, Fetch, Source, SourceError, SourceName, Unanswered, limit::Peers};

/// However short a record's time to live: a server is not asked more often than this,
const SHORTEST_TTL: Duration = Duration::from_secs(5);
/// and however long: a node that joins is not missed for longer.
const LONGEST_TTL: Duration = Duration::from_secs(60 * 60);
/// One server's time for one question; it is asked [`ATTEMPTS`] times.
const ATTEMPT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Several servers' time for one question.
const DEADLINE: Duration = Duration::from_secs(10);

/// A name whose addresses are the cluster's nodes.
#[derive(Clone, Debug)]
pub struct DnsName {
    name: SourceName,
    host: String,
    server: Option<SocketAddr>,
}

/// What the servers had of one type: addresses, and the least time to live of what led to them.
#[derive(Debug, Default)]
struct Records {
    addresses: BTreeSet<IpNet>,
    ttl: Option<Duration>,
}

impl Records {
    /// Those of `name`, and of the names that it is an alias of: what else a server puts there, nobody asked for.
    fn of(name: &Name, answers: &[Record]) -> Self {
        let mut names = vec![name];
        let mut records = Self::default();
        // An answer may hold its aliases in any order; each step finds one more name, and there are no more than records.
        let mut looked = 0;
        while let Some(name) = names.get(looked).copied() {
            looked += 1;
            for record in answers.iter().filter(|record| record.name == *name) {
                match &record.data {
                    RData::A(address) => drop(records.addresses.insert(IpNet::from(IpAddr::V4(address.0)))),
                    RData::AAAA(address) => drop(records.addresses.insert(IpNet::from(IpAddr::V6(address.0)))),
                    RData::CNAME(alias) if !names.contains(&&alias.0) => names.push(&alias.0),
                    _ => continue,
                }
                // Aliases on the way count, too: when one of them runs out, the way may be another.
                let ttl = Duration::from_secs(record.ttl.into());
                records.ttl = Some(records.ttl.map_or(ttl, |least| least.min(ttl)));
            }
        }
        records
    }

    fn and(mut self, other: Self) -> Self {
        self.addresses.extend(other.addresses);
        self.ttl = self.ttl.into_iter().chain(other.ttl).min();
        self
    }
}

impl DnsName {
    /// `host` is taken as written in full: search domains and /etc/hosts are not tried. `server`: who is asked, by UDP and then by TCP where the answer
    /// does not fit; `None`: whom /etc/resolv.conf names at that moment.
    pub fn new(host: &str, server: Option<SocketAddr>) -> Self {
        Self { name: SourceName::dns(host), host: host.to_owned(), server }
    }

    async fn ask(&self) -> Result<Answer, SourceError> {
        let mut name = Name::from_ascii(&self.host)
            .map_err(|error| self.failed(format!("is no host name: {error}"), "correct it in [peers] dns"))?;
        name.set_fqdn(true);
        let (v4, v6) = tokio::join!(self.family(&name, RecordType::A), self.family(&name, RecordType::AAAA));
        let (mut records, unanswered) = match (v4, v6) {
            (Ok(v4), Ok(v6)) => (v4.and(v6), None),
            (Ok(v4), Err(error)) => (v4, Some(Unanswered { is_v6: true, error })),
            (Err(error), Ok(v6)) => (v6, Some(Unanswered { is_v6: false, error })),
            (Err(error), Err(_)) => return Err(error),
        };
        let mut peers = Peers::default();
        for net in std::mem::take(&mut records.addresses) {
            peers.add(net).map_err(|(problem, help)| self.failed(format!("{}: {problem}", self.asked()), &help))?;
        }
        let peers = peers.into_set();
        match unanswered {
            Some(Unanswered { error, .. }) if peers.is_empty() => Err(error),
            None if peers.is_empty() => Err(self.failed(
                format!("{} has neither A nor AAAA records of it", self.asked()),
                "give the name its addresses, or take it out of [peers] dns",
            )),
            unanswered => {
                let ttl = records.ttl.unwrap_or(SHORTEST_TTL).clamp(SHORTEST_TTL, LONGEST_TTL);
                Ok(Answer { peers, valid_for: Some(ttl), unanswered })
            }
        }
    }

    /// The records of one type, in the time that there is. Servers that do not know EDNS (RFC 6891) are asked again without.
    async fn family(&self, name: &Name, kind: RecordType) -> Result<Records, SourceError> {
        let asked = async {
            let unknown = [ResponseCode::FormErr, ResponseCode::NotImp];
            match self.resolver(true)?.lookup(name.clone(), kind).await {
                Err(NetError::Dns(DnsError::ResponseCode(code))) if unknown.contains(&code) => {
                    Ok::<_, SourceError>(self.resolver(false)?.lookup(name.clone(), kind).await)
                }
                answer => Ok(answer),
            }
        };
        match timeout(DEADLINE, asked).await.map_err(|_| self.silent(kind))?? {
            Ok(lookup) => Ok(Records::of(name, lookup.answers())),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) if none.response_code == ResponseCode::NoError => {
                Ok(Records::default())
            }
            Err(error) => Err(self.refused(kind, &error)),
        }
    }

    /// Made anew each time: /etc/resolv.conf may have changed, and a forged answer finds another port.
    fn resolver(&self, edns: bool) -> Result<TokioResolver, SourceError> {
        let broken = |error: NetError| {
            let problem = format!("the resolver can not be set up from /etc/resolv.conf: {error}");
            self.failed(problem, "correct that file, or name a server with dns_server in [peers]")
        };
        let provider = TokioRuntimeProvider::default();
        let mut builder = match self.server {
            Some(server) => {
                let on_port = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_port).to_vec();
                let server = NameServerConfig::new(server.ip(), true, connections);
                Resolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), vec![server]), provider)
            }
            None => Resolver::builder(provider).map_err(broken)?,
        };
        let options = builder.options_mut();
        options.timeout = ATTEMPT;
        options.attempts = ATTEMPTS;
        options.cache_size = 0;
        options.edns0 = edns;
        // Names of this host itself; and who may change it is not asked.
        options.use_hosts_file = ResolveHosts::Never;
        builder.build().map_err(broken)
    }

    fn refused(&self, kind: RecordType, error: &NetError) -> SourceError {
        let asked = self.asked();
        match error {
            _ if error.is_nx_domain() => self.failed(
                format!("{asked} says that there is no such name (NXDOMAIN)"),
                "write it in full (search domains are not tried), or take it out of [peers] dns",
            ),
            NetError::Timeout | NetError::NoConnections => self.silent(kind),
            NetError::Truncated => self.failed(
                format!("the {kind} answer of {asked} does not fit into a DNS message, and half of one is not taken"),
                "spread the addresses over several names, or use file or http_sd",
            ),
            NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => self.failed(
                format!("{asked} could not find out its {kind} records (SERVFAIL)"),
                "see the server's log; its own upstream may be gone",
            ),
            NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => self.failed(
                format!("{asked} refuses to answer for its {kind} records (REFUSED)"),
                "let this host ask it, or name another one with dns_server in [peers]",
            ),
            other => self.failed(format!("{asked} could not be asked for its {kind} records: {other}"), HELP_SERVER),
        }
    }

    fn silent(&self, kind: RecordType) -> SourceError {
        self.failed(format!("{} did not answer in time for its {kind} records", self.asked()), HELP_SERVER)
    }

    /// Who was asked.
    fn asked(&self) -> String {
        self.server
            .map_or_else(|| "the DNS server of /etc/resolv.conf".to_owned(), |server| format!("DNS server {server}"))
    }

    fn failed(&self, problem: String, help: &str) -> SourceError {
        SourceError::at(&self.host, problem, help)
    }
}

const HELP_SERVER: &str = "see that it runs and that UDP and TCP reach it";

impl Source for DnsName {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn fetch(&mut self) -> Fetch<'_> {
        Box::pin(self.ask())
    }
}
