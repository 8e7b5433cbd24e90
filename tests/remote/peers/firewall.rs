//! The source `vendor_firewall`: the vendor's form of rule, through the system's own tools in a namespace, and what is no peer.

use nodewall::peers::{Source, VendorFirewall};
use nodewall_host::net::Listing;
use nodewall_policy::config::show;
use nodewall_testbed::{NetNs, skip_unless_privileged};

/// As Dynatrace Managed's own firewall service writes them.
const PORTS: &str = "5701:5711,7000,7001,7199,8018,8019,8020,8021,9042,9200,9300";

/// What the source says of the rules of a namespace.
fn ask(namespace: &NetNs) -> Result<Vec<String>, String> {
    namespace
        .run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let answer = runtime.block_on(async { VendorFirewall::new().fetch().await });
            answer.map(|answer| answer.peers.iter().map(show).collect()).map_err(|error| error.to_string())
        })
        .unwrap()
}

fn accept(namespace: &NetNs, tool: &'static str, source: &str) {
    let rule = ["-w", "-A", "INPUT", "-s", source, "-p", "tcp", "-m", "multiport", "--dports", PORTS, "-j", "ACCEPT"];
    // Multiport takes 15 ports, a range counting twice; these are 12.
    namespace.tool(tool, &rule).unwrap();
}

/// The tools of one kind: IPv4's and IPv6's.
fn peers_of_the_real_tools(label: &str, tools: [&'static str; 2]) {
    let namespace = NetNs::create(label).unwrap();
    let error = ask(&namespace).unwrap_err();
    assert!(error.contains("no rule of iptables lets a source in"), "{error}");
    for (tool, sources) in
        tools.into_iter().zip([["10.0.0.2", "10.0.0.3", "10.4.0.0/16"], ["fd00::2", "fd00::3", "fd00:1::/48"]])
    {
        for source in sources {
            accept(&namespace, tool, source);
        }
        namespace.tool(tool, &["-w", "-A", "INPUT", "-p", "tcp", "--dport", "9042", "-j", "DROP"]).unwrap();
    }
    let expected = ["10.0.0.2", "10.0.0.3", "10.4.0.0/16", "fd00::2", "fd00::3", "fd00:1::/48"];
    assert_eq!(ask(&namespace).unwrap(), expected);
    // A node joins; another leaves.
    accept(&namespace, tools[0], "10.0.0.9");
    namespace.tool(tools[0], &["-w", "-D", "INPUT", "1"]).unwrap();
    // An operator's session and a web client are no peers.
    for (source, port) in [("198.51.100.1", "22"), ("198.51.100.2", "443"), ("198.51.100.3", "8022")] {
        let rule = ["-w", "-A", "INPUT", "-s", source, "-p", "tcp", "--dport", port, "-j", "ACCEPT"];
        namespace.tool(tools[0], &rule).unwrap();
    }
    // Nor is who is let in by one port only in another protocol.
    let rule = ["-w", "-A", "INPUT", "-s", "198.51.100.4", "-p", "udp", "--dport", "9042", "-j", "ACCEPT"];
    namespace.tool(tools[0], &rule).unwrap();
    // Behind the rule that drops everybody at 9042, 7000 is still open to it.
    let rule = [
        "-w",
        "-A",
        "INPUT",
        "-s",
        "10.0.0.7",
        "-p",
        "tcp",
        "-m",
        "multiport",
        "--dports",
        "9042,7000",
        "-j",
        "ACCEPT",
    ];
    namespace.tool(tools[0], &rule).unwrap();
    let rule = ["-w", "-A", "INPUT", "-s", "10.0.0.8", "-p", "tcp", "--dport", "9042", "-j", "ACCEPT"];
    namespace.tool(tools[0], &rule).unwrap();
    let expected = ["10.0.0.3", "10.0.0.7", "10.0.0.9", "10.4.0.0/16", "fd00::2", "fd00::3", "fd00:1::/48"];
    assert_eq!(ask(&namespace).unwrap(), expected);
}

#[test]
fn peers_from_iptables_over_nftables() {
    if skip_unless_privileged("peers_from_iptables_over_nftables") {
        return;
    }
    peers_of_the_real_tools("fw-nft", ["iptables-nft", "ip6tables-nft"]);
}

#[test]
fn peers_from_legacy_iptables() {
    if skip_unless_privileged("peers_from_legacy_iptables") {
        return;
    }
    // A kernel may be built without it.
    let probe = NetNs::create("fw-probe").unwrap();
    if let Err(error) = probe.tool("iptables-legacy", &["-w", "-L"]) {
        println!("SKIPPED peers_from_legacy_iptables: {error}");
        return;
    }
    peers_of_the_real_tools("fw-legacy", ["iptables-legacy", "ip6tables-legacy"]);
}

fn read(tool: &'static str, rules: &str) -> Result<Vec<String>, String> {
    let text = format!("*filter\n:INPUT DROP [0:0]\n:DYN - [0:0]\n:NODES - [0:0]\n{rules}\nCOMMIT\n");
    let answer = VendorFirewall::read(&[Listing { tool, answer: Ok(text) }]);
    answer.map(|answer| answer.peers.iter().map(show).collect()).map_err(|error| error.to_string())
}

#[track_caller]
fn peers(rules: &str, expected: &[&str]) {
    assert_eq!(read("iptables-save", rules).unwrap_or_default(), expected, "{rules}");
}

#[test]
fn rules_in_chains_of_their_own() {
    peers(
        "-A INPUT -j DYN\n-A DYN -s 10.0.0.2/32 -p tcp -m multiport --dports 5701:5711,9042 -j ACCEPT",
        &["10.0.0.2"],
    );
    peers("-A INPUT -p tcp -m tcp --dport 9042 -g DYN\n-A DYN -s 10.0.0.0/24 -j ACCEPT", &["10.0.0.0/24"]);
    peers(
        "-A INPUT -s 10.0.0.0/24 -j NODES\n-A NODES -s 10.0.0.2/32 -j DYN\n-A NODES -s 10.1.0.2/32 -j DYN\n\
         -A DYN -p tcp --dport 7000 -j ACCEPT",
        &["10.0.0.2"],
    );
    // A chain that nobody jumps to, and one that jumps in a circle.
    peers("-A DYN -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT", &[]);
    peers(
        "-A INPUT -j DYN\n-A DYN -j NODES\n-A NODES -j DYN\n-A NODES -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT",
        &["10.0.0.2"],
    );
}

#[test]
fn who_is_no_peer() {
    for rules in [
        // Everybody, all but one, a node to itself.
        "-A INPUT -p tcp --dport 9042 -j ACCEPT",
        "-A INPUT ! -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT",
        "-A INPUT -s 10.0.0.2/32 -p tcp -m multiport ! --dports 9042 -j ACCEPT",
        "-A INPUT -i lo -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT",
        "-A INPUT -s 127.0.0.1/32 -p tcp --dport 9042 -j ACCEPT",
        // At all ports alike: a jump host, not a node.
        "-A INPUT -s 10.0.0.2/32 -j ACCEPT",
        "-A INPUT -s 10.0.0.2/32 -p udp --dport 9042 -j ACCEPT",
        "-A INPUT -s 10.0.0.2/32 -p tcp --dport 8022 -j ACCEPT",
        "-A INPUT -s 10.0.0.2/32 -p tcp --dport 9042 -j DROP",
        "-A INPUT -s 10.0.0.2/32 -p tcp --dport 9042 -j LOG",
        "-A INPUT -s 10.0.0.2/32 -p tcp --dport 9042 -m state --state ESTABLISHED -j ACCEPT",
        // On a condition that is not understood.
        "-A INPUT -s 10.0.0.2/32 -p tcp --dport 9042 -m limit --limit 5/min -j ACCEPT",
        // Too wide for a peer.
        "-A INPUT -s 10.0.0.0/7 -p tcp --dport 9042 -j ACCEPT",
        "-A INPUT -s 0.0.0.0/0 -p tcp --dport 9042 -j ACCEPT",
        // Dropped before.
        "-A INPUT -s 10.0.0.2/32 -j DROP\n-A INPUT -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT",
        // Not what comes in.
        "-A FORWARD -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT",
    ] {
        peers(rules, &[]);
    }
    let nat = "*nat\n:INPUT ACCEPT [0:0]\n-A INPUT -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT\nCOMMIT\n";
    assert!(VendorFirewall::read(&[Listing { tool: "iptables-save", answer: Ok(nat.into()) }]).is_err());
    assert_eq!(
        read("ip6tables-save", "-A INPUT -s fd00::/31 -p tcp --dport 9042 -j ACCEPT").unwrap_or_default(),
        [""; 0]
    );
    assert_eq!(read("ip6tables-save", "-A INPUT -s fd00::/32 -p tcp --dport 9042 -j ACCEPT").unwrap(), ["fd00::/32"]);
    peers("-A INPUT -i eth0 -s 10.0.0.2/32 -p tcp -m conntrack --ctstate NEW --dport 9042 -j ACCEPT", &["10.0.0.2"]);
}

#[test]
fn a_host_without_the_tool_or_with_one_that_fails_says_so() {
    let error = VendorFirewall::read(&[]).unwrap_err().to_string();
    assert!(error.contains("iptables-save") && error.contains("install iptables"), "{error}");
    let nft = Listing { tool: "nft", answer: Ok("{\"nftables\": []}".into()) };
    assert_eq!(VendorFirewall::read(&[nft]).unwrap_err().to_string(), error);
    let rules = "*filter\n-A INPUT -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT\nCOMMIT\n";
    let half = [
        Listing { tool: "iptables-save", answer: Ok(rules.into()) },
        Listing { tool: "ip6tables-save", answer: Err("no permission".into()) },
    ];
    let error = VendorFirewall::read(&half).unwrap_err().to_string();
    assert!(error.contains("ip6tables-save: no permission") && error.contains("CAP_NET_ADMIN"), "{error}");
}
