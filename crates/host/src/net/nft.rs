//! The output of `nft -j list ruleset` (libnftables-json(5)), as far as it is about ports. Must not know what a rule is looked at for.

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
