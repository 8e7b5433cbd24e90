//! Listening sockets against the policy: a cluster port that nobody listens on, a listener on a port that the policy does not name.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    finding::{Finding, Findings, Status, Subject},
    ports::ProtocolPorts,
};
use nodewall_host::net::{self, Listening, NetError, Owner, Sockets};
use nodewall_policy::{
    Policy,
    config::{Access, LOCKOUT_PORTS, PortRange, Protocol},
};

/// What listens, and whose it is as far as /proc shows it.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// The sockets.
    pub sockets: Sockets,
    /// Their processes, by inode.
    pub owners: BTreeMap<u64, Owner>,
    /// The ports that the kernel gives to sockets that ask for none.
    pub local_ports: Option<PortRange>,
}

/// Reads them, in the calling thread's network namespace.
pub fn read() -> Result<Listeners, NetError> {
    let sockets = net::sockets()?;
    let inodes: BTreeSet<u64> = sockets.listening().filter(|socket| !socket.is_loopback()).map(|s| s.inode).collect();
    let local_ports = net::LocalPorts::read().ok().map(|local| local.range);
    Ok(Listeners { owners: net::owners(&inodes), sockets, local_ports })
}

/// Judges them.
pub fn findings(listeners: &Listeners, policy: &Policy) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Listeners);
    strangers(listeners, policy, &mut findings);
    silent(listeners, policy, &mut findings);
    findings.into_vec()
}

fn reachable(listeners: &Listeners) -> impl Iterator<Item = &Listening> {
    listeners.sockets.listening().filter(|socket| !socket.is_loopback())
}

/// Listeners on ports that the policy leaves alone, or closes; by process, so that a server with ten ports is one line.
fn strangers(listeners: &Listeners, policy: &Policy, findings: &mut Findings) {
    let (mut unnamed, mut left_alone, mut closed) = (BTreeMap::new(), ProtocolPorts::default(), BTreeMap::new());
    for socket in reachable(listeners) {
        let port = socket.local.port();
        let class = policy.class_of(socket.protocol, port);
        let by = match class.map(|class| class.access) {
            // Listed with the policy as the ones that it never closes by accident.
            None if LOCKOUT_PORTS.iter().any(|(known, _)| *known == port) => {
                left_alone.add(socket.protocol, port);
                continue;
            }
            // Sockets of clients: a DNS resolver's, for a moment.
            None if socket.protocol == Protocol::Udp && is_given_out(listeners, port) => continue,
            None => &mut unnamed,
            Some(Access::Closed) => &mut closed,
            Some(_) => continue,
        };
        by.entry(owner(listeners, socket)).or_insert_with(ProtocolPorts::default).add(socket.protocol, port);
    }
    if !left_alone.is_empty() {
        findings.ok("unnamed-listener", format!("open to everyone on purpose: {left_alone}"));
    }
    for (owner, ports) in unnamed {
        let found = format!("{owner} listens on {ports}, which the policy does not name");
        findings
            .add(Status::Note, "unnamed-listener", found)
            .because("everyone reaches it")
            .advice("if it is the cluster's own, give it a [[rule]] with access = \"cluster\"; bind it to loopback if only this host needs it");
    }
    for (owner, ports) in closed {
        findings
            .add(Status::Note, "closed-listener", format!("{owner} listens on {ports}, which the policy closes"))
            .because("nobody outside reaches it, peers neither")
            .advice("stop it, or change the rule's access");
    }
}

fn is_given_out(listeners: &Listeners, port: u16) -> bool {
    listeners.local_ports.is_some_and(|range| range.contains(port))
}

fn owner(listeners: &Listeners, socket: &Listening) -> String {
    match listeners.owners.get(&socket.inode) {
        Some(owner) => format!("{} (pid {})", owner.name, owner.pid),
        None => format!("a process of user {}", socket.uid),
    }
}

/// Cluster ports without a listener, one line a class. A class's UDP ports count only where it has no TCP ports: the vendor's table names both.
fn silent(listeners: &Listeners, policy: &Policy, findings: &mut Findings) {
    let served: BTreeSet<(Protocol, u16)> =
        reachable(listeners).map(|socket| (socket.protocol, socket.local.port())).collect();
    let (mut silent, mut any_served) = (Vec::new(), false);
    for class in policy.classes.iter().filter(|class| class.access == Access::Cluster) {
        let only = if class.ranges(Protocol::Tcp).next().is_some() { Protocol::Tcp } else { Protocol::Udp };
        let mut missing = ProtocolPorts::default();
        for port in class.ranges(only).flat_map(PortRange::ports) {
            if served.contains(&(only, port)) {
                any_served = true;
            } else {
                missing.add(only, port);
            }
        }
        if !missing.is_empty() {
            silent.push(format!("{} {missing}", class.name));
        }
    }
    let silent = silent.join("; ");
    if silent.is_empty() {
        return;
    }
    if any_served {
        findings
            .add(Status::Note, "silent-port", format!("cluster ports that nobody listens on: {silent}"))
            .because("usual for ports that this cluster does not use; else a service is down or listens elsewhere")
            .advice("look whether a service that you expect is among them");
    } else {
        findings
            .add(Status::Note, "silent-port", format!("nobody listens on any cluster port: {silent}"))
            .because("this host does not look like a running cluster node")
            .advice("start the cluster's services, or check that [profile] is the right one");
    }
}

#[cfg(test)]
mod tests;
