//! An IP address as a packet carries it. Owns the form in which kernel and userspace compare addresses.

/// An address: the wire's bytes read little-endian. One shape for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// First eight bytes of an IPv6 address; 0 for IPv4.
    pub hi: u64,
    /// Last eight bytes of an IPv6 address, or the four of an IPv4 address.
    pub lo: u64,
    /// 1 for IPv6, 0 for IPv4.
    pub is_v6: u32,
}

impl Address {
    /// No address at all.
    pub const NONE: Self = Self::v4(0);

    /// An IPv4 address.
    #[inline(always)]
    pub const fn v4(wire: u32) -> Self {
        Self { hi: 0, lo: wire as u64, is_v6: 0 }
    }

    /// An IPv6 address, first and last eight bytes.
    #[inline(always)]
    pub const fn v6(hi: u64, lo: u64) -> Self {
        Self { hi, lo, is_v6: 1 }
    }

    /// Whether no genuine packet on a wire has this source: 0/8, 127/8, multicast, limited broadcast (RFC 1122 3.2.1.3, RFC 6890); `::`, `::1`,
    /// IPv4-mapped, multicast (RFC 4291). DHCP, DAD and the like use some of them, and only to reach ports that the policy leaves open.
    #[inline(always)]
    pub const fn is_martian(self) -> bool {
        if self.is_v6 == 0 {
            let first = self.lo as u8;
            // Two tests that nearly every address fails, 128/8 alone being taken along: 0, 127, 128; 224 and above.
            let perhaps = first.wrapping_add(1) & 0x7e == 0 || first >= 224;
            let multicast = first >= 224 && first < 240;
            return perhaps && (first == 0 || first == 127 || multicast || self.lo as u32 == u32::MAX);
        }
        let mapped = self.lo as u32 == 0xffff_0000;
        self.hi as u8 == 0xff || (self.hi == 0 && (self.lo == 0 || self.lo == 1u64.swap_bytes() || mapped))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn martian_sources() {
        let v4 = |a: [u8; 4]| Address::v4(u32::from_le_bytes(a)).is_martian();
        for first in 0..=255 {
            let wrong = matches!(first, 0 | 127 | 224..=239);
            for rest in [[0, 0, 0], [1, 2, 3], [255, 255, 254], [254, 255, 255]] {
                assert_eq!(v4([first, rest[0], rest[1], rest[2]]), wrong, "{first}.{rest:?}");
            }
        }
        assert!(v4([255; 4]));
        let v6 = |text: &str| {
            let octets = text.parse::<std::net::Ipv6Addr>().unwrap().octets();
            let half = |h: usize| u64::from_le_bytes(octets[h..h + 8].try_into().unwrap());
            Address::v6(half(0), half(8)).is_martian()
        };
        for martian in ["::", "::1", "::ffff:10.0.0.1", "ff02::1"] {
            assert!(v6(martian), "{martian}");
        }
        for genuine in ["::2", "::10.0.0.1", "fe80::1", "2001:db8::1", "::ffff:0:0:1", "1::ffff:a00:1"] {
            assert!(!v6(genuine), "{genuine}");
        }
    }
}
