//! Reading a plain text, as almost every one is, in one pass: no level of it is read again.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{DEEPEST, RESERVED};

/// The same as the careful reader makes of it. `None` if something is wrong anywhere, or is no matter of course: a
/// number that is no integer of 64 bits, for one. Why, only the careful reader tells.
pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Plain { depth: 0 }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// A value that stands in so many objects and arrays. Floats are left to the careful reader: serde_json rounds them as
/// one of its features says.
#[derive(Clone, Copy)]
struct Plain {
    depth: usize,
}

impl Plain {
    /// A value of this one. The depth is not left to serde_json, which has a feature that takes its bound away.
    fn nested<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEEPEST { Err(not_plain()) } else { Ok(Self { depth: self.depth + 1 }) }
    }
}

fn not_plain<E: Error>() -> E {
    E::custom("it is not plain")
}

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut stated: A) -> Result<Value, A::Error> {
        let (nested, mut values) = (self.nested()?, Vec::new());
        while let Some(value) = stated.next_element_seed(nested)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut stated: A) -> Result<Value, A::Error> {
        let (nested, mut members) = (self.nested()?, Map::new());
        while let Some(name) = stated.next_key::<String>()? {
            // By such a name serde_json hands out a number, where one of its features is on.
            if name.starts_with(RESERVED) || members.insert(name, stated.next_value_seed(nested)?).is_some() {
                return Err(not_plain());
            }
        }
        Ok(Value::Object(members))
    }
}
