//! The closed enum of reasons: for every frame exactly one says why it passed or was dropped. Numbers and names are stable: counters,
//! metrics, evidence and scripts rely on them, so a reason is never renumbered and its number never reused.
#![allow(clippy::doc_markdown, reason = "the documentation of a reason is also its text for people")]

/// The policy's answer. In audit mode it is the same; only nothing is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// On to the kernel's stack.
    Pass,
    /// Not delivered.
    Drop,
}

impl Verdict {
    /// `pass` or `drop`, as scripts see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}

/// Numbers below this are for frames whose port was looked up: they index a row's cells. From it on a frame has no row.
pub const PORTLESS_FROM: u32 = 16;
/// One more than the largest number a reason may ever have.
pub const REASON_SLOTS: u32 = 64;
/// The bit of a reason's number that says drop.
pub const DROP_BIT: u32 = 8;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// Why a frame passed or was dropped. Bit 3 of the number is the verdict (set: drop), so that the kernel needs no table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        // As wide as the registers it travels in: narrower fields are packed on the stack, which the verifier refuses.
        #[repr(u32)]
        pub enum Reason { $($(#[doc = $doc])+ $variant = $number,)+ }

        impl Reason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, as it stands in counters, metrics and evidence.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for people.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim(),)+ }
            }

            /// The reason with this number.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// The policy does not name this port.
    Unmanaged = 0, "unmanaged";
    /// The port is open to everyone.
    Public = 1, "public";
    /// The source is a peer and the port is for peers.
    Peer = 2, "peer";
    /// The rule of this port allows the source's prefix.
    AllowedSource = 3, "allowed_source";
    /// The port is for peers and the source is none.
    Outsider = 8, "outsider";
    /// The port is closed to everyone.
    Closed = 9, "closed";
    /// The source can not be genuine on a wire (loopback, multicast, broadcast, unspecified, IPv4-mapped, the node's own) and the port is not public.
    SpoofedSource = 10, "spoofed_source";
    /// An operator blocked this source.
    BlockedSource = 11, "blocked_source";
    /// A tunnel packet (IPIP, 6in4, GRE, VXLAN, Geneve) from a source that is no peer: its inner packet would go round the filter.
    TunnelOutsider = 12, "tunnel_outsider";
    /// A fragment after the first from a source that is no peer, where `later_fragments = "peers"`.
    FragmentOutsider = 13, "fragment_outsider";
    /// Neither IPv4 nor IPv6 (ARP, LLDP and others): no port can be reached by it.
    NonIp = 16, "non_ip";
    /// ICMP or ICMPv6: errors, echo, neighbour and router discovery.
    Icmp = 17, "icmp";
    /// An IP protocol without the policy's ports (SCTP, IGMP, VRRP, OSPF and others).
    OtherProtocol = 18, "other_protocol";
    /// A fragment after the first: it carries no port, and the first one was judged.
    LaterFragment = 19, "later_fragment";
    /// Encapsulated traffic that only a configured tunnel opens (ESP, AH, L2TP, MACsec, PPPoE, MPLS).
    Encapsulated = 20, "encapsulated";
    /// A copy of the node's own multicast or broadcast, which the kernel gives back to it without an Ethernet header (generic mode and tc).
    OwnMulticast = 21, "own_multicast";
    /// Shorter than its link-layer header.
    ShortFrame = 24, "short_frame";
    /// More than 8 VLAN tags.
    TooManyVlanTags = 25, "too_many_vlan_tags";
    /// An IPv4 header whose version or lengths can not be true.
    MalformedIpv4 = 26, "malformed_ipv4";
    /// An IPv6 header whose version or length can not be true.
    MalformedIpv6 = 27, "malformed_ipv6";
    /// IPv6 extension headers that do not end within the packet, or more than 8 of them.
    ExtensionChain = 28, "extension_chain";
    /// TCP or UDP without its port numbers (cut short, or a first fragment too small to hold them).
    NoPorts = 29, "no_ports";
}

impl Reason {
    /// The stable number.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// What the reason means for the frame.
    pub const fn verdict(self) -> Verdict {
        if self.number() & DROP_BIT == 0 { Verdict::Pass } else { Verdict::Drop }
    }

    /// Whether a rule was looked up for it, so that it is counted on that rule's row; [`Self::BlockedSource`] also without a rule, on row 0.
    pub const fn has_row(self) -> bool {
        self.number() < PORTLESS_FROM
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_and_names_are_unique_ordered_and_in_range() {
        let numbers: Vec<u32> = Reason::ALL.iter().map(|r| r.number()).collect();
        assert!(numbers.windows(2).all(|w| w[0] < w[1]));
        assert!(numbers.iter().all(|n| *n < REASON_SLOTS));
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
            assert!(reason.text().ends_with('.') && !reason.text().is_empty());
        }
        assert_eq!(Reason::from_number(REASON_SLOTS), None);
    }
}
