//! `[mission_control]`: whom it means, and what is refused.

use std::net::IpAddr;

use super::super::{Config, MISSION_CONTROL_ADDRESSES, MissionControl};
use super::{Case, assert_refusals};

fn meant(text: &str) -> MissionControl {
    Config::parse(text, "nodewall.toml").unwrap().mission_control
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_vendors_addresses_unless_said_otherwise() {
    assert_eq!(Config::embedded().mission_control, meant(""));
    for text in ["", "[profile]\nname = \"dynatrace-managed-current\"\n", "[mission_control]\nenabled = true\n"] {
        let vendor = MissionControl { addresses: MISSION_CONTROL_ADDRESSES.to_vec(), port: 443 };
        assert_eq!(meant(text), vendor, "{text}");
    }
    for text in
        ["[profile]\nname = \"none\"\n", "[mission_control]\nenabled = false\n", "[mission_control]\naddresses = []\n"]
    {
        assert!(meant(text).addresses.is_empty(), "{text}");
    }
    let proxy = "[mission_control]\naddresses = [\"fd00::8\", \"10.0.9.9\", \"10.0.9.9\"]\nport = 3128\n";
    assert_eq!(meant(proxy), MissionControl { addresses: addresses(&["10.0.9.9", "fd00::8"]), port: 3_128 });
}

#[test]
fn what_is_no_hosts_address_or_port_is_refused() {
    const CASES: &[Case] = &[
        ("[mission_control]\naddresses = [▶\"mcsvc.dynatrace.com\"]\n", "is not an address"),
        ("[mission_control]\naddresses = [▶\"52.5.224.0/24\"]\n", "is not an address"),
        ("[mission_control]\naddresses = [▶\"0.0.0.0\"]\n", "no host's address"),
        ("[mission_control]\naddresses = [▶\"224.0.0.1\"]\n", "no host's address"),
        ("[mission_control]\naddresses = ▶\"52.5.224.56\"\n", "expected a list"),
        ("[mission_control]\nport = ▶0\n", "is not a port"),
        ("[mission_control]\nport = ▶\"443-444\"\n", "is a range"),
        ("[mission_control]\nenabled = ▶1\n", "expected true or false"),
        ("[mission_control]\n▶address = []\n", "unknown key \"address\""),
        (
            "[mission_control]\naddresses = ▶[\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\", \"10.0.0.5\", \"10.0.0.6\", \"10.0.0.7\", \"10.0.0.8\", \"10.0.0.9\"]\n",
            "at most 8 fit",
        ),
    ];
    assert_refusals(CASES);
}
