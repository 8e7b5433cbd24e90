//! What a guest boots into: the tests and nodewall as `cargo xtask test` builds them, the tools that tests run, busybox, modules, and the plan, as
//! an archive that the kernel unpacks. Reads the machine's own tools, writes below `target/vm` only.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use fs_err as fs;

use super::kernels::Fetched;
use super::plan::{CHECKS, Planned};
use crate::cmd::Cmd;
use crate::{files, workspace};

const INIT: &str = include_str!("init.sh");
const PLAN: &str = include_str!("plan.sh");
/// What tests run besides nodewall, with the libraries that it wants.
const TOOLS: &[&str] = &["ip", "nft", "iptables-save", "ip6tables-save", "ping", "bpftool", "ethtool", "tc"];
const FOLDERS: &[&str] = &["bin", "dev", "proc", "sys", "tmp", "run", "modules", "tests", "system", "usr/sbin"];
/// What the tests' devices and rules need; each comes with what it needs itself.
const MODULES: &[&str] = &[
    "veth",
    "bridge",
    "dummy",
    "8021q",
    "bonding",
    "team",
    "team_mode_roundrobin",
    "ipip",
    "sit",
    "ip_gre",
    "ip6_tunnel",
    "ip6_gre",
    "vxlan",
    "geneve",
    "fou",
    "wireguard",
    "sch_ingress",
    "cls_bpf",
    "nf_tables",
    "nft_chain_nat",
    "nft_redir",
    "nft_masq",
    "nft_nat",
    // The disk of the guest whose power is cut.
    "virtio_pci",
    "virtio_blk",
    "ext4",
];

/// What cargo built.
pub(super) struct Programs {
    /// Name of the folder below tests/, and the executable.
    tests: Vec<(String, PathBuf)>,
    nodewall: PathBuf,
}

impl Programs {
    pub(super) fn nodewall(&self) -> &Path {
        &self.nodewall
    }
}

/// Builds the tests that the plan names, and nodewall: the very files of `cargo xtask test`, so that nothing is built twice.
pub(super) fn build() -> Result<Programs> {
    let mut executables: Vec<&str> = CHECKS.iter().map(|check| check.executable).collect();
    executables.sort_unstable();
    executables.dedup();
    let said = Cmd::cargo("test")
        .args(["--no-run", "--workspace", "--message-format", "json-render-diagnostics"])
        .advice("make sure that `cargo test --no-run` works")
        .read()?;
    let mut programs = parse_built(&said);
    programs.tests.retain(|(built, _)| executables.contains(&built.as_str()));
    let built = programs.tests.iter_mut().map(|(_, file)| file);
    for file in built.chain([&mut programs.nodewall]).filter(|file| file.is_file()) {
        // The archive is unpacked into memory.
        let stripped = super::folder().join("programs").join(file.file_name().unwrap_or_default());
        files::copy(file, &stripped)?;
        Cmd::new("strip").arg(&stripped).run_quiet()?;
        *file = stripped;
    }
    for name in executables {
        ensure!(programs.tests.iter().any(|(built, _)| built == name), "cargo built no executable for tests/{name}");
    }
    ensure!(programs.nodewall.is_file(), "cargo built no nodewall for the tests");
    Ok(programs)
}

/// Executables in cargo's messages, one JSON object per line.
fn parse_built(said: &str) -> Programs {
    let mut programs = Programs { tests: Vec::new(), nodewall: PathBuf::new() };
    for message in said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let text = |path: &str| message.pointer(path).and_then(serde_json::Value::as_str).map(str::to_owned);
        let (Some(executable), Some(name), Some(kind)) =
            (text("/executable"), text("/target/name"), text("/target/kind/0"))
        else {
            continue;
        };
        match kind.as_str() {
            "test" => programs.tests.push((name, executable.into())),
            // Not its own unit tests, which have the same name.
            "bin" if name == "nodewall" && message.pointer("/profile/test") == Some(&false.into()) => {
                programs.nodewall = executable.into();
            }
            _ => {}
        }
    }
    programs
}

/// The archive of what all kernels share.
pub(super) fn common(programs: &Programs) -> Result<PathBuf> {
    let root = super::folder().join("root");
    files::remove(&root)?;
    for folder in FOLDERS {
        let folder = root.join(folder);
        fs::create_dir_all(&folder)?;
    }
    let init = root.join("init");
    fs::write(&init, INIT)
        .and_then(|()| fs::set_permissions(&init, std::fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::write(root.join("plan.sh"), PLAN))?;
    copy_program(&root, &tool("busybox")?, Path::new("/bin/busybox"))?;
    for name in TOOLS {
        copy_program(&root, &tool(name)?, &Path::new("/usr/sbin").join(name))?;
    }
    for (name, executable) in &programs.tests {
        copy_program(&root, executable, &Path::new("/tests").join(name))?;
    }
    // One folder above the tests, as where cargo builds them.
    copy_program(&root, &programs.nodewall, Path::new("/nodewall"))?;
    let archive = super::folder().join("common.cpio");
    pack(&root, &archive)?;
    files::remove(&root)?;
    Ok(archive)
}

fn tool(name: &str) -> Result<PathBuf> {
    workspace::find_program(name).ok_or_else(|| anyhow!("`{name}` is not there; run `cargo xtask setup`"))
}

/// Copies a program to a place in the guest, and the libraries that it is linked with to where it looks for them.
fn copy_program(root: &Path, from: &Path, to: &Path) -> Result<()> {
    copy(root, from, to)?;
    // It fails for what is linked statically.
    for library in Cmd::new("ldd").arg(from).read().map(|said| libraries(&said)).unwrap_or_default() {
        copy(root, &library, &library)?;
    }
    Ok(())
}

/// The paths in what ldd says: `name => /path (0x…)` or `/path (0x…)`.
fn libraries(said: &str) -> Vec<PathBuf> {
    said.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

/// Copies a file to its place in a guest.
pub(super) fn copy(root: &Path, from: &Path, to: &Path) -> Result<()> {
    files::copy(from, &root.join(to.strip_prefix("/").unwrap_or(to)))
}

/// The whole archive for one kernel: what all share, then its modules and its plan; `fill` adds what else the guest needs.
pub(super) fn for_kernel(
    kernel: &Fetched,
    common: &Path,
    plan: &[Planned],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let series = kernel.kernel.series;
    let root = super::folder().join(format!("root-{series}"));
    files::remove(&root)?;
    fs::create_dir_all(root.join("modules"))?;
    let mut order = String::new();
    for module in modules(kernel)? {
        let name = unpack_module(&module, &root.join("modules"))?;
        let _ = writeln!(order, "{name}");
    }
    let mut lines = String::new();
    for check in plan {
        if let Some(command) = check.boots_after {
            let _ = writeln!(lines, "boot 0 {command}");
        }
        let _ = writeln!(lines, "{} {} {}", check.name, check.deadline.as_secs(), check.command);
    }
    fs::write(root.join("modules/order"), order)
        .and_then(|()| fs::write(root.join("plan"), lines))
        .with_context(|| format!("the plan could not be written to {}", root.display()))?;
    fill(&root)?;
    let own = super::folder().join(format!("own-{series}.cpio"));
    pack(&root, &own)?;
    files::remove(&root)?;
    // The kernel takes archives one after the other.
    let whole = super::folder().join(format!("initramfs-{series}.cpio"));
    let join = || -> std::io::Result<()> {
        let mut out = fs::File::create(&whole)?;
        for part in [common, &own] {
            std::io::copy(&mut fs::File::open(part)?, &mut out)?;
        }
        fs::remove_file(&own)
    };
    join()?;
    Ok(whole)
}

/// The files of all modules, each after those that it needs.
fn modules(kernel: &Fetched) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for name in MODULES {
        let said = Cmd::new("modprobe")
            .arg("-d")
            .arg(kernel.modules())
            .args(["-S", &kernel.release, "--show-depends", name])
            .advice(format!("Linux {} may have renamed the module; see xtask/src/vm/image.rs", kernel.release))
            .read()?;
        for file in insmod_lines(&said) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// `insmod /path/to/module.ko options`; built-in ones need no line.
fn insmod_lines(said: &str) -> Vec<PathBuf> {
    said.lines().filter_map(|line| line.strip_prefix("insmod ")?.split_whitespace().next().map(PathBuf::from)).collect()
}

/// Puts a module there, unpacked (guests have no decompressor), and returns its file's name.
fn unpack_module(file: &Path, folder: &Path) -> Result<String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = match name.rsplit_once('.') {
        Some((plain, "xz")) => plain,
        Some((_, "ko")) => {
            fs::copy(file, folder.join(&name))?;
            return Ok(name);
        }
        _ => bail!("{} is packed in a way that is not known here", file.display()),
    };
    let script = "xz -dc -- \"$1\" > \"$2\"";
    Cmd::new("sh").args(["-c", script, "sh"]).arg(file).arg(folder.join(plain)).run_quiet()?;
    Ok(plain.to_owned())
}

/// Makes an archive of everything below `root`, owned by root whoever runs this.
fn pack(root: &Path, archive: &Path) -> Result<()> {
    let script = "find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 > \"$1\"";
    Cmd::new("sh").args(["-c", script, "sh"]).arg(archive).dir(root).run_quiet()?;
    let bytes = fs::metadata(archive).map_or(0, |meta| meta.len());
    if bytes < 512 {
        bail!("{} came out empty", archive.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_say_is_read() {
        let ldd =
            "\tlinux-vdso.so.1 (0x00007efc)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007efc)\n\t/lib64/ld.so.2 (0x0)\n";
        assert_eq!(libraries(ldd), [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld.so.2")]);
        let modprobe = "builtin ipv6\ninsmod /k/tunnel4.ko.xz \ninsmod /k/ipip.ko.xz log=1\n";
        assert_eq!(insmod_lines(modprobe), [PathBuf::from("/k/tunnel4.ko.xz"), PathBuf::from("/k/ipip.ko.xz")]);
    }

    #[test]
    fn executables_are_found_in_cargos_messages() {
        let said = "{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"lib\"],\"name\":\"a\"},\"executable\":null}\n\
                    {\"target\":{\"kind\":[\"test\"],\"name\":\"kernel\"},\"executable\":\"/t/kernel-1\"}\n\
                    {\"target\":{\"kind\":[\"bin\"],\"name\":\"nodewall\"},\"profile\":{\"test\":false},\"executable\":\"/t/nodewall\"}\n\
                    {\"target\":{\"kind\":[\"bin\"],\"name\":\"nodewall\"},\"profile\":{\"test\":true},\"executable\":\"/t/nodewall-1\"}\nnot json\n";
        let programs = parse_built(said);
        assert_eq!(programs.tests, [("kernel".to_owned(), PathBuf::from("/t/kernel-1"))]);
        assert_eq!(programs.nodewall, PathBuf::from("/t/nodewall"));
    }
}
