//! The source table against the plainest possible answer: scan all prefixes, longest first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use node_ebpf_common::{
    policy::{GROUP_BLOCKED, index_v4, index_v6},
    rule::GROUP_PEER,
};
use zerocopy::FromZeros;

use super::*;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn build(sources: &[(&str, u32, u16)]) -> (Box<PolicyImage>, BTreeMap<IpNet, Grant>) {
    let sources = sources
        .iter()
        .map(|(net, groups, peer)| (net.parse().unwrap(), Grant { groups: *groups, peer: *peer }))
        .collect();
    let mut image = PolicyImage::new_box_zeroed().unwrap();
    fill(&mut image, &sources).unwrap();
    (image, sources)
}

fn kernel_answer(image: &PolicyImage, address: IpAddr) -> Grant {
    let frame: &[u8] = &[];
    let found = image.source(frame, source_of(address));
    Grant { groups: found as u32, peer: (found >> 32) as u16 }
}

fn plain_answer(sources: &BTreeMap<IpNet, Grant>, address: IpAddr) -> Grant {
    let mut matching: Vec<_> = sources.iter().filter(|(net, _)| net.contains(&address)).collect();
    matching.sort_by_key(|(net, _)| net.prefix_len());
    if let Some((_, own)) = matching.iter().find(|(_, g)| g.groups & GROUP_SPOOFED != 0) {
        return **own;
    }
    Grant {
        groups: matching.iter().fold(0, |all, (_, g)| all | g.groups),
        peer: matching.iter().rev().map(|(_, g)| g.peer).find(|p| *p != 0).unwrap_or(0),
    }
}

fn assert_same(image: &PolicyImage, sources: &BTreeMap<IpNet, Grant>, address: IpAddr) {
    assert_eq!(kernel_answer(image, address), plain_answer(sources, address), "{address}");
}

#[test]
fn groups_of_all_matching_prefixes_are_ored_and_the_longest_names_the_peer() {
    let (image, sources) = build(&[
        ("10.0.0.0/8", 2, 0),
        ("10.1.0.0/16", GROUP_PEER, 7),
        ("10.1.2.3/32", 4, 0),
        ("10.1.2.4/32", GROUP_PEER, 9),
        ("fd00::/64", GROUP_PEER, 11),
        ("fd00::5/128", 8, 12),
    ]);
    for address in ["10.1.2.3", "10.1.2.4", "10.1.9.9", "10.9.9.9", "11.0.0.1", "fd00::5", "fd00::6", "fd00:0:0:1::5"] {
        assert_same(&image, &sources, address.parse().unwrap());
    }
    assert_eq!(kernel_answer(&image, "10.1.2.3".parse().unwrap()), Grant { groups: 7, peer: 7 });
}

#[test]
fn an_own_address_inherits_nothing_and_a_block_reaches_everything_inside() {
    let (image, sources) = build(&[
        ("10.0.0.0/24", GROUP_PEER, 1),
        ("10.0.0.1/32", GROUP_SPOOFED, 0),
        ("10.0.0.128/25", GROUP_BLOCKED, 0),
        ("10.0.0.200/32", GROUP_PEER, 2),
    ]);
    for last in 0..=255 {
        assert_same(&image, &sources, Ipv4Addr::new(10, 0, 0, last).into());
    }
    assert_eq!(kernel_answer(&image, "10.0.0.1".parse().unwrap()).groups, GROUP_SPOOFED);
    assert_ne!(kernel_answer(&image, "10.0.0.200".parse().unwrap()).groups & GROUP_BLOCKED, 0);
}

#[test]
fn many_lengths_are_expanded_to_four_and_answer_the_same() {
    let text: Vec<String> =
        (9..=32).map(|n| format!("{}/{n}", Ipv4Addr::from(0x0a00_0000_u32 | 1 << (32 - n)))).collect();
    let entries: Vec<(&str, u32, u16)> =
        text.iter().zip(1_u16..).map(|(t, n)| (t.as_str(), 1 << (n % 20), n)).collect();
    let (image, sources) = build(&entries);
    assert!(image.lengths_v4 as usize <= FEW_LENGTHS, "{}", image.lengths_v4);
    let mut random = Random(42);
    for _ in 0..20_000 {
        assert_same(&image, &sources, Ipv4Addr::from(0x0a00_0000 | random.next() as u32 & 0x00ff_ffff).into());
    }
}

#[test]
fn the_zero_address_and_an_empty_table_match_nothing() {
    let (image, sources) = build(&[]);
    for address in ["0.0.0.0", "10.0.0.1", "::", "fd00::1"] {
        assert_eq!(kernel_answer(&image, address.parse().unwrap()), Grant::default());
        assert_same(&image, &sources, address.parse().unwrap());
    }
}

#[test]
fn a_full_table_finds_every_source_and_no_other() {
    let mut random = Random(7);
    let mut sources = BTreeMap::new();
    while sources.len() < 16_384 {
        let address = IpAddr::from(Ipv4Addr::from(0x0a00_0000 | random.next() as u32 & 0x003f_ffff));
        sources.insert(IpNet::from(address), Grant { groups: GROUP_PEER, peer: sources.len() as u16 + 1 });
    }
    while sources.len() < 2 * 16_384 {
        let address = IpAddr::from(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(random.next() & 0x3f_ffff)));
        sources.insert(IpNet::from(address), Grant { groups: GROUP_PEER, peer: (sources.len() - 16_384) as u16 + 1 });
    }
    let mut image = PolicyImage::new_box_zeroed().unwrap();
    fill(&mut image, &sources).unwrap();
    for net in sources.keys() {
        assert_eq!(kernel_answer(&image, net.addr()), sources[net], "{net}");
    }
    for _ in 0..300 {
        assert_same(&image, &sources, Ipv4Addr::from(random.next() as u32).into());
        assert_same(
            &image,
            &sources,
            Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(random.next() & 0xfff_ffff)).into(),
        );
    }
}

#[test]
fn too_many_sources_are_refused_with_the_number() {
    let sources = (0..18_000_u32)
        .map(|n| (IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)).into(), Grant { groups: 1, peer: 1 }))
        .collect();
    let mut image = PolicyImage::new_box_zeroed().unwrap();
    let error = fill(&mut image, &sources).expect_err("must not fit").to_string();
    assert!(error.contains("18000") && error.contains("IPv4"), "{error}");
}

/// The table is no larger than its sources need, at every size, and holds them all.
#[test]
fn few_sources_make_a_small_table() {
    // Up to 96 without pilots, which takes more slots.
    let sizes = [
        (0, 64, 1),
        (1, 64, 1),
        (22, 64, 1),
        (23, 128, 1),
        (64, 512, 1),
        (96, 2_048, 1),
        (97, 256, 64),
        (1_000, 2_048, 512),
        (8_192, 16_384, 4_096),
        (MAX_SOURCES, SLOTS, BUCKETS),
    ];
    for (count, slots, buckets) in sizes {
        let peers = |n: usize| Grant { groups: GROUP_PEER, peer: (n + 1) as u16 };
        let sources: BTreeMap<IpNet, Grant> = (0..count)
            .flat_map(|n| {
                let (v4, v6) = (
                    Ipv4Addr::from_bits(0x0a00_0000 + 7 * n as u32),
                    Ipv6Addr::from_bits((0xfd << 120) + 9 * n as u128),
                );
                [(IpAddr::from(v4).into(), peers(n)), (IpAddr::from(v6).into(), peers(n))]
            })
            .collect();
        let mut image = PolicyImage::new_box_zeroed().unwrap();
        fill(&mut image, &sources).unwrap();
        assert_eq!((image.slot_mask_v4, image.slot_mask_v6), (slots as u32 - 1, slots as u32 - 1), "{count}");
        assert_eq!((image.bucket_mask_v4, image.bucket_mask_v6), (buckets as u32 - 1, buckets as u32 - 1), "{count}");
        assert!(image.slots_v4.iter().skip(slots).all(|slot| slot.key == 0), "{count}");
        for (net, grant) in &sources {
            assert_eq!(kernel_answer(&image, net.addr()), *grant, "{net}");
        }
        assert_eq!(kernel_answer(&image, "10.0.0.1".parse().unwrap()), Grant::default());
    }
}

/// The bits that tell sources apart are chosen from the sources: within one /16, or behind 32 bits that all have, they are others than for sources from everywhere.
#[test]
fn an_address_is_asked_for_few_of_the_lengths_wherever_sources_differ() {
    let asked = |sources: &[(&str, u32, u16)], address: &str| {
        let (image, grants) = build(sources);
        let address: IpAddr = address.parse().unwrap();
        assert_same(&image, &grants, address);
        let source = source_of(address);
        let possible = if source.is_v6 == 0 {
            u64::from(image.possible_v4[index_v4(source.lo as u32, image.index_shift_v4)])
        } else {
            image.possible_v6[index_v6(source.hi, image.index_shift_v6)]
        };
        (0..16).filter(|n| possible >> (4 * n) & 15 != 0).count()
    };
    let near = [("10.20.1.1/32", 1, 1), ("10.20.1.2/32", 1, 2), ("10.20.64.0/20", 1, 3), ("10.20.128.0/18", 2, 0)];
    for (address, lengths) in [("10.20.1.1", 1), ("10.20.65.1", 1), ("10.20.129.1", 1), ("10.20.200.1", 0)] {
        assert_eq!(asked(&near, address), lengths, "{address}");
    }
    let far = [("10.1.1.1/32", 1, 1), ("172.16.0.0/12", 1, 2), ("203.0.113.0/24", 2, 0)];
    for (address, lengths) in [("10.1.1.1", 1), ("172.17.1.1", 1), ("203.0.113.9", 1), ("8.8.8.8", 0)] {
        assert_eq!(asked(&far, address), lengths, "{address}");
    }
    let v6 = [("2001:db8:100::1/128", 1, 1), ("2001:db8:200::/48", 1, 2), ("2001:db8:8000::/33", 2, 0)];
    for (address, lengths) in
        [("2001:db8:100::1", 1), ("2001:db8:200::7", 1), ("2001:db8:9000::1", 1), ("2001:db8:700::1", 0)]
    {
        assert_eq!(asked(&v6, address), lengths, "{address}");
    }
}
