//! The program of commit 25a784f, which this one is judged by in the same run. That commit's own executable puts the same policy in force on a veth pair in a
//! namespace, with pins and state of its own, and takes everything away again; what is left is the program in the kernel, for as long as it is held here.

use std::{
    env, fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nodewall_testbed::{NetNs, cleanup, program::Program, run_to_end};

use super::{
    frames::Shape,
    sources::{OWN_V4, OWN_V6, Sources},
};

/// Where the executable is, by the one who built it (`cargo xtask bench`).
const VARIABLE: &str = "NODEWALL_LAYOUT_7";
/// Where it lies otherwise.
const BUILT: &str = "target/layouts/25a784f/nodewall";
/// Most addresses that a configuration may name.
const ADDRESSES_MAX: usize = 16_384;
/// The executable is not optimised, and the policy may be large.
const PATIENCE: Duration = Duration::from_secs(60);

/// The older executable; `None`: nobody built it, or this clone has no such commit.
pub fn executable() -> Option<PathBuf> {
    let built = env::var_os(VARIABLE).map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(BUILT), PathBuf::from);
    built.is_file().then_some(built)
}

/// Its program under one policy: one for all traffic, or one for each family where a configuration of its may not name the peers of both. A frame looks
/// into the table of its own family alone.
pub struct Before {
    /// Of one policy for all traffic, or of the peers' IPv4 addresses.
    pub any: Program,
    v6: Option<Program>,
}

impl Before {
    /// As packaged now: evidence and counters for each peer.
    pub fn load(executable: &Path, sources: &Sources) -> Result<Self> {
        ensure!(sources.lengths == 1, "a policy of prefixes was asked of commit 25a784f's program");
        let v4: Vec<String> = sources.peers_v4.iter().map(ToString::to_string).collect();
        let v6: Vec<String> = sources.peers_v6.iter().map(ToString::to_string).collect();
        let load = |peers: &[String]| load(executable, peers).context("the program of commit 25a784f");
        if v4.len() + v6.len() <= ADDRESSES_MAX {
            return Ok(Self { any: load(&[v4, v6].concat())?, v6: None });
        }
        Ok(Self { any: load(&v4)?, v6: Some(load(&v6)?) })
    }

    /// What judges frames of this shape.
    pub fn program(&self, shape: Shape) -> &Program {
        match &self.v6 {
            Some(v6) if shape == Shape::V6 => v6,
            _ => &self.any,
        }
    }
}

fn load(executable: &Path, peers: &[String]) -> Result<Program> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut namespaces = NetNs::create_many(&["before", "beside"])?.into_iter();
    let (node, beside) = namespaces.next().zip(namespaces.next()).context("two namespaces were asked for")?;
    // Own addresses are sources of the policy, too: these and no link-local ones.
    node.ip_batch(&format!(
        "link add eth0 index 901 type veth peer name eth0 index 902 netns {}\nlink set dev eth0 addrgenmode none\n\
         addr add {OWN_V4}/30 dev eth0\naddr add {OWN_V6}/126 dev eth0 nodad\nlink set dev eth0 up\n",
        beside.name()
    ))?;
    beside.ip_batch("link set dev eth0 up\n")?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let pins = Path::new("/sys/fs/bpf").join(format!("nwb-before-{}-{number}", process::id()));
    let remove = pins.clone();
    let _unpin = cleanup::guard(move || drop(fs::remove_dir_all(remove)));
    let folder = tempfile::tempdir().context("a folder for the older executable's state")?;
    let (state, config) = (folder.path().join("state"), folder.path().join("nodewall.toml"));
    fs::DirBuilder::new().mode(0o700).create(&state)?;
    let list: Vec<String> = peers.iter().map(|peer| format!("{peer:?}")).collect();
    let text = format!(
        "mode = \"enforce\"\ninterfaces = [\"eth0\"]\n[peers]\nstatic = [{}]\n[counters]\nper_peer = true\n[evidence]\nenabled = true\n",
        list.join(", ")
    );
    fs::write(&config, text)?;
    let run = |verb: &str| -> Result<()> {
        let mut command: Command = node.command(executable);
        command.arg(verb).arg("--config").arg(&config).arg("--state-dir").arg(&state).arg("--bpffs").arg(&pins);
        command.args(["--color", "never"]);
        let finished = run_to_end("nodewall of commit 25a784f", command, PATIENCE)?;
        ensure!(finished.status.success(), "{verb}: {}{}", finished.stdout, finished.stderr);
        Ok(())
    };
    run("apply")?;
    let links: serde_json::Value = serde_json::from_str(&node.ip(&["-json", "link", "show", "dev", "eth0"])?)?;
    let id = links.pointer("/0/xdp/prog/id").and_then(serde_json::Value::as_u64);
    let id = id.with_context(|| format!("after `apply` no XDP program is on eth0: {links}"))?;
    let program = Program::by_id(u32::try_from(id)?)?;
    // The program keeps its maps, and with them the policy.
    run("detach")?;
    Ok(program)
}
