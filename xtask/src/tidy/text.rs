//! Rules for any text: no traces of one machine, no host names of registries, clean white space. The patterns are put
//! together from pieces, so that this file passes its own rules.

use super::{Finding, SourceFile};

/// Hosts that packages are downloaded from: which one is used is the site's own configuration.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
    concat!("snapshot.debian", ".org"),
    concat!("static.rust-lang", ".org"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("pkg", ".dev"),
];

/// Folders of a developer's own machine, and the names that may follow.
const MACHINE_FOLDERS: &[(&str, &[&str])] = &[
    (concat!("/ro", "ot/"), &[]),
    (concat!("/wo", "rk/"), &[]),
    // A made-up user in documents.
    (concat!("/ho", "me/"), &["user"]),
];

/// Written by cargo, which puts the registry's name into it.
const GENERATED: &[&str] = &["Cargo.lock"];

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    if GENERATED.iter().any(|name| file.path.ends_with(name)) {
        return Vec::new();
    }
    let strict_space = file.has_extension(&["rs", "md", "toml"]);
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        let mut found = |what: String| findings.push(file.finding(number, what));
        if let Some(host) = REGISTRY_HOSTS.iter().find(|host| line.contains(*host)) {
            found(format!(
                "names the registry host {host}; the site's own configuration says where packages come from"
            ));
        }
        if let Some(folder) = machine_folder(line) {
            found(format!("has a path of one machine ({folder}…); use one relative to the repository"));
        }
        if strict_space && line.trim_end() != line {
            found("has white space at its end; remove it".to_owned());
        }
        if strict_space && line.contains('\t') {
            found("has a tab; use spaces".to_owned());
        }
    }
    findings
}

/// The machine folder that the line names as an absolute path, if any.
fn machine_folder(line: &str) -> Option<&'static str> {
    MACHINE_FOLDERS.iter().find_map(|(folder, allowed)| {
        line.match_indices(folder)
            .any(|(at, _)| {
                let (before, rest) = line.split_at(at);
                let after = rest.strip_prefix(folder).unwrap_or_default();
                // After a name it is a part of a relative path; after a blank, `=`, a quote or `//` it is absolute.
                let absolute = !before.ends_with(|c: char| c.is_alphanumeric() || "_-.~}*)".contains(c));
                absolute && !allowed.contains(&first_name(after))
            })
            .then_some(*folder)
    })
}

/// The path's first name.
fn first_name(path: &str) -> &str {
    path.split(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&file(path, text)).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn registry_hosts_are_refused_but_for_the_lock_file() {
        for host in REGISTRY_HOSTS {
            let text = format!("one\nsee https://{host}/x\n");
            let said = findings(".ci/run", &text).join("\n");
            assert!(said.starts_with(".ci/run:2: ") && said.contains(host), "{said}");
            assert!(findings("Cargo.lock", &text).is_empty());
        }
    }

    #[test]
    fn paths_of_one_machine_are_refused() {
        for (folder, _) in MACHINE_FOLDERS {
            for line in
                [format!("cd {folder}jane/x"), format!("url = \"file://{folder}jane\""), format!("A={folder}jane")]
            {
                assert_eq!(findings("README.md", &line).len(), 1, "{line}");
            }
            assert!(findings("README.md", &format!("a path like frame{folder}x")).is_empty());
        }
    }

    #[test]
    fn the_made_up_user_is_fine() {
        let home = concat!("/ho", "me/");
        assert!(findings("a.md", &format!("cd {home}user/nodewall")).is_empty());
        assert_eq!(findings("a.md", &format!("{home}user {home}jane")).len(), 1);
        assert_eq!(findings("a.md", &format!("{home}username/x")).len(), 1);
    }

    #[test]
    fn white_space_is_checked_where_it_does_not_matter_to_the_format() {
        for path in ["a.rs", "b.md", "c.toml"] {
            assert_eq!(findings(path, "ends so \n").len(), 1);
            assert_eq!(findings(path, "a\tb\n").len(), 1);
        }
        assert!(findings("Makefile", "\tcc x.c\n").is_empty());
    }
}
