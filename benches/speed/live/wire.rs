//! The network of the live section: the flooded node, who floods it over one veth pair, and who asks it for its service over another. Made in
//! namespaces of its own, gone with the value. It must not know who takes the flood.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nodewall_testbed::NetNs;

use super::device::{Device, NapiThread};

/// The node's address towards the flood, as the data section's frames have it, and who routes the answers.
const FLOODED: &str = "10.255.255.1";
const ROUTER: &str = "10.255.255.2";
/// The node's address towards those who ask it, and theirs.
const SERVING: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 1);
const ASKER: &str = "10.254.0.2";
/// A public port.
const SERVICE_PORT: u16 = 443;
/// The last frames are taken by then.
const QUIET_WITHIN: Duration = Duration::from_secs(3);
const POLL_EVERY: Duration = Duration::from_millis(2);

/// The three hosts and their links.
pub struct Wire {
    pub node: NetNs,
    pub flooder: NetNs,
    pub asker: NetNs,
    /// The node's end towards the flood.
    pub flooded: Device,
    /// The other end of it.
    pub flooding: Device,
    /// The node's end towards those who ask.
    pub serving: Device,
    /// Takes in the flood.
    pub receiver: NapiThread,
    /// Takes in what the node answers to it.
    pub replies: NapiThread,
}

impl Wire {
    /// Makes it. Both ends of the flooded link receive on `cpu`.
    pub fn new(cpu: usize) -> Result<Self> {
        let mut namespaces = NetNs::create_many(&["flooded", "flooder", "asker"])?.into_iter();
        let (Some(node), Some(flooder), Some(asker)) = (namespaces.next(), namespaces.next(), namespaces.next()) else {
            bail!("three namespaces were asked for");
        };
        // Kernel threads are the whole machine's: their names must tell this run's devices.
        let device = |letter: char, if_index| Device { name: format!("{letter}{}", process::id()), if_index };
        let (flooded, flooding) = (device('r', 901), device('t', 902));
        let (serving, asking) = (device('s', 903), device('a', 904));
        let pair = |near: &Device, near_mac: u8, far: &Device, far_mac: u8, to: &NetNs| {
            format!(
                "link add {} index {} address 02:00:00:00:00:{near_mac:02} type veth peer name {} index {} address 02:00:00:00:00:{far_mac:02} netns {}\n",
                near.name,
                near.if_index,
                far.name,
                far.if_index,
                to.name()
            )
        };
        let up = |device: &Device| format!("link set dev {} up\n", device.name);
        // Duplicate address detection and router solicitations would be frames that nobody sent.
        for netns in [&node, &flooder, &asker] {
            netns.sysctl(&[("ipv6.conf.default.disable_ipv6", "1"), ("ipv4.conf.all.rp_filter", "0")])?;
        }
        node.ip_batch(&(pair(&flooded, 1, &flooding, 2, &flooder) + &pair(&serving, 3, &asking, 4, &asker)))?;
        node.ip_batch(&format!(
            "{}{}addr add {FLOODED}/30 dev {flooded}\naddr add {SERVING}/24 dev {}\n\
             neigh add {ROUTER} lladdr 02:00:00:00:00:02 dev {flooded} nud permanent\nroute add default via {ROUTER}\n",
            up(&flooded),
            up(&serving),
            serving.name,
            flooded = flooded.name,
        ))?;
        flooder.ip_batch(&up(&flooding))?;
        asker.ip_batch(&format!("{}addr add {ASKER}/24 dev {}\n", up(&asking), asking.name))?;
        let receiver = flooded.receive_in_a_thread(&node, cpu)?;
        let replies = flooding.receive_in_a_thread(&flooder, cpu)?;
        Ok(Self { node, flooder, asker, flooded, flooding, serving, receiver, replies })
    }

    /// Where the node's service is.
    pub fn service() -> SocketAddr {
        SocketAddr::new(SERVING.into(), SERVICE_PORT)
    }

    /// What the node has received of the flood, and the CPU time that it took, ns: both once nothing is under way any more.
    pub fn received(&self) -> Result<(u64, u64)> {
        let deadline = Instant::now() + QUIET_WITHIN;
        let now =
            || -> Result<(u64, u64)> { Ok((self.flooded.received_packets(&self.node)?, self.receiver.cpu_ns()?)) };
        let mut last = now()?;
        loop {
            thread::sleep(POLL_EVERY);
            let this = now()?;
            if this == last {
                return Ok(this);
            }
            if Instant::now() > deadline {
                bail!("frames still arrive {QUIET_WITHIN:?} after the flood");
            }
            last = this;
        }
    }
}
