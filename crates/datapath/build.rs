//! Builds the kernel object from `node-ebpf` and hands its path to `src/object.rs`. Owns the compiler flags of the kernel crate;
//! must not fetch anything: `cargo xtask setup` does.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use object::{build::elf, elf::SHT_STRTAB};

/// v3: 32-bit ALU and packet pointers in subprograms. Misaligned loads: else every unaligned read becomes byte loads. The linker makes BTF, without
/// which the kernel shows no types. Debug information everywhere, or memset and memcpy get no BTF and the object is refused.
const FLAGS: &[&str] = &[
    "-Cdebuginfo=2",
    "-Ctarget-cpu=v3",
    "-Clink-arg=--btf",
    "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
];

/// Set where this very program stands before rustc.
const AS_WRAPPER: &str = "NODEWALL_STEADY_NAMES";

fn main() -> Result<(), Box<dyn Error>> {
    if env::var_os(AS_WRAPPER).is_some() {
        return rustc_with_steady_names();
    }
    // The workspace: two folders up.
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = package.ancestors().nth(2).ok_or("this crate is not where the workspace has it")?.to_path_buf();
    let out = PathBuf::from(variable("OUT_DIR")?);
    let tools = root.join("target/tools");
    println!("cargo::rerun-if-changed=build.rs");
    for path in ["node-ebpf", "node-ebpf-common", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-changed={}", tools.join("bin/bpf-linker").display());
    println!("cargo::rustc-env=NODEWALL_TARGET={}", read(variable("TARGET")?)?);
    let compiler = Command::new(variable("RUSTC")?).arg("--version").output()?.stdout;
    println!("cargo::rustc-env=NODEWALL_COMPILER={}", String::from_utf8(compiler)?.trim_end());

    let linker = tools.join("bin/bpf-linker");
    if !linker.is_file() {
        return Err("the BPF linker is missing; run `cargo xtask setup` once (it installs all that the build needs below target/)".into());
    }
    let kernel = KernelCrate { root, tools, target: out.join("kernel"), linker };
    println!("cargo::rustc-env=NODEWALL_OBJECT={}", kernel.build("node-ebpf", &[])?.display());
    if env::var_os("CARGO_FEATURE_BENCH").is_some() {
        let reference = kernel.build("reference", &["--features", "reference"])?;
        println!("cargo::rustc-env=NODEWALL_REFERENCE_OBJECT={}", reference.display());
    }
    Ok(())
}

/// Where the kernel crate is and what builds it.
struct KernelCrate {
    root: PathBuf,
    tools: PathBuf,
    target: PathBuf,
    linker: PathBuf,
}

impl KernelCrate {
    /// Builds one of its objects and returns its file.
    fn build(&self, name: &str, features: &[&str]) -> Result<PathBuf, Box<dyn Error>> {
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        flags.extend(self.remapped()?);

        let mut cargo = Command::new(variable("CARGO")?);
        // The outer build's flags and wrappers are for the host; the child starts clean.
        for (name, _) in env::vars_os() {
            if is_for_the_host(&name) {
                cargo.env_remove(name);
            }
        }
        cargo
            .current_dir(&self.root)
            .args(["build", "--package", "node-ebpf", "--bin", name, "--profile", "ebpf", "--locked"])
            .args(features)
            .args(["--target", "bpfel-unknown-none", "-Zbuild-std=core", "--target-dir"])
            .arg(&self.target)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            // Not among the flags: cargo hashes those into the names of everything, and this is a path of this machine.
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("RUSTC_WRAPPER", env::current_exe()?)
            .env(AS_WRAPPER, "1")
            // Stable with nightly features, for this child only: aya-ebpf and build-std need it.
            .env("RUSTC_BOOTSTRAP", "1");
        if let Some(library) = core_source(&self.tools)? {
            cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
        }
        let status = cargo.status().map_err(|e| format!("can not run cargo for the kernel crate: {e}"))?;
        if !status.success() {
            return Err(format!("the kernel crate did not build ({status}); its errors stand above").into());
        }
        self.without_debug_information(name)
    }

    /// The flags by which no path of this machine gets into the object: the same source makes the same object wherever it lies.
    fn remapped(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let cargo = env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
            .ok_or("neither CARGO_HOME nor HOME says where crates are")?;
        let places = [
            (self.root.clone(), "/nodewall"),
            // Wherever core's source is, it shall seem to be where `cargo xtask setup` puts it.
            (sysroot()?.join("lib/rustlib/src/rust"), "/nodewall/target/tools/rust-src"),
            (cargo.join("registry/src"), "/crates"),
        ];
        Ok(places.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect())
    }

    /// What the linker needed for BTF is not shipped: four fifths of the object, with this machine's paths in it, all of which each start would read.
    fn without_debug_information(&self, name: &str) -> Result<PathBuf, Box<dyn Error>> {
        let whole = self.target.join("bpfel-unknown-none/ebpf").join(name);
        let bytes = fs::read(&whole).map_err(|e| format!("{}: {e}", whole.display()))?;
        let mut object = elf::Builder::read(bytes.as_slice())?;
        for section in &mut object.sections {
            let name = section.name.to_vec();
            section.delete = name.starts_with(b".debug") || name.starts_with(b".rel.debug");
        }
        object.delete_orphans();
        // LLVM keeps all names in one table, the writer wants those of sections apart.
        let names = object.sections.add();
        names.name = b".shstrtab".as_slice().into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = elf::SectionData::SectionString;
        let mut stripped = Vec::new();
        object.write(&mut stripped)?;
        let path = self.target.join(name).with_extension("o");
        fs::write(&path, stripped).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }
}

/// Runs rustc as cargo asked, with another hash of each kernel crate: cargo's is made from where core's source lies, and it is in the names of all symbols, by
/// which the linker sorts. Name and version are enough: no crate is in the kernel program twice.
fn rustc_with_steady_names() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments.next().ok_or("cargo named no compiler")?;
    let mut arguments: Vec<OsString> = arguments.collect();
    if arguments.iter().any(|argument| argument == "bpfel-unknown-none") {
        let hash =
            arguments.iter_mut().find(|argument| argument.to_str().is_some_and(|text| text.starts_with("metadata=")));
        if let (Some(hash), Ok(name), Ok(version)) = (hash, env::var("CARGO_PKG_NAME"), env::var("CARGO_PKG_VERSION")) {
            *hash = format!("metadata={name}-{version}").into();
        }
    }
    Err(Command::new(rustc).args(arguments).exec().into())
}

fn variable(name: &str) -> Result<OsString, Box<dyn Error>> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}").into())
}

fn is_for_the_host(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    matches!(
        name,
        "RUSTFLAGS"
            | "CARGO_ENCODED_RUSTFLAGS"
            | "RUSTC"
            | "RUSTC_WRAPPER"
            | "RUSTC_WORKSPACE_WRAPPER"
            | "CARGO_TARGET_DIR"
    ) || name.starts_with("CARGO_PROFILE_")
        || name.starts_with("CARGO_CFG_")
        || name.starts_with("CARGO_FEATURE_")
        || name.starts_with("CARGO_LLVM_COV")
}

fn read(value: OsString) -> Result<String, Box<dyn Error>> {
    value.into_string().map_err(|value| format!("{} is not UTF-8", value.display()).into())
}

fn sysroot() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(variable("RUSTC")?).args(["--print", "sysroot"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim_end().into())
}

/// Where core's source is when the toolchain has none of its own.
fn core_source(tools: &Path) -> Result<Option<PathBuf>, Box<dyn Error>> {
    if sysroot()?.join("lib/rustlib/src/rust/library/core").is_dir() {
        return Ok(None);
    }
    let library = tools.join("rust-src/library");
    if library.join("core").is_dir() {
        return Ok(Some(library));
    }
    Err("core's source (rust-src) is missing; run `cargo xtask setup` once".into())
}
