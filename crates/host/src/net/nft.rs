//! The output of `nft -j list ruleset` (libnftables-json(5)), as far as it is about ports and addresses. Must not know what a rule is looked at for.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde_json::Value;

use nodewall_policy::config::{PortRange, PortSet};

/// All objects of one kind: `rule`, `chain`, `set`.
///
/// # Errors
/// When the text is not JSON.
pub(super) fn objects(json: &str, kind: &str) -> Result<Vec<Value>, String> {
    let mut parsed: Value =
        serde_json::from_str(json).map_err(|error| format!("nft -j list ruleset: not JSON: {error}"))?;
    let objects = parsed.get_mut("nftables").and_then(Value::as_array_mut);
    Ok(objects.into_iter().flatten().filter_map(|object| object.get_mut(kind).map(Value::take)).collect())
}

/// The text of a key; `?` where there is none.
pub(super) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or("?")
}

/// The statements of a rule.
pub(super) fn statements(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.get("expr").and_then(Value::as_array).into_iter().flatten()
}

/// One port.
pub(super) fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok())
}

/// A port, a range, a set of such, or a map whose values are such. `None`: anything else.
pub(super) fn ports(expression: &Value) -> Option<PortSet> {
    if let Some(port) = port(expression) {
        return PortRange::new(port, port).map(PortSet::from);
    }
    if let Some([first, last]) = expression.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return PortRange::new(port(first)?, port(last)?).map(PortSet::from);
    }
    let all = |sets: Option<Vec<PortSet>>| Some(sets?.iter().flatten().copied().collect());
    if let Some(elements) = expression.get("set").and_then(Value::as_array) {
        return all(elements.iter().map(ports).collect());
    }
    let data = expression.get("map").and_then(|map| map.get("data")).and_then(|data| data.get("set"));
    all(data?.as_array()?.iter().map(|element| ports(element.get(1)?)).collect())
}

/// What stands left of the operator.
pub(super) enum Left<'v> {
    Payload(&'v str, &'v str),
    Meta(&'v str),
}

/// The same, of a condition.
pub(super) fn left(condition: &Value) -> Option<Left<'_>> {
    let left = condition.get("left")?;
    if let Some(field) = left.get("payload") {
        return Some(Left::Payload(text(field, "protocol"), text(field, "field")));
    }
    if let Some([meta, _mask]) = left.get("&").and_then(Value::as_array).map(Vec::as_slice) {
        return meta.get("meta").filter(|meta| text(meta, "key") == "mark").map(|_| Left::Meta("mark"));
    }
    left.get("meta").map(|meta| Left::Meta(text(meta, "key")))
}

/// An address or a prefix.
pub(super) fn net(value: &Value) -> Option<IpNet> {
    if let Some(prefix) = value.get("prefix") {
        let length = prefix.get("len").and_then(Value::as_u64).and_then(|length| u8::try_from(length).ok())?;
        return IpNet::new(text(prefix, "addr").parse().ok()?, length).ok();
    }
    value.as_str()?.parse::<IpAddr>().ok().map(IpNet::from)
}

/// An address, a prefix, or a range of addresses as prefixes.
pub(super) fn nets(value: &Value) -> Option<Vec<IpNet>> {
    let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) else {
        return net(value).map(|net| vec![net]);
    };
    let address = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    Some(match (address(first)?, address(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
        (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
        _ => return None,
    })
}
