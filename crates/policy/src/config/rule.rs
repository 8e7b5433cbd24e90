//! Rules: `[[rule]]` tables to `Rule` values, for the operator's file and for the profiles alike.
//!
//! Owns what a rule may be called, what it may hold, and that no two rules claim one port. Must not know the profile's ports.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use ipnet::IpNet;

use super::{
    enums::{Access, Protocol},
    error::{ConfigErrors, ValueError},
    formats::RuleName,
    given::{Given, List, Ports, Table, Text},
    port::{PortRange, PortSet},
    problems::Problems,
    schema::{RawRule, RawRuleFile},
    source_count::SourceCount,
    text::{self, ConfigText},
};

/// Most rules with `also_allow`: each is a group of sources of its own in the compiled policy.
pub const MAX_RULE_GROUPS: usize = 29;
/// Ports whose closing can cut the operator or the node itself off. Named by a rule that closes them only with `allow_lockout = true`.
pub const LOCKOUT_PORTS: [(u16, &str); 4] = [(22, "SSH"), (53, "DNS"), (67, "DHCP"), (68, "DHCP")];

/// One `[[rule]]`: a port class of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// 1 to 31 bytes of `[a-z0-9_-]`.
    pub name: String,
    /// Never empty.
    pub ports: PortSet,
    /// Sorted, never empty.
    pub protocols: Vec<Protocol>,
    /// Who may reach the ports.
    pub access: Access,
    /// Sources let in besides; sorted, no duplicates. Empty when `access` is public.
    pub also_allow: Vec<IpNet>,
    /// `mode = "audit"`.
    pub audited: bool,
    /// For people.
    pub note: Option<String>,
}

/// A profile's file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleFile {
    pub(crate) about: String,
    pub(crate) rules: Vec<Rule>,
}

impl RuleFile {
    /// Reads a file that has rules and a heading only.
    pub(crate) fn parse(text: &str, file: &str) -> Result<Self, ConfigErrors> {
        let source = ConfigText { file, text };
        let raw: RawRuleFile = text::read(source)?;
        let mut problems = Problems::new(source);
        let rules = rules(raw.rule, Some(&PortSet::default()), &mut SourceCount::default(), &mut problems);
        problems.finish()?;
        Ok(Self { about: raw.about, rules })
    }
}

/// A written port entry, for finding two rules that claim one port.
struct Claim {
    rule: usize,
    protocol: Protocol,
    ports: PortRange,
    span: Range<usize>,
}

/// The operator's own list of ports that must stay open.
pub(super) fn lockout_ports(raw: List<Ports>, problems: &mut Problems<'_>) -> PortSet {
    problems.elements(raw).into_iter().map(|(range, _)| range).collect()
}

/// Judges all rules of one file. `guarded`: ports that must stay open besides [`LOCKOUT_PORTS`]; `None`: any may be closed. What is refused is noted in `problems`, and then the result is not to be used.
pub(super) fn rules(
    raw: List<Table<RawRule>>,
    guarded: Option<&PortSet>,
    sources: &mut SourceCount,
    problems: &mut Problems<'_>,
) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut claims = Vec::new();
    let mut names = HashMap::new();
    let mut groups = 0;
    for raw in raw.elements() {
        let header = raw.span();
        let Table(raw) = raw.into_inner();
        let name = name(raw.name, &header, &mut names, problems);
        let access = raw.access.value().unwrap_or_else(|| {
            let message = "access: missing; this [[rule]] must say \"public\", \"cluster\" or \"closed\"";
            problems.push(&header, message.to_owned(), None);
            Access::Cluster
        });
        let protocols = protocols(raw.protocols, problems);
        let also_span = raw.also_allow.span();
        let also_allow: Vec<IpNet> = sources.counted(raw.also_allow, problems).into_iter().collect();
        if let Some(span) = also_span.filter(|_| !also_allow.is_empty()) {
            judge_group(&span, access, &mut groups, problems);
        }
        let mut ports = Vec::new();
        for (range, span) in self::ports(raw.ports, &header, problems) {
            if let Some(guarded) = guarded.filter(|_| access != Access::Public) {
                refuse_lockout(range, access, guarded, &span, problems);
            }
            ports.push(range);
            claims.extend(protocols.iter().map(|protocol| Claim {
                rule: rules.len(),
                protocol: *protocol,
                ports: range,
                span: span.clone(),
            }));
        }
        let ports = ports.into_iter().collect();
        let audited = raw.mode.value().is_some();
        rules.push(Rule { name, ports, protocols, access, also_allow, audited, note: problems.take(raw.note) });
    }
    refuse_overlaps(claims, &rules, problems);
    rules
}

fn name(
    raw: Given<Text<RuleName>>,
    header: &Range<usize>,
    names: &mut HashMap<String, Range<usize>>,
    problems: &mut Problems<'_>,
) -> String {
    let Some(span) = raw.span() else {
        let message = "name: missing; this [[rule]] needs a name such as \"jmx-from-ops\"";
        problems.push(header, message.to_owned(), None);
        return String::new();
    };
    let name = problems.take(raw).unwrap_or_default();
    if let Some(first) = names.get(&name) {
        let place = problems.place(first);
        let error = format!("{name:?} is taken by the rule at {place}; expected a name of its own");
        problems.refuse(&span, ValueError::new(error));
    } else if !name.is_empty() {
        names.insert(name.clone(), span);
    }
    name
}

fn ports(raw: List<Ports>, header: &Range<usize>, problems: &mut Problems<'_>) -> Vec<(PortRange, Range<usize>)> {
    if raw.span().is_none() {
        let message = "ports: missing; this [[rule]] needs ports such as [\"9042\", \"5701-5711\"]";
        problems.push(header, message.to_owned(), None);
    }
    if let Some(span) = raw.empty_span() {
        let error = "an empty list names no port; expected at least one such as \"9042\"";
        problems.refuse(&span, ValueError::new(error));
    }
    problems.elements(raw)
}

fn protocols(raw: List<Protocol>, problems: &mut Problems<'_>) -> Vec<Protocol> {
    if raw.span().is_none() {
        return Protocol::ALL.to_vec();
    }
    if let Some(span) = raw.empty_span() {
        let error = "an empty list names no protocol; expected \"tcp\", \"udp\" or both";
        problems.refuse(&span, ValueError::new(error));
    }
    let named: BTreeSet<Protocol> = raw.elements().into_iter().map(toml::Spanned::into_inner).collect();
    named.into_iter().collect()
}

fn judge_group(span: &Range<usize>, access: Access, groups: &mut usize, problems: &mut Problems<'_>) {
    if access == Access::Public {
        let error = ValueError::new("access = \"public\" lets everyone in already");
        problems.refuse(span, error.help("leave also_allow out, or set access = \"cluster\" or \"closed\""));
        return;
    }
    *groups += 1;
    if *groups > MAX_RULE_GROUPS {
        let error = format!("rule number {groups} with also_allow; at most {MAX_RULE_GROUPS} rules may have it");
        problems.refuse(span, ValueError::new(error).help("join rules that let the same sources in"));
    }
}

fn refuse_lockout(
    range: PortRange,
    access: Access,
    guarded: &PortSet,
    span: &Range<usize>,
    problems: &mut Problems<'_>,
) {
    let known = LOCKOUT_PORTS.iter().copied().find(|(port, _)| range.contains(*port));
    let listed = || guarded.iter().find_map(|own| own.intersection(range));
    if let Some((port, service)) = known.or_else(|| Some((listed()?.first(), "of lockout_ports"))) {
        let error = format!("{range} with access = \"{access}\" closes port {port} ({service}) and may cut you off");
        let help = "to do it all the same, set allow_lockout = true at the top of the file";
        problems.refuse(span, ValueError::new(error).help(help));
    }
}

/// Notes each written entry that shares a port and protocol with an earlier-starting entry of another rule.
fn refuse_overlaps(mut claims: Vec<Claim>, rules: &[Rule], problems: &mut Problems<'_>) {
    claims.sort_by_key(|claim| (claim.protocol, claim.ports, claim.rule));
    let mut told = HashSet::new();
    for protocol in Protocol::ALL {
        // Of the entries so far: the one that reaches highest, and the one that does so among the other rules' entries.
        let mut highest: Option<&Claim> = None;
        let mut second: Option<&Claim> = None;
        for claim in claims.iter().filter(|claim| claim.protocol == *protocol) {
            let others = if highest.is_some_and(|top| top.rule == claim.rule) { second } else { highest };
            if let Some(other) = others.filter(|other| other.ports.last() >= claim.ports.first()) {
                let (earlier, later) =
                    if other.span.start < claim.span.start { (other, claim) } else { (claim, other) };
                if told.insert((earlier.rule, later.rule, later.span.start)) {
                    tell_overlap(earlier, later, rules, problems);
                }
            }
            if highest.is_none_or(|top| claim.ports.last() > top.ports.last()) {
                if highest.is_some_and(|top| top.rule != claim.rule) {
                    second = highest;
                }
                highest = Some(claim);
            } else if highest.is_some_and(|top| top.rule != claim.rule)
                && second.is_none_or(|top| claim.ports.last() > top.ports.last())
            {
                second = Some(claim);
            }
        }
    }
}

fn tell_overlap(earlier: &Claim, later: &Claim, rules: &[Rule], problems: &mut Problems<'_>) {
    let name = |claim: &Claim| rules.get(claim.rule).map_or("", |rule| rule.name.as_str());
    let place = problems.place(&earlier.span);
    let port = earlier.ports.first().max(later.ports.first());
    let error = ValueError::new(format!(
        "{} of rule {:?} overlaps {} of rule {:?} at {place}: both name port {port} ({})",
        later.ports,
        name(later),
        earlier.ports,
        name(earlier),
        later.protocol
    ));
    problems.refuse(&later.span, error.help("a port and protocol belongs to one rule: take it out of the other"));
}
