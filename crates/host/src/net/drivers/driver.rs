//! An interface's driver as plain values.

/// What is known of one interface's driver. What could not be asked is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Driver {
    /// The kernel's name of the driver: `ixgbe`, `virtio_net`, `veth`.
    pub name: Option<String>,
    /// Generic receive offload is on: the stack joins packets before a generic XDP program sees them.
    pub gro: Option<bool>,
    /// Large receive offload is on: the card or the driver joins packets, which most drivers refuse to do under XDP.
    pub lro: Option<bool>,
    /// Queues in use, and how many there could be.
    pub queues: Option<Queues>,
    /// What the driver announces for XDP; `None` on kernels that do not tell.
    pub xdp: Option<XdpFeatures>,
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

/// What a driver announces that it can do (`enum netdev_xdp_act`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XdpFeatures(pub u64);

impl XdpFeatures {
    /// Programs run in the driver (`basic`).
    pub const fn native(self) -> bool {
        self.0 & 1 != 0
    }

    /// Frames may lie in several buffers (`rx-sg`): no limit to the MTU for a multi-buffer program.
    pub const fn multi_buffer(self) -> bool {
        self.0 & 1 << 5 != 0
    }
}
