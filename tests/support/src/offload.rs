//! Whether a link carries VLAN tags beside the frame instead of in it, and who cuts up aggregates. By the system call that `ethtool -K` makes, so that a
//! machine without that tool can be tested, too.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};
use crate::netns::NetNs;

/// linux/ethtool.h: get and set the five oldest features of an interface.
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
/// linux/ethtool.h: get and set TCP segmentation offload.
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_STSO: u32 = 0x1f;
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
