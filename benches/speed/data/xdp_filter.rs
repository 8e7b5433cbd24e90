//! xdp-filter of the Debian package xdp-tools: its own object, as an allow-list that gives the same verdicts as nodewall's policy. It passes a frame
//! when the destination port is listed (here: every port but the cluster's) or the source address is (here: the peers'), else drops it. It keeps its
//! counters per entry, looks up both MAC addresses, both IP addresses and both ports, and looks behind VLAN tags.

use std::{fs, path::Path, thread};

use anyhow::{Context, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray, PerCpuHashMap, PerCpuValues},
    programs::Xdp,
    util::nr_cpus,
};
use ipnet::IpNet;
use node_ebpf_common::{packet::TABLE_TCP, rule::GROUP_PEER};
use nodewall_testbed::program::Program;
use rustix::{
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::sources::Sources;

/// Denies what no entry names. Debian puts objects into the folder of the machine's libraries.
const OBJECTS: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_dny_all.o", "/usr/lib/aarch64-linux-gnu/bpf/xdpfilt_dny_all.o"];
const PROGRAM: &str = "xdpfilt_dny_all";
/// The size that the object has for its tables of addresses; they are made larger where the policy has more.
const ADDRESSES: usize = 10_000;
/// Flags of an entry (`common_kern_user.h` of xdp-tools).
const SOURCE: u64 = 1 << 0;
const DESTINATION: u64 = 1 << 1;
const TCP: u64 = 1 << 2;
const UDP: u64 = 1 << 3;

/// The loaded program; its maps live with it.
pub struct XdpFilter {
    _ebpf: Ebpf,
    id: u32,
}

impl XdpFilter {
    /// Loads it under the policy, or `None` where the package is not installed.
    pub fn load(sources: &Sources) -> Result<Option<Self>> {
        let Some(object) = OBJECTS.iter().find(|file| Path::new(file).is_file()) else { return Ok(None) };
        let entries = sources.groups.len().max(ADDRESSES) as u32;
        let mut ebpf = private_bpffs(|pins| {
            let mut loader = EbpfLoader::new();
            for map in ["filter_ipv4", "filter_ipv6"] {
                loader.map_max_entries(map, entries);
            }
            loader.default_map_pin_directory(pins).load_file(object).with_context(|| format!("loading {object}"))
        })?;
        let mut take = |name: &str| ebpf.take_map(name).with_context(|| format!("{object} has no map {name}"));
        let cpus = nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
        let value = |flags: u64| PerCpuValues::try_from(vec![flags; cpus]);

        let mut ports: PerCpuArray<MapData, u64> = take("filter_ports")?.try_into()?;
        let image = &sources.compiled.image;
        for port in 0..=u16::MAX {
            let wire = u32::from(port.swap_bytes());
            if image.row(image.row_of(TABLE_TCP, wire)).allow == 0 {
                // It indexes by the port as it lies on the wire.
                ports.set(wire, value(DESTINATION | TCP | UDP)?, 0)?;
            }
        }
        let mut v4: PerCpuHashMap<MapData, [u8; 4], u64> = take("filter_ipv4")?.try_into()?;
        let mut v6: PerCpuHashMap<MapData, [u8; 16], u64> = take("filter_ipv6")?.try_into()?;
        for net in sources.groups.iter().filter(|(_, groups)| **groups == GROUP_PEER).map(|(net, _)| net) {
            match net {
                IpNet::V4(net) if net.prefix_len() == 32 => v4.insert(net.addr().octets(), value(SOURCE)?, 0)?,
                IpNet::V6(net) if net.prefix_len() == 128 => v6.insert(net.addr().octets(), value(SOURCE)?, 0)?,
                // It knows no prefixes.
                _ => {}
            }
        }
        let program: &mut Xdp =
            ebpf.program_mut(PROGRAM).with_context(|| format!("{object} has no {PROGRAM}"))?.try_into()?;
        program.load().with_context(|| format!("loading {PROGRAM} of {object}"))?;
        let id = program.info()?.id();
        Ok(Some(Self { _ebpf: ebpf, id }))
    }

    /// The kernel's number of the program.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The program.
    pub fn program(&self) -> Result<Program> {
        Ok(Program::by_id(self.id)?)
    }
}

/// Calls `load` with a folder on a bpffs that nobody else sees and that is gone afterwards: the object asks for its maps to be pinned, and must not
/// meet, or leave, any that the machine's own xdp-filter uses.
fn private_bpffs<T: Send>(load: impl FnOnce(&Path) -> Result<T> + Send) -> Result<T> {
    let folder = std::env::temp_dir().join(format!("nodewall-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("{} can not be made", folder.display()))?;
    let loaded = thread::scope(|scope| {
        let inside = || {
            // A thread's mounts of its own end with the thread.
            // SAFETY: only the mount namespace is unshared, no descriptors.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("a mount namespace for xdp-filter's pins")?;
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
            mount("bpf", &folder, "bpf", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
                .context("a bpffs for xdp-filter's pins")?;
            let loaded = load(&folder);
            unmount(&folder, UnmountFlags::DETACH)?;
            loaded
        };
        scope.spawn(inside).join().map_err(|_| anyhow!("the thread that loads xdp-filter panicked"))?
    });
    fs::remove_dir(&folder).with_context(|| format!("{} can not be removed", folder.display()))?;
    loaded
}
