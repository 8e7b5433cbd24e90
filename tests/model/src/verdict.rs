//! The model's answer for a frame under a policy, from what the frame's headers say and the policy's lists. The rules are in `mod.rs`.

use super::{
    answer::Answer,
    node::Node,
    parse::{Parsed, parse},
    ports::{is_genuine, rule},
};
use node_ebpf_common::Reason;
use nodewall_policy::Policy;

/// What must come of `frame` under `policy` on `node`.
pub fn judge(frame: &[u8], policy: &Policy, node: &Node<'_>) -> Answer {
    let Node { own, blocked, .. } = node;
    let is_blocked = |source| is_genuine(source, own) && blocked.iter().any(|net| net.contains(&source));
    match parse(frame) {
        Parsed::Unported { source: Some(source), bytes, .. } if is_blocked(source) => {
            Answer::unported(Reason::BlockedSource, policy.mode, bytes)
        }
        Parsed::Unported { reason, bytes, .. } => Answer::unported(reason, policy.mode, bytes),
        Parsed::Sent { source, to, bytes } => rule(source, to, policy, node, is_blocked(source)).counting(bytes),
    }
}
