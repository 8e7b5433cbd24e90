//! Whether a link carries VLAN tags beside the frame instead of in it, and who makes aggregates and cuts them up. By the system call that `ethtool -K` makes, so that a
//! machine without that tool can be tested, too.

use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};
use crate::find_tool::find_tool;
use crate::netns::NetNs;
use crate::process::run_to_end;
use crate::wait::PATIENCE;

/// linux/ethtool.h: get and set the five oldest features of an interface.
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
/// linux/ethtool.h: get and set TCP segmentation offload.
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_STSO: u32 = 0x1f;
/// linux/ethtool.h: get and set generic receive offload.
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;
/// How long receive offload waits for more of a stream, and how often it looks for it in vain before.
const GRO_WAIT_NS: u32 = 20_000_000;
const GRO_POLLS: u32 = 2;
/// `tx-vlan-offload` and `rx-vlan-offload`.
const ETH_FLAG_VLAN: u32 = 1 << 7 | 1 << 8;

/// linux/ethtool.h: `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

impl NetNs {
    /// `ethtool -K INTERFACE rxvlan on|off txvlan on|off`.
    pub fn set_vlan_offload(&self, interface: &str, on: bool) -> Result<()> {
        let failed = Error::io(format!("switching VLAN offload of {interface}"));
        self.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            let flags = ethtool(&socket, interface, Value { command: ETHTOOL_GFLAGS, data: 0 })?;
            let wanted = if on { flags | ETH_FLAG_VLAN } else { flags & !ETH_FLAG_VLAN };
            ethtool(&socket, interface, Value { command: ETHTOOL_SFLAGS, data: wanted })?;
            let set = ethtool(&socket, interface, Value { command: ETHTOOL_GFLAGS, data: 0 })?;
            if set & ETH_FLAG_VLAN == wanted & ETH_FLAG_VLAN { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
        })?
        .map_err(failed)
    }

    /// `ethtool -K INTERFACE gro on`, and time to wait for more: frames of one stream that come one after the other become one.
    pub fn join_received(&self, interface: &str) -> Result<()> {
        let failed = Error::io(format!("switching receive offload of {interface} on"));
        self.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            ethtool(&socket, interface, Value { command: ETHTOOL_SGRO, data: 1 })?;
            let set = ethtool(&socket, interface, Value { command: ETHTOOL_GGRO, data: 0 })?;
            if set == 0 { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
        })?
        .map_err(failed)?;
        // /sys of this process shows another namespace; `ip netns exec` has the right one.
        for (attribute, value) in [("gro_flush_timeout", GRO_WAIT_NS), ("napi_defer_hard_irqs", GRO_POLLS)] {
            let write = format!("echo {value} > /sys/class/net/{interface}/{attribute}");
            let mut command = Command::new(find_tool("ip")?);
            command.args(["netns", "exec", self.name(), "sh", "-c", &write]);
            let done = run_to_end("ip netns exec", command, PATIENCE)?;
            if !done.status.success() {
                return Err(Error::io(write)(io::Error::other(done.stderr)));
            }
        }
        Ok(())
    }

    /// `ethtool -K INTERFACE tso off`: the stack still makes aggregates and cuts them up itself, right before the interface counts them.
    pub fn cut_up_before(&self, interface: &str) -> Result<()> {
        let failed = Error::io(format!("switching segmentation offload of {interface} off"));
        self.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            ethtool(&socket, interface, Value { command: ETHTOOL_STSO, data: 0 })?;
            let left = ethtool(&socket, interface, Value { command: ETHTOOL_GTSO, data: 0 })?;
            if left == 0 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
        })?
        .map_err(failed)
    }
}

fn ethtool(socket: &Socket, interface: &str, mut value: Value) -> io::Result<u32> {
    // SAFETY: all zero bytes are a value of this plain C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero: the name must end.
    if interface.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names an interface and points to a value of the size these commands have; both live during the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}
