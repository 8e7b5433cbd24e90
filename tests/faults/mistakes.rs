//! A grammar of mistakes in a nodewall.toml: each kind of mistake makes wrong lines, with a mark before the column that the refusal must name; the rest
//! of the file is right, and different every time.

mod shape;
mod values;

use crate::random::Random;

/// Where wrong lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Above the first table.
    Top,
    Profile,
    Peers,
    /// A rule more.
    Rule,
    /// Below everything else.
    End,
}

/// A kind of mistake.
pub(crate) struct MistakeKind {
    pub(crate) name: &'static str,
    section: Section,
    /// The key, of whose right lines none must be left.
    key: &'static str,
    make: fn(&mut Random) -> String,
    /// What the refusal must say.
    pub(crate) told: &'static str,
}

/// A wrong file: its text, and where it is wrong.
pub(crate) struct Wrong {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

const MARK: char = '▶';

fn one(random: &mut Random, of: &[&str]) -> String {
    of[random.below(of.len())].to_owned()
}

fn between(random: &mut Random, low: usize, high: usize) -> usize {
    low + random.below(high - low + 1)
}

fn address(random: &mut Random) -> String {
    format!("10.{}.{}.{}", random.below(256), random.below(256), between(random, 1, 254))
}

/// A list of right addresses with a wrong one somewhere, on one line or several.
fn among(random: &mut Random, key: &str, wrong: &str) -> String {
    let mut items: Vec<String> = (0..random.below(4)).map(|_| format!("\"{}\"", address(random))).collect();
    items.insert(random.below(items.len() + 1), format!("{MARK}\"{wrong}\""));
    format!("{key} = [{}]", items.join(&one(random, &[", ", ",\n    ", ", # one more\n  "])))
}

/// A whole rule; `lines` stand in the place of its keys of the same name.
fn rule(random: &mut Random, lines: &[&str]) -> String {
    let (name, port) = (format!("own-{}", random.below(1_000_000)), between(random, 20_000, 29_999));
    let mut rule = String::from("[[rule]]\n");
    let has = |key: &str| lines.iter().any(|line| line.trim_start_matches(MARK).starts_with(key));
    for (key, right) in [
        ("name", format!("name = \"{name}\"\n")),
        ("ports", format!("ports = [{port}]\n")),
        ("access", "access = \"cluster\"\n".to_owned()),
    ] {
        if !has(key) {
            rule += &right;
        }
    }
    rule + &lines.join("\n")
}

/// Every kind.
pub(crate) fn kinds() -> Vec<&'static MistakeKind> {
    shape::KINDS.iter().chain(values::KINDS).collect()
}

const fn kind(
    name: &'static str,
    section: Section,
    key: &'static str,
    make: fn(&mut Random) -> String,
    told: &'static str,
) -> MistakeKind {
    MistakeKind { name, section, key, make, told }
}

/// Right lines of a section, each with its key in front; some are left out.
fn right(random: &mut Random, section: Section) -> Vec<String> {
    let (one_address, another) = (address(random), address(random));
    let all = match section {
        Section::Top => vec![
            format!("mode = \"{}\"", one(random, &["enforce", "audit"])),
            format!("interfaces = [{}]", one(random, &["\"eth0\"", "\"eth*\", \"bond0\"", "\n  \"eth0\",\n"])),
            format!("attach_mode = {}", one(random, &["\"native\"", "\"tc\"", "\"generic\"", "'native'"])),
            format!("single_node = {}", one(random, &["true", "false"])),
            format!("tunnels = \"{}\"", one(random, &["peers", "all"])),
        ],
        Section::Profile => vec![
            format!("name = \"{}\"", one(random, &["dynatrace-managed", "dynatrace-managed-current"])),
            format!("cluster_version = \"1.{}\"", between(random, 100, 400)),
            format!("agent_port_8443 = \"{}\"", one(random, &["cluster", "public"])),
            format!("web_port_8022 = \"{}\"", one(random, &["cluster", "public"])),
        ],
        Section::Peers => {
            vec![
                format!("static = [\"{one_address}\", \"2001:db8::{}\"]", between(random, 1, 9)),
                format!("within = [\"{another}/32\"]"),
            ]
        }
        Section::Rule => vec![rule(random, &["# a rule of our own"])],
        Section::End => Vec::new(),
    };
    all.into_iter().filter(|_| random.below(4) > 0).collect()
}

/// Lines that mean nothing.
fn padding(random: &mut Random) -> String {
    one(random, &["", "", "\n", "# a remark\n", "# größer, länger, älter\n\n", "  # ▲ an inset one\n"])
}

impl MistakeKind {
    /// A file that is right but for one mistake of this kind.
    pub(crate) fn wrong(&self, random: &mut Random) -> Wrong {
        let text = file(random, Some(self));
        let (before, after) = text.split_once(MARK).expect("a mark");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Wrong {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            text: format!("{before}{after}"),
        }
    }
}

/// A file, with a marked mistake if one is wanted.
fn file(random: &mut Random, mistake: Option<&MistakeKind>) -> String {
    let mut text = padding(random);
    for (section, heading) in [
        (Section::Top, ""),
        (Section::Profile, "[profile]\n"),
        (Section::Peers, "[peers]\n"),
        (Section::Rule, ""),
        (Section::End, ""),
    ] {
        let mut lines = right(random, section);
        if let Some(kind) = mistake {
            // A table in the place of the rules leaves no room for rules.
            let is_in_its_way = kind.key == "rule" && section == Section::Rule;
            let is_its_key =
                |line: &String| section == kind.section && !kind.key.is_empty() && line.starts_with(kind.key);
            lines.retain(|line| !is_in_its_way && !is_its_key(line));
            if section == kind.section {
                lines.insert(random.below(lines.len() + 1), (kind.make)(random));
            }
        }
        text += heading;
        for line in lines {
            text += &format!("{line}\n{}", padding(random));
        }
    }
    text
}

/// Else a refusal might be for something that no mistake was meant to be.
#[test]
fn without_a_mistake_a_file_is_right() {
    let mut random = Random::new(7);
    for _ in 0..500 {
        let text = file(&mut random, None);
        let parsed = nodewall_policy::config::Config::parse(&text, "right.toml");
        assert!(parsed.is_ok(), "{}\n{text}", parsed.unwrap_err());
    }
}
