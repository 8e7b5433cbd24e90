//! Listening sockets against the policy: a cluster port that nobody listens on, a listener on a port that the policy does not name.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    finding::{Finding, Status, Subject},
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
    let mut findings = strangers(listeners, policy);
    findings.extend(silent(listeners, policy));
    findings
}

fn new(status: Status, check: &'static str, found: String) -> Finding {
    Finding::new(Subject::Listeners, status, check, found)
}

fn reachable(listeners: &Listeners) -> impl Iterator<Item = &Listening> {
    listeners.sockets.listening().filter(|socket| !socket.is_loopback())
}

/// Listeners on ports that the policy leaves alone, or closes; by process, so that a server with ten ports is one line.
fn strangers(listeners: &Listeners, policy: &Policy) -> Vec<Finding> {
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
    let mut findings = Vec::new();
    if !left_alone.is_empty() {
        findings.push(Finding::ok(
            Subject::Listeners,
            "unnamed-listener",
            format!("open to everyone on purpose: {left_alone}"),
        ));
    }
    findings.extend(unnamed.into_iter().map(|(owner, ports)| {
        new(Status::Note, "unnamed-listener", format!("{owner} listens on {ports}, which the policy does not name"))
            .because("everyone reaches it")
            .advice("if it is the cluster's own, give it a [[rule]] with access = \"cluster\"; bind it to loopback if only this host needs it")
    }));
    findings.extend(closed.into_iter().map(|(owner, ports)| {
        new(Status::Note, "closed-listener", format!("{owner} listens on {ports}, which the policy closes"))
            .because("nobody outside reaches it, peers neither")
            .advice("stop it, or change the rule's access")
    }));
    findings
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
fn silent(listeners: &Listeners, policy: &Policy) -> Vec<Finding> {
    let served: BTreeSet<(Protocol, u16)> =
        reachable(listeners).map(|socket| (socket.protocol, socket.local.port())).collect();
    let (mut silent, mut with_listener, mut classes) = (Vec::new(), Vec::new(), 0);
    for class in policy.classes.iter().filter(|class| class.access == Access::Cluster) {
        let only = if class.ranges(Protocol::Tcp).next().is_some() { Protocol::Tcp } else { Protocol::Udp };
        let (mut missing, mut any) = (ProtocolPorts::default(), false);
        for port in class.ranges(only).flat_map(PortRange::ports) {
            if served.contains(&(only, port)) {
                any = true;
            } else {
                missing.add(only, port);
            }
        }
        classes += 1;
        if any {
            with_listener.push(class.name.clone());
        }
        if !missing.is_empty() {
            silent.push(format!("{} {missing}", class.name));
        }
    }
    if silent.is_empty() {
        return Vec::new();
    }
    if with_listener.is_empty() && classes > 0 {
        return vec![
            new(Status::Note, "silent-port", format!("nobody listens on any cluster port: {}", silent.join("; ")))
                .because("this host does not look like a running cluster node")
                .advice("start the cluster's services, or check that [profile] is the right one"),
        ];
    }
    vec![
        new(Status::Note, "silent-port", format!("cluster ports that nobody listens on: {}", silent.join("; ")))
            .because("usual for ports that this cluster does not use; else a service is down or listens elsewhere")
            .advice("look whether a service that you expect is among them"),
    ]
}

#[cfg(test)]
mod tests;
