//! Who takes the flood: bare XDP programs, nodewall, and others that do its job, each under the same policy. Puts them in place one at a time and says
//! how much they dropped; it takes no time of anything.

use std::fmt::Write;

use super::{at_tc::AtTc, device::Attached, generator::Generator, wire::Wire};
use crate::data::{lineup::PACKAGED, sources::Sources, xdp_filter::XdpFilter};
use anyhow::{Context, Result, ensure};
use node_ebpf_common::{Shape, Verdict, decide, packet::TABLE_TCP};
use nodewall_datapath::{Hook, KernelEngine};
use nodewall_testbed::{Foreign, find_tool};

/// Our table in nftables.
const TABLE: &str = "nodewall_bench";

/// One way to take a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taker {
    /// A program that drops whatever comes.
    BareDrop,
    /// The same after a look at the frame.
    Read,
    /// The first of them in the stack, as where the driver has no XDP: the floor of generic XDP.
    GenericDrop,
    /// A classifier that drops whatever comes: the floor of the tc hook.
    TcxDrop,
    /// The packaged program, with the budget for captures spent.
    Nodewall,
    /// The same without evidence and counters for each peer.
    NodewallPlain,
    /// The packaged program in the stack, as where the driver has no XDP.
    NodewallGeneric,
    /// The packaged filter at the tc hook, by a link (Linux 6.6).
    NodewallTcx,
    /// The same by a filter of classic traffic control.
    NodewallClsact,
    /// Debian's xdp-tools.
    XdpFilter,
    /// nftables where the device's frames come in, with sets.
    NftIngress,
    /// nftables on the way to local sockets, with sets.
    NftInput,
    /// Nobody: the port is closed, and the node says so.
    Nobody,
}

impl Taker {
    pub const ALL: [Self; 13] = [
        Self::BareDrop,
        Self::Read,
        Self::GenericDrop,
        Self::TcxDrop,
        Self::Nodewall,
        Self::NodewallPlain,
        Self::NodewallGeneric,
        Self::NodewallTcx,
        Self::NodewallClsact,
        Self::XdpFilter,
        Self::NftIngress,
        Self::NftInput,
        Self::Nobody,
    ];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareDrop => "XDP_DROP",
            Self::Read => "XDP_DROP, frame read",
            Self::GenericDrop => "XDP_DROP, generic",
            Self::TcxDrop => "TC_ACT_SHOT, tcx",
            Self::Nodewall => "nodewall",
            Self::NodewallPlain => "nodewall, neither",
            Self::NodewallGeneric => "nodewall, generic XDP",
            Self::NodewallTcx => "nodewall, tcx",
            Self::NodewallClsact => "nodewall, clsact",
            Self::XdpFilter => "xdp-filter",
            Self::NftIngress => "nftables, netdev ingress",
            Self::NftInput => "nftables, input",
            Self::Nobody => "no filter, closed port",
        }
    }
}

/// All of them, loaded.
pub struct Takers {
    engine: KernelEngine,
    plain: KernelEngine,
    tc: AtTc,
    shot: Foreign,
    outsider_cell: u32,
    drop_id: u32,
    read_id: u32,
    pass_id: u32,
    xdp_filter: Option<XdpFilter>,
    has_nft: bool,
    sets: String,
}

/// One that is in place.
pub struct InPlace {
    taker: Taker,
    _attached: Vec<Attached>,
}

impl Takers {
    pub fn load(sources: &Sources, generator: &mut Generator) -> Result<Self> {
        let image = &sources.compiled.image;
        let decision = decide(generator.frame(), image);
        ensure!(
            decision.verdict() == Verdict::Drop,
            "the flood's frame is not dropped by the policy: {:?}",
            decision.reason()
        );
        Ok(Self {
            engine: KernelEngine::new(image, PACKAGED, None)?,
            plain: KernelEngine::new(image, Shape::PLAIN, None)?,
            tc: AtTc::load(sources)?,
            shot: Foreign::load_classifier()?,
            outsider_cell: decision.cell,
            read_id: generator.bare("reference_read")?,
            drop_id: generator.bare("reference_drop")?,
            pass_id: generator.bare("reference_pass")?,
            xdp_filter: XdpFilter::load(sources)?,
            has_nft: find_tool("nft").is_ok(),
            sets: sets(sources)?,
        })
    }

    /// Whether it is installed.
    pub fn has(&self, taker: Taker) -> bool {
        match taker {
            Taker::XdpFilter => self.xdp_filter.is_some(),
            Taker::NftIngress | Taker::NftInput => self.has_nft,
            _ => true,
        }
    }

    /// Takes the flood from now on. XDP programs: nodewall filters the service's link, too, as it would; where a bare program drops all of the flood,
    /// one that passes all is on the service's link, so that its frames take the same way.
    pub fn put(&mut self, taker: Taker, wire: &Wire) -> Result<InPlace> {
        let attach = |to_flood: u32, to_service: Option<u32>| -> Result<Vec<Attached>> {
            let mut attached = vec![wire.flooded.attach(&wire.node, to_flood)?];
            if let Some(id) = to_service {
                attached.push(wire.serving.attach(&wire.node, id)?);
            }
            Ok(attached)
        };
        let attached = match taker {
            Taker::BareDrop => attach(self.drop_id, Some(self.pass_id))?,
            Taker::Read => attach(self.read_id, Some(self.pass_id))?,
            Taker::GenericDrop => vec![wire.flooded.attach_generic(&wire.node, self.drop_id)?],
            Taker::TcxDrop => vec![wire.flooded.attach_tcx(&wire.node, self.shot.id())?],
            Taker::Nodewall => {
                let id = self.engine.facts()?.id;
                attach(id, Some(id))?
            }
            Taker::NodewallPlain => {
                let id = self.plain.facts()?.id;
                attach(id, Some(id))?
            }
            Taker::NodewallGeneric => {
                let id = self.engine.facts()?.id;
                [&wire.flooded, &wire.serving]
                    .map(|device| device.attach_generic(&wire.node, id))
                    .into_iter()
                    .collect::<Result<_>>()?
            }
            Taker::NodewallTcx => self.tc.put(wire, Hook::Tcx).map(|()| Vec::new())?,
            Taker::NodewallClsact => self.tc.put(wire, Hook::Clsact).map(|()| Vec::new())?,
            Taker::XdpFilter => attach(self.xdp_filter.as_ref().context("xdp-filter is not installed")?.id(), None)?,
            Taker::NftIngress => {
                let hook = format!("type filter hook ingress device \"{}\" priority filter;", wire.flooded.name);
                self.nft(wire, "netdev", &hook)?
            }
            Taker::NftInput => self.nft(wire, "ip", "type filter hook input priority filter;")?,
            Taker::Nobody => Vec::new(),
        };
        Ok(InPlace { taker, _attached: attached })
    }

    fn nft(&self, wire: &Wire, family: &str, hook: &str) -> Result<Vec<Attached>> {
        let rules = ["tcp", "udp"]
            .map(|protocol| format!("{protocol} dport @cluster ip saddr != @peers counter name dropped drop"));
        let ruleset = format!(
            "table {family} {TABLE} {{\n{}\ncounter dropped {{ }}\nchain filter {{\n{hook} policy accept;\n{}\n}}\n}}\n",
            self.sets,
            rules.join("\n")
        );
        wire.node.tool("nft", &[&ruleset]).context("nftables' ruleset")?;
        Ok(Vec::new())
    }

    /// What it has dropped by its own count; `None` where it does not count or counts otherwise.
    pub fn dropped(&self, in_place: &InPlace, wire: &Wire) -> Result<Option<u64>> {
        match in_place.taker {
            Taker::Nodewall | Taker::NodewallGeneric => Ok(Some(self.engine.maps().cell(self.outsider_cell)?.packets)),
            Taker::NodewallPlain => Ok(Some(self.plain.maps().cell(self.outsider_cell)?.packets)),
            Taker::NodewallTcx | Taker::NodewallClsact => Ok(Some(self.tc.packets(self.outsider_cell)?)),
            Taker::NftIngress | Taker::NftInput => {
                let family = in_place.family().unwrap_or_default();
                let shown = wire.node.tool("nft", &["list", "counter", family, TABLE, "dropped"])?;
                let mut words = shown.split_whitespace().skip_while(|word| *word != "packets").skip(1);
                let packets = words.next().and_then(|number| number.parse().ok());
                Ok(Some(packets.with_context(|| format!("nft's counter reads {shown}"))?))
            }
            _ => Ok(None),
        }
    }

    /// Nobody takes the flood any more.
    pub fn take_away(&self, in_place: InPlace, wire: &Wire) -> Result<()> {
        if let Some(family) = in_place.family() {
            wire.node.tool("nft", &["delete", "table", family, TABLE])?;
        }
        if matches!(in_place.taker, Taker::NodewallTcx | Taker::NodewallClsact) {
            self.tc.take_away(wire)?;
        }
        // XDP programs go with their links.
        drop(in_place);
        Ok(())
    }
}

impl InPlace {
    fn family(&self) -> Option<&'static str> {
        match self.taker {
            Taker::NftIngress => Some("netdev"),
            Taker::NftInput => Some("ip"),
            _ => None,
        }
    }
}

/// The policy's IPv4 peers and its cluster ports as two sets of single elements, the kind that nftables finds fastest.
fn sets(sources: &Sources) -> Result<String> {
    let image = &sources.compiled.image;
    let cluster = |port: &u16| image.row(image.row_of(TABLE_TCP, u32::from(port.swap_bytes()))).allow != 0;
    let ports: Vec<String> = (1..=u16::MAX).filter(cluster).map(|port| port.to_string()).collect();
    let peers: Vec<String> = sources.peers_v4.iter().map(ToString::to_string).collect();
    let mut text = String::new();
    for (name, kind, elements) in [("peers", "ipv4_addr", peers), ("cluster", "inet_service", ports)] {
        writeln!(text, "set {name} {{ type {kind}; elements = {{ {} }} }}", elements.join(", "))?;
    }
    Ok(text)
}
