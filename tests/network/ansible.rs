//! The Ansible rung: the packaged role, judged by its linter and run by real Ansible against three nodes that are namespaces of this machine. It must not
//! need systemd, SSH or a way beyond this host.

mod fleet;
mod role;
mod rollout;
mod stops;
