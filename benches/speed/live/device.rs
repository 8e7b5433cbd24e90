//! One end of a veth pair in a namespace: its offload, its NAPI thread, what it received. It must not know what the frames are.

use std::{
    fs, io,
    net::UdpSocket,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use nodewall_testbed::{NetNs, find_tool, run_to_end};
use rustix::process::Pid;

use crate::cpus;

/// Commands of bpf(2), include/uapi/linux/bpf.h.
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_LINK_CREATE: libc::c_long = 28;
/// Its attachment types, and the flags that say where an XDP program runs.
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// linux/ethtool.h: generic receive offload of an interface.
const ETHTOOL_SGRO: u32 = 0x2c;
/// `SIOCETHTOOL`, linux/sockios.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// Receiving goes before sending, see [`cpus::prefer`].
pub const RECEIVING: i32 = 2;
pub const SENDING: i32 = 1;
/// A receiver that has nothing left to do looks again after this time, ns, and sleeps after as many looks in vain.
const COALESCE_NS: u32 = 50_000;
const POLLS: u32 = 2;
const DONE_WITHIN: Duration = Duration::from_secs(10);

/// A network device in a namespace.
#[derive(Clone, Debug)]
pub struct Device {
    pub name: String,
    pub if_index: u32,
}

/// A program on a device, whoever loaded it; dropping it takes it off.
pub struct Attached(#[allow(dead_code, reason = "the link lives as long as its descriptor")] OwnedFd);

impl Device {
    /// Attaches the program with this id in the driver. The link ends with the value.
    pub fn attach(&self, netns: &NetNs, program_id: u32) -> Result<Attached> {
        self.attach_by(netns, program_id, BPF_XDP, XDP_FLAGS_DRV_MODE)
    }

    /// The same in the stack, as where the driver has no XDP.
    pub fn attach_generic(&self, netns: &NetNs, program_id: u32) -> Result<Attached> {
        self.attach_by(netns, program_id, BPF_XDP, XDP_FLAGS_SKB_MODE)
    }

    /// A classifier, by a link at the tc hook.
    pub fn attach_tcx(&self, netns: &NetNs, program_id: u32) -> Result<Attached> {
        self.attach_by(netns, program_id, BPF_TCX_INGRESS, 0)
    }

    fn attach_by(&self, netns: &NetNs, program_id: u32, attach_type: u32, mode: u32) -> Result<Attached> {
        let attached = netns.run(|| {
            let program = bpf(BPF_PROG_GET_FD_BY_ID, [program_id, 0, 0, 0])?;
            let words = [program.as_raw_fd().cast_unsigned(), self.if_index, attach_type, mode];
            bpf(BPF_LINK_CREATE, words).map(Attached)
        })?;
        attached.with_context(|| format!("attaching program {program_id} to {}", self.name))
    }

    /// Lets the device receive by NAPI whether or not a program is attached, and NAPI be a thread of its own on `cpu`: what receiving costs is then
    /// what that thread costs. Like an interrupt it goes before all ordinary threads.
    pub fn receive_in_a_thread(&self, netns: &NetNs, cpu: usize) -> Result<NapiThread> {
        netns.run(|| set_gro(&self.name))?.with_context(|| format!("switching receive offload of {} on", self.name))?;
        self.set(netns, "threaded", 1).context("receiving in a thread (Linux 5.12)")?;
        let thread = NapiThread::of(&self.name)?;
        thread.move_to(cpu)?;
        cpus::prefer(Some(thread.pid), RECEIVING)?;
        Ok(thread)
    }

    /// Lets the device wait for more frames before it wakes its thread up again, as network cards do with interrupts.
    pub fn coalesce(&self, netns: &NetNs) -> Result<()> {
        self.set(netns, "gro_flush_timeout", COALESCE_NS)?;
        self.set(netns, "napi_defer_hard_irqs", POLLS)
    }

    fn set(&self, netns: &NetNs, attribute: &str, value: u32) -> Result<()> {
        // /sys of this process shows another namespace; `ip netns exec` has the right one.
        let mut command = Command::new(find_tool("ip")?);
        let write = format!("echo {value} > /sys/class/net/{}/{attribute}", self.name);
        command.args(["netns", "exec", netns.name(), "sh", "-c", &write]);
        let done = run_to_end("ip netns exec", command, DONE_WITHIN)?;
        ensure!(done.status.success(), "{write}: {}", done.stderr.trim());
        Ok(())
    }

    /// Packets that came in, whatever became of them.
    pub fn received_packets(&self, netns: &NetNs) -> Result<u64> {
        let text = netns.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?.context("reading /proc/net/dev")?;
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{}:", self.name)));
        // Bytes, then packets.
        let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        packets.with_context(|| format!("{} is not in /proc/net/dev", self.name))
    }
}

/// The kernel thread in which a device receives.
#[derive(Clone, Copy, Debug)]
pub struct NapiThread {
    pid: Pid,
}

impl NapiThread {
    fn of(device: &str) -> Result<Self> {
        // The kernel adds the number of the NAPI instance; before 5.17 /proc shows at most 15 bytes of it all.
        let wanted = format!("napi/{device}-");
        let named = |pid: &i32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with(&wanted)
        };
        let processes = fs::read_dir("/proc").context("listing /proc")?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let pid = pids.find(named).and_then(Pid::from_raw);
        Ok(Self { pid: pid.with_context(|| format!("no kernel thread is named {wanted}…"))? })
    }

    /// From now on it runs on this CPU.
    pub fn move_to(self, cpu: usize) -> Result<()> {
        cpus::pin(Some(self.pid), cpu)
    }

    /// CPU time that it has used, ns. Exact while it sleeps.
    pub fn cpu_ns(self) -> Result<u64> {
        let file = format!("/proc/{}/schedstat", self.pid.as_raw_nonzero());
        let text = fs::read_to_string(&file).with_context(|| format!("{file} (CONFIG_SCHED_INFO)"))?;
        text.split_whitespace().next().and_then(|ns| ns.parse().ok()).ok_or_else(|| anyhow!("{file} says `{text}`"))
    }
}

/// A command that takes four words and returns a descriptor.
fn bpf(command: libc::c_long, mut words: [u32; 4]) -> io::Result<OwnedFd> {
    // SAFETY: both commands read these words, the beginning of their part of union bpf_attr, and point to nothing.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut words, size_of_val(&words)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `ethtool -K DEVICE gro on`, by the system call that it makes.
fn set_gro(device: &str) -> io::Result<()> {
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        value: *mut Value,
        padding: [u8; 16],
    }
    let mut value = Value { command: ETHTOOL_SGRO, data: 1 };
    let mut request = Request { name: [0; libc::IFNAMSIZ], value: &raw mut value, padding: [0; 16] };
    // One byte is left for the end of the string.
    for (to, from) in request.name.iter_mut().take(libc::IFNAMSIZ - 1).zip(device.bytes()) {
        *to = from;
    }
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: `request` is a whole `struct ifreq` (40 bytes) that points to a live `struct ethtool_value`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
