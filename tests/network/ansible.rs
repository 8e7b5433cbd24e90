//! The Ansible rung: the packaged role, judged by its linter and run by real Ansible against nodes that are namespaces of this machine; and the second day of a cluster of etcd on them. It must not
//! need systemd, SSH or a way beyond this host.

mod etcd;
mod fleet;
mod role;
mod rollout;
mod second_day;
mod stops;
mod writers;
