//! Whether an interface could be attached natively, without trying: what its driver announces, else what is known of drivers by name, and the
//! settings that make drivers refuse. It must not claim what nobody said.

use super::facts::InterfaceFacts;
use crate::doctor::finding::{Findings, Status};
use nodewall_host::net::{Driver, Link, Queues, XdpFeatures};
use nodewall_policy::config::AttachMode;

/// The largest MTU for which a frame, its head room and its tail room fit into one page of 4,096 bytes with every driver that is known.
const ONE_PAGE_MTU_BYTES: u32 = 3_498;

/// Drivers with native XDP in the mainline, for kernels on which drivers announce nothing (before 6.3); from the table in bcc's
/// docs/kernel-versions.md.
const NATIVE: [&str; 31] = [
    "mlx4_en",
    "mlx5_core",
    "nfp",
    "qede",
    "virtio_net",
    "bnxt_en",
    "ixgbe",
    "ixgbevf",
    "nicvf",
    "thunder-nic",
    "i40e",
    "tun",
    "veth",
    "fsl_dpaa2_eth",
    "ena",
    "hv_netvsc",
    "mvneta",
    "mvpp2",
    "vif",
    "igb",
    "igc",
    "ice",
    "cpsw",
    "bonding",
    "gve",
    "vmxnet3",
    "stmmac",
    "st_gmac",
    "netsec",
    "sfc",
    "mana",
];
/// Drivers that every Linux so far has without.
const NOT_NATIVE: [&str; 10] =
    ["e1000", "e1000e", "tg3", "r8169", "bnx2x", "bnx2", "be2net", "bridge", "vxlan", "dummy"];

/// Whether the driver runs XDP programs itself; `None` when nobody says.
pub(super) fn native(driver: &Driver) -> Option<bool> {
    if let Some(announced) = driver.xdp {
        return Some(announced.native());
    }
    let name = driver.name.as_deref()?;
    if NATIVE.contains(&name) {
        return Some(true);
    }
    NOT_NATIVE.contains(&name).then_some(false)
}

/// An interface that is to be attached natively and is not yet.
pub(super) fn could_be_attached(
    interfaces: &InterfaceFacts<'_>,
    link: &Link,
    driver: &Driver,
    of: &str,
    findings: &mut Findings,
) {
    debug_assert_eq!(interfaces.attach_mode, AttachMode::Native);
    let (name, mtu) = (&link.name, link.mtu);
    let in_the_stack = "set attach_mode = \"tc\", which filters in the kernel's stack";
    match native(driver) {
        Some(true) => findings.ok("native", format!("{name}: {of} has native XDP, MTU {mtu}")),
        Some(false) => findings
            .add(Status::Degraded, "native", format!("{name}: {of} has no native XDP"))
            .because("`apply` is refused: it never takes another hook by itself")
            .advice(in_the_stack),
        None => findings
            .add(Status::Unknown, "native", format!("{name}: whether {of} has native XDP is not known"))
            .because("this kernel's drivers do not say (Linux 6.3 has the word for it), and `apply` is refused if not")
            .advice(format!("try `nodewall apply`; if it is refused, {in_the_stack}")),
    }
    let many_buffers = driver.xdp.is_some_and(XdpFeatures::multi_buffer) && interfaces.multi_buffer;
    if mtu > ONE_PAGE_MTU_BYTES && !many_buffers {
        findings
            .add(Status::Note, "mtu", format!("{name}: MTU {mtu} is more than {ONE_PAGE_MTU_BYTES}"))
            .because(
                "the driver does not announce frames of many buffers for XDP, and may refuse the filter at this MTU",
            )
            .advice(format!("lower the MTU, or {in_the_stack}"));
    }
    if driver.lro == Some(true) {
        findings
            .add(Status::Note, "lro", format!("{name}: large receive offload (LRO) is on"))
            .because("many drivers refuse native XDP with it")
            .advice(format!("ethtool -K {name} lro off"));
    }
    if let (Some(driver), Some(queues)) = (driver.name.as_deref(), driver.queues)
        && let Some(why) = too_few_queues(driver, queues, interfaces.cpus)
    {
        let (used, most) = (queues.receive(), queues.receive_most());
        findings
            .add(Status::Note, "queues", format!("{name}: {driver} has {used} of {most} queues in use"))
            .because(why)
            .advice(format!("`ethtool -L {name} combined N` with a smaller N"));
    }
}

/// Drivers that set queues of their own aside for XDP, and refuse when there are not enough.
fn too_few_queues(driver: &str, queues: Queues, cpus: u32) -> Option<String> {
    match driver {
        // One more pair for each processor; refused before Linux 5.14, slower sending (which nodewall does not do) since.
        "virtio_net" if queues.receive().saturating_add(cpus) > queues.receive_most() => Some(format!(
            "native XDP sets a queue aside for each of the {cpus} processors; without them Linux before 5.14 refuses"
        )),
        // `ena_xdp_legal_queue_count`: as many again as are in use.
        "ena" if queues.receive().saturating_mul(2) > queues.receive_most() => {
            Some("native XDP needs as many free queues as are in use: at most half may be".to_owned())
        }
        _ => None,
    }
}
