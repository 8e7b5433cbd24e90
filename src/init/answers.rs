//! From what was found and what was given to what the file will say. Owns the questions, in their order, and which flags answer them.
//!
//! Must not take for a peer whom only its own connection speaks for, unless a person says so.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::{
    discovery::{Discovery, Witness},
    prompt::Prompt,
};
use nodewall_policy::config::{ClusterVersion, InterfacePattern, ProfileAccess, ValueError, parse_peer, show};

/// Outsiders that are named in a question.
const MAX_NAMED: usize = 10;

/// What the file will say: what flags have answered, and then what was found and asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Empty: the default set.
    pub interfaces: Vec<InterfacePattern>,
    /// `[peers] static`, sorted.
    pub peers: Vec<IpNet>,
    /// This node's own addresses on the way to the others, which the file names, too: so each node's file means the same policy.
    pub own: BTreeSet<IpNet>,
    /// `[peers] file`.
    pub peers_file: Option<PathBuf>,
    /// `[peers] vendor_firewall`.
    pub vendor_firewall: bool,
    /// `single_node`.
    pub single_node: bool,
    /// `[profile] cluster_version`.
    pub cluster_version: Option<ClusterVersion>,
    /// `[profile] agent_port_8443`; `None`: the version decides.
    pub agent_port_8443: Option<ProfileAccess>,
}

impl Answers {
    /// The peers that these answers make, by what their sources say now.
    pub fn all_peers(&self, found: &Discovery) -> Vec<IpNet> {
        let mut peers: BTreeSet<IpNet> = self.peers.iter().chain(&self.own).copied().collect();
        if self.peers_file.is_some() {
            peers.extend(found.known_to(Witness::File));
        }
        if self.vendor_firewall {
            peers.extend(found.known_to(Witness::VendorFirewall));
        }
        peers.into_iter().collect()
    }

    fn has_peers(&self) -> bool {
        !self.peers.is_empty() || self.peers_file.is_some() || self.vendor_firewall || self.single_node
    }

    fn decides_8443(&self) -> bool {
        self.cluster_version.is_some() || self.agent_port_8443.is_some()
    }
}

/// Why there are no answers. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswersError {
    /// Nobody can be asked, and flags are missing.
    #[error("there is no terminal to ask at; give {}; or --yes to take what is found", .0.join(", and "))]
    Missing(Vec<String>),
    /// Nobody is asked, and no peer was found.
    #[error(
        "no peer is known: --yes takes those of the vendor's firewall rules, of a peers file, and those that this node is connected to, and \
         found none{}; name them with --peer ADDR, or give --single-node",
        .0.as_ref().map(|who| format!(" (connected from {who}, which proves nothing)")).unwrap_or_default()
    )]
    NoPeers(Option<String>),
    /// There is nothing that could be filtered.
    #[error("{0}")]
    NoInterface(String),
    /// Flags that exclude each other.
    #[error("--single-node says that there is no other node, and {0} names some; give one of them")]
    SingleWithPeers(&'static str),
    /// Whoever was asked went away.
    #[error("the questions ended without an answer ({0}); nothing was written")]
    Ended(#[from] io::Error),
}

/// What is to be written, where flags have answered some of it. `asker`: who can be asked; `None`, or `yes`: nobody.
///
/// # Errors
/// When flags are missing or exclude each other, and when nobody answers.
pub fn decide<A: Prompt>(
    mut answers: Answers,
    yes: bool,
    found: &mut Discovery,
    asker: Option<A>,
) -> Result<Answers, AnswersError> {
    if answers.single_node {
        let naming = [
            ("--peer", !answers.peers.is_empty()),
            ("--peers-file", answers.peers_file.is_some()),
            ("--vendor-firewall", answers.vendor_firewall),
        ];
        if let Some((flag, _)) = naming.into_iter().find(|(_, is_given)| *is_given) {
            return Err(AnswersError::SingleWithPeers(flag));
        }
    }
    match asker {
        Some(mut asker) if !yes => ask_all(found, &mut answers, &mut asker)?,
        _ if yes => {
            refuse_no_interface(found)?;
            if !answers.has_peers() {
                take_found(found, &mut answers)?;
            }
        }
        _ => {
            refuse_unanswered(&answers, found)?;
            refuse_no_interface(found)?;
        }
    }
    answers.peers.sort_unstable();
    answers.peers.dedup();
    Ok(answers)
}

fn refuse_no_interface(found: &Discovery) -> Result<(), AnswersError> {
    found.no_interface.clone().map_or(Ok(()), |problem| Err(AnswersError::NoInterface(problem)))
}

fn refuse_unanswered(given: &Answers, found: &Discovery) -> Result<(), AnswersError> {
    let mut missing = Vec::new();
    if given.interfaces.is_empty() && found.no_interface.is_some() {
        missing.push("--interface IF (none is found)".to_owned());
    }
    if !given.has_peers() {
        missing.push("--peer ADDR, --peers-file FILE, --vendor-firewall or --single-node".to_owned());
    }
    if !given.decides_8443() {
        missing.push("--cluster-version VERSION or --agent-port-8443 ACCESS".to_owned());
    }
    if missing.is_empty() { Ok(()) } else { Err(AnswersError::Missing(missing)) }
}

/// Without a person: only those for whom somebody vouches.
fn take_found(found: &Discovery, answers: &mut Answers) -> Result<(), AnswersError> {
    answers.peers_file.clone_from(&found.peers_file);
    answers.vendor_firewall = found.known_to(Witness::VendorFirewall).next().is_some();
    answers.peers.extend(found.known_only_to(Witness::ConnectedTo));
    if answers.has_peers() {
        return Ok(());
    }
    let from: Vec<String> = found.known_to(Witness::ConnectedFrom).map(|net| show(&net)).collect();
    Err(AnswersError::NoPeers((!from.is_empty()).then(|| from.join(", "))))
}

fn ask_all(found: &mut Discovery, answers: &mut Answers, asker: &mut impl Prompt) -> Result<(), AnswersError> {
    if !answers.interfaces.is_empty() {
        refuse_no_interface(found)?;
    }
    for problem in &found.unread {
        asker.tell(&format!("not read: {problem}"));
    }
    if answers.interfaces.is_empty() {
        answers.interfaces = ask_interfaces(found, asker)?;
    }
    if !answers.has_peers() {
        ask_peers(found, answers, asker)?;
    }
    if !answers.decides_8443() {
        let question = "Version of the cluster, such as 1.300 (Enter: not known): ";
        answers.cluster_version = asker.until(question, Some(None), optional)?;
    }
    if answers.agent_port_8443.is_none() {
        ask_8443(found, answers, asker)?;
    }
    Ok(())
}

/// An answer as the configuration reads it.
fn optional<T: FromStr<Err = ValueError>>(text: &str) -> Result<Option<T>, String> {
    text.parse().map(Some).map_err(|error: ValueError| error.message)
}

fn ask_interfaces(found: &mut Discovery, asker: &mut impl Prompt) -> Result<Vec<InterfacePattern>, AnswersError> {
    asker.tell("\nInterfaces to filter:");
    for interface in &found.interfaces {
        asker.tell(&format!("  {} ({})", interface.name, interface.because));
    }
    let (question, default) = if let Some(problem) = &found.no_interface {
        asker.tell(&format!("  {problem}"));
        ("Which? Names, spaces between: ", None)
    } else {
        ("Which? Enter: these, and each way in that comes; or names, spaces between: ", Some(Vec::new()))
    };
    let chosen = asker.until(question, default, |text| {
        let names = text.split([' ', ',']).filter(|name| !name.is_empty());
        let names: Vec<InterfacePattern> =
            names.map(|name| name.parse().map_err(|error: ValueError| error.message)).collect::<Result<_, String>>()?;
        if names.is_empty() {
            return Err("expected at least one name".to_owned());
        }
        found.resolve(&names).map(|_| names).map_err(|error| error.to_string())
    })?;
    if let Ok(interfaces) = found.resolve(&chosen) {
        found.interfaces = interfaces;
    }
    Ok(chosen)
}

fn ask_peers(found: &mut Discovery, answers: &mut Answers, asker: &mut impl Prompt) -> Result<(), AnswersError> {
    asker.tell("\nPeers: the cluster's other nodes. They alone will reach its ports.");
    for peer in found.peers() {
        let by: Vec<&str> = peer.found_by.iter().map(|witness| witness.text()).collect();
        asker.tell(&format!("  {} ({})", peer.address, by.join("; ")));
    }
    if let Some(path) = found.peers_file.clone()
        && asker.yes(&format!("Follow the file {}?", path.display()), true)?
    {
        answers.peers_file = Some(path);
    }
    if found.known_to(Witness::VendorFirewall).next().is_some()
        && asker.yes("Follow the vendor's firewall rules? A node that joins is then known before it connects.", true)?
    {
        answers.vendor_firewall = true;
    }
    for (witness, default) in [(Witness::ConnectedTo, true), (Witness::ConnectedFrom, false)] {
        for net in found.known_only_to(witness) {
            if asker.yes(&format!("Is {} a node of this cluster? ({})", show(&net), witness.text()), default)? {
                answers.peers.push(net);
            }
        }
    }
    loop {
        let question = "More addresses or prefixes of nodes, spaces between (Enter: no more): ";
        let more: Vec<IpNet> = asker.until(question, Some(Vec::new()), |text| {
            let words = text.split([' ', ',']).filter(|word| !word.is_empty());
            words.map(|word| parse_peer(word).map_err(|error| error.message)).collect()
        })?;
        for net in &more {
            found.add(*net, Witness::Typed);
        }
        answers.peers.extend(more);
        if answers.has_peers() {
            return Ok(());
        }
        if asker.yes("No peer is named. Has this cluster no other node?", false)? {
            answers.single_node = true;
            return Ok(());
        }
    }
}

/// Who may reach 8443, in one sentence.
pub(super) fn about_8443(version: Option<&ClusterVersion>) -> &'static str {
    if version.is_some_and(|version| version.agent_port_access() == ProfileAccess::Public) {
        "Before version 1.166 agents reported to 8443, so it is public."
    } else {
        "Since version 1.166 agents report to 443 and 8443 is the cluster's; in a cluster that was upgraded, agents may still use it."
    }
}

fn ask_8443(found: &Discovery, answers: &mut Answers, asker: &mut impl Prompt) -> Result<(), AnswersError> {
    asker.tell(&format!("\nPort 8443: {}", about_8443(answers.cluster_version.as_ref())));
    let outsiders = found.outsiders(&answers.all_peers(found));
    if let Some(counted) = found.counted_8443.filter(|counted| *counted > 0) {
        asker.tell(&format!("  {counted} frames to it were counted that the policy in force denies, or would."));
    }
    if outsiders.is_empty() {
        asker.tell("  Nobody but peers was seen on it. Without an audit that says little: nodewall records who knocks once it runs.");
    } else {
        asker.tell("  Seen on it, and no peer:");
        outsiders.iter().take(MAX_NAMED).for_each(|outsider| asker.tell(&format!("  {}", outsider.text())));
        if outsiders.len() > MAX_NAMED {
            asker.tell(&format!("  and {} more", outsiders.len() - MAX_NAMED));
        }
    }
    let question = "Who may reach 8443: cluster or public (Enter: as the version says)? ";
    answers.agent_port_8443 = asker.until(question, Some(None), optional)?;
    Ok(())
}

#[cfg(test)]
mod tests;
