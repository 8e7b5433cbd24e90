//! The schema against the parser: on every text that any test of this crate has read, key by key, and default by default.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::refused;
use crate::config::{Config, ConfigErrors, ConfigOrigin, Key, schema};

/// Refusals that a schema can say, too: by what their messages hold. Meaning beyond one value it can not.
const SAYABLE: &[&str] = &[
    "unknown key",
    "invalid type",
    "is not a mode",
    "is not an attach mode",
    "is not a tunnel setting",
    "is not a fragment setting",
    "is not a profile",
    "is not an access",
    "is not a protocol",
    "is not a kind of output",
    "is not a transport",
    "is not a framing",
    "is not an absolute path; ",
    "is not a rule name",
    "is not a cluster version; expected \"1.300\"",
    "an empty list",
    "missing key \"kind\"",
    "missing key \"url\"",
    "access: missing",
    "ports: missing",
    "name: missing",
];

/// The one number in a version that is too large; as a pattern, that bound would be a page long.
const BEYOND_U32: &str = "1.4294967296";

static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema().to_value()).unwrap());

fn schema_refuses(text: &str) -> Option<String> {
    let value: toml::Table = toml::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let value = serde_json::to_value(value).unwrap();
    Some(VALIDATOR.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect::<String>())
        .filter(|errors| !errors.is_empty())
}

/// Fails where the parser accepts what the schema refuses, or refuses in words that a schema has what that accepts.
pub(in crate::config) fn judge(text: &str, result: &Result<Config, ConfigErrors>) {
    match result {
        Ok(_) => assert_eq!(schema_refuses(text), None, "the schema refuses what is accepted:\n{text}"),
        Err(errors) => {
            let is_toml = toml::from_str::<toml::Table>(text).is_ok();
            let sayable =
                |message: &str| SAYABLE.iter().any(|said| message.contains(said)) && !message.contains(BEYOND_U32);
            let told = errors.errors().iter().find(|error| sayable(&error.message));
            if let (true, Some(error)) = (is_toml, told) {
                assert!(
                    schema_refuses(text).is_some(),
                    "the schema accepts what is refused ({}):\n{text}",
                    error.message
                );
            }
        }
    }
}

/// Every table of the file: how its header is written, and what it is.
fn tables<'a>(path: &str, key: &'a Key, found: &mut Vec<(String, &'a Key)>) {
    for (name, inner) in key.keys().into_iter().filter(|(_, inner)| inner.is_table()) {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        found.push((path.clone(), inner));
        tables(&path, inner, found);
    }
}

fn whole_file() -> Key {
    Key::whole_file().unwrap()
}

fn header(path: &str, key: &Key) -> String {
    match path {
        "" => String::new(),
        _ if key.is_list_of_tables() => format!("[[{path}]]\n"),
        _ => format!("[{path}]\n"),
    }
}

/// What else a table needs, so that only the one key is in question: also the keys without which it makes no sense.
fn companions(path: &str, key: &str) -> &'static str {
    match (path, key) {
        ("peers", "dns") => "within = [\"10.0.0.0/16\"]\n",
        ("peers", "dns_server") => "within = [\"10.0.0.0/16\"]\ndns = [\"a.example\"]\n",
        ("peers.http_sd", "url") => "",
        ("peers.dynatrace_api", "url") => "token_file = \"/t\"\n",
        ("peers.dynatrace_api", "token_file") => "url = \"https://n1.example\"\n",
        ("peers.http_sd", _) => "url = \"https://sd.example\"\n",
        ("peers.dynatrace_api", _) => "url = \"https://n1.example\"\ntoken_file = \"/t\"\n",
        ("mission_control", "proxy_password_file") => "proxy = \"http://user@proxy.example:3128\"\n",
        ("export", "tls_cert") => "tls_key = \"/k\"\n",
        ("export", "tls_key") => "tls_cert = \"/c\"\n",
        ("push", "token_file") => "url = \"https://env.example/api/v2/metrics/ingest\"\n",
        ("evidence.output", "kind") => "path = \"/a\"\n",
        ("evidence.output", "path") => "kind = \"file\"\n",
        ("evidence.output", "max_size" | "keep") => "kind = \"file\"\npath = \"/a\"\n",
        ("evidence.output", "address") => "kind = \"syslog\"\n",
        ("evidence.output", "ca") => "kind = \"syslog\"\naddress = \"a.example:1\"\ntransport = \"tls\"\n",
        ("evidence.output", _) => "kind = \"syslog\"\naddress = \"a.example:1\"\n",
        ("interface", "name") => "attach = \"none\"\n",
        ("interface", _) => "name = \"eth1\"\n",
        ("rule", "name") => "ports = [1]\naccess = \"cluster\"\n",
        ("rule", "ports") => "name = \"a\"\naccess = \"cluster\"\n",
        ("rule", "access") => "name = \"a\"\nports = [1]\n",
        ("rule", _) => "name = \"a\"\nports = [1]\naccess = \"cluster\"\n",
        _ => "",
    }
}

/// A file with this one key, and what it needs beside it.
fn with(path: &str, table: &Key, key: &str, value: &serde_json::Value) -> String {
    format!("{}{}{key} = {value}\n", header(path, table), companions(path, key))
}

fn all_tables(file: &Key) -> Vec<(String, &Key)> {
    let mut found = vec![(String::new(), file)];
    tables("", file, &mut found);
    found
}

#[test]
fn it_is_a_schema() {
    let schema = schema().to_value();
    assert!(jsonschema::meta::is_valid(&schema), "{:?}", jsonschema::meta::validate(&schema));
}

#[test]
fn it_has_the_parsers_keys() {
    let file = whole_file();
    let mut count = 0;
    for (path, table) in all_tables(&file) {
        let errors = refused(&format!("{}zz_no_key = 1\n", header(&path, table)));
        let help = errors.errors()[0].help.clone().unwrap_or_default();
        let known: BTreeSet<&str> = help.strip_prefix("known here: ").expect(&help).split(", ").collect();
        let told: BTreeSet<&str> = table.keys().iter().map(|(name, _)| *name).collect();
        assert_eq!(told, known, "[{path}]: in the schema (left), in the parser (right)");
        count += told.len();
    }
    assert!(count > 60, "{count}");
}

#[test]
fn every_key_is_described() {
    let file = whole_file();
    for (path, table) in all_tables(&file) {
        for (name, key) in table.keys() {
            assert!(key.title.len() > 3 && key.description.ends_with('.'), "{path}.{name}: {key:?}");
            assert!(key.is_table() || key.default.is_some() || !key.examples.is_empty(), "{path}.{name}");
        }
    }
}

#[test]
fn its_defaults_are_the_parsers() {
    let file = whole_file();
    let meant = |text: &str| {
        let config = Config::parse(text, "t").unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        Config { origin: ConfigOrigin::Embedded, ..config }
    };
    let mut count = 0;
    for (path, table) in all_tables(&file) {
        for (name, key) in table.keys() {
            // What an option of the profile means shows in the policy alone, and is tested there.
            let Some(default) = key.default.as_ref().filter(|_| name != "web_port_8022") else { continue };
            let with = with(&path, table, name, default);
            let written = format!("{name} = {default}\n");
            let without = with.strip_suffix(&written).unwrap();
            assert_eq!(meant(&with), meant(without), "{path}.{name} = {default}");
            count += 1;
        }
    }
    assert!(count > 25, "{count}");
}

#[test]
fn its_examples_words_and_bounds_are_the_parsers() {
    let file = whole_file();
    for (path, table) in all_tables(&file) {
        for (name, key) in table.keys() {
            for example in &key.examples {
                let text = with(&path, table, name, example);
                assert!(Config::parse(&text, "t").is_ok(), "{text}\n{}", refused(&text));
            }
            if !key.words.is_empty() {
                let shown: Vec<String> = key.words.iter().map(|word| format!("\"{word}\"")).collect();
                let listed = refused(&with(&path, table, name, &"zz".into())).errors()[0].message.clone();
                let listed = listed.split_once("expected ").unwrap().1.replace(" or ", ", ");
                let listed: BTreeSet<&str> = listed.split(", ").collect();
                assert_eq!(listed, shown.iter().map(String::as_str).collect(), "{path}.{name}");
            }
            for (bound, beyond) in [(key.minimum, -1), (key.maximum, 1)] {
                let Some(bound) = bound else { continue };
                assert!(
                    Config::parse(&with(&path, table, name, &bound.into()), "t").is_ok(),
                    "{path}.{name} = {bound}"
                );
                refused(&with(&path, table, name, &(bound + beyond).into()));
            }
        }
    }
}
