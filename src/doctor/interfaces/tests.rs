//! Tests of `interfaces`: invented links and drivers.
use super::*;
use crate::control::coverage::account;
use nodewall_host::net::{self, Network, Queues, UdpTunnel, XdpAttached, XdpFeatures};
use nodewall_policy::config::Tunnels;

const NATIVE: XdpFeatures = XdpFeatures(1);
const NATIVE_MULTI_BUFFER: XdpFeatures = XdpFeatures(1 | 1 << 5);

fn link(index: u32, name: &str) -> Link {
    let addresses = vec!["10.0.0.1/24".parse().unwrap()];
    Link { index, name: name.to_owned(), up: true, arphrd: 1, mtu: 1500, addresses, ..Link::default() }
}

fn driver(name: &str, xdp: Option<XdpFeatures>) -> Driver {
    Driver { name: Some(name.to_owned()), gro: Some(true), lro: Some(false), queues: None, xdp }
}

/// The account of a node where our programs run on these interfaces, and nowhere else.
fn account_of(network: &Network, filtered: &BTreeMap<u32, u32>) -> Vec<InterfaceCoverage> {
    let covered = filtered.iter().map(|(index, program)| {
        let link = network.by_index(*index).unwrap();
        let mode = link.xdp.filter(|xdp| xdp.program_id == *program).map_or(AttachMode::Tc, |xdp| xdp.mode);
        InterfaceCoverage::covered(&link.name, *index, mode, *program, "tcx")
    });
    let open = account(network, None, None).unwrap().into_iter();
    let open = open.filter(|open| !filtered.is_empty() && !filtered.contains_key(&open.if_index.unwrap()));
    covered.chain(open).collect()
}

/// A host of one card, to be filtered natively.
struct Host {
    links: Vec<Link>,
    drivers: Vec<Driver>,
    filtered: Option<BTreeMap<u32, u32>>,
    attach_mode: AttachMode,
    tunnels: Tunnels,
    open: BTreeMap<u16, Option<String>>,
}

impl Host {
    fn of(card: Driver) -> Self {
        Self {
            links: vec![link(1, "eth0")],
            drivers: vec![card],
            filtered: Some(BTreeMap::new()),
            attach_mode: AttachMode::Native,
            tunnels: Tunnels::Peers,
            open: BTreeMap::new(),
        }
    }

    /// With another link, whose driver does not matter.
    fn and(mut self, name: &str, kind: &str) -> Self {
        self.links.push(Link { kind: kind.to_owned(), ..link(self.links.len() as u32 + 1, name) });
        self
    }

    fn attached(mut self, program: u32, mode: AttachMode) -> Self {
        self.links[0].xdp = Some(XdpAttached { program_id: program, mode });
        self
    }

    fn ours(self, program: u32) -> Self {
        Self { filtered: Some(BTreeMap::from([(1, program)])), ..self }
    }

    fn findings(self) -> Vec<Finding> {
        let network = Network::new(self.links);
        let drivers = (1..).zip(self.drivers).collect();
        let coverage = self.filtered.map(|filtered| account_of(&network, &filtered));
        let selection =
            net::resolve(&network, Some(&["eth0".parse().unwrap()]), |_, _| false).map_err(|error| error.to_string());
        findings(&InterfaceFacts {
            network: &network,
            drivers: &drivers,
            coverage,
            selection,
            attach_mode: self.attach_mode,
            multi_buffer: true,
            tunnels: self.tunnels,
            open_tunnels: self.open,
            cpus: 4,
        })
    }

    fn checks(self) -> Vec<(&'static str, Status)> {
        self.findings().iter().map(|finding| (finding.check, finding.status)).collect()
    }
}

#[test]
fn what_the_driver_announces_wins_over_its_name() {
    for (driver, expected) in [
        (driver("new_card", Some(NATIVE)), Status::Ok),
        (driver("ixgbe", Some(XdpFeatures(0))), Status::Degraded),
        (driver("ixgbe", None), Status::Ok),
        (driver("e1000e", None), Status::Degraded),
        (driver("new_card", None), Status::Unknown),
        (Driver::default(), Status::Unknown),
    ] {
        assert_eq!(Host::of(driver.clone()).checks(), [("native", expected)], "{driver:?}");
    }
    let generic = Host { attach_mode: AttachMode::Generic, ..Host::of(driver("e1000e", None)) };
    assert_eq!(generic.checks(), [], "generic mode needs no driver");
}

#[test]
fn settings_that_drivers_refuse() {
    let mut jumbo = Host::of(driver("ice", Some(NATIVE)));
    jumbo.links[0].mtu = 9000;
    assert_eq!(jumbo.checks(), [("native", Status::Ok), ("mtu", Status::Note)]);
    let mut jumbo = Host::of(driver("ice", Some(NATIVE_MULTI_BUFFER)));
    jumbo.links[0].mtu = 9000;
    assert_eq!(jumbo.checks(), [("native", Status::Ok)]);

    let lro = Driver { lro: Some(true), ..driver("hv_netvsc", Some(NATIVE)) };
    assert_eq!(Host::of(lro).checks(), [("native", Status::Ok), ("lro", Status::Note)]);

    let queues = |name, now, most| Driver {
        queues: Some(Queues { now: [0, 0, now], most: [0, 0, most] }),
        ..driver(name, Some(NATIVE))
    };
    for (driver, warned) in [
        (queues("virtio_net", 4, 8), false),
        (queues("virtio_net", 5, 8), true),
        (queues("ena", 4, 8), false),
        (queues("ena", 5, 8), true),
        (queues("ice", 8, 8), false),
    ] {
        let checks = Host::of(driver.clone()).checks();
        assert_eq!(checks.contains(&("queues", Status::Note)), warned, "{driver:?}");
    }
}

#[test]
fn how_it_is_attached() {
    let card = || driver("ixgbe", Some(NATIVE));
    assert_eq!(Host::of(card()).attached(7, AttachMode::Native).ours(7).checks(), [("attached", Status::Ok)]);
    let generic = Host::of(card()).attached(7, AttachMode::Generic).ours(7).findings();
    assert_eq!((generic[0].check, generic[0].status), ("generic", Status::Note));
    assert!(generic[0].found.contains("GRO is on") && generic[0].advice.as_ref().unwrap().contains("\"native\""));
    let generic = Host::of(driver("e1000e", None)).attached(7, AttachMode::Generic).ours(7).findings();
    assert!(generic[0].advice.as_ref().unwrap().contains("\"tc\""), "{generic:?}");
    // At the tc hook it is nobody's fault but the driver's, and beside others' programs nothing is wrong.
    assert_eq!(Host::of(driver("e1000e", None)).ours(7).checks(), [("attached", Status::Ok)]);
    assert_eq!(Host::of(card()).ours(7).checks(), [("tc", Status::Note)]);
    let mut shared = Host::of(card()).ours(7);
    shared.links[0].xdp = Some(XdpAttached { program_id: 8, mode: AttachMode::Native });
    assert_eq!(shared.checks(), [("attached", Status::Ok)]);
    let foreign = Host::of(card()).attached(8, AttachMode::Native).findings();
    assert_eq!((foreign[0].check, foreign[0].status), ("foreign-program", Status::Degraded));
    assert!(foreign[0].found.contains("id 8"));
    // Whose it is can not be said without looking.
    let unseen = Host { filtered: None, ..Host::of(card()).attached(8, AttachMode::Native) };
    assert_eq!(unseen.checks(), [("attached", Status::Ok)]);
}

#[test]
fn what_nothing_covers_is_named_once_something_is_filtered() {
    let host = || Host::of(driver("ixgbe", Some(NATIVE))).and("eth1", "");
    let open = host().attached(7, AttachMode::Native).ours(7).findings();
    assert_eq!((open[1].check, open[1].status), ("uncovered", Status::Degraded));
    assert!(open[1].found.contains("eth1"), "{open:?}");
    assert_eq!(host().checks(), [("native", Status::Ok)]);
}

#[test]
fn a_device_without_an_ethernet_header_is_named_with_the_way_to_filter_it() {
    let host = |kind, up, filtered: &[u32]| {
        let mut host = Host::of(driver("ixgbe", Some(NATIVE))).and("wg0", kind);
        host.links[1] =
            Link { up, arphrd: 0xfffe, addresses: vec!["10.9.0.1/24".parse().unwrap()], ..host.links[1].clone() };
        host.filtered = Some(filtered.iter().map(|index| (*index, 7)).collect());
        host.checks().into_iter().filter(|(check, _)| *check == "no-link-header").collect::<Vec<_>>()
    };
    assert_eq!(host("wireguard", true, &[]), [("no-link-header", Status::Note)]);
    assert_eq!(host("wireguard", true, &[2]), [], "it is filtered");
    assert_eq!(host("wireguard", false, &[]), []);
    assert_eq!(host("ipip", true, &[]), [], "judged as a tunnel where it comes in");
}

#[test]
fn tunnels_that_are_up_are_named() {
    let with = |kind: &str, tunnels| {
        let host = Host::of(driver("ixgbe", Some(NATIVE))).and("t0", kind);
        Host { tunnels, ..host }.findings().into_iter().find(|finding| finding.check == "tunnel")
    };
    for kind in ["ipip", "sit", "gre", "vxlan", "geneve", "ip6tnl"] {
        let peers = with(kind, Tunnels::Peers).unwrap();
        assert!(
            peers.status == Status::Note && peers.found.contains(kind) && peers.found.contains("10.0.0.1/24"),
            "{peers:?}"
        );
        assert_eq!(with(kind, Tunnels::All).unwrap().status, Status::Degraded, "{kind}");
    }
    assert!(with("wireguard", Tunnels::All).unwrap().why.unwrap().contains("not filtered by port"));
    assert_eq!(with("macvlan", Tunnels::All), None);
    let mut down = Host::of(driver("ixgbe", Some(NATIVE))).and("t0", "ipip");
    down.links[1].up = false;
    assert_eq!(down.checks(), [("native", Status::Ok)]);
    let mut ppp = Host::of(driver("ixgbe", Some(NATIVE))).and("ppp0", "");
    ppp.links[1].arphrd = 512;
    assert!(ppp.checks().contains(&("tunnel", Status::Note)));
}

/// Its port is what counts, not whether it is up; and where the policy does not judge what is sent there, the cure is named.
#[test]
fn a_tunnel_that_the_policy_does_not_judge_is_degraded() {
    let of = |up: bool, open: &[(u16, Option<&str>)]| {
        let mut host = Host::of(driver("ixgbe", Some(NATIVE))).and("t0", "vxlan");
        host.open = open.iter().map(|(port, class)| (*port, class.map(str::to_owned))).collect();
        host.links[1].up = up;
        host.links[1].udp_ports = BTreeSet::from([5555]);
        host.findings().into_iter().find(|finding| finding.check == "tunnel")
    };
    let judged = of(true, &[]).unwrap();
    assert!(judged.status == Status::Note && judged.found.contains("on UDP port 5555"), "{judged:?}");
    assert_eq!(of(false, &[]), None);
    for up in [true, false] {
        let unnamed = of(up, &[(5555, None)]).unwrap();
        assert!(unnamed.status == Status::Degraded && unnamed.advice.unwrap().contains("apply"), "{up}");
        let by_rule = of(up, &[(5555, Some("overlay"))]).unwrap();
        assert!(by_rule.status == Status::Degraded && by_rule.why.unwrap().contains("overlay"), "{up}");
    }
}

#[test]
fn foo_over_udp_is_named_without_a_device() {
    let network = || Network::new([link(1, "eth0")]);
    let fou = UdpTunnel { device: None, kind: "gue".into(), port: 5556 };
    let of = |network: Network, open: BTreeMap<u16, Option<String>>| {
        let facts = InterfaceFacts {
            network: &network,
            drivers: &BTreeMap::new(),
            coverage: None,
            selection: Ok(net::Selection::default()),
            attach_mode: AttachMode::Native,
            multi_buffer: true,
            tunnels: Tunnels::Peers,
            open_tunnels: open,
            cpus: 4,
        };
        findings(&facts).into_iter().find(|finding| finding.check == "tunnel")
    };
    assert_eq!(of(network(), BTreeMap::new()), None);
    let there = || network().with_fou(Ok(BTreeSet::from([fou.clone()])));
    let judged = of(there(), BTreeMap::new()).unwrap();
    assert!(judged.status == Status::Note && judged.found == "foo-over-UDP (gue) unpacks UDP port 5556", "{judged:?}");
    assert_eq!(of(there(), BTreeMap::from([(5556, None)])).unwrap().status, Status::Degraded);
    let unread = of(network().with_fou(Err("no memory".into())), BTreeMap::new()).unwrap();
    assert!(unread.status == Status::Degraded && unread.found.contains("no memory"), "{unread:?}");
}

#[test]
fn a_named_interface_that_is_not_there() {
    let mut host = Host::of(driver("ixgbe", Some(NATIVE)));
    host.links[0].name = "eth7".to_owned();
    assert_eq!(host.checks(), [("missing", Status::Degraded)]);
    let mut lo = Host::of(Driver::default());
    lo.links[0].arphrd = 772;
    let refused = lo.findings();
    assert_eq!((refused[0].check, refused[0].status), ("selection", Status::Degraded));
    assert!(refused[0].advice.is_some());
}

#[test]
fn what_a_bond_refuses_is_told_of_one_that_is_filtered_natively() {
    let with = |mode, kind: &str| {
        let mut host = Host::of(driver("bonding", None)).ours(7);
        host.links[0].kind = kind.to_owned();
        host.links[0].xdp = (mode != AttachMode::Tc).then_some(XdpAttached { program_id: 7, mode });
        host.checks().iter().any(|(check, _)| *check == "bond")
    };
    assert!(with(AttachMode::Native, "bond"));
    assert!(!with(AttachMode::Generic, "bond") && !with(AttachMode::Tc, "bond") && !with(AttachMode::Native, "veth"));
}
