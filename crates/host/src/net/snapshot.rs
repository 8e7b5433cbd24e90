//! Netlink -> [`Network`]: one consistent list of links and addresses, and what takes packets out of UDP packets. Sends dump requests only, never a change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::pin;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use ipnet::IpNet;
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    self, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, LinkXdp, Prop,
};
use rtnetlink::sys::SocketAddr;

use super::{
    codec::{self, Handle},
    error::NetError,
    links::{Link, Network, XdpAttached},
    udp_tunnels::{self, ports_of},
};
use nodewall_policy::config::AttachMode;

/// How often a list that changed while it was read is read again.
const ATTEMPTS: u32 = 10;

/// All links and addresses of the calling thread's network namespace, as they were at one moment, and the ports of foo-over-UDP.
///
/// Needs no privilege. Must run inside a tokio runtime with I/O enabled.
///
/// # Errors
/// When the socket can not be opened, when the kernel refuses, or when links came and went too fast to get one
/// consistent list.
pub async fn snapshot() -> Result<Network, NetError> {
    let (mut connection, handle, _unsolicited) =
        codec::connect().map_err(|source| NetError::Socket { action: "opening", source })?;
    // The end of a dump carries the flag that says whether the dump is consistent; without this it is swallowed.
    connection.set_forward_done(true);
    // Driven from here and not from a spawned task, so that nothing outlives the call.
    match select(pin!(collect(handle)), pin!(connection)).await {
        Either::Left((network, _)) => network,
        Either::Right(((), _)) => Err(NetError::Socket {
            action: "reading",
            source: std::io::Error::from(std::io::ErrorKind::ConnectionAborted),
        }),
    }
}

async fn collect(handle: Handle) -> Result<Network, NetError> {
    let mut get_links = LinkMessage::default();
    // Statistics are most of an answer, and nobody reads them.
    get_links.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let get_links = RouteNetlinkMessage::GetLink(get_links);
    let get_addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut last = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(u64::from(attempt) * 5)).await;
        }
        let (link_messages, links_whole) = dump(&handle, "links", &get_links).await?;
        let (address_messages, addresses_whole) = dump(&handle, "addresses", &get_addresses).await?;
        if !(links_whole && addresses_whole) {
            "the kernel marked its answer as interrupted".clone_into(&mut last);
            continue;
        }
        let listed = link_messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(message) => Some((message.header.index, link_from(message))),
            _ => None,
        });
        let mut links: BTreeMap<u32, Link> = listed.collect();
        let mut stranger = None;
        for message in address_messages {
            let RouteNetlinkMessage::NewAddress(message) = message else { continue };
            match links.get_mut(&message.header.index) {
                Some(link) => add_address(link, &message),
                // Made between the two dumps, or a link that the library could not read: either way the list is not whole.
                None => stranger = Some(message.header.index),
            }
        }
        match stranger {
            None => {
                let fou = udp_tunnels::fou().map_err(|error| error.to_string());
                return Ok(Network::new(links.into_values()).with_fou(fou));
            }
            Some(index) => last = format!("interface {index} has an address but is not among the links"),
        }
    }
    Err(NetError::Unsettled { attempts: ATTEMPTS, last })
}

/// Everything the kernel lists, and whether the list is of one moment (no `NLM_F_DUMP_INTR`).
async fn dump(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
) -> Result<(Vec<RouteNetlinkMessage>, bool), NetError> {
    let mut request = NetlinkMessage::from(request.clone());
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut answers = handle
        .request(request, SocketAddr::new(0, 0))
        .map_err(|error| NetError::Dump { what, reason: error.to_string() })?;
    let (mut messages, mut whole) = (Vec::new(), true);
    while let Some(answer) = answers.next().await {
        whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => messages.push(message),
            NetlinkPayload::Done(_) => return Ok((messages, whole)),
            NetlinkPayload::Error(error) => return Err(NetError::Dump { what, reason: error.to_string() }),
            NetlinkPayload::Overrun(_) => whole = false,
            _ => {}
        }
    }
    Err(NetError::Dump { what, reason: "the answer ended before the kernel said it was done".to_owned() })
}

fn link_from(message: LinkMessage) -> Link {
    let header = message.header;
    let mut link = Link {
        index: header.index,
        up: header.flags.contains(LinkFlags::Up),
        loopback: header.flags.contains(LinkFlags::Loopback),
        arphrd: u16::from(header.link_layer_type),
        ..Link::default()
    };
    let (mut lower, mut lower_is_elsewhere) = (None, false);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = codec::told(name, header.index),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(master) => link.master = (master != 0).then_some(master),
            LinkAttribute::Link(index) => lower = (index != 0 && index != header.index).then_some(index),
            LinkAttribute::LinkNetNsId(_) => lower_is_elsewhere = true,
            LinkAttribute::Xdp(attributes) => link.xdp = xdp_from(&attributes),
            LinkAttribute::PropList(properties) => {
                link.alt_names.extend(properties.into_iter().filter_map(|property| match property {
                    Prop::AltIfName(name) => Some(name),
                    _ => None,
                }));
            }
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = kind.to_string(),
                        LinkInfo::Data(data) => link.udp_ports = ports_of(&data),
                        LinkInfo::PortKind(kind) => link.master_kind = Some(kind.to_string()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // IFLA_LINK is an index in the other namespace then, and may be another link's index here.
    let lower_here = if lower_is_elsewhere { None } else { lower };
    if link.kind == "veth" {
        link.container_veth = lower_here.is_none();
    } else {
        link.parent = lower_here;
    }
    link
}

fn xdp_from(attributes: &[LinkXdp]) -> Option<XdpAttached> {
    let (mut mode, mut ids) = (None, [None; 4]);
    let [only, driver, generic, offload] = &mut ids;
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(link::XdpAttached::SocketBuffer) => mode = Some(AttachMode::Generic),
            // Of several programs the driver's is named.
            LinkXdp::Attached(
                link::XdpAttached::Driver | link::XdpAttached::Hardware | link::XdpAttached::Multiple,
            ) => mode = Some(AttachMode::Native),
            LinkXdp::ProgId(id) => *only = Some(*id),
            LinkXdp::DrvProgId(id) => *driver = Some(*id),
            LinkXdp::SkbProgId(id) => *generic = Some(*id),
            LinkXdp::HwProgId(id) => *offload = Some(*id),
            _ => {}
        }
    }
    // In multi mode the kernel leaves IFLA_XDP_PROG_ID out.
    let program_id = ids.into_iter().flatten().find(|&id| id != 0)?;
    Some(XdpAttached { program_id, mode: mode? })
}

fn add_address(link: &mut Link, message: &AddressMessage) {
    let Some(address) = address_from(message) else { return };
    let doubtful = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed | AddressHeaderFlags::Optimistic;
    if message.header.flags.intersects(doubtful) {
        link.unconfirmed.push(address);
    }
    if message.header.flags.contains(AddressHeaderFlags::Secondary) {
        link.secondary.push(address);
    }
    link.addresses.push(address);
}

fn address_from(message: &AddressMessage) -> Option<IpNet> {
    let (mut local, mut address) = (None::<IpAddr>, None::<IpAddr>);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL, where there is one, is always ours.
    IpNet::new(local.or(address)?, message.header.prefix_len).ok()
}

#[cfg(test)]
mod tests;
