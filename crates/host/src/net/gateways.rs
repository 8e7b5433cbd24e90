//! The default gateways, from /proc/thread-self/net/route and `ipv6_route`. Reads only.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use super::error::NetError;

const ROUTES_V4: &str = "/proc/thread-self/net/route";
const ROUTES_V6: &str = "/proc/thread-self/net/ipv6_route";

/// The gateways of the main table's default routes, for the calling thread's network namespace.
pub fn gateways() -> Result<Vec<IpAddr>, NetError> {
    let mut found: Vec<IpAddr> = v4(&read(ROUTES_V4)?).into_iter().map(IpAddr::V4).collect();
    found.extend(v6(&read(ROUTES_V6)?).into_iter().map(IpAddr::V6));
    found.dedup();
    Ok(found)
}

/// A kernel without IPv6 has no such file.
fn read(path: &str) -> Result<String, NetError> {
    match fs::read_to_string(Path::new(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        result => result.map_err(|source| NetError::Read { path: PathBuf::from(path), source }),
    }
}

/// Columns: interface, destination, gateway, flags, three counts, mask; addresses in hexadecimal, in memory order (`fib_route_seq_show`).
fn v4(text: &str) -> Vec<Ipv4Addr> {
    let gateway = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (destination, gateway) = (words.next()?, words.next()?);
        let mask = words.nth(4)?;
        if destination != "00000000" || mask != "00000000" {
            return None;
        }
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        (gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    };
    text.lines().skip(1).filter_map(gateway).collect()
}

/// Columns: destination, its length, source, its length, next hop, …; addresses in hexadecimal, in wire order (`rt6_info_route`).
fn v6(text: &str) -> Vec<Ipv6Addr> {
    let gateway = |line: &str| {
        let mut words = line.split_whitespace();
        let (destination, length) = (words.next()?, words.next()?);
        let next_hop = words.nth(2)?;
        if length != "00" || destination.bytes().any(|byte| byte != b'0') {
            return None;
        }
        let next_hop = u128::from_str_radix(next_hop, 16).ok()?;
        (next_hop != 0).then(|| Ipv6Addr::from(next_hop))
    };
    text.lines().filter_map(gateway).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_routes_gateways_are_found() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      eth0\t00000000\tFE09000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      eth0\t0009000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      eth1\t0000A8C0\t0100000A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        // The text is of a little-endian machine.
        if cfg!(target_endian = "little") {
            assert_eq!(v4(routes), ["10.0.9.254".parse::<Ipv4Addr>().unwrap()]);
        }
        let zero = "0".repeat(32);
        let routes = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
             20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        assert_eq!(v6(&routes), ["fe80::1".parse::<Ipv6Addr>().unwrap()]);
    }
}
