//! How a value stands in the text: whether it is there, where, and what came of reading it.
//!
//! A refused value does not end the reading: it is kept with its reason until all are known. Must not know any key.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::error::ValueError;
use super::port::{PortRange, not_a_port};

/// A value that has read itself, and may be refused.
pub(super) trait Judged {
    /// What it is if it is not.
    type Value;

    fn judged(self) -> Result<Self::Value, ValueError>;
}

/// A key that may be left out.
pub(super) struct Given<T>(Option<Spanned<T>>);

impl<T> Given<T> {
    pub(super) fn spanned(self) -> Option<Spanned<T>> {
        self.0
    }

    pub(super) fn span(&self) -> Option<Range<usize>> {
        self.0.as_ref().map(Spanned::span)
    }

    pub(super) fn as_ref(&self) -> Option<&T> {
        self.0.as_ref().map(Spanned::get_ref)
    }

    pub(super) fn or(self, default: T) -> T {
        self.0.map_or(default, Spanned::into_inner)
    }

    pub(super) fn value(self) -> Option<T> {
        self.0.map(Spanned::into_inner)
    }
}

/// A list whose elements and whole have places.
pub(super) struct List<T>(Given<Vec<Spanned<T>>>);

impl<T> List<T> {
    /// Of the whole list, if there is one.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        self.0.span()
    }

    /// Of a list that is there and has nothing in it.
    pub(super) fn empty_span(&self) -> Option<Range<usize>> {
        self.span().filter(|_| self.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(Vec::is_empty)
    }

    pub(super) fn elements(self) -> Vec<Spanned<T>> {
        self.0.value().unwrap_or_default()
    }
}

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Given(None))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Given::deserialize(deserializer).map(Self)
    }
}

/// A table and nothing else: serde's derived structs would also take a list, field by field.
#[derive(Default)]
pub(super) struct Table<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Table)
            }
        }
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

/// What a text may be: how it is read, and what a schema says of it.
pub(super) trait Format {
    /// What it is read as.
    type Value;
    /// What the file must have here, where something else than text stands.
    const EXPECTED: &'static str = "a string";

    fn read(text: &str) -> Result<Self::Value, ValueError>;

    fn schema() -> Schema;
}

/// A text of that format.
pub(super) struct Text<F: Format>(Result<F::Value, ValueError>);

impl<'de, F: Format> Deserialize<'de> for Text<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<F>(PhantomData<F>);
        impl<F: Format> de::Visitor<'_> for Visitor<F> {
            type Value = Text<F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(F::EXPECTED)
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<F>, E> {
                Ok(Text(F::read(text)))
            }
        }
        deserializer.deserialize_str(Visitor(PhantomData))
    }
}

/// A whole number, both bounds included.
pub(super) struct Number<const LEAST: u32, const MOST: u32>(i64);

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Number<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self)
    }
}

impl<const LEAST: u32, const MOST: u32> Judged for Number<LEAST, MOST> {
    type Value = u32;

    fn judged(self) -> Result<u32, ValueError> {
        let number = u32::try_from(self.0).ok().filter(|number| (LEAST..=MOST).contains(number));
        number.ok_or_else(|| ValueError::new(format!("{} is out of bounds; expected {LEAST} to {MOST}", self.0)))
    }
}

/// A port or a range of ports, as a number or as text.
pub(super) struct Ports(Result<PortRange, ValueError>);

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Ports;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port such as 9042 or a range such as \"5701-5711\"")
            }

            fn visit_str<E>(self, text: &str) -> Result<Ports, E> {
                Ok(Ports(text.parse()))
            }

            fn visit_i64<E>(self, port: i64) -> Result<Ports, E> {
                Ok(Ports(PortRange::from_integer(port)))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Ports, E> {
                Ok(Ports(Err(not_a_port(&number.to_string()))))
            }

            fn visit_bool<E>(self, word: bool) -> Result<Ports, E> {
                Ok(Ports(Err(not_a_port(&word.to_string()))))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Judged for Ports {
    type Value = PortRange;

    fn judged(self) -> Result<PortRange, ValueError> {
        self.0
    }
}

impl<F: Format> Judged for Text<F> {
    type Value = F::Value;

    fn judged(self) -> Result<F::Value, ValueError> {
        self.0
    }
}

/// None of these has a name of its own in the schema: what each is stands where it is used.
macro_rules! schemas {
    ($([$($generics:tt)*] $type:ty: $make:expr;)+) => {$(
        impl<$($generics)*> JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                std::any::type_name::<Self>().into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let make: fn(&mut SchemaGenerator) -> Schema = $make;
                make(generator)
            }
        }
    )+};
}

schemas! {
    [T: JsonSchema] Table<T>: |generator| generator.subschema_for::<T>();
    [T: JsonSchema] Given<T>: |generator| {
        let mut schema = generator.subschema_for::<T>();
        if schema.get("type").is_some_and(|kind| kind == "boolean") {
            schema.insert("title".into(), "`true` or `false`".into());
        }
        schema
    };
    [T: JsonSchema] List<T>: |generator| {
        let mut items = generator.subschema_for::<T>();
        items.remove("title");
        json_schema!({ "type": "array", "items": items })
    };
    [F: Format] Text<F>: |_| F::schema();
    [const LEAST: u32, const MOST: u32] Number<LEAST, MOST>: |_| {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    };
    [] Ports: |_| json_schema!({ "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": 65535 },
        { "type": "string", "pattern": "^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$" },
    ] });
}
