//! What is written about the configuration, made from the parser's own keys: nodewall.schema.json, the tables of docs/CONFIGURATION.md, and
//! packaging/nodewall.toml.
//! `NODEWALL_REFRESH_DOCS=1` writes them anew. That the schema says what the parser does is tested beside the parser.

use std::path::PathBuf;
use std::{env, fs};

use nodewall::init::packaged_text;
use nodewall_policy::{
    Policy,
    config::{Config, Key, Mode, schema},
};

const END: &str = "<!-- end of keys -->";

fn repository(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The committed file must be what was made; or it becomes that.
fn assert_committed(name: &str, made: &str) {
    if env::var_os("NODEWALL_REFRESH_DOCS").is_some_and(|value| value == "1") {
        fs::write(repository(name), made).unwrap();
    }
    let committed = fs::read_to_string(repository(name)).unwrap_or_default();
    for (number, (made, committed)) in (1..).zip(made.lines().zip(committed.lines())) {
        assert_eq!(committed, made, "{name}:{number} is not what the schema says; NODEWALL_REFRESH_DOCS=1 renews it");
    }
    assert_eq!(committed.lines().count(), made.lines().count(), "{name}: NODEWALL_REFRESH_DOCS=1 renews it");
}

fn at<'a>(file: &'a Key, path: &str) -> &'a Key {
    if path == "top level" {
        return file;
    }
    path.split('.').fold(file, |key, name| {
        key.keys()
            .into_iter()
            .find(|(key, _)| *key == name)
            .unwrap_or_else(|| panic!("no table {path} in the schema"))
            .1
    })
}

fn default(table: &Key, name: &str, key: &Key) -> String {
    match (&key.default, &key.default_words) {
        _ if table.needs(name) => "required".to_owned(),
        (Some(value), _) => format!("`{}`", value.to_string().replace("\",\"", "\", \"")),
        (None, Some(words)) => words.clone(),
        (None, None) => "none".to_owned(),
    }
}

fn row(table: &Key, name: &str, key: &Key) -> String {
    let only_for = key.only_for.as_ref().map(|kind| format!(" {kind} |")).unwrap_or_default();
    format!("| `{name}` |{only_for} {} | {} | {} |\n", key.title, default(table, name, key), key.description)
}

fn rows(table: &Key) -> String {
    let own = || table.keys().into_iter().filter(|(_, key)| !key.is_table());
    let head = if own().any(|(_, key)| key.only_for.is_some()) {
        "| key | for | value | default | meaning |\n|---|---|---|---|---|\n"
    } else {
        "| key | value | default | meaning |\n|---|---|---|---|\n"
    };
    own().fold(head.to_owned(), |rows, (name, key)| rows + &row(table, name, key))
}

fn tables_with_keys(path: &str, table: &Key, found: &mut Vec<String>) {
    if table.keys().iter().any(|(_, key)| !key.is_table()) {
        found.push(if path.is_empty() { "top level".to_owned() } else { path.to_owned() });
    }
    for (name, key) in table.keys() {
        tables_with_keys(&if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, key, found);
    }
}

#[test]
fn the_schema_is_the_parsers() {
    assert_committed("nodewall.schema.json", &(serde_json::to_string_pretty(&schema()).unwrap() + "\n"));
}

#[test]
fn the_manuals_tables_are_the_schemas() {
    let file = Key::whole_file().unwrap();
    let manual = fs::read_to_string(repository("docs/CONFIGURATION.md")).unwrap();
    let mut pieces = manual.split("<!-- keys: ");
    let mut made = pieces.next().unwrap().to_owned();
    let mut shown = Vec::new();
    for piece in pieces {
        let (path, rest) = piece.split_once(" -->\n").unwrap();
        let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{path}: no {END}"));
        made.push_str(&format!("<!-- keys: {path} -->\n{}{END}{after}", rows(at(&file, path))));
        shown.push(path.to_owned());
    }
    let mut all = Vec::new();
    tables_with_keys("", &file, &mut all);
    shown.sort();
    all.sort();
    assert_eq!(shown, all, "docs/CONFIGURATION.md has tables for (left), the schema has (right)");
    assert_committed("docs/CONFIGURATION.md", &made);
}

#[test]
fn the_packaged_file_is_made_from_the_schema_and_audits() {
    let made = packaged_text().unwrap();
    assert_committed("packaging/nodewall.toml", &made);
    let config = Config::parse(&made, "packaging/nodewall.toml").unwrap();
    let audited = Config { mode: Mode::Audit, origin: config.origin.clone(), ..Config::embedded() };
    assert_eq!(config, audited, "but for the mode, every default");
    assert!(Policy::from_config(&config).is_ok());
    assert!(made.lines().all(|line| line.chars().count() <= 240 && !line.ends_with(' ')), "{made}");
}

/// Each commented key of the packaged file is one that can be put into force by taking its `#` away.
#[test]
fn each_commented_line_of_the_packaged_file_is_a_line_of_a_table() {
    let made = packaged_text().unwrap();
    let file = Key::whole_file().unwrap();
    let mut all = Vec::new();
    tables_with_keys("", &file, &mut all);
    let keys: usize =
        all.iter().map(|path| at(&file, path).keys().iter().filter(|(_, key)| !key.is_table()).count()).sum();
    let is_line = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && *line != "#";
    let lines: Vec<&str> = made.lines().filter(is_line).collect();
    let headers = lines.iter().filter(|line| line.starts_with("#[")).count();
    assert_eq!(lines.len() - headers + 1, keys, "all keys but `mode`");
    let uncommented: String = made
        .lines()
        .map(|line| if is_line(&line) { line.trim_start_matches('#') } else { line })
        .collect::<Vec<_>>()
        .join("\n");
    let whole: toml::Table = toml::from_str(&uncommented).unwrap_or_else(|error| panic!("{error}\n{uncommented}"));
    let schema = schema().to_value();
    let whole = serde_json::to_value(whole).unwrap();
    let found = jsonschema::validate(&schema, &whole);
    assert!(found.is_ok(), "{found:?}");
}
