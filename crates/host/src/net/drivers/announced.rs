//! The XDP features that drivers announce: one dump of the generic netlink family `netdev` (Linux 6.3,
//! Documentation/netlink/specs/netdev.yaml).

use std::collections::BTreeMap;
use std::io;

use super::driver::XdpFeatures;
use crate::net::generic::{attributes, dump};

/// `linux/netdev.h`
const DEV_GET: u8 = 1;
const DEV_IF_INDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;

/// The announced features by interface index, for the calling thread's network namespace.
pub(super) fn xdp_features() -> io::Result<BTreeMap<u32, XdpFeatures>> {
    let mut features = BTreeMap::new();
    let announced = dump("netdev", DEV_GET, |payload| {
        let (mut index, mut bits) = (None, None);
        for (kind, value) in attributes(payload) {
            match kind {
                DEV_IF_INDEX => index = value.try_into().ok().map(u32::from_ne_bytes),
                DEV_XDP_FEATURES => bits = value.try_into().ok().map(u64::from_ne_bytes),
                _ => {}
            }
        }
        if let (Some(index), Some(bits)) = (index, bits) {
            features.insert(index, XdpFeatures(bits));
        }
    })?;
    let absent = "this kernel has no netlink family \"netdev\" (Linux 6.3 has), by which drivers announce XDP";
    announced.map(|()| features).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, absent))
}
