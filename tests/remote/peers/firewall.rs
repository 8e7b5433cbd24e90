//! The source `vendor_firewall`: the vendor's own rules, and firewalld's, through the system's own tools in a namespace, and what is no peer.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use nodewall::peers::{Source, VendorFirewall};
use nodewall_host::net::{Listing, listings, tcp_redirects};
use nodewall_policy::config::show;
use nodewall_testbed::{NetNs, skip_unless_privileged};

/// What `dynatrace.sh check` prints of iptables, as Dynatrace's documentation of Managed shows it (page "Start/stop/restart a node"). Rules only; its
/// blank lines are left out.
const VENDOR: &str = include_str!("vendor/dynatrace.sh-check.txt");
/// What firewalld 1.3.3 (Debian 12) had in force after the commands of Dynatrace's own script for clusters whose dynatrace-firewall is off (services
/// DT-Managed-Cluster-Private and -Public, zone DT-Managed-Nodes), with these nodes: `nft list ruleset`, and with FirewallBackend=iptables the filter
/// tables of `iptables-save` and `ip6tables-save`.
const FIREWALLD_NODES: [&str; 4] = ["10.77.0.11", "10.77.0.12", "10.77.0.13", "2001:db8:1::11"];

/// Ports of a cluster's own, in the form of `--dports`.
const PORTS: &str = "5701:5711,7000,7001,7199,8018,8019,8020,8021,9042,9200,9300";

/// What the source says of the rules of a namespace.
fn ask(namespace: &NetNs) -> Result<Vec<String>, String> {
    ask_of(namespace, VendorFirewall::new())
}

fn ask_of(namespace: &NetNs, mut source: VendorFirewall) -> Result<Vec<String>, String> {
    namespace
        .run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let answer = runtime.block_on(async { source.fetch().await });
            answer.map(|answer| answer.peers.iter().map(show).collect()).map_err(|error| error.to_string())
        })
        .unwrap()
}

fn accept(namespace: &NetNs, tool: &'static str, source: &str) {
    let rule = ["-w", "-A", "INPUT", "-s", source, "-p", "tcp", "-m", "multiport", "--dports", PORTS, "-j", "ACCEPT"];
    // Multiport takes 15 ports, a range counting twice; these are 12.
    namespace.tool(tool, &rule).unwrap();
}

/// The vendor's rules, for two nodes: each goes before those that the page names before it, for the first one drops what the others do not take.
fn write_as_the_vendor(namespace: &NetNs, tool: &'static str, nodes: [&str; 2]) {
    let mut written = 0;
    for line in VENDOR.lines().filter_map(|line| line.strip_prefix("Rule is present in '")) {
        let (table, rule) = line.split_once("': ").unwrap();
        let for_each = if rule.contains(" -s ") { &nodes[..] } else { &nodes[..1] };
        for node in for_each {
            let rule = rule.replace("10.10.10.10/32", node);
            let words = ["-w", "-t", table, "-I"].into_iter().chain(rule.split(' ')).collect::<Vec<_>>();
            namespace.tool(tool, &words).unwrap();
            written += 1;
        }
    }
    assert_eq!(written, 9);
}

/// The tools of one kind: IPv4's and IPv6's.
fn vendor_s_rules(label: &str, [four, six]: [&'static str; 2]) {
    let namespace = NetNs::create(label).unwrap();
    write_as_the_vendor(&namespace, four, ["10.10.10.10", "10.10.10.11"]);
    assert_eq!(ask(&namespace).unwrap(), ["10.10.10.10", "10.10.10.11"]);
    write_as_the_vendor(&namespace, six, ["fd00::10", "fd00::11"]);
    assert_eq!(ask(&namespace).unwrap(), ["10.10.10.10", "10.10.10.11", "fd00::10", "fd00::11"]);
    let redirects = namespace.run(|| tcp_redirects(&listings())).unwrap();
    assert!(!redirects.is_empty());
    assert!(redirects.iter().all(|to| (to.from.to_string().as_str(), to.to) == ("443", 8022)), "{redirects:?}");
}

fn peers_of_the_real_tools(label: &str, tools: [&'static str; 2]) {
    let namespace = NetNs::create(label).unwrap();
    let error = ask(&namespace).unwrap_err();
    assert!(error.contains("no rule of iptables or firewalld lets a source in"), "{error}");
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
    vendor_s_rules("fw-vnft", ["iptables-nft", "ip6tables-nft"]);
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
    vendor_s_rules("fw-vleg", ["iptables-legacy", "ip6tables-legacy"]);
}

#[test]
fn peers_from_the_sources_of_a_zone_of_firewalld() {
    if skip_unless_privileged("peers_from_the_sources_of_a_zone_of_firewalld") {
        return;
    }
    let file = |name: &str| format!("{}/tests/remote/peers/vendor/{name}", env!("CARGO_MANIFEST_DIR"));
    let over_nft = NetNs::create("fw-zone").unwrap();
    over_nft.tool("nft", &["-f", &file("firewalld.nft")]).unwrap();
    assert_eq!(ask(&over_nft).unwrap(), FIREWALLD_NODES);
    // A set of addresses is a zone's source, too; whoever the zone refuses is no peer, nor is whom another table of nftables lets in.
    over_nft
        .tool(
            "nft",
            &["add set inet firewalld nodes { type ipv4_addr; flags interval; elements = { 10.78.0.0/24, 10.79.0.1-10.79.0.2 }; }; \
               insert rule inet firewalld filter_INPUT_ZONES ip saddr @nodes goto filter_IN_DT-Managed-Nodes; \
               insert rule inet firewalld filter_INPUT_ZONES ip saddr 10.77.0.12 drop; \
               insert rule inet firewalld filter_INPUT_ZONES ip saddr 198.51.100.7 goto filter_IN_public; \
               add table inet site; add chain inet site in { type filter hook input priority 0; }; \
               add rule inet site in ip saddr 198.51.100.9 tcp dport 9200 accept"],
        )
        .unwrap();
    let expected = ["10.77.0.11", "10.77.0.13", "10.78.0.0/24", "10.79.0.1", "10.79.0.2", "2001:db8:1::11"];
    assert_eq!(ask(&over_nft).unwrap(), expected);

    let over_iptables = NetNs::create("fw-zonei").unwrap();
    over_iptables.tool("iptables-nft-restore", &[&file("firewalld.save")]).unwrap();
    over_iptables.tool("ip6tables-nft-restore", &[&file("firewalld.save6")]).unwrap();
    assert_eq!(ask(&over_iptables).unwrap(), FIREWALLD_NODES);
}

#[test]
fn peers_from_the_service_s_file_where_no_rule_names_one() {
    if skip_unless_privileged("peers_from_the_service_s_file_where_no_rule_names_one") {
        return;
    }
    let namespace = NetNs::create("fw-conf").unwrap();
    let place = tempfile::tempdir().unwrap();
    let (product, service) =
        (place.path().join("dynatrace.conf"), place.path().join("firewall/services/firewall.conf"));
    let ask = |product: &Path| ask_of(&namespace, VendorFirewall::installed(product));
    // Neither the software nor a rule.
    let error = ask(&product).unwrap_err();
    assert!(error.contains("no rule of iptables or firewalld") && error.contains("Dynatrace Managed is on"), "{error}");
    // Both files as that script of Dynatrace's reads them: `PRODUCT_PATH =` and `CLUSTER_NODES=`, the nodes with commas between them.
    fs::write(
        &product,
        format!("PRODUCT_PATH = {}\nDATASTORE_PATH = /var/opt/dynatrace-managed\n", place.path().display()),
    )
    .unwrap();
    assert_eq!(ask(&product).unwrap_err(), error);
    fs::create_dir_all(service.parent().unwrap()).unwrap();
    let write = |text: &str| fs::write(&service, text).unwrap();
    write("CLUSTER_NODES=172.24.69.72,172.24.69.74,172.24.69.75\n");
    assert_eq!(ask(&product).unwrap(), ["172.24.69.72", "172.24.69.74", "172.24.69.75"]);
    write("CLUSTER_NODES=172.24.69.72,node-2\n");
    let error = ask(&product).unwrap_err();
    assert!(
        error.contains("no rule of iptables") && error.contains("firewall.conf: ") && error.contains("node-2"),
        "{error}"
    );
    write("CLUSTER_NODES=172.24.69.72\n");
    // Whoever can write it can let anyone in.
    fs::set_permissions(&service, fs::Permissions::from_mode(0o666)).unwrap();
    let error = ask(&product).unwrap_err();
    assert!(error.contains("can be written by others") && error.contains("chmod go-w"), "{error}");
    fs::set_permissions(&service, fs::Permissions::from_mode(0o644)).unwrap();
    // Rules are what is in force.
    write_as_the_vendor(&namespace, "iptables-nft", ["10.10.10.10", "10.10.10.11"]);
    assert_eq!(ask(&product).unwrap(), ["10.10.10.10", "10.10.10.11"]);
}

#[test]
fn a_rule_that_cannot_be_read_is_said() {
    let rule = "-A INPUT -s 10.0.0.2/32 -p tcp -m set --match-set nodes src -m tcp --dport 9042 -j ACCEPT";
    let error = read("iptables-save", rule).unwrap_err();
    assert!(error.contains(rule) && error.contains("1 could not be read") && error.contains("static"), "{error}");
    // Nobody is named by it.
    let error = read("iptables-save", "-A INPUT -p tcp -m limit --limit 5/min -j ACCEPT").unwrap_err();
    assert!(error.contains("no rule of iptables or firewalld"), "{error}");
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
        "-A INPUT -s 10.0.0.2/32 -p tcp -m addrtype --src-type LOCAL -m tcp -m multiport --ports 9042 -j ACCEPT",
        "-A INPUT -s 10.0.0.2/32 -p tcp -m multiport ! --ports 9042 -j ACCEPT",
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
    let error = VendorFirewall::read(&[nft]).unwrap_err().to_string();
    assert!(error.contains("no rule of iptables or firewalld"), "{error}");
    let nft = Listing { tool: "nft", answer: Err("no permission".into()) };
    let error = VendorFirewall::read(&[nft]).unwrap_err().to_string();
    assert!(error.contains("nft: no permission"), "{error}");
    let rules = "*filter\n-A INPUT -s 10.0.0.2/32 -p tcp --dport 9042 -j ACCEPT\nCOMMIT\n";
    let half = [
        Listing { tool: "iptables-save", answer: Ok(rules.into()) },
        Listing { tool: "ip6tables-save", answer: Err("no permission".into()) },
    ];
    let error = VendorFirewall::read(&half).unwrap_err().to_string();
    assert!(error.contains("ip6tables-save: no permission") && error.contains("CAP_NET_ADMIN"), "{error}");
}
