//! Listening sockets against the policy: a cluster port that nobody listens on, a listener on a port that the policy does not name.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Finding, Status, Subject,
    ports::{PortSet, protocol, transport},
};
use nodewall_host::net::{self, Listening, NetError, Owner, Sockets};
use nodewall_policy::{
    Policy,
    config::{Access, LOCKOUT_PORTS},
};

/// What listens, and whose it is as far as /proc shows it.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// The sockets.
    pub sockets: Sockets,
    /// Their processes, by inode.
    pub owners: BTreeMap<u64, Owner>,
    /// The ports that the kernel gives to sockets that ask for none, both ends included.
    pub local_ports: Option<(u16, u16)>,
}

/// Looks, in the calling thread's network namespace.
pub fn look() -> Result<Listeners, NetError> {
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
    let (mut unnamed, mut left_alone, mut closed) = (BTreeMap::new(), PortSet::default(), BTreeMap::new());
    for socket in reachable(listeners) {
        let port = socket.local.port();
        let class = policy.class_of(protocol(socket.transport), port);
        let by = match class.map(|class| class.access) {
            // Listed with the policy as the ones that it never closes by accident.
            None if LOCKOUT_PORTS.iter().any(|(known, _)| *known == port) => {
                left_alone.add(socket.transport, port, port);
                continue;
            }
            // Sockets of clients: a DNS resolver's, for a moment.
            None if socket.transport == net::Transport::Udp && is_given_out(listeners, port) => continue,
            None => &mut unnamed,
            Some(Access::Closed) => &mut closed,
            Some(_) => continue,
        };
        by.entry(owner(listeners, socket)).or_insert_with(PortSet::default).add(socket.transport, port, port);
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
    listeners.local_ports.is_some_and(|(first, last)| (first..=last).contains(&port))
}

fn owner(listeners: &Listeners, socket: &Listening) -> String {
    match listeners.owners.get(&socket.inode) {
        Some(owner) => format!("{} (pid {})", owner.name, owner.pid),
        None => format!("a process of user {}", socket.uid),
    }
}

/// Cluster ports without a listener, one line a class. A class's UDP ports count only where it has no TCP ports: the vendor's table names both.
fn silent(listeners: &Listeners, policy: &Policy) -> Vec<Finding> {
    let served: BTreeSet<(net::Transport, u16)> =
        reachable(listeners).map(|socket| (socket.transport, socket.local.port())).collect();
    let (mut silent, mut with_listener, mut classes) = (Vec::new(), Vec::new(), 0);
    for class in policy.classes.iter().filter(|class| class.access == Access::Cluster) {
        let entries = || class.ports.iter().map(|entry| (transport(entry.protocol), entry.ports));
        let only =
            if entries().any(|(t, _)| t == net::Transport::Tcp) { net::Transport::Tcp } else { net::Transport::Udp };
        let (mut missing, mut any) = (PortSet::default(), false);
        for (transport, range) in entries().filter(|(transport, _)| *transport == only) {
            for port in range.ports() {
                if served.contains(&(transport, port)) {
                    any = true;
                } else {
                    missing.add(transport, port, port);
                }
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
