//! Who is allowed: peers of any number and sources of several prefix lengths, as one policy for all programs, compiled by nodewall's own compiler.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::random::Random;
use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use node_ebpf_common::{policy::GROUP_SPOOFED, rule::GROUP_PEER};
use nodewall_policy::{Compiled, Facts, Policy, RowTable, compile, config::Config};

/// The node itself.
pub const OWN_V4: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 1);
pub const OWN_V6: Ipv6Addr = v6(0x00ff_ff01);
/// No peer and in no allowed prefix.
pub const OUTSIDER_V4: Ipv4Addr = Ipv4Addr::new(11, 9, 9, 9);
pub const OUTSIDER_V6: Ipv6Addr = v6(0xf000_0009);

/// Prefix lengths in the order of their coming into use. Far enough apart, and (below) with enough prefixes, that nodewall's compiler can
/// not bring them down to fewer.
const LENGTHS_V4: [u8; 8] = [32, 29, 26, 23, 20, 16, 12, 8];
const LENGTHS_V6: [u8; 8] = [128, 112, 96, 80, 64, 48, 32, 16];
/// Prefixes of one length, for all but the first.
const PREFIXES_V4: usize = 150;
const FEW_PREFIXES_V4: usize = 70;
const PREFIXES_V6: usize = 20;
/// Sources of a policy with several lengths, the same for any number of them: as many as fit is what forbids the expansion.
pub const SOURCES_WITH_LENGTHS: usize = 16_384;

/// An address of the bench's own IPv6 network: all addresses differ in the last four bytes only, which the mix rewrites.
pub const fn v6(last: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfd00_6e77_0000_0000_0000_0000_0000_0000 | last as u128)
}

/// A policy and the sources that it was made of.
pub struct Sources {
    /// Sources of each family.
    pub count: usize,
    /// Distinct prefix lengths of each family.
    pub lengths: usize,
    /// IPv4 addresses that are peers.
    pub peers_v4: Vec<Ipv4Addr>,
    /// IPv6 addresses that are peers.
    pub peers_v6: Vec<Ipv6Addr>,
    /// Every source and its groups, the node's own addresses included.
    pub groups: BTreeMap<IpNet, u32>,
    /// nodewall's image of it.
    pub compiled: Compiled,
}

impl Sources {
    /// `count` peers with an IPv4 and an IPv6 address each.
    pub fn peers(count: usize, seed: u64) -> Result<Self> {
        Self::new(count, 1, BTreeSet::new(), seed)
    }

    /// [`SOURCES_WITH_LENGTHS`] sources of each family in `lengths` distinct prefix lengths; nearly all are addresses.
    pub fn with_lengths(lengths: usize, seed: u64) -> Result<Self> {
        let mut random = Random::new(seed);
        let mut prefixes = BTreeSet::new();
        for length in LENGTHS_V4.into_iter().take(lengths).skip(1) {
            let number = if length <= 16 { FEW_PREFIXES_V4 } else { PREFIXES_V4 };
            let wanted = prefixes.len() + number;
            while prefixes.len() < wanted {
                // 128/8 to 199/8: neither peers nor outsiders are there.
                let address = Ipv4Addr::from_bits((128 + random.below(72) as u32) << 24 | random.next() as u32 >> 8);
                prefixes.insert(IpNet::V4(Ipv4Net::new(address, length)?.trunc()));
            }
        }
        for length in LENGTHS_V6.into_iter().take(lengths).skip(1) {
            let wanted = prefixes.len() + PREFIXES_V6;
            while prefixes.len() < wanted {
                let bits = u128::from(random.next()) << 64 | u128::from(random.next());
                let address = Ipv6Addr::from_bits(1 << 125 | bits >> 3);
                prefixes.insert(IpNet::V6(Ipv6Net::new(address, length)?.trunc()));
            }
        }
        Self::new(SOURCES_WITH_LENGTHS, lengths, prefixes, seed)
    }

    fn new(count: usize, lengths: usize, prefixes: BTreeSet<IpNet>, seed: u64) -> Result<Self> {
        let mut random = Random::new(seed ^ 0x6e77);
        let prefixes_v4 = prefixes.iter().filter(|net| matches!(net, IpNet::V4(_))).count();
        let mut last_bytes = BTreeSet::new();
        while last_bytes.len() < count {
            // 10.0.0.0 to 10.127.255.255: the node's own address is beyond.
            last_bytes.insert(random.next() as u32 & 0x007f_ffff);
        }
        let last_bytes: Vec<u32> = last_bytes.into_iter().collect();
        let peers_v4: Vec<Ipv4Addr> =
            last_bytes.iter().skip(prefixes_v4).map(|n| Ipv4Addr::from_bits(10 << 24 | n)).collect();
        let peers_v6: Vec<Ipv6Addr> = last_bytes.iter().skip(prefixes.len() - prefixes_v4).map(|n| v6(*n)).collect();

        let exact_v4 = peers_v4.iter().map(|a| IpNet::from(IpAddr::V4(*a)));
        let exact_v6 = peers_v6.iter().map(|a| IpNet::from(IpAddr::V6(*a)));
        let allowed: Vec<IpNet> = prefixes.into_iter().chain(exact_v4).chain(exact_v6).collect();
        let compiled = compiled(&allowed)?;
        ensure!(
            (compiled.lengths.v4, compiled.lengths.v6) == (lengths, lengths),
            "the compiler made {:?} of {lengths} prefix lengths; the bench's sources must be chosen anew",
            compiled.lengths
        );
        let mut groups: BTreeMap<IpNet, u32> = allowed.into_iter().map(|net| (net, GROUP_PEER)).collect();
        for own in [IpAddr::V4(OWN_V4), IpAddr::V6(OWN_V6)] {
            groups.insert(IpNet::from(own), GROUP_SPOOFED);
        }
        Ok(Self { count, lengths, peers_v4, peers_v6, groups, compiled })
    }
}

/// The default policy with these peers. Not through a configuration file, which may name at most half of them: each family has its own table, and
/// both shall be full.
fn compiled(allowed: &[IpNet]) -> Result<Compiled> {
    let mut policy = Policy::from_config(&Config::parse("", "bench.toml").context("the bench's own configuration")?)?;
    policy.peers = allowed.to_vec();
    let own_addresses = vec![IpAddr::V4(OWN_V4), IpAddr::V6(OWN_V6)];
    let facts = Facts { generation: 1, own_addresses, ..Facts::default() };
    Ok(compile(&policy, RowTable::default(), &facts)?)
}
