//! What the documents point to is there: links to files and headings, commands as the command line knows them, and README's table of documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, error::ErrorKind};
use nodewall::cli::Cli;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README and its like at the top, and everything in docs/: name and text.
fn documents() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for directory in ["", "docs/"] {
        for entry in fs::read_dir(repository().join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|end| end == "md") {
                let name = format!("{directory}{name}");
                found.insert(name.clone(), fs::read_to_string(repository().join(&name)).unwrap());
            }
        }
    }
    assert!(found.len() > 15, "{:?}", found.keys());
    found
}

/// Paragraphs in one line each, and lines of code (fenced or indented); each with the number of its first line, and whether it is code.
fn blocks(text: &str) -> Vec<(usize, String, bool)> {
    let mut is_fenced = false;
    let mut found: Vec<(usize, String, bool)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            goes_on = false;
            continue;
        }
        let is_code = is_fenced || line.starts_with("    ");
        let is_alone = is_code || line.trim().is_empty() || line.starts_with(['#', '|']);
        match found.last_mut().filter(|_| goes_on && !is_alone) {
            Some((_, paragraph, _)) => paragraph.push_str(&format!(" {}", line.trim())),
            None => found.push((number, line.to_owned(), is_code)),
        }
        goes_on = !is_alone;
    }
    found
}

/// The text between backticks, piece by piece, and the rest without it.
fn inline_code(line: &str) -> (Vec<&str>, String) {
    let pieces: Vec<&str> = line.split('`').collect();
    let code = pieces.iter().skip(1).step_by(2).copied().collect();
    (code, pieces.into_iter().step_by(2).collect())
}

/// As forges name a heading's place.
fn place(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn places(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = blocks(text).into_iter().filter(|(_, line, is_code)| !is_code && line.starts_with('#'));
    headings
        .map(|(_, line, _)| {
            let place = place(&line);
            let times = seen.entry(place.clone()).and_modify(|times| *times += 1).or_default();
            if *times == 0 { place } else { format!("{place}-{times}") }
        })
        .collect()
}

fn links(line: &str) -> Vec<String> {
    let (_, plain) = inline_code(line);
    let targets = plain.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).filter(|target| !target.contains("://")).collect()
}

/// What is wrong with a link of a document, if anything.
fn broken(documents: &BTreeMap<String, String>, from: &str, link: &str) -> Option<String> {
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let directory = Path::new(from).parent().unwrap();
    let path = if file.is_empty() { PathBuf::from(from) } else { directory.join(file) };
    if !repository().join(&path).exists() {
        return Some(format!("no file {}", path.display()));
    }
    let heading = heading?;
    let text = fs::read_to_string(repository().join(&path)).unwrap();
    let known = documents.get(from).filter(|_| file.is_empty()).map_or_else(|| places(&text), |own| places(own));
    (!known.contains(heading)).then(|| format!("no heading #{heading} in {}; there are {known:?}", path.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let mut count = 0;
    let mut wrong = Vec::new();
    for (name, text) in &documents {
        for (number, line, _) in blocks(text).into_iter().filter(|(_, _, is_code)| !is_code) {
            for link in links(&line) {
                count += 1;
                wrong.extend(broken(&documents, name, &link).map(|why| format!("{name}:{number}: ({link}): {why}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "only {count} links were found");
}

#[test]
fn readme_names_every_document() {
    let documents = documents();
    let linked: BTreeSet<String> =
        blocks(&documents["README.md"]).iter().flat_map(|(_, text, _)| links(text)).collect();
    for name in documents.keys().filter(|name| *name != "README.md") {
        assert!(linked.contains(name), "README.md has no link to {name}; put it into the table of documents");
    }
}

/// Words as a shell would make them of what documents write; what comes after the command is left out.
fn words(command: &str) -> Vec<String> {
    let ends = ["  ", " #", " | ", " > ", " 2>", " && ", " &"];
    let end = ends.iter().filter_map(|end| command.find(end)).min().unwrap_or(command.len());
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for letter in command[..end].trim().chars() {
        match letter {
            '"' | '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words
}

/// What the command line says of a command that documents name; in a sentence it may be named without its arguments.
fn refusal(command: &str, is_whole: bool) -> Option<String> {
    let error = Cli::try_parse_from(words(command)).err()?;
    let is_short = matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    (!is_answer && (is_whole || !is_short)).then(|| error.to_string().lines().next().unwrap_or_default().to_owned())
}

fn is_command(text: &str) -> bool {
    let text = text.strip_prefix("sudo ").unwrap_or(text);
    // A picture of `top` and a line for syslog begin with the name, too; and who has to put something in is shown where.
    text.starts_with("nodewall ") && ![" · ", "…", "<"].iter().any(|sign| text.contains(sign))
}

#[test]
fn every_command_in_the_documents_is_one() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for (name, text) in documents() {
        for (number, line, is_code) in blocks(&text) {
            let code = if is_code { vec![line.trim()] } else { inline_code(&line).0 };
            for command in code.into_iter().filter(|text| is_command(text)) {
                count += 1;
                let command = command.strip_prefix("sudo ").unwrap_or(command);
                wrong.extend(refusal(command, is_code).map(|why| format!("{name}:{number}: {command}: {why}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "only {count} commands were found");
}

#[test]
fn what_is_wrong_is_seen() {
    let documents = documents();
    assert!(broken(&documents, "docs/FAQ.md", "NOTHING.md").is_some());
    assert!(broken(&documents, "docs/FAQ.md", "PEERS.md#nothing").is_some());
    assert!(broken(&documents, "docs/FAQ.md", "#nothing").is_some());
    assert_eq!(broken(&documents, "docs/FAQ.md", "PEERS.md#sources"), None);
    assert_eq!(links("see [a](B.md#c), `[no](link)` and ![d](img/e.png)"), ["B.md#c", "img/e.png"]);
    assert!(refusal("nodewall stauts", true).is_some() && refusal("nodewall run --no-such-flag", false).is_some());
    assert!(refusal("nodewall block", true).is_some() && refusal("nodewall block", false).is_none());
    assert_eq!(
        words("nodewall block 192.0.2.1 --reason \"two words\"   # why"),
        ["nodewall", "block", "192.0.2.1", "--reason", "two words"]
    );
    assert_eq!(place("## `[[evidence.output]]`"), "evidenceoutput");
}
