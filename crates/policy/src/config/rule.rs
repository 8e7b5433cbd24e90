//! Rules: `[[rule]]` tables to `Rule` values, for the operator's file and for the profiles alike.
//!
//! Owns what a rule may be called, what it may hold, and that no two rules claim one port. Must not know the profile's ports.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;

use super::address::{SourceCount, parse_allowed};
use super::error::{ConfigErrors, Problems, Source, ValueError};
use super::port::{PortRange, not_a_port};
use super::schema::{self, List, RawPort, RawRule, RawRuleFile, Table};
use super::word::{Access, Protocol};

/// Longest rule name, in bytes.
pub const MAX_RULE_NAME_BYTES: usize = 31;
/// Most rules with `also_allow`: each is a group of sources of its own in the compiled policy.
pub const MAX_RULE_GROUPS: usize = 29;
/// Names that outputs use for what belongs to no class.
pub const RESERVED_RULE_NAMES: [&str; 6] = ["all", "any", "none", "null", "other", "unmanaged"];
/// Ports whose closing can cut the operator or the node itself off. Named by a rule that closes them only with `allow_lockout = true`.
pub const LOCKOUT_PORTS: [(u16, &str); 4] = [(22, "SSH"), (53, "DNS"), (67, "DHCP"), (68, "DHCP")];
/// Longest note, in characters.
const MAX_NOTE_CHARS: usize = 600;

/// One `[[rule]]`: a port class of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// 1 to 31 bytes of `[a-z0-9_-]`.
    pub name: String,
    /// Ascending, in the fewest ranges; never empty.
    pub ports: Vec<PortRange>,
    /// Sorted, never empty.
    pub protocols: Vec<Protocol>,
    /// Who may reach the ports.
    pub access: Access,
    /// Sources let in besides; sorted, no duplicates. Empty when `access` is public.
    pub also_allow: Vec<IpNet>,
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
        let source = Source { file, text };
        let raw: RawRuleFile = schema::read(source)?;
        let mut problems = Problems::new(source);
        let rules = rules(raw.rule, Some(&[]), &mut SourceCount::default(), &mut problems);
        problems.finish()?;
        Ok(Self { about: raw.about.into_inner(), rules })
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
pub(crate) fn lockout_ports(raw: Option<List<RawPort>>, problems: &mut Problems<'_>) -> Vec<PortRange> {
    let listed = raw.map(|raw| port_list("lockout_ports", raw, problems)).unwrap_or_default();
    PortRange::normalize(listed.into_iter().map(|(range, _)| range).collect())
}

/// Judges all rules of one file. `guarded`: ports that must stay open besides [`LOCKOUT_PORTS`]; `None`: any may be closed. What is refused is noted in `problems`, and then the result is not to be used.
pub(crate) fn rules(
    raw: Vec<Spanned<Table<RawRule>>>,
    guarded: Option<&[PortRange]>,
    sources: &mut SourceCount,
    problems: &mut Problems<'_>,
) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::with_capacity(raw.len());
    let mut claims = Vec::new();
    let mut names: HashMap<String, Range<usize>> = HashMap::new();
    let mut groups = 0;
    for raw in raw {
        let header = raw.span();
        let Table(raw) = raw.into_inner();
        let name = name(raw.name, &header, &mut names, problems);
        let access = raw.access.unwrap_or_else(|| {
            problems.push(&header, || {
                ("access: missing; this [[rule]] must say \"public\", \"cluster\" or \"closed\"".to_owned(), None)
            });
            Access::Cluster
        });
        let protocols = protocols(raw.protocols, problems);
        let also_span = raw.also_allow.as_ref().map(Spanned::span);
        let also_allow = also_allow(raw.also_allow, sources, problems);
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
        let ports = PortRange::normalize(ports);
        let note = note(raw.note, problems);
        rules.push(Rule { name, ports, protocols, access, also_allow, note });
    }
    refuse_overlaps(claims, &rules, problems);
    rules
}

fn name(
    raw: Option<Spanned<String>>,
    header: &Range<usize>,
    names: &mut HashMap<String, Range<usize>>,
    problems: &mut Problems<'_>,
) -> String {
    let Some(raw) = raw else {
        problems
            .push(header, || ("name: missing; this [[rule]] needs a name such as \"jmx-from-ops\"".to_owned(), None));
        return String::new();
    };
    let span = raw.span();
    let name = raw.into_inner();
    if let Err(error) = judge_name(&name) {
        problems.value(&span, "name", error);
    } else if let Some(first) = names.get(&name) {
        let place = problems.source.place(first.start);
        problems.push(&span, || {
            (format!("name: {name:?} is taken by the rule at {place}; expected a name of its own"), None)
        });
    } else {
        names.insert(name.clone(), span);
    }
    name
}

fn judge_name(name: &str) -> Result<(), ValueError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > MAX_RULE_NAME_BYTES || !name.bytes().all(plain) {
        return Err(ValueError::new(format!(
            "{name:?} is not a rule name; expected 1 to {MAX_RULE_NAME_BYTES} of a-z, 0-9, \"_\" and \"-\""
        )));
    }
    if RESERVED_RULE_NAMES.contains(&name) {
        return Err(ValueError::new(format!("{name:?} is reserved: outputs use it for what belongs to no class"))
            .help(format!("reserved names: {}", RESERVED_RULE_NAMES.join(", "))));
    }
    Ok(())
}

fn ports(
    raw: Option<List<RawPort>>,
    header: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Vec<(PortRange, Range<usize>)> {
    let Some(raw) = raw else {
        problems.push(header, || {
            ("ports: missing; this [[rule]] needs ports such as [\"9042\", \"5701-5711\"]".to_owned(), None)
        });
        return Vec::new();
    };
    if raw.get_ref().is_empty() {
        problems.push(&raw.span(), || {
            ("ports: an empty list names no port; expected at least one such as \"9042\"".to_owned(), None)
        });
    }
    port_list("ports", raw, problems)
}

fn port_list(key: &str, raw: List<RawPort>, problems: &mut Problems<'_>) -> Vec<(PortRange, Range<usize>)> {
    let mut ports = Vec::with_capacity(raw.get_ref().len());
    for entry in raw.into_inner() {
        let parsed = match entry.get_ref() {
            RawPort::Text(text) => text.parse(),
            RawPort::Integer(port) => PortRange::from_integer(*port),
            RawPort::Other(found) => Err(not_a_port(found)),
        };
        match parsed {
            Ok(range) => ports.push((range, entry.span())),
            Err(error) => problems.value(&entry.span(), key, error),
        }
    }
    ports
}

fn protocols(raw: Option<Spanned<Vec<Protocol>>>, problems: &mut Problems<'_>) -> Vec<Protocol> {
    let Some(raw) = raw else { return Protocol::ALL.to_vec() };
    if raw.get_ref().is_empty() {
        problems.push(&raw.span(), || {
            ("protocols: an empty list names no protocol; expected \"tcp\", \"udp\" or both".to_owned(), None)
        });
    }
    raw.into_inner().into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn also_allow(raw: Option<List<String>>, sources: &mut SourceCount, problems: &mut Problems<'_>) -> Vec<IpNet> {
    let mut allowed = BTreeSet::new();
    for entry in raw.map(Spanned::into_inner).unwrap_or_default() {
        match parse_allowed(entry.get_ref()).and_then(|net| sources.add(net).map(|()| net)) {
            Ok(net) => drop(allowed.insert(net)),
            Err(error) => problems.value(&entry.span(), "also_allow", error),
        }
    }
    allowed.into_iter().collect()
}

fn judge_group(span: &Range<usize>, access: Access, groups: &mut usize, problems: &mut Problems<'_>) {
    if access == Access::Public {
        problems.push(span, || {
            (
                "also_allow: access = \"public\" lets everyone in already".to_owned(),
                Some("leave also_allow out, or set access = \"cluster\" or \"closed\"".to_owned()),
            )
        });
        return;
    }
    *groups += 1;
    if *groups > MAX_RULE_GROUPS {
        problems.push(span, || {
            (
                format!(
                    "also_allow: rule number {groups} with also_allow; at most {MAX_RULE_GROUPS} rules may have it"
                ),
                Some("join rules that let the same sources in".to_owned()),
            )
        });
    }
}

fn refuse_lockout(
    range: PortRange,
    access: Access,
    guarded: &[PortRange],
    span: &Range<usize>,
    problems: &mut Problems<'_>,
) {
    let known = LOCKOUT_PORTS.iter().copied().find(|(port, _)| range.contains(*port));
    let listed = || {
        let own = guarded.iter().find(|own| own.first() <= range.last() && range.first() <= own.last())?;
        Some((own.first().max(range.first()), "of lockout_ports"))
    };
    if let Some((port, service)) = known.or_else(listed) {
        problems.push(span, || {
            (
                format!("ports: {range} with access = \"{access}\" closes port {port} ({service}) and may cut you off"),
                Some("to do it all the same, set allow_lockout = true at the top of the file".to_owned()),
            )
        });
    }
}

fn note(raw: Option<Spanned<String>>, problems: &mut Problems<'_>) -> Option<String> {
    let raw = raw?;
    let text = raw.get_ref();
    if text.chars().count() > MAX_NOTE_CHARS || text.chars().any(char::is_control) {
        problems
            .push(&raw.span(), || (format!("note: expected one line of at most {MAX_NOTE_CHARS} characters"), None));
    }
    Some(raw.into_inner())
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
    let place = problems.source.place(earlier.span.start);
    let port = earlier.ports.first().max(later.ports.first());
    problems.push(&later.span, || {
        (
            format!(
                "ports: {} of rule {:?} overlaps {} of rule {:?} at {place}: both name port {port} ({})",
                later.ports,
                name(later),
                earlier.ports,
                name(earlier),
                later.protocol
            ),
            Some("a port and protocol belongs to one rule: take it out of the other".to_owned()),
        )
    });
}
