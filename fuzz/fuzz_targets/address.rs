//! Any text as an address or prefix, read as a peer, an extra source and a bound. What is taken is a network that means itself when it is written
//! down again and holds no address that it must not; what is refused is refused in one printable line.
#![no_main]

use std::net::IpAddr;

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use nodewall_policy::config::{
    MIN_PEER_PREFIX_V4_BITS, MIN_PEER_PREFIX_V6_BITS, ValueError, parse_allowed, parse_bound, parse_peer, parse_prefix,
    show,
};

/// Addresses that no peer's prefix may hold.
const NOBODY: [&str; 10] = [
    "0.0.0.0",
    "127.0.0.1",
    "127.255.255.255",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "::",
    "::1",
    "ff02::1",
    "::ffff:10.0.0.1",
];

fuzz_target!(|text: &str| {
    let prefix = told(parse_prefix(text));
    let readings = [told(parse_peer(text)), told(parse_allowed(text)), told(parse_bound(text))];
    for net in readings.into_iter().flatten() {
        assert_eq!(Some(net), prefix, "{text:?} is one network for one reader and another for the next");
        assert_ne!(net.prefix_len(), 0, "{text:?} is everything");
    }
    if let Some(net) = prefix {
        assert_eq!(net.addr(), net.network(), "{text:?} has host bits");
        assert_eq!(parse_prefix(&show(&net)).ok(), Some(net), "{text:?} shown as {:?}", show(&net));
    }
    let [peer, allowed, bound] = readings;
    if let Some(peer) = peer {
        is_a_peer(peer);
        assert!(allowed.is_some() && bound.is_some(), "{text:?} may be a peer and no extra source or bound");
    }
});

fn is_a_peer(peer: IpNet) {
    let least_bits = match peer {
        IpNet::V4(_) => MIN_PEER_PREFIX_V4_BITS,
        IpNet::V6(_) => MIN_PEER_PREFIX_V6_BITS,
    };
    assert!(peer.prefix_len() >= least_bits, "{peer} is too wide");
    for nobody in NOBODY {
        let nobody: IpAddr = nobody.parse().expect("an address");
        assert!(!peer.contains(&nobody), "the peer {peer} holds {nobody}");
    }
    let mapped = matches!(peer, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some());
    assert!(!mapped, "the peer {peer} is IPv4-mapped");
}

/// What was taken; a refusal must be one line without control characters: it goes to terminals and logs.
fn told(outcome: Result<IpNet, ValueError>) -> Option<IpNet> {
    let error = match outcome {
        Ok(net) => return Some(net),
        Err(error) => error,
    };
    for line in [Some(error.message), error.help].into_iter().flatten() {
        assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?}");
    }
    None
}
