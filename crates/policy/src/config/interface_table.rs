//! `[[interface]]` tables: what differs from the rest on single interfaces.

use std::collections::BTreeMap;
use std::ops::Range;

use super::enums::InterfaceAttach;
use super::error::ValueError;
use super::given::{List, Table};
use super::interface::InterfacePattern;
use super::problems::Problems;
use super::schema::RawInterface;

/// Judges `[[interface]]`. `interfaces`: those that are filtered; none: the default set. What is refused is noted in `problems`.
pub(super) fn attach(
    raw: List<Table<RawInterface>>,
    interfaces: &[InterfacePattern],
    problems: &mut Problems<'_>,
) -> BTreeMap<String, InterfaceAttach> {
    let mut attach = BTreeMap::new();
    let mut places: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for raw in raw.elements() {
        let header = raw.span();
        let Table(raw) = raw.into_inner();
        let Some(span) = raw.name.span() else {
            problems.push(&header, "name: missing; this [[interface]] needs one such as \"eth1\"".to_owned(), None);
            continue;
        };
        let Some(how) = raw.attach.value() else {
            let message = "attach: missing; this [[interface]] must say \"native\", \"generic\" or \"none\"";
            problems.push(&header, message.to_owned(), None);
            continue;
        };
        let Some(pattern) = problems.take(raw.name) else { continue };
        let name = match judge(&pattern, how, interfaces) {
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
        attach.insert(name.clone(), how);
        places.insert(name, span);
    }
    attach
}

fn judge<'a>(
    pattern: &'a InterfacePattern,
    how: InterfaceAttach,
    interfaces: &[InterfacePattern],
) -> Result<&'a str, ValueError> {
    let Some(name) = pattern.exact() else {
        let error = format!("\"{pattern}\" is a pattern; an [[interface]] is for one interface, such as \"eth1\"");
        return Err(ValueError::new(error));
    };
    let named = interfaces.iter().any(|pattern| pattern.exact() == Some(name));
    if how == InterfaceAttach::None && named {
        let error = format!("{name:?} is named in `interfaces`, and is to be left open here");
        return Err(ValueError::new(error).help("take it out of one of the two"));
    }
    if how != InterfaceAttach::None && !interfaces.is_empty() && !interfaces.iter().any(|p| p.matches(name)) {
        let error = format!("nothing in `interfaces` means {name:?}, so it would not be attached");
        return Err(ValueError::new(error).help("add it to `interfaces`, too"));
    }
    Ok(name)
}
