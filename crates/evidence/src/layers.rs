//! The headers of a captured frame as named values, for `events show`: Ethernet, VLAN, IP, TCP, UDP and what else is in front of the payload. It must not judge
//! the frame (that is `node_ebpf_common::decide`), and must cope with whatever bytes came in by the wire.

use etherparse::{
    ArpPacketSlice, IpNumber, Ipv6ExtensionSlice, LaxIpPayloadSlice, LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket,
    LinkSlice, TcpSlice, TransportSlice,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Value, json};

use nodewall_text::hex;

/// Names and values, in the order in which they are written.
macro_rules! fields {
    ({ $($name:literal: $value:expr),+ $(,)? }) => { vec![$(($name, json!($value))),+] };
}

/// A header, the outermost first.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `ethernet`, `vlan`, `macsec`, `arp`, `ipv4`, `ipv6`, `ipv6_…` for an extension header, `tcp`, `udp`, `icmp`, `icmpv6`, `igmp`, `payload` for what is not
    /// decoded further, `undecoded` with the reason where decoding ended early.
    pub layer: &'static str,
    /// Its fields in the order of the wire. All text in them is of this program's making, none of the frame's.
    pub fields: Vec<(&'static str, Value)>,
}

impl Layer {
    fn new(layer: &'static str, fields: Vec<(&'static str, Value)>) -> Self {
        Self { layer, fields }
    }

    /// A field's value.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find_map(|(field, value)| (*field == name).then_some(value))
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len() + 1))?;
        map.serialize_entry("layer", self.layer)?;
        self.fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

/// Decodes what there is of a frame. `original_bytes` is its length on the wire: a frame that was cut on purpose is no fault of it.
pub fn layers(frame: &[u8], original_bytes: u32) -> Vec<Layer> {
    let packet = match LaxSlicedPacket::from_ethernet(frame) {
        Ok(packet) => packet,
        Err(error) => {
            return vec![Layer::new("undecoded", fields!({ "why": error.to_string(), "bytes": frame.len() }))];
        }
    };
    let mut layers = Vec::new();
    if let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link {
        let fields = fields!({
            "source": mac(&ethernet.source()),
            "destination": mac(&ethernet.destination()),
            "ether_type": format!("{:#06x}", ethernet.ether_type().0),
        });
        layers.push(Layer::new("ethernet", fields));
    }
    layers.extend(packet.link_exts.iter().map(link_extension));
    let mut first_fragment = true;
    match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let fields = fields!({
                "source": header.source_addr(),
                "destination": header.destination_addr(),
                "ttl": header.ttl(),
                "protocol": protocol(header.protocol()),
                "total_bytes": header.total_len(),
                "identification": header.identification(),
                "dont_fragment": header.dont_fragment(),
                "more_fragments": header.more_fragments(),
                "fragment_offset_bytes": header.fragments_offset().byte_offset(),
                "options_bytes": header.options().len(),
                "incomplete": ip.payload().incomplete,
            });
            first_fragment = header.fragments_offset().value() == 0;
            layers.push(Layer::new("ipv4", fields));
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let fields = fields!({
                "source": header.source_addr(),
                "destination": header.destination_addr(),
                "hop_limit": header.hop_limit(),
                "next_header": protocol(header.next_header()),
                "payload_bytes": header.payload_length(),
                "flow_label": header.flow_label().value(),
                "incomplete": ip.payload().incomplete,
            });
            layers.push(Layer::new("ipv6", fields));
            for extension in ip.extensions().clone() {
                if let Ipv6ExtensionSlice::Fragment(fragment) = &extension {
                    first_fragment &= fragment.fragment_offset().value() == 0;
                }
                layers.push(extension_layer(&extension));
            }
        }
        Some(LaxNetSlice::Arp(arp)) => layers.push(arp_layer(arp)),
        None => {}
    }
    if let Some(transport) = &packet.transport {
        layers.push(transport_layer(transport));
    } else if let Some(payload) = packet.net.as_ref().and_then(LaxNetSlice::ip_payload_ref) {
        layers.push(ip_payload(payload, first_fragment));
    }
    // What ends where the capture ends was cut by this program.
    let cut = usize::try_from(original_bytes).is_ok_and(|original| frame.len() < original);
    if let Some((error, layer)) = &packet.stop_err {
        layers
            .push(Layer::new("undecoded", fields!({ "why": error.to_string(), "in": layer.to_string(), "cut": cut })));
    }
    layers
}

fn link_extension(extension: &LaxLinkExtSlice<'_>) -> Layer {
    match extension {
        LaxLinkExtSlice::Vlan(vlan) => {
            let fields = fields!({
                "id": vlan.vlan_identifier().value(),
                "priority": vlan.priority_code_point().value(),
                "drop_eligible": vlan.drop_eligible_indicator(),
                "ether_type": format!("{:#06x}", vlan.ether_type().0),
            });
            Layer::new("vlan", fields)
        }
        LaxLinkExtSlice::Macsec(macsec) => {
            Layer::new("macsec", fields!({ "header_bytes": macsec.header.header_len() }))
        }
    }
}

fn extension_layer(extension: &Ipv6ExtensionSlice<'_>) -> Layer {
    let (name, next, slice) = match extension {
        Ipv6ExtensionSlice::Fragment(fragment) => {
            let fields = fields!({
                "next_header": protocol(fragment.next_header()),
                "fragment_offset_bytes": fragment.fragment_offset().byte_offset(),
                "more_fragments": fragment.more_fragments(),
                "identification": fragment.identification(),
            });
            return Layer::new("ipv6_fragment", fields);
        }
        Ipv6ExtensionSlice::HopByHop(raw) => ("ipv6_hop_by_hop", raw.next_header(), raw.slice()),
        Ipv6ExtensionSlice::Routing(raw) => ("ipv6_routing", raw.next_header(), raw.slice()),
        Ipv6ExtensionSlice::DestinationOptions(raw) => ("ipv6_destination_options", raw.next_header(), raw.slice()),
        Ipv6ExtensionSlice::Authentication(raw) => ("ipv6_authentication", raw.next_header(), raw.slice()),
    };
    Layer::new(name, fields!({ "next_header": protocol(next), "bytes": slice.len() }))
}

fn arp_layer(arp: &ArpPacketSlice<'_>) -> Layer {
    let fields = fields!({
        "operation": arp.operation().0,
        "sender_mac": hex(arp.sender_hw_addr()),
        "sender": address(arp.sender_protocol_addr()),
        "target": address(arp.target_protocol_addr()),
    });
    Layer::new("arp", fields)
}

fn transport_layer(transport: &TransportSlice<'_>) -> Layer {
    match transport {
        TransportSlice::Tcp(tcp) => tcp_layer(tcp),
        TransportSlice::Udp(udp) => {
            let fields = fields!({
                "source_port": udp.source_port(),
                "destination_port": udp.destination_port(),
                "length_bytes": udp.length(),
                "checksum": format!("{:#06x}", udp.checksum()),
                "payload_bytes": udp.payload().len(),
            });
            Layer::new("udp", fields)
        }
        TransportSlice::Icmpv4(icmp) => icmp_layer("icmp", icmp.type_u8(), icmp.code_u8(), icmp.payload()),
        TransportSlice::Icmpv6(icmp) => icmp_layer("icmpv6", icmp.type_u8(), icmp.code_u8(), icmp.payload()),
        TransportSlice::Igmp(igmp) => Layer::new("igmp", fields!({ "bytes": igmp.slice().len() })),
    }
}

fn icmp_layer(name: &'static str, kind: u8, code: u8, payload: &[u8]) -> Layer {
    Layer::new(name, fields!({ "type": kind, "code": code, "payload_bytes": payload.len() }))
}

fn tcp_layer(tcp: &TcpSlice<'_>) -> Layer {
    let flags: Vec<&str> = [
        ("SYN", tcp.syn()),
        ("ACK", tcp.ack()),
        ("FIN", tcp.fin()),
        ("RST", tcp.rst()),
        ("PSH", tcp.psh()),
        ("URG", tcp.urg()),
        ("ECE", tcp.ece()),
        ("CWR", tcp.cwr()),
        ("NS", tcp.ns()),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect();
    let fields = fields!({
        "source_port": tcp.source_port(),
        "destination_port": tcp.destination_port(),
        "flags": flags.join(" "),
        "sequence": tcp.sequence_number(),
        "acknowledgment": tcp.acknowledgment_number(),
        "window": tcp.window_size(),
        "checksum": format!("{:#06x}", tcp.checksum()),
        "options_bytes": tcp.options().len(),
        "payload_bytes": tcp.payload().len(),
    });
    Layer::new("tcp", fields)
}

/// What is behind the IP headers, where it is no transport that is decoded, or a piece of one.
fn ip_payload(payload: &LaxIpPayloadSlice<'_>, first_fragment: bool) -> Layer {
    let fields = fields!({
        "protocol": protocol(payload.ip_number),
        "bytes": payload.payload.len(),
        "later_fragment": payload.fragmented && !first_fragment,
    });
    Layer::new("payload", fields)
}

/// The number, with the registered keyword where it has one.
fn protocol(number: IpNumber) -> String {
    number.keyword_str().map_or_else(|| number.0.to_string(), |name| format!("{} {name}", number.0))
}

/// A link-layer address as people write it.
pub fn mac(bytes: &[u8; 6]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// A protocol address: IPv4 as such, whatever else by its bytes.
fn address(bytes: &[u8]) -> String {
    <[u8; 4]>::try_from(bytes).map_or_else(|_| hex(bytes), |octets| std::net::Ipv4Addr::from(octets).to_string())
}

/// Offset, sixteen bytes, and what of them is printable ASCII: a line each. Any other byte shows as a dot, so no byte of a frame reaches a terminal raw.
pub fn hex_dump(frame: &[u8]) -> Vec<String> {
    let line = |(number, chunk): (usize, &[u8])| {
        let half = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let (first, second) = chunk.split_at(chunk.len().min(8));
        let text: String =
            chunk.iter().map(|byte| if matches!(byte, 0x20..=0x7e) { char::from(*byte) } else { '.' }).collect();
        format!("{:04x}  {:<23}  {:<23}  {text}", number * 16, half(first), half(second))
    };
    frame.chunks(16).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use etherparse::{EtherType, PacketBuilder, SingleVlanHeader, VlanId};
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

    fn named<'a>(layers: &'a [Layer], name: &str) -> &'a Layer {
        layers.iter().find(|layer| layer.layer == name).unwrap_or_else(|| unreachable!("no {name}: {layers:?}"))
    }

    fn names(layers: &[Layer]) -> Vec<&str> {
        layers.iter().map(|layer| layer.layer).collect()
    }

    impl std::ops::Index<&str> for Layer {
        type Output = Value;

        fn index(&self, name: &str) -> &Value {
            self.field(name).unwrap()
        }
    }

    #[test]
    fn a_syn_in_two_tags_shows_every_header() {
        let vlan = |id| SingleVlanHeader {
            vlan_id: VlanId::try_new(id).unwrap(),
            ether_type: EtherType(0),
            ..Default::default()
        };
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(MACS.0, MACS.1)
            .vlan(etherparse::VlanHeader::Double(etherparse::DoubleVlanHeader { outer: vlan(7), inner: vlan(4000) }))
            .ipv4([203, 0, 113, 9], [192, 0, 2, 1], 61)
            .tcp(51_000, 9042, 77, 1024)
            .syn()
            .write(&mut frame, b"hi")
            .unwrap();
        let layers = layers(&frame, frame.len() as u32);
        assert_eq!(names(&layers), ["ethernet", "vlan", "vlan", "ipv4", "tcp"]);
        assert_eq!(layers[0]["source"], "02:00:00:00:00:01");
        assert_eq!((&layers[1]["id"], &layers[2]["id"]), (&json!(7), &json!(4000)));
        assert_eq!(layers[3]["source"], "203.0.113.9");
        assert_eq!((&layers[3]["ttl"], &layers[3]["protocol"]), (&json!(61), &json!("6 TCP")));
        let tcp = &layers[4];
        assert_eq!((&tcp["source_port"], &tcp["destination_port"]), (&json!(51_000), &json!(9042)));
        assert_eq!((&tcp["flags"], &tcp["payload_bytes"]), (&json!("SYN"), &json!(2)));
    }

    #[test]
    fn a_frame_cut_at_any_byte_shows_what_is_there() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(MACS.0, MACS.1)
            .ipv6([0x20; 16], [0x30; 16], 9)
            .udp(1234, 53)
            .write(&mut frame, &[0; 100])
            .unwrap();
        for length in 0..frame.len() {
            let layers = layers(&frame[..length], frame.len() as u32);
            let expected: &[&str] = match length {
                ..14 => &["undecoded"],
                14..54 => &["ethernet", "undecoded"],
                54..62 => &["ethernet", "ipv6", "payload", "undecoded"],
                _ => &["ethernet", "ipv6", "udp"],
            };
            assert_eq!(names(&layers), expected, "{length} bytes");
            if length >= 14 && expected.contains(&"undecoded") {
                assert_eq!(named(&layers, "undecoded")["cut"], true);
            }
        }
    }

    #[test]
    fn a_later_fragment_has_no_ports_and_says_so() {
        let mut frame = Vec::new();
        let mut header = etherparse::Ipv4Header::new(16, 5, IpNumber::UDP, [1, 2, 3, 4], [5, 6, 7, 8]).unwrap();
        header.fragment_offset = etherparse::IpFragOffset::try_new(185).unwrap();
        PacketBuilder::ethernet2(MACS.0, MACS.1)
            .ip(etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default()))
            .write(&mut frame, IpNumber::UDP, &[7; 16])
            .unwrap();
        let layers = layers(&frame, frame.len() as u32);
        assert_eq!(names(&layers), ["ethernet", "ipv4", "payload"]);
        assert_eq!(layers[1]["fragment_offset_bytes"], 1480);
        assert_eq!(layers[2]["later_fragment"], true);
    }

    #[test]
    fn a_dump_holds_no_byte_that_a_terminal_would_obey() {
        let frame: Vec<u8> = (0..=255).collect();
        let dump = hex_dump(&frame);
        assert_eq!(dump.len(), 16);
        assert_eq!(dump[1], "0010  10 11 12 13 14 15 16 17  18 19 1a 1b 1c 1d 1e 1f  ................");
        assert_eq!(dump[4], "0040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO");
        assert!(dump.iter().all(|line| line.bytes().all(|byte| matches!(byte, 0x20..=0x7e))), "{dump:#?}");
        assert_eq!(hex_dump(&[0x1b]), ["0000  1b                                                ."]);
        assert!(hex_dump(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_said_not_to_be(frame in prop::collection::vec(any::<u8>(), 0..300), original: u32) {
            let layers = layers(&frame, original);
            assert!(!layers.is_empty());
            let text = serde_json::to_string(&layers).unwrap();
            assert!(text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{text}");
        }
    }
}
