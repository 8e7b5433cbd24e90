//! `[[interface]]` tables: what differs from the rest on single interfaces.

use std::collections::BTreeMap;
use std::ops::Range;

use super::enums::InterfaceAttach;
use super::error::ValueError;
use super::given::{List, Table};
use super::interface::InterfacePattern;
use super::interface_peers::InterfacePeers;
use super::problems::Problems;
use super::schema::RawInterface;

/// Interfaces whose peers a policy can tell apart. Each costs every frame a comparison.
const MAX_WITH_PEERS: usize = 4;

/// What is said of single interfaces, by their names.
#[derive(Default)]
pub(super) struct Interfaces {
    pub(super) attach: BTreeMap<String, InterfaceAttach>,
    pub(super) peers: BTreeMap<String, InterfacePeers>,
}

/// Judges `[[interface]]`. `interfaces`: those that are filtered; none: the default set. What is refused is noted in `problems`.
pub(super) fn interfaces(
    raw: List<Table<RawInterface>>,
    interfaces: &[InterfacePattern],
    problems: &mut Problems<'_>,
) -> Interfaces {
    let mut judged = Interfaces::default();
    let mut places: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for raw in raw.elements() {
        let header = raw.span();
        let Table(raw) = raw.into_inner();
        let Some(span) = raw.name.span() else {
            problems.push(&header, "name: missing; this [[interface]] needs one such as \"eth1\"".to_owned(), None);
            continue;
        };
        if raw.attach.span().is_none() && raw.peers.span().is_none() {
            let message = "this [[interface]] says nothing: it needs `attach`, `peers` or both".to_owned();
            problems.push(&header, message, None);
            continue;
        }
        let (attach, peers) = (raw.attach.value(), problems.take(raw.peers));
        let Some(pattern) = problems.take(raw.name) else { continue };
        let name = match judge(&pattern, attach, peers.as_ref(), interfaces) {
            Ok(name) => name.to_owned(),
            Err(error) => {
                problems.refuse(&span, error);
                continue;
            }
        };
        if let Some(first) = places.get(&name) {
            let place = problems.place(first);
            let error = format!("{name:?} has a table at {place} already; expected one for each interface");
            problems.refuse(&span, ValueError::new(error));
            continue;
        }
        judged.attach.extend(attach.map(|attach| (name.clone(), attach)));
        judged.peers.extend(peers.filter(|peers| *peers != InterfacePeers::All).map(|peers| (name.clone(), peers)));
        if judged.peers.len() > MAX_WITH_PEERS {
            let error = format!("more than {MAX_WITH_PEERS} interfaces have peers of their own");
            problems.refuse(
                &span,
                ValueError::new(error).help("filter the others by `also_allow` of rules, or leave `peers` out"),
            );
            break;
        }
        places.insert(name, span);
    }
    judged
}

fn judge<'a>(
    pattern: &'a InterfacePattern,
    attach: Option<InterfaceAttach>,
    peers: Option<&InterfacePeers>,
    interfaces: &[InterfacePattern],
) -> Result<&'a str, ValueError> {
    let Some(name) = pattern.exact() else {
        let error = format!("\"{pattern}\" is a pattern; an [[interface]] is for one interface, such as \"eth1\"");
        return Err(ValueError::new(error));
    };
    let open = attach == Some(InterfaceAttach::None);
    if open && peers.is_some() {
        let error = format!("{name:?} is to be left open, so nothing judges who comes in by it");
        return Err(ValueError::new(error).help("take `peers` out, or attach it"));
    }
    if open && interfaces.iter().any(|pattern| pattern.exact() == Some(name)) {
        let error = format!("{name:?} is named in `interfaces`, and is to be left open here");
        return Err(ValueError::new(error).help("take it out of one of the two"));
    }
    if !open && !interfaces.is_empty() && !interfaces.iter().any(|p| p.matches(name)) {
        let error = format!("nothing in `interfaces` means {name:?}, so it would not be attached");
        return Err(ValueError::new(error).help("add it to `interfaces`, too"));
    }
    Ok(name)
}
