//! The one text of a policy: the same meaning gives the same bytes, however it was written. `check` prints it; its hash names the policy.

use crate::config::show;

use super::Policy;

/// First line of the text; the number changes when the form does.
const HEADING: &str = "nodewall-policy 1";

impl Policy {
    /// The canonical text: one line for each setting, class, port range, extra source, interface with peers of its own, and peer; sorted; ends with a newline.
    ///
    /// Where the policy came from, notes and warnings are left out: they decide nothing.
    pub fn canonical(&self) -> String {
        let mut lines = vec![
            HEADING.to_owned(),
            format!("mode {}", self.mode),
            format!("tunnels {}", self.tunnels),
            format!("later_fragments {}", self.later_fragments),
            format!("single_node {}", self.single_node),
        ];
        for class in &self.classes {
            let audited = if class.audited { " audit" } else { "" };
            lines.push(format!("class {} {}{audited}", class.name, class.access));
            lines.extend(
                class.ports.iter().map(|entry| format!("port {} {} {}", class.name, entry.protocol, entry.ports)),
            );
            lines.extend(class.also_allow.iter().map(|net| format!("allow {} {}", class.name, show(net))));
        }
        lines.extend(self.interface_peers.iter().map(|(name, peers)| format!("interface {name} peers {peers}")));
        lines.extend(self.peers.iter().map(|net| format!("peer {}", show(net))));
        lines.push(String::new());
        lines.join("\n")
    }
}
