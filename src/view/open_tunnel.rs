//! What this host's kernel unpacks although the policy in force does not judge it as a tunnel. It must not print.

use serde::Serialize;

use nodewall_datapath::{DatapathError, Maps};
use nodewall_host::net::{Network, UdpTunnel};
use nodewall_policy::open_to_all;

/// A UDP port whose packets this host's kernel unpacks, and that the policy in force lets everyone send to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenTunnel {
    /// What unpacks them.
    #[serde(flatten)]
    pub tunnel: UdpTunnel,
    /// The rule that lets everyone in; `null`: none names the port.
    pub class: Option<String>,
}

impl OpenTunnel {
    /// By the image that packets are judged by. Copying it takes a millisecond, so that is done only where the kernel unpacks anything.
    pub(super) fn read(maps: &Maps, network: &Network) -> Result<Vec<Self>, DatapathError> {
        let tunnels: Vec<UdpTunnel> = network.udp_tunnels().collect();
        if tunnels.is_empty() {
            return Ok(Vec::new());
        }
        let ports = tunnels.iter().map(|tunnel| tunnel.port).collect();
        let open = open_to_all(&*maps.policy()?, &maps.rows()?, &ports);
        let open = |tunnel: UdpTunnel| Some(Self { class: open.get(&tunnel.port)?.clone(), tunnel });
        Ok(tunnels.into_iter().filter_map(open).collect())
    }

    /// For `status`.
    pub(super) fn problem(&self) -> String {
        let Self { tunnel, class } = self;
        let port = tunnel.port;
        let what =
            format!("{tunnel} unpacks what anyone sends to UDP port {port}, and what comes out reaches every port");
        match class {
            Some(class) => format!(
                "{what}, as {class:?} opens it; `nodewall apply` if that is the profile's class, else give the rule access = \"cluster\""
            ),
            None => format!("{what}; an agent puts a policy into force that judges it, and so does `nodewall apply`"),
        }
    }
}
