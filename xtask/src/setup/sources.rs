//! Which Debian archive this machine's apt is configured for, read from its source files (both formats, so that it is
//! known before any list was fetched). Reads only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fs_err as fs;

/// A configured mirror of Debian's main archive and the suites that are used from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    pub(crate) uri: String,
    pub(crate) suites: Vec<String>,
}

/// One source of binary packages: a URI with a suite.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
    signed_by: String,
}

/// The Debian archive that the files below `etc_apt` name first.
pub(crate) fn debian_archive(etc_apt: &Path) -> Result<Archive> {
    let files = source_files(etc_apt);
    let sources: Vec<Source> = files
        .iter()
        .filter_map(|file| Some((file, fs::read_to_string(file).ok()?)))
        .flat_map(|(file, text)| parse(file, &text))
        .collect();
    let Some(archive) = choose(&sources) else {
        bail!(
            "apt has no source that is Debian's main archive (looked at {} source files below {})",
            files.len(),
            etc_apt.display()
        );
    };
    Ok(archive)
}

fn source_files(etc_apt: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(etc_apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.insert(0, etc_apt.join("sources.list"));
    files.retain(|file| is_deb822(file) || file.extension().is_some_and(|ext| ext == "list"));
    files
}

fn is_deb822(file: &Path) -> bool {
    file.extension().is_some_and(|ext| ext == "sources")
}

fn parse(file: &Path, text: &str) -> Vec<Source> {
    if is_deb822(file) { parse_deb822(text) } else { text.lines().filter_map(parse_line).collect() }
}

/// Stanzas of `Field: value`, where a line that begins with a blank continues the value.
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in text.split("\n\n") {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut last = String::new();
        for line in stanza.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with([' ', '\t']) {
                fields.entry(last.clone()).or_default().push_str(line);
            } else if let Some((key, value)) = line.split_once(':') {
                last = key.to_ascii_lowercase();
                fields.insert(last.clone(), value.to_owned());
            }
        }
        let words = |key: &str| -> Vec<String> {
            let value = fields.get(key).map_or("", String::as_str);
            value.split_whitespace().map(str::to_owned).collect()
        };
        if !words("types").contains(&"deb".to_owned()) || words("enabled") == ["no"] {
            continue;
        }
        for uri in words("uris") {
            for suite in words("suites") {
                sources.push(Source {
                    uri: uri.clone(),
                    suite,
                    components: words("components"),
                    signed_by: words("signed-by").join(" "),
                });
            }
        }
    }
    sources
}

/// `deb [option=value …] URI suite component…`
fn parse_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None; // deb-src
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().take_while(|word| !word.starts_with('#')).map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect(),
        signed_by: options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .unwrap_or_default()
            .to_owned(),
    })
}

fn choose(sources: &[Source]) -> Option<Archive> {
    let candidates: Vec<&Source> = sources.iter().filter(|source| may_be_debian(source)).collect();
    // The archive's own keys are the better sign; a path can be anything behind a company's mirror.
    let first = candidates
        .iter()
        .find(|source| source.signed_by.contains("debian-archive"))
        .or_else(|| candidates.iter().find(|source| named_debian(&source.uri)))?;
    Some(Archive {
        uri: first.uri.clone(),
        suites: candidates.iter().filter(|source| source.uri == first.uri).map(|source| source.suite.clone()).collect(),
    })
}

/// Not a third party's and not the security archive, which has no backports.
fn may_be_debian(source: &Source) -> bool {
    let security =
        source.suite.ends_with("-security") || source.suite.contains('/') || source.uri.contains("debian-security");
    let signed_by_others = !source.signed_by.is_empty() && !source.signed_by.contains("debian-archive");
    source.components.iter().any(|component| component == "main")
        && !source.uri.starts_with("cdrom:")
        && !security
        && !signed_by_others
}

/// Whether a URI such as `scheme://mirror/debian/` or `mirror+file:/etc/apt/mirrors/debian.list` ends in Debian's name.
fn named_debian(uri: &str) -> bool {
    let path = uri.trim_end_matches('/');
    let name = path.rsplit('/').next().unwrap_or_default();
    name.strip_suffix(".list").unwrap_or(name) == "debian"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(file: &str, text: &str) -> Option<Archive> {
        choose(&parse(Path::new(file), text))
    }

    fn expected(uri: &str, suites: &[&str]) -> Archive {
        Archive { uri: uri.to_owned(), suites: suites.iter().map(|suite| (*suite).to_owned()).collect() }
    }

    #[test]
    fn the_main_archive_is_found_among_deb822_sources() {
        let text = "Types: deb\nURIs: https://others.example/node\nSuites: bookworm\nComponents: main\n\
                    Signed-By: /usr/share/keyrings/others.gpg\n\n\
                    Types: deb\nURIs: http://m.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
                    Types: deb deb-src\n# a remark\nURIs: http://m.example/debian\nSuites: bookworm\n bookworm-updates\n\
                    Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        assert_eq!(
            archive("debian.sources", text),
            Some(expected("http://m.example/debian", &["bookworm", "bookworm-updates"]))
        );
    }

    #[test]
    fn the_main_archive_is_found_among_one_line_sources() {
        let text = "# deb http://old.example/debian buster main\n\
                    deb-src http://m.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/etc/apt/keyrings/x.gpg] https://x.example/debian bookworm main\n\
                    deb http://m.example/debian-security bookworm-security main\n\
                    deb http://m.example/debian/ trixie main non-free # ours\n";
        assert_eq!(archive("sources.list", text), Some(expected("http://m.example/debian/", &["trixie"])));
    }

    #[test]
    fn a_mirror_list_and_a_company_mirror_count() {
        let cloud = "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\nComponents: main\n";
        assert_eq!(
            archive("debian.sources", cloud),
            Some(expected("mirror+file:///etc/apt/mirrors/debian.list", &["trixie"]))
        );
        let company =
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://c.example/apt/all trixie main";
        assert_eq!(archive("sources.list", company), Some(expected("https://c.example/apt/all", &["trixie"])));
    }

    #[test]
    fn third_parties_disabled_sources_and_other_systems_are_refused() {
        for (file, text) in [
            ("sources.list", "deb https://x.example/linux/debian bookworm stable"),
            ("sources.list", "deb http://m.example/ubuntu noble main"),
            ("sources.list", "deb cdrom:[Debian]/debian trixie main"),
            ("a.sources", "Types: deb\nEnabled: no\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\n"),
            ("a.sources", "Types: deb-src\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\n"),
        ] {
            assert_eq!(archive(file, text), None, "{text}");
        }
    }

    #[test]
    fn no_sources_is_an_error_that_says_where_it_looked() {
        let nowhere = std::env::temp_dir().join("xtask-no-such-etc-apt");
        let said = debian_archive(&nowhere).map_err(|error| error.to_string());
        assert!(said.is_err_and(|text| text.contains("xtask-no-such-etc-apt")),);
    }
}
