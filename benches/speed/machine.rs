//! What the figures were taken on: processor, kernel, mitigations, date, source. Reads and says; judges nothing.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use serde::Serialize;

/// Where the kernel says what it does about faults of the processor.
const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";

/// The machine and the moment.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// `model name` of the first CPU.
    pub processor: String,
    /// CPUs in use.
    pub cpus: usize,
    /// Size of each cache that holds data, in the kernel's words.
    pub caches: BTreeMap<String, String>,
    /// Whether it is a virtual machine.
    pub is_virtual: bool,
    /// `uname -r`
    pub kernel: String,
    /// Each fault that the kernel mitigates or that is left open; faults that the processor does not have are left out.
    pub mitigations: BTreeMap<String, String>,
    /// UTC day.
    pub date: String,
    /// `git describe` of the source.
    pub source: String,
}

impl Machine {
    pub fn read() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo can not be read")?;
        let field = |name: &str| {
            cpuinfo.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(": ")).map(|(_, v)| v)
        };
        Ok(Self {
            processor: field("model name").unwrap_or("unknown").to_owned(),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            caches: caches(),
            is_virtual: field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            kernel: read_line("/proc/sys/kernel/osrelease"),
            mitigations: mitigations(),
            date: said("date", &["-u", "+%F"]),
            source: said("git", &["describe", "--always", "--dirty"]),
        })
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let kind = if self.is_virtual { ", virtual" } else { "" };
        let caches: Vec<String> = self.caches.iter().map(|(name, size)| format!("{name} {size}")).collect();
        format!(
            "{} ({} CPUs{kind}; {}), Linux {}, {}, nodewall {}",
            self.processor,
            self.cpus,
            caches.join(", "),
            self.kernel,
            self.date,
            self.source
        )
    }
}

fn caches() -> BTreeMap<String, String> {
    let mut caches = BTreeMap::new();
    for index in 0..4 {
        let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
        let (level, kind) = (read_line(&format!("{folder}/level")), read_line(&format!("{folder}/type")));
        if !level.is_empty() && kind != "Instruction" {
            caches.insert(format!("L{level}"), read_line(&format!("{folder}/size")));
        }
    }
    caches
}

fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(VULNERABILITIES) else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let said = fs::read_to_string(entry.path()).ok()?.trim().to_owned();
            (said != "Not affected").then(|| (entry.file_name().to_string_lossy().into_owned(), said))
        })
        .collect()
}

fn read_line(file: &str) -> String {
    fs::read_to_string(file).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// What a program says, or nothing where it is not there: the figures are worth having all the same.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
