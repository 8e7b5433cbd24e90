//! Tests of `select`; its own words say what it owns.
use super::*;

/// An Ethernet card without an address.
fn card(index: u32, name: &str) -> Link {
    Link { index, name: name.to_owned(), up: true, arphrd: 1, mtu: 1500, ..Link::default() }
}

trait Build: Sized {
    fn with(self, change: impl FnOnce(&mut Link)) -> Self;
    fn at(self, address: &str) -> Self;
    fn a(self, kind: &str) -> Self;
    fn of_a_container(self) -> Self;
    fn on(self, parent: u32) -> Self;
    fn in_a(self, kind: &str, master: u32) -> Self;
}

impl Build for Link {
    fn with(mut self, change: impl FnOnce(&mut Link)) -> Self {
        change(&mut self);
        self
    }
    fn at(self, address: &str) -> Self {
        self.with(|link| link.addresses.push(address.parse().unwrap()))
    }
    fn a(self, kind: &str) -> Self {
        self.with(|link| link.kind = kind.to_owned())
    }
    fn of_a_container(self) -> Self {
        self.a("veth").with(|link| link.container_veth = true)
    }
    fn on(self, parent: u32) -> Self {
        self.with(|link| link.parent = Some(parent))
    }
    fn in_a(self, kind: &str, master: u32) -> Self {
        self.with(|link| (link.master, link.master_kind) = (Some(master), Some(kind.to_owned())))
    }
}

fn lo() -> Link {
    card(1, "lo").at("127.0.0.1/8").with(|link| (link.loopback, link.arphrd) = (true, 772))
}

/// A host with a bond and a VLAN on it, a bridge with a card, docker, tunnels, and a card with two VLANs.
fn host() -> Network {
    Network::new([
        lo(),
        card(2, "eth0").at("10.0.0.1/24").with(|link| link.alt_names.push("enp0s1".to_owned())),
        card(3, "eth1").in_a("bond", 5),
        card(4, "eth2").in_a("bond", 5).at("fe80::4/64"),
        card(5, "bond0").a("bond"),
        card(6, "bond0.7").a("vlan").on(5).at("10.7.0.1/24"),
        card(7, "br0").a("bridge").at("10.8.0.1/24"),
        card(8, "eth3").in_a("bridge", 7),
        card(9, "docker0").a("bridge").at("172.17.0.1/16"),
        card(10, "veth12").of_a_container().in_a("bridge", 9).at("fe80::10/64"),
        card(11, "wg0").a("wireguard").at("10.99.0.1/24").with(|link| link.arphrd = 0xfffe),
        card(12, "tun0").a("tun").at("10.98.0.1/24").with(|link| link.arphrd = 0xfffe),
        card(13, "ppp0").at("10.97.0.1/32").with(|link| link.arphrd = 512),
        card(14, "tunl0").a("ipip").at("10.96.0.1/32").with(|link| link.arphrd = 768),
        card(15, "eth4"),
        card(16, "eth4.2").a("vlan").on(15).at("10.2.0.1/24"),
        card(17, "eth4.2.3").a("vlan").on(16).at("10.3.0.1/24"),
        card(18, "eth4.4").a("vlan").on(15),
        card(19, "dummy0").a("dummy").at("169.254.20.10/32"),
        card(20, "eth5"),
    ])
}

fn names(selection: &Selection) -> Vec<&str> {
    selection.attach.iter().map(|selected| selected.name.as_str()).collect()
}

fn by(network: &Network, patterns: &[&str]) -> Result<Selection, SelectError> {
    let pattern = |&text: &&str| text.parse().unwrap_or_else(|_| InterfacePattern::named(text));
    resolve(network, Some(&patterns.iter().map(pattern).collect::<Vec<_>>()), |_, _| false)
}

fn why_not(name: &str) -> String {
    by(&host(), &[name]).unwrap_err().to_string()
}

fn open(network: &Network, attached: &[&str]) -> Vec<String> {
    let attached = attached.iter().map(|name| network.by_name(name).unwrap().index).collect();
    uncovered(network, &attached).map(|open| open.name.clone()).collect()
}

#[test]
fn the_default_takes_every_way_in_with_and_without_an_address() {
    let selection = resolve(&host(), None, |_, _| false).unwrap();
    assert_eq!(names(&selection), ["eth0", "bond0", "eth3", "eth4", "eth5"]);
    assert!(selection.attach.iter().all(|selected| selected.because == "a way in"));
    let skipped: Vec<_> = selection.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(
        skipped,
        ["eth2", "bond0.7", "br0", "docker0", "veth12", "wg0", "tun0", "ppp0", "tunl0", "eth4.2", "eth4.2.3", "dummy0"]
    );
    assert!(selection.missing.is_empty());
    assert_eq!(open(&host(), &["eth0", "bond0", "eth3", "eth4", "eth5"]), Vec::<String>::new());
}

#[test]
fn what_nothing_arrives_by_is_no_way_in() {
    let network = Network::new([
        card(2, "eth0"),
        card(3, "eth1").with(|link| link.up = false).at("10.0.0.1/24"),
        card(4, "bond0").a("bond").at("10.0.1.1/24"),
        card(5, "eth2").in_a("team", 6),
        card(6, "team0").a("team").at("10.0.2.1/24"),
        card(7, "vx0").a("vxlan").at("10.0.3.1/24"),
        card(8, "gnv0").a("geneve").at("10.0.4.1/24"),
        card(9, "gt0").a("gretap").at("10.0.5.1/24"),
        card(10, "tap0").a("tun").in_a("bridge", 11),
        card(11, "br0").a("bridge"),
    ]);
    assert_eq!(open(&network, &[]), ["eth0", "eth2", "tap0"]);
    assert_eq!(names(&resolve(&network, None, |_, _| false).unwrap()), ["eth0", "eth2", "tap0"]);
    let skipped: Vec<_> = resolve(&network, None, |_, _| false).unwrap().skipped;
    assert_eq!(skipped[0].why, "it is down: attached when it is up");
    assert_eq!(skipped[1].why, "it is a bond without slaves: attached when it has one");
    assert_eq!(open(&network, &["eth0", "tap0", "team0"]), Vec::<String>::new(), "a team covers its ports");
}

/// A container that is a node has nothing else.
#[test]
fn a_veth_from_elsewhere_is_a_way_in_with_an_address_of_this_host() {
    let network = Network::new([
        card(2, "va").a("veth"),
        card(3, "eth0").of_a_container().at("10.0.1.1/24").at("fe80::3/64"),
        card(4, "cali1").of_a_container().at("fe80::1/64").at("169.254.1.1/32"),
        card(5, "veth5").of_a_container(),
        card(6, "eth1").of_a_container().in_a("team", 7),
        card(7, "team0").a("team").at("10.0.2.1/24"),
    ]);
    let selection = resolve(&network, None, |_, _| false).unwrap();
    assert_eq!(names(&selection), ["va", "eth0", "eth1"]);
    assert_eq!(selection.skipped[0].name, "cali1");
}

#[test]
fn a_macvlan_stands_for_its_parent_where_that_is_here() {
    let here = Network::new([card(2, "eth0"), card(3, "mac0").a("macvlan").on(2).at("10.0.0.1/24")]);
    assert_eq!(names(&resolve(&here, None, |_, _| false).unwrap()), ["eth0"]);
    let elsewhere = Network::new([card(3, "mac0").a("macvlan")]);
    assert_eq!(names(&resolve(&elsewhere, None, |_, _| false).unwrap()), ["mac0"]);
}

#[test]
fn names_and_patterns() {
    let host = host();
    assert_eq!(names(&by(&host, &["eth0"]).unwrap()), ["eth0"]);
    assert_eq!(names(&by(&host, &["enp0s1", "eth0"]).unwrap()), ["eth0"], "an alternative name, and each link once");
    assert_eq!(names(&by(&host, &["eth5", "eth4"]).unwrap()), ["eth4", "eth5"], "no address needed when named");
    assert_eq!(names(&by(&host, &["veth12"]).unwrap()), ["veth12"], "a container's veth may be named");
    let selection = by(&host, &["eth*", "bond*"]).unwrap();
    assert_eq!(names(&selection), ["eth0", "bond0", "eth3", "eth4", "eth5"]);
    let skipped: Vec<_> = selection.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(skipped, ["eth1", "eth2", "eth4.2", "eth4.2.3", "eth4.4", "bond0.7"]);
    assert!(selection.skipped[0].why.contains("attach the master bond0"), "{:?}", selection.skipped);
}

#[test]
fn a_missing_name_is_reported_and_a_pattern_is_never_missing() {
    let host = host();
    let selection = by(&host, &["eth0", "eth9", "ens*", "eth9"]).unwrap();
    assert_eq!(names(&selection), ["eth0"]);
    assert_eq!(selection.missing, ["eth9"]);
    let only_missing = by(&host, &["eth9"]).unwrap();
    assert!(only_missing.attach.is_empty(), "it is attached when it appears");
}

#[test]
fn a_name_that_may_not_be_attached_says_why_and_what_to_do() {
    for (name, what) in [
        ("lo", "would be misread"),
        ("wg0", "attach = \"tc\""),
        ("tun0", "attach = \"tc\""),
        ("ppp0", "attach = \"tc\""),
        ("tunl0", "attach = \"tc\""),
    ] {
        let text = why_not(name);
        assert!(text.starts_with(&format!("interface {name}: ")) && text.contains(what), "{text}");
    }
    assert!(why_not("wg0").contains("wireguard"), "{}", why_not("wg0"));
    assert!(why_not("tunl0").contains("ipip"), "{}", why_not("tunl0"));
    assert!(why_not("bond0.7").contains("its parent bond0 covers it"), "{}", why_not("bond0.7"));
    assert!(why_not("eth4.2.3").contains("attach eth4"), "{}", why_not("eth4.2.3"));
    assert!(why_not("br0").contains("attach its ports (eth3)"), "{}", why_not("br0"));
}

#[test]
fn a_device_without_an_ethernet_header_is_taken_where_the_tc_hook_is_named_for_it() {
    let host = host();
    let tunnels = |_: &str, asked| asked == Asked::Named;
    let patterns = ["eth0", "wg*", "ppp0", "lo*"].map(|text| text.parse().unwrap());
    let selection = resolve(&host, Some(&patterns), tunnels).unwrap();
    assert_eq!(names(&selection), ["eth0", "wg0", "ppp0"]);
    // In the default set are those alone that have a table of their own.
    let single = |name: &str, _| name == "tun0";
    let selection = resolve(&host, None, single).unwrap();
    assert_eq!(names(&selection), ["eth0", "bond0", "eth3", "tun0", "eth4", "eth5"]);
}

#[test]
fn a_slave_that_is_named_stands_for_its_bond() {
    let selection = by(&host(), &["eth1", "bond0"]).unwrap();
    assert_eq!(names(&selection), ["bond0"]);
    assert!(selection.refused.is_empty());
    assert!(selection.skipped[0].why.contains("attach the master bond0"), "{:?}", selection.skipped);
}

#[test]
fn a_name_that_may_not_be_attached_keeps_no_other_from_it() {
    let selection = by(&host(), &["br0", "eth0", "wg0"]).unwrap();
    assert_eq!(names(&selection), ["eth0"]);
    let refused: Vec<_> = selection.refused.iter().map(|refused| refused.name.as_str()).collect();
    assert_eq!(refused, ["br0", "wg0"]);
}

#[test]
fn nothing_selected_says_so_and_what_to_do() {
    let bare = Network::new([
        lo(),
        card(2, "eth0").with(|link| link.up = false),
        card(3, "wg0").at("10.0.0.1/24").with(|link| link.arphrd = 0xfffe),
    ]);
    for (result, expected) in [
        (resolve(&bare, None, |_, _| false), "no Ethernet interface that is up"),
        (by(&bare, &["ens*", "w*"]), "ens*, w*"),
        (by(&bare, &[]), "list of interfaces is empty"),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, SelectError::NothingSelected { .. }));
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("--interface"), "{text}");
    }
    assert!(
        resolve(&bare, None, |_, _| false).unwrap_err().to_string().contains("wg0: "),
        "what was left out is named"
    );
}

#[test]
fn links_that_claim_to_carry_each_other_end() {
    let network = Network::new([
        card(2, "a").a("vlan").on(3).at("10.0.0.1/24"),
        card(3, "b").a("vlan").on(2).at("10.0.1.1/24"),
        card(4, "c").a("bridge").in_a("bridge", 4).at("10.0.2.1/24"),
    ]);
    assert_eq!(open(&network, &[]), Vec::<String>::new());
    assert!(matches!(resolve(&network, None, |_, _| false), Err(SelectError::NothingSelected { .. })));
}
