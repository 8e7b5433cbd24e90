//! Which peers may come in by one interface. Owns the forms that the key takes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::address::{parse_bound, show};
use super::enums::one_of;
use super::error::ValueError;
use super::formats::PREFIX;
use super::given::Judged;

/// Which peers may come in by an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfacePeers {
    /// Every peer, as where nothing is said.
    #[default]
    All,
    /// None: whoever comes this way is an outsider.
    None,
    /// Those whose addresses are in these prefixes; sorted, no duplicates, never empty.
    Within(Vec<IpNet>),
}

const WORDS: [&str; 2] = ["all", "none"];

impl fmt::Display for InterfacePeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Within(prefixes) => f.write_str(&prefixes.iter().map(show).collect::<Vec<_>>().join(",")),
        }
    }
}

/// As it stands in the file: a word, or a list of prefixes.
pub(super) struct RawInterfacePeers(Result<InterfacePeers, ValueError>);

impl Judged for RawInterfacePeers {
    type Value = InterfacePeers;

    fn judged(self) -> Result<InterfacePeers, ValueError> {
        self.0
    }
}

impl<'de> Deserialize<'de> for RawInterfacePeers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RawInterfacePeers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} or a list of prefixes", one_of(&WORDS))
            }

            fn visit_str<E>(self, text: &str) -> Result<RawInterfacePeers, E> {
                Ok(RawInterfacePeers(word(text)))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<RawInterfacePeers, A::Error> {
                let mut texts: Vec<String> = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(RawInterfacePeers(prefixes(&texts)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn word(text: &str) -> Result<InterfacePeers, ValueError> {
    match text {
        "all" => Ok(InterfacePeers::All),
        "none" => Ok(InterfacePeers::None),
        _ => Err(ValueError::new(format!(
            "{text:?} says nothing of peers; expected {} or a list of prefixes such as [\"10.1.0.0/16\"]",
            one_of(&WORDS)
        ))),
    }
}

fn prefixes(texts: &[String]) -> Result<InterfacePeers, ValueError> {
    if texts.is_empty() {
        return Err(ValueError::new("an empty list lets no peer in".to_owned()).help("write \"none\" for that"));
    }
    let mut prefixes = BTreeSet::new();
    for text in texts {
        if !prefixes.insert(parse_bound(text)?) {
            return Err(ValueError::new(format!("{text:?} is in this list already")));
        }
    }
    Ok(InterfacePeers::Within(prefixes.into_iter().collect()))
}

impl JsonSchema for RawInterfacePeers {
    fn schema_name() -> Cow<'static, str> {
        "InterfacePeers".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "enum": WORDS },
            { "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string", "pattern": PREFIX } },
        ] })
    }
}
