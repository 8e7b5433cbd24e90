//! The old ethtool requests (`SIOCETHTOOL`): driver name, two offloads, queues. They answer for the network namespace of the
//! thread that opened the socket, without privilege and on every kernel. Only questions: no request that sets is here.

use std::io;
use std::os::fd::OwnedFd;

use rustix::ioctl::{self, Updater};
use rustix::net::{AddressFamily, SocketType, socket};

use super::Driver;

/// `linux/sockios.h`
const SIOCETHTOOL: ioctl::Opcode = 0x8946;
/// `linux/ethtool.h`
const GET_DRIVER_INFO: u32 = 0x03;
const GET_FLAGS: u32 = 0x25;
const GET_GRO: u32 = 0x2b;
const GET_CHANNELS: u32 = 0x3c;
/// `ETH_FLAG_LRO`
const FLAG_LRO: u32 = 1 << 15;
/// `IFNAMSIZ` with its terminator.
const NAME_BYTES: usize = 16;

/// `struct ethtool_drvinfo`
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_channels`
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    now: [u32; 4],
}

/// `struct ifreq`: the name, then a union of which only the pointer is used here.
#[repr(C)]
struct Request<T> {
    name: [u8; NAME_BYTES],
    data: *mut T,
    rest_of_union: [u8; 16],
}

/// How many queues an interface uses, and how many it could.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queues {
    /// Queues that only receive, only send, and do both: in use.
    pub now: [u32; 3],
    /// The same: at most.
    pub most: [u32; 3],
}

impl Queues {
    /// Receive queues in use.
    pub fn receive(&self) -> u32 {
        self.now[0].saturating_add(self.now[2])
    }

    /// Receive queues that there could be.
    pub fn receive_most(&self) -> u32 {
        self.most[0].max(self.most[2])
    }
}

/// A socket to ask through.
pub(super) struct Asking {
    socket: OwnedFd,
}

impl Asking {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { socket: socket(AddressFamily::INET, SocketType::DGRAM, None)? })
    }

    /// What the driver of this interface says of itself.
    pub(super) fn driver(&self, interface: &str) -> Driver {
        let mut info = DriverInfo {
            command: GET_DRIVER_INFO,
            driver: [0; 32],
            version: [0; 32],
            firmware: [0; 32],
            bus: [0; 32],
            rom: [0; 32],
            reserved: [0; 12],
            counts: [0; 5],
        };
        let name = self.ask(interface, &mut info).ok().map(|()| text(&info.driver));
        let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
        let queues = self.ask(interface, &mut channels).ok().map(|()| {
            let without_other = |[receive, send, _other, both]: [u32; 4]| [receive, send, both];
            Queues { now: without_other(channels.now), most: without_other(channels.most) }
        });
        Driver {
            name: name.filter(|name| !name.is_empty()),
            gro: self.value(interface, GET_GRO).map(|on| on != 0),
            lro: self.value(interface, GET_FLAGS).map(|flags| flags & FLAG_LRO != 0),
            queues,
            xdp: None,
        }
    }

    fn value(&self, interface: &str, command: u32) -> Option<u32> {
        let mut value = Value { command, data: 0 };
        self.ask(interface, &mut value).ok().map(|()| value.data)
    }

    fn ask<T>(&self, interface: &str, data: &mut T) -> io::Result<()> {
        let mut name = [0; NAME_BYTES];
        if interface.len() >= NAME_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in name.iter_mut().zip(interface.bytes()) {
            *to = from;
        }
        let mut request = Request { name, data: std::ptr::from_mut(data), rest_of_union: [0; 16] };
        // SAFETY: SIOCETHTOOL takes a struct ifreq whose data points to the struct that the command in its first word names; each
        // caller passes the repr(C) struct of its command, which outlives the call, and every command here only fills it.
        unsafe {
            let update = Updater::<SIOCETHTOOL, Request<T>>::new(&mut request);
            ioctl::ioctl(&self.socket, update)?;
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

// What the kernel writes is what these hold.
const _: () = assert!(size_of::<DriverInfo>() == 196 && size_of::<Channels>() == 36);
