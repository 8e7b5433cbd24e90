//! Debian packages that the build, the tests and the demo run programs of. Installs only what is missing.

use anyhow::{Result, bail};

use crate::cmd::Cmd;
use crate::progress::Step;
use crate::workspace;

/// A program and the packages that bring it.
type Programs = [(&'static str, &'static [&'static str])];

/// What everyone needs.
pub(super) const PROGRAMS: &Programs = &[
    // Links Rust programs.
    ("cc", &["gcc", "libc6-dev"]),
    // Makes an executable small that tests copy to several nodes.
    ("strip", &["binutils"]),
    // Makes the network namespaces of tests and demo.
    ("ip", &["iproute2"]),
    // The redirect of 443 to 8022 that real nodes have.
    ("nft", &["nftables"]),
    ("iptables-save", &["iptables"]),
    // A second opinion on what we load.
    ("bpftool", &["bpftool"]),
    // Turns offloads off where counts must be exact.
    ("ethtool", &["ethtool"]),
    // ICMP and path-MTU tests with the real tool.
    ("ping", &["iputils-ping"]),
    // The DNS server that names of peers are looked up at in tests.
    ("unbound", &["unbound"]),
    // One that many have, and that answers for one family alone.
    ("dnsmasq", &["dnsmasq-base"]),
    // The browser that reads the page.
    ("chromium", &["chromium"]),
    // The terminal that `top` runs in.
    ("tmux", &["tmux"]),
    // A real Prometheus scrapes a running nodewall, and its promtool judges metrics and alerts.
    ("prometheus", &["prometheus"]),
    ("promtool", &["prometheus"]),
    // A server with an old TLS, and a proxy, for `doctor --mission-control`.
    ("openssl", &["openssl"]),
    ("tinyproxy", &["tinyproxy-bin"]),
    // Writes captures that `replay` reads, and reads what `capture` and `events export` write.
    ("tcpdump", &["tcpdump"]),
    ("tshark", &["tshark"]),
    ("capinfos", &["wireshark-common"]),
    // The syslog server that evidence is sent to, with TLS.
    ("rsyslogd", &["rsyslog", "rsyslog-openssl"]),
    // Runs DuckDB, which reads exported evidence, and Ansible, which rolls nodewall out.
    ("python3", &["python3", "python3-venv"]),
    // Makes single system calls fail.
    ("strace", &["strace"]),
    // Runs nodewall with the privileges of its unit.
    ("setpriv", &["util-linux"]),
    // Judges the units.
    ("systemd-analyze", &["systemd"]),
];

/// What only `cargo xtask vm` needs.
pub(super) const VM_PROGRAMS: &Programs = &[
    ("qemu-system-x86_64", &["qemu-system-x86"]),
    // The guests' shell.
    ("busybox", &["busybox-static"]),
    // Which modules a module needs.
    ("depmod", &["kmod"]),
    ("cpio", &["cpio"]),
    // Modules of newer kernels are packed.
    ("xz", &["xz-utils"]),
    // The disk of the guest whose power is cut.
    ("mke2fs", &["e2fsprogs"]),
    // Makes the Debian whose systemd runs the units.
    ("debootstrap", &["debootstrap"]),
];

/// What only `cargo xtask dist --check` needs.
pub(super) const DIST_PROGRAMS: &Programs = &[
    ("rpm", &["rpm"]),
    ("rpm2cpio", &["rpm2cpio"]),
    ("cpio", &["cpio"]),
    ("debootstrap", &["debootstrap"]),
    // Readers of the pages and of the completions.
    ("mandoc", &["mandoc"]),
    ("zsh", &["zsh"]),
    ("fish", &["fish"]),
    ("readelf", &["binutils"]),
    // Debian's own judge of packages.
    ("lintian", &["lintian"]),
];

/// What `cargo xtask bench` measures nodewall against (nftables is everyone's).
pub(super) const BENCH_PROGRAMS: &Programs = &[("xdp-filter", &["xdp-tools"])];

/// Installs the packages whose programs are not there, if that can be: their absence is said, and no error.
pub(super) fn offer(programs: &Programs) {
    if let Err(error) = ensure(programs) {
        eprintln!("note: some programs stay missing, and what needs them will be left out: {error:#}");
    }
}

/// Installs the packages whose programs are not there.
pub(super) fn ensure(programs: &Programs) -> Result<()> {
    let packages = missing(programs, |program| workspace::find_program(program).is_some());
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if workspace::find_program("apt-get").is_none() {
        bail!(
            "programs are missing and there is no apt-get to install them; install what brings these Debian packages' \
             programs, then run the command again: {list}"
        );
    }
    if !workspace::is_root() {
        bail!(
            "Debian packages are missing and only root may install them; run `sudo apt-get install {list}`, then the \
             command again"
        );
    }
    let step =
        Step::start(&format!("installing {list} by apt-get (programs that build, tests and demo run; about 15 s)"));
    apt_get()
        .arg("update")
        .advice("make sure that this machine's apt sources can be reached, then run the command again")
        .run_quiet()?;
    apt_get()
        .args(["install", "-y", "--no-install-recommends"])
        .args(&packages)
        .advice(format!("install these packages by hand, then run the command again: {list}"))
        .run_quiet()?;
    let still = missing(programs, |program| workspace::find_program(program).is_some());
    if !still.is_empty() {
        bail!(
            "apt-get installed {list}, yet programs of {} are not in PATH, /usr/sbin or /sbin; look where they went \
             (`dpkg -L`) and put that folder into PATH",
            still.join(" ")
        );
    }
    step.done();
    Ok(())
}

/// apt-get that asks nothing and waits a while for another one to end.
fn apt_get() -> Cmd {
    Cmd::new("apt-get").args(["-o", "DPkg::Lock::Timeout=120"]).env("DEBIAN_FRONTEND", "noninteractive")
}

/// The packages of the programs that `is_there` does not know, each once.
fn missing(programs: &Programs, is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    programs
        .iter()
        .filter(|(program, _)| !is_there(program))
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_asked_for() {
        assert_eq!(missing(PROGRAMS, |_| true), Vec::<&str>::new());
        assert_eq!(missing(PROGRAMS, |program| program != "ping"), ["iputils-ping"]);
        assert_eq!(missing(PROGRAMS, |program| !["cc", "nft"].contains(&program)), ["gcc", "libc6-dev", "nftables"]);
    }
}
