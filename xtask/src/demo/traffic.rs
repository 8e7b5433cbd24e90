//! The demo's real traffic: every host asks for every port, over both protocols and families. It says what came of each
//! conversation; whether that is right is `verdict`'s business.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use nodewall_testbed::{Family, Host, Lab, Probe, Probed, Protocol, probe_many};

use super::vendor::{Access, Line};

/// For what should be answered: long, and never waited out when all is right.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// For what should be dropped: always waited out, once for all. Under the second after which TCP sends its SYN again.
const SILENCE_FOR: Duration = Duration::from_millis(400);

/// One attempt of a host to reach a port of the node.
pub(super) struct Conversation {
    pub(super) host: String,
    pub(super) from_peer: bool,
    pub(super) family: Family,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    /// Whether the vendor's document wants it answered.
    pub(super) wanted: bool,
    pub(super) probed: Probed,
}

/// What is going to be asked by one host.
struct Plan<'lab> {
    host: &'lab Host,
    from_peer: bool,
    wanted: bool,
    probes: Vec<(Family, u16, Protocol, Probe)>,
}

impl<'lab> Plan<'lab> {
    fn new(lab: &Lab, host: &'lab Host, from_peer: bool, wanted: bool, ports: &[(u16, Protocol)]) -> Self {
        let asked = ports.iter().flat_map(|&(port, protocol)| Family::ALL.map(|family| (family, port, protocol)));
        let to =
            |(family, port, protocol)| (family, port, protocol, Probe::new(protocol, lab.node().socket(family, port)));
        Self { host, from_peer, wanted, probes: asked.map(to).collect() }
    }

    fn carry_out(self) -> Result<Vec<Conversation>> {
        let probes: Vec<Probe> = self.probes.iter().map(|(.., probe)| *probe).collect();
        let timeout = if self.wanted { ANSWER_WITHIN } else { SILENCE_FOR };
        let done = probe_many(self.host.netns(), &probes, timeout)?;
        let said = self.probes.into_iter().zip(done).map(|((family, port, protocol, _), probed)| Conversation {
            host: self.host.name().to_owned(),
            from_peer: self.from_peer,
            family,
            port,
            protocol,
            wanted: self.wanted,
            probed,
        });
        Ok(said.collect())
    }
}

/// Lets every host ask for these ports, all at once, and waits for the last answer or silence.
pub(super) fn converse(lab: &Lab, ports: &[(u16, &Line, Protocol)]) -> Result<Vec<Conversation>> {
    let of = |wanted: &dyn Fn(Access) -> bool| -> Vec<(u16, Protocol)> {
        let chosen = ports.iter().filter(|(_, line, _)| wanted(line.access));
        chosen.map(|(port, _, protocol)| (*port, *protocol)).collect()
    };
    let (all, open, shut) = (of(&|_| true), of(&Access::admits_outsiders), of(&|access| !access.admits_outsiders()));
    let outsider = lab.outsider()?;
    let plans = [
        Plan::new(lab, lab.peer1()?, true, true, &all),
        Plan::new(lab, lab.peer2()?, true, true, &all),
        Plan::new(lab, outsider, false, true, &open),
        Plan::new(lab, outsider, false, false, &shut),
    ];
    thread::scope(|scope| {
        let asked = plans.into_iter().filter(|plan| !plan.probes.is_empty());
        let running: Vec<_> = asked.map(|plan| scope.spawn(|| plan.carry_out())).collect();
        let mut conversations = Vec::new();
        for host in running {
            conversations.extend(host.join().map_err(|_| anyhow!("a thread that makes probes panicked"))??);
        }
        Ok(conversations)
    })
}

/// Asks for one port from the outsider, as a witness that the filter is on, or off.
pub(super) fn outsider_reaches(lab: &Lab, port: u16) -> Result<bool> {
    let probe = Probe::tcp(lab.node().socket(Family::V4, port));
    let done = probe_many(lab.outsider()?.netns(), &[probe], SILENCE_FOR)?;
    Ok(done.iter().any(|probed| probed.outcome.is_answered()))
}
