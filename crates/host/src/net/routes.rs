//! By which way this host would send to an address, and from which address of its own: what `ip route get` shows. Asks only, and changes no route.

use std::net::IpAddr;
use std::pin::pin;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::NetError;

/// Where packets to an address would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Out of the host.
    Out(Route),
    /// To this host itself.
    Here,
    /// Nowhere: why, in the kernel's words.
    Nowhere(String),
}

/// A way out of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The address that the packets would come from, unless a program binds another. `None`: this host has none to give.
    pub source: Option<IpAddr>,
    /// The index of the interface that they would leave by.
    pub interface: Option<u32>,
    /// The next hop; `None`: the address itself is on the link.
    pub gateway: Option<IpAddr>,
}

/// The ways to these addresses, in their order, for the calling thread's network namespace. Needs no privilege; must run inside a tokio runtime with
/// I/O enabled.
///
/// # Errors
/// When the socket cannot be opened, or the kernel's answers stop.
pub async fn ways_to(addresses: &[IpAddr]) -> Result<Vec<Way>, NetError> {
    let (connection, mut handle, _unsolicited) =
        rtnetlink::new_connection().map_err(|source| NetError::Socket { action: "opening", source })?;
    let ask = async move {
        let mut ways = Vec::with_capacity(addresses.len());
        for address in addresses {
            ways.push(way_to(&mut handle, *address).await?);
        }
        Ok(ways)
    };
    match select(pin!(ask), pin!(connection)).await {
        Either::Left((ways, _)) => ways,
        Either::Right(((), _)) => Err(NetError::Socket {
            action: "reading",
            source: std::io::Error::from(std::io::ErrorKind::ConnectionAborted),
        }),
    }
}

async fn way_to(handle: &mut rtnetlink::Handle, address: IpAddr) -> Result<Way, NetError> {
    let mut request = RouteMessage::default();
    request.header.address_family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    request.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
    request.attributes.push(RouteAttribute::Destination(address.into()));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(request));
    request.header.flags = NLM_F_REQUEST;
    let failed = |reason: String| NetError::Dump { what: "the route to an address", reason };
    let mut answers = handle.request(request).map_err(|error| failed(error.to_string()))?;
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => return Ok(way_from(&route)),
            // ENETUNREACH, EHOSTUNREACH, EACCES (prohibit), EINVAL (blackhole).
            NetlinkPayload::Error(error) => return Ok(Way::Nowhere(error.to_io().to_string())),
            _ => {}
        }
    }
    Err(failed("the kernel did not answer".to_owned()))
}

fn way_from(message: &RouteMessage) -> Way {
    let mut route = Route { source: None, interface: None, gateway: None };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::Oif(index) => route.interface = Some(*index),
            _ => {}
        }
    }
    match message.header.kind {
        RouteType::Unicast => Way::Out(route),
        RouteType::Local | RouteType::Anycast => Way::Here,
        RouteType::Unreachable => Way::Nowhere("the route says unreachable".to_owned()),
        RouteType::Prohibit => Way::Nowhere("the route says prohibit".to_owned()),
        RouteType::BlackHole => Way::Nowhere("the route says blackhole".to_owned()),
        RouteType::Broadcast | RouteType::Multicast => Way::Nowhere("it is no single host's address".to_owned()),
        other => Way::Nowhere(format!("the route is of type {other:?}")),
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::snapshot;
    use nodewall_testbed::{in_own_namespace_async, ip};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_kernels_choice_is_told_for_both_families() {
        in_own_namespace_async(async || {
            ip("link set lo up");
            ip("link add va type veth peer name vb");
            ip("link set va up");
            ip("link set vb up");
            ip("address add 192.0.2.1/24 dev va");
            ip("address add 192.0.2.5/24 dev va");
            ip("-6 address add 2001:db8::1/64 dev va nodad");
            ip("address add 198.51.100.1/32 dev lo");
            ip("route add 203.0.113.0/24 via 192.0.2.254 src 198.51.100.1");
            ip("-6 route add 2001:db8:7::/48 via 2001:db8::fe");
            ip("route add unreachable 203.0.113.9");
            ip("route add blackhole 203.0.113.10");
            ip("-6 route add prohibit 2001:db8:7::9");
            let asked = [
                "192.0.2.9",
                "203.0.113.1",
                "2001:db8::9",
                "2001:db8:7::1",
                "192.0.2.5",
                "203.0.113.9",
                "203.0.113.10",
                "2001:db8:7::9",
                "10.9.9.9",
                "2001:db8:9::9",
                "192.0.2.255",
            ];
            let ways = ways_to(&asked.map(address)).await.unwrap();
            let va = snapshot().await.unwrap().by_name("va").map(|link| link.index);
            let out = |source: &str, gateway: Option<&str>| {
                Way::Out(Route { source: Some(address(source)), interface: va, gateway: gateway.map(address) })
            };
            assert_eq!(ways[0], out("192.0.2.1", None));
            assert_eq!(ways[1], out("198.51.100.1", Some("192.0.2.254")));
            assert_eq!(ways[2], out("2001:db8::1", None));
            assert_eq!(ways[3], out("2001:db8::1", Some("2001:db8::fe")));
            assert_eq!(ways[4], Way::Here);
            for (way, what) in ways[5..].iter().zip(&asked[5..]) {
                assert!(matches!(way, Way::Nowhere(_)), "{what}: {way:?}");
            }
        });
    }

    #[test]
    fn an_interface_without_an_address_has_no_source_to_give() {
        in_own_namespace_async(async || {
            ip("link add va type veth peer name vb");
            ip("link set va up");
            ip("link set vb up");
            ip("route add 192.0.2.0/24 dev va");
            let ways = ways_to(&[address("192.0.2.9")]).await.unwrap();
            assert!(matches!(&ways[0], Way::Out(Route { source: None, .. })), "{ways:?}");
        });
    }
}
