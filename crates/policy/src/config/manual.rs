//! What is said about each key: `nodewall.schema.json`, which editors read, too; and a configuration file with a comment for each key.
//!
//! Owns how that file looks. Must not judge a value: the parser does, and tests hold the two together.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// The schema of nodewall.toml (JSON Schema, draft 7).
pub const SCHEMA: &str = include_str!("../../../../nodewall.schema.json");

/// Longest line of a comment, in characters.
const LINE_CHARS: usize = 110;

/// What the schema says of a key, or of the whole file.
#[derive(Debug, Clone, Deserialize)]
pub struct Key {
    /// What a value looks like.
    #[serde(default)]
    pub title: String,
    /// What it means.
    #[serde(default)]
    pub description: String,
    /// The value that counts where the key is left out.
    pub default: Option<serde_json::Value>,
    /// The same in words, where no one value says it.
    #[serde(rename = "x-default")]
    pub default_words: Option<String>,
    /// For which kind of table the key is.
    #[serde(rename = "x-for")]
    pub only_for: Option<String>,
    /// The table means something by being there.
    #[serde(default, rename = "x-commented")]
    pub commented: bool,
    /// Values as they may be written.
    #[serde(default)]
    pub examples: Vec<serde_json::Value>,
    /// The words that it may be.
    #[serde(default, rename = "enum")]
    pub words: Vec<String>,
    /// Bounds of a number.
    pub minimum: Option<i64>,
    /// Bounds of a number.
    pub maximum: Option<i64>,
    /// Keys that a table must have.
    #[serde(default)]
    pub required: Vec<String>,
    /// A table's keys, in the order in which people read them.
    #[serde(default)]
    pub properties: Keys,
    /// What each element of a list is.
    pub items: Option<Box<Self>>,
}

impl Key {
    /// The whole file.
    ///
    /// # Errors
    /// Never with the schema that is compiled in; the tests read it.
    pub fn whole_file() -> Result<Self, serde_json::Error> {
        serde_json::from_str(SCHEMA)
    }

    /// The keys of a table or of each of a list of tables; nothing for other keys.
    pub fn keys(&self) -> &[(String, Key)] {
        match &self.items {
            Some(items) => items.properties.0.as_slice(),
            None => self.properties.0.as_slice(),
        }
    }

    /// Keys that must be in the table.
    pub fn needs(&self, key: &str) -> bool {
        self.items.as_ref().map_or(&self.required, |items| &items.required).iter().any(|needed| needed == key)
    }

    /// `[[name]]` and not `[name]`.
    pub fn is_list_of_tables(&self) -> bool {
        self.items.as_ref().is_some_and(|items| !items.properties.0.is_empty())
    }
}

/// Keys in the order of the schema, which a map would lose.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<(String, Key)>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("keys")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    keys.push(entry);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A value that a file is to have, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The value.
    pub value: toml::Value,
    /// What stands above it; each on a line of its own.
    pub because: Vec<String>,
}

/// A configuration file in which every key is told about. Those in `chosen` (by `table.key`) have their value, all others are comments that show the default
/// or an example: without the `#` they count.
///
/// # Errors
/// Never with the schema that is compiled in; the tests read it.
pub fn commented_file(heading: &[String], chosen: &BTreeMap<String, Chosen>) -> Result<String, serde_json::Error> {
    let mut page = Page { text: String::new(), chosen };
    for line in heading {
        page.comment(line);
    }
    let file = Key::whole_file()?;
    page.table("", &file, false);
    Ok(page.text)
}

struct Page<'a> {
    text: String,
    chosen: &'a BTreeMap<String, Chosen>,
}

impl Page<'_> {
    /// The table's own keys, then the tables in it: in TOML nothing else can follow those.
    fn table(&mut self, path: &str, table: &Key, hidden: bool) {
        let is_table = |key: &Key| !key.keys().is_empty();
        for (name, key) in table.keys().iter().filter(|(_, key)| !is_table(key)) {
            self.key(&join(path, name), name, key, table.needs(name), hidden);
        }
        for (name, key) in table.keys().iter().filter(|(_, key)| is_table(key)) {
            let path = join(path, name);
            let within = format!("{path}.");
            let hidden = key.commented && !self.chosen.keys().any(|chosen| chosen.starts_with(&within));
            self.text.push('\n');
            self.comment(&key.description);
            let header = if key.is_list_of_tables() { format!("[[{path}]]") } else { format!("[{path}]") };
            self.text.push_str(&format!("{}{header}\n", if hidden { "#" } else { "" }));
            self.table(&path, key, hidden);
        }
    }

    fn key(&mut self, path: &str, name: &str, key: &Key, needed: bool, hidden: bool) {
        let only_for = key.only_for.as_ref().filter(|kind| *kind != "all");
        let only_for = only_for.map(|kind| format!("For {kind}. ")).unwrap_or_default();
        let default = match (&key.default, &key.default_words) {
            _ if needed => "Required.".to_owned(),
            (_, Some(words)) if words == "required" => "Required.".to_owned(),
            (Some(value), _) => format!("Default: {}.", in_toml(value)),
            (None, Some(words)) => format!("Default: {words}."),
            (None, None) => "Default: none.".to_owned(),
        };
        self.text.push('\n');
        self.comment(&format!("{only_for}{} {default}", key.description));
        self.comment(&format!("Value: {}.", key.title));
        if let Some(chosen) = self.chosen.get(path).filter(|_| !hidden) {
            for line in &chosen.because {
                self.comment(line);
            }
            self.text.push_str(&format!("{name} = {}\n", chosen.value));
        } else {
            let shown = key.default.as_ref().or(key.examples.first()).map(in_toml).unwrap_or_default();
            self.text.push_str(&format!("#{name} = {shown}\n"));
        }
    }

    /// In lines of bounded length. Control characters could end the comment, so none is left.
    fn comment(&mut self, text: &str) {
        let text = text.replace(char::is_control, " ").replace('`', "");
        let mut line = String::from("#");
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if line.chars().count() + 1 + word.chars().count() > LINE_CHARS && line != "#" {
                self.text.push_str(&format!("{line}\n"));
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.text.push_str(&format!("{line}\n"));
    }
}

/// Words, numbers and lists of them are written alike in both, but for the space that people expect.
fn in_toml(value: &serde_json::Value) -> String {
    value.to_string().replace("\",\"", "\", \"")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
