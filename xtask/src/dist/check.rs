//! Looks at what was made as its receivers would; each look prints a line. It must not touch this machine's own packages.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;

use super::{Artifacts, checksums, deb, folder, object, tree};
use crate::cmd::Cmd;
use crate::progress::seconds;
use crate::setup::debian_tree;
use crate::{files, workspace};

const INSIDE: &str = include_str!("inside.sh");
/// The same Debian as the guest's of `cargo xtask vm`, so that it is made once.
const SUITE: &str = "trixie";
/// A version that is later than any crate's own.
const LATER: &str = "99.0.0-1";

/// What lintian may say, and why it is left so.
const ACCEPTED: &[&str] = &[
    // docs/INSTALL.md: how a node is protected with the package, not how it is built.
    "package-contains-upstream-installation-documentation",
    // Nobody asked Debian for it.
    "initial-upload-closes-no-bugs",
    // It takes a static executable that may be loaded anywhere for a library.
    "shared-library-lacks-prerequisites",
    // Named as the README names it.
    "wrong-name-for-upstream-changelog",
];

type Look = (&'static str, fn(&Artifacts) -> Result<String>);

const LOOKS: &[Look] = &[
    ("the executable is static and says what it is", executable),
    ("checksums", sums),
    ("the kernel object, built in another folder", reproduced),
    ("bill of materials", bill),
    (".deb: installed, upgraded, removed, purged", debian),
    (".deb: Debian's lintian", lintian),
    (".rpm: files, scripts, requirements", redhat),
    ("manual pages", manual),
    ("completions", completions),
];

pub(super) fn run(made: &Artifacts) -> Result<()> {
    for (name, look) in LOOKS {
        let began = Instant::now();
        let found = look(made).with_context(|| (*name).to_owned())?;
        println!("{name}: {found} ({})", seconds(began.elapsed()));
    }
    for file in [&made.executable, &made.deb, &made.rpm, &made.object, &made.bill] {
        println!("{}: {} bytes", file.file_name().unwrap_or_default().display(), fs::metadata(file)?.len());
    }
    Ok(())
}

fn executable(made: &Artifacts) -> Result<String> {
    let headers = Cmd::new("readelf").arg("--program-headers").arg("--dynamic").arg(&made.executable).read()?;
    ensure!(!headers.contains("INTERP"), "it asks for a program interpreter");
    ensure!(!headers.contains("(NEEDED)"), "it needs shared libraries");
    let said = Cmd::new(&made.executable).args(["--version", "--verbose"]).read()?;
    ensure!(said.contains("x86_64-unknown-linux-gnu, static"), "it does not say that it is static:\n{said}");
    let object = checksums::of(&made.object)?;
    ensure!(said.contains(&format!("sha256:{object}")), "it does not name the object {object}:\n{said}");
    Ok("no interpreter, no shared library; names the kernel object's hash".into())
}

fn sums(_: &Artifacts) -> Result<String> {
    let said = Cmd::new("sha256sum").args(["--check", "--strict", checksums::NAME]).dir(folder()).read()?;
    Ok(format!("{} files match", said.lines().filter(|line| line.ends_with(": OK")).count()))
}

fn reproduced(made: &Artifacts) -> Result<String> {
    let (here, there) = (checksums::of(&made.object)?, checksums::of(&object::built_elsewhere()?)?);
    ensure!(here == there, "sha256 {here} here, {there} there");
    Ok("the same SHA-256".into())
}

fn bill(made: &Artifacts) -> Result<String> {
    let text = fs::read_to_string(&made.bill)?;
    let bill: serde_json::Value = serde_json::from_str(&text).context("it is no JSON")?;
    let of = |pointer: &str| bill.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    ensure!(of("/bomFormat") == "CycloneDX" && of("/metadata/component/name") == "nodewall", "it is not nodewall's");
    let listed: Vec<String> = bill
        .pointer("/components")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|component| {
            Some(format!("{} {}", component.get("name")?.as_str()?, component.get("version")?.as_str()?))
        })
        .collect();
    // What cargo says is built in, without what only builds or tests it.
    let said = Cmd::cargo("tree")
        .args(["--package", "nodewall", "--edges", "normal", "--target", super::TARGET, "--prefix", "none"])
        .args(["--format", "{p}"])
        .read()?;
    let missing: Vec<String> = said
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(format!("{} {}", words.next()?, words.next()?.trim_start_matches('v')))
        })
        .filter(|built_in| !built_in.starts_with("nodewall ") && !listed.contains(built_in))
        .collect();
    ensure!(missing.is_empty(), "these are built in and not listed: {missing:?}");
    Ok(format!("{} crates, every one that is built in", listed.len()))
}

fn debian(made: &Artifacts) -> Result<String> {
    let later = deb(Some(LATER))?;
    let debian = debian_tree::tree("systemd", SUITE, debian_tree::WITH_SYSTEMD)?;
    let place = folder().join("debian");
    files::remove(&place)?;
    for name in ["given", "overlay"] {
        fs::create_dir_all(place.join(name))?;
    }
    for (from, to) in [(&made.deb, "first.deb"), (&later, "later.deb")] {
        files::copy(from, &place.join("given").join(to))?;
    }
    fs::write(place.join("given/inside.sh"), INSIDE)?;
    let mut files = String::new();
    for file in tree::files()? {
        let _ = writeln!(files, "/{}", file.display());
    }
    fs::write(place.join("given/files"), files)?;
    // All of it is in memory, in a mount namespace that ends with it.
    let outside = "set -e
        mount -t tmpfs none \"$2/overlay\"
        mkdir \"$2/overlay/upper\" \"$2/overlay/scratch\" \"$2/overlay/all\"
        mount -t overlay none -o \"lowerdir=$1,upperdir=$2/overlay/upper,workdir=$2/overlay/scratch\" \"$2/overlay/all\"
        mkdir \"$2/overlay/all/given\"
        mount --bind \"$2/given\" \"$2/overlay/all/given\"
        mount -t proc proc \"$2/overlay/all/proc\"
        exec chroot \"$2/overlay/all\" /bin/sh /given/inside.sh";
    let said = Cmd::new("unshare")
        .args(["--mount", "--pid", "--fork", "--net", "--propagation", "private", "sh", "-c", outside, "sh"])
        .args([&debian, &place])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .advice("this needs root, and a kernel with overlayfs")
        .read()?;
    fs::remove_file(&later)?;
    let found = said.lines().last().unwrap_or_default();
    ensure!(found.starts_with("fine: "), "the script inside ended without its last word: {said}");
    Ok(found.trim_start_matches("fine: ").to_owned())
}

fn lintian(made: &Artifacts) -> Result<String> {
    // Its own version is that of the changelog, which lintian does not compare.
    let changelog = fs::read_to_string(workspace::root().join("packaging/deb/changelog"))
        .context("packaging/deb/changelog can not be read")?;
    let version = changelog.lines().next().and_then(|line| line.split(['(', ')']).nth(1)).unwrap_or_default();
    let file = made.deb.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ensure!(
        file.contains(&format!("_{version}_")),
        "packaging/deb/changelog is of {version:?}, and the package is {file}"
    );
    let said = Cmd::new("lintian").args(["--allow-root", "--fail-on", "none"]).arg(&made.deb).read()?;
    let found = |line: &&str| line.starts_with("E:") || line.starts_with("W:");
    let (accepted, rest): (Vec<&str>, Vec<&str>) =
        said.lines().filter(found).partition(|line| ACCEPTED.iter().any(|tag| line.contains(tag)));
    ensure!(rest.is_empty(), "{}", rest.join("\n"));
    Ok(format!("no error; {} warnings, each accepted with its reason in xtask/src/dist/check.rs", accepted.len()))
}

fn redhat(made: &Artifacts) -> Result<String> {
    let ask = |question: &str| {
        Cmd::new("rpm").args(["--query", "--package", "--dbpath", "/nonexistent", question]).arg(&made.rpm).read()
    };
    let mut wanted: Vec<String> = tree::files()?
        .iter()
        .map(|file| format!("/{}", file.display()).replace("/zsh/vendor-completions/", "/zsh/site-functions/"))
        .collect();
    wanted.sort();
    let mut listed: Vec<String> = ask("--list")?.lines().map(str::to_owned).collect();
    listed.sort();
    ensure!(listed == wanted, "it holds {listed:?}, not {wanted:?}");
    let configuration = ask("--configfiles")?;
    ensure!(configuration.trim() == "/etc/nodewall/nodewall.toml", "its configuration is {configuration:?}");
    let requires = ask("--requires")?;
    let foreign: Vec<&str> = requires
        .lines()
        .filter(|line| !["rpmlib(", "config(nodewall)", "/bin/sh"].iter().any(|own| line.starts_with(own)))
        .collect();
    ensure!(foreign.is_empty(), "it requires {foreign:?}");
    let scripts = ask("--scripts")?;
    for words in ["enable nodewall-apply.service nodewall.service", "open_node", "try-restart nodewall.service"] {
        ensure!(scripts.contains(words), "no script says {words:?}");
    }
    let unpacked = folder().join("redhat");
    files::renew(&unpacked)?;
    let unpack = "rpm2cpio \"$1\" | (cd \"$2\" && cpio --quiet -id)";
    Cmd::new("sh").args(["-c", unpack, "sh"]).args([&made.rpm, &unpacked]).run_quiet()?;
    Cmd::new("mv")
        .args([unpacked.join("usr/share/zsh/site-functions"), unpacked.join("usr/share/zsh/vendor-completions")])
        .run_quiet()?;
    Cmd::new("diff").arg("--recursive").args([tree::root(), unpacked]).run_quiet()?;
    Ok(format!("{} files, each as in the .deb; requires a shell only", listed.len()))
}

fn manual(_: &Artifacts) -> Result<String> {
    let pages = below("usr/share/man/man1")?;
    for page in &pages {
        Cmd::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(page).read()?;
        let text = Cmd::new("mandoc").args(["-T", "html"]).arg(page).read()?;
        ensure!(text.contains("NAME") && text.contains("SYNOPSIS"), "{} is empty", page.display());
    }
    Ok(format!("{} pages without an error of mandoc", pages.len()))
}

fn completions(_: &Artifacts) -> Result<String> {
    for (shell, folder) in [
        ("bash", "usr/share/bash-completion/completions"),
        ("zsh", "usr/share/zsh/vendor-completions"),
        ("fish", "usr/share/fish/vendor_completions.d"),
    ] {
        for script in below(folder)? {
            Cmd::new(shell).arg("-n").arg(&script).run_quiet()?;
        }
    }
    // What a person meets who types `nodewall enf` and the tabulator.
    let script = tree::root().join("usr/share/bash-completion/completions/nodewall");
    let ask = "source \"$1\"; COMP_WORDS=(nodewall enf); COMP_CWORD=1; _nodewall nodewall enf nodewall; echo \"${COMPREPLY[@]}\"";
    let answer = Cmd::new("bash").args(["-c", ask, "bash"]).arg(&script).read()?;
    ensure!(answer.trim() == "enforce", "bash completes `nodewall enf` to {answer:?}");
    Ok("bash, zsh and fish can read theirs; bash completes a command".into())
}

fn below(place: &str) -> Result<Vec<std::path::PathBuf>> {
    let files = tree::files()?.into_iter().filter(|file| file.starts_with(Path::new(place)));
    let files: Vec<_> = files.map(|file| tree::root().join(file)).collect();
    ensure!(!files.is_empty(), "there is nothing in {place}");
    Ok(files)
}
