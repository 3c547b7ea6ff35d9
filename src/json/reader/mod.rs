//! Reading JSON, RFC 8259, that others write and verdicts depend on.
//!
//! What is [`plain`] is read in one pass. Everything else, what is wrong among it, is read again with care: serde_json
//! checks the syntax, and hands out each value as the text that it is (`RawValue`). Reading into its `Value` would keep
//! the last of two members of one name, give up on half a character and on a number beyond a float, and change with
//! features that any crate of the application can switch on.

mod plain;

use std::error::Error;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// The careful reader reads what is nested again at each level, and whoever holds a token may have a say in its claims:
/// no answer needs more.
const DEEPEST: usize = 32;

/// Serde takes an object with such a member for something else, if certain features are switched on.
const RESERVED: &str = "$serde_json::private::";

/// Why a text is not read. Nothing of what was read is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Empty,
    Utf16,
    NotUtf8,
    Incomplete,
    Syntax { line: usize, column: usize },
    NotAnObject,
    Twice { at: usize },
    TooDeep,
    Reserved,
    Damaged { member: &'static str, damage: &'static str },
}

impl Fault {
    pub(crate) fn is_not_json(self) -> bool {
        matches!(self, Self::Empty | Self::Utf16 | Self::NotUtf8 | Self::Incomplete | Self::Syntax { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Utf16 => f.write_str("it is UTF-16, and JSON is UTF-8"),
            Self::NotUtf8 => f.write_str("it is not UTF-8, as JSON is"),
            Self::Incomplete => f.write_str("it is not JSON: it ends too early"),
            Self::Syntax { line, column } => {
                write!(f, "it is not JSON: the fault is near line {line}, column {column}")
            }
            Self::NotAnObject => f.write_str("it is JSON, but not an object"),
            Self::Twice { at } => write!(f, "an object holds a member twice, the second time before byte {at}"),
            Self::TooDeep => write!(f, "it is nested deeper than {DEEPEST} levels"),
            Self::Reserved => write!(f, "a member has a name that begins with `{RESERVED}`"),
            Self::Damaged { member, damage } => write!(f, "`{member}`, which decides, holds {damage}"),
        }
    }
}

impl Error for Fault {}

/// Only the place, which may be off by a few bytes: the text of such an error may hold what was read.
impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        if error.is_eof() {
            return Self::Incomplete;
        }
        Self::Syntax { line: error.line(), column: error.column() }
    }
}

/// Reads a JSON object, each member of which is there once, at any depth. A byte order mark may stand before it.
///
/// Half a character (a lone surrogate, which is what a cut through an emoji leaves) becomes U+FFFD, and a number beyond
/// a float becomes `null`, but not in a member that is `decisive`.
///
/// Of what is not plain each level is read again, so the work is up to [`DEEPEST`] times the body, and once more.
pub(crate) fn parse(body: &[u8], decisive: &[&'static str]) -> Result<Map<String, Value>, Fault> {
    if body.starts_with(b"\xfe\xff") || body.starts_with(b"\xff\xfe") {
        return Err(Fault::Utf16);
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| Fault::NotUtf8)?;
    match plain::object(text) {
        Some(members) => Ok(members),
        None => with_care(text, decisive),
    }
}

fn with_care(text: &str, decisive: &[&'static str]) -> Result<Map<String, Value>, Fault> {
    match text.trim_start_matches([' ', '\t', '\n', '\r']).bytes().next() {
        None => Err(Fault::Empty),
        Some(b'{') => {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let members = deserializer.deserialize_map(Members)?;
            deserializer.end()?;
            Reader { text, decisive, damage: None }.object(members, 1)
        }
        Some(_) => Err(serde_json::from_str::<&RawValue>(text).map_or_else(Fault::from, |_| Fault::NotAnObject)),
    }
}

struct Reader<'b> {
    text: &'b str,
    decisive: &'b [&'static str],
    /// Of the member that is being read, of the outermost object.
    damage: Option<&'static str>,
}

impl<'b> Reader<'b> {
    /// `depth` is in how many objects and arrays it stands.
    fn value(&mut self, raw: &'b RawValue, depth: usize) -> Result<Value, Fault> {
        Ok(match raw.get().as_bytes() {
            [b'{' | b'[', ..] if depth == DEEPEST => return Err(Fault::TooDeep),
            [b'{', ..] => Value::Object(self.object(raw.deserialize_map(Members)?, depth + 1)?),
            [b'[', ..] => {
                let values = Vec::<&RawValue>::deserialize(raw)?;
                values.into_iter().map(|value| self.value(value, depth + 1)).collect::<Result<_, _>>()?
            }
            [b'"', ..] => Value::String(self.string(raw)?),
            b"true" => Value::Bool(true),
            b"false" => Value::Bool(false),
            b"null" => Value::Null,
            _ => self.number(raw.get()),
        })
    }

    /// `depth` is how many objects and arrays this one and those around it are.
    fn object(&mut self, stated: Stated<'b>, depth: usize) -> Result<Map<String, Value>, Fault> {
        let mut members = Map::new();
        for (name, raw) in stated {
            let name = self.string(name)?;
            if name.starts_with(RESERVED) {
                return Err(Fault::Reserved);
            }
            if depth == 1 {
                self.damage = None;
            }
            let value = self.value(raw, depth)?;
            if depth == 1
                && let Some(damage) = self.damage
                && let Some(member) = self.decisive.iter().find(|member| **member == name)
            {
                return Err(Fault::Damaged { member, damage });
            }
            if members.insert(name, value).is_some() {
                let at = raw.get().as_ptr().addr() + raw.get().len() - self.text.as_ptr().addr();
                return Err(Fault::Twice { at });
            }
        }
        Ok(members)
    }

    fn string(&mut self, raw: &RawValue) -> Result<String, Fault> {
        let text = raw.get().trim_matches('"');
        // Without an escape it is the text that it stands for, which spares reading it again.
        if text.contains('\\') { Ok(raw.deserialize_bytes(self)?) } else { Ok(text.to_owned()) }
    }

    fn number(&mut self, text: &str) -> Value {
        let integer = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
        // What is beyond 64 bits is a float, and so is -0.
        let number = integer.ok().filter(|_| text != "-0").or_else(|| Number::from_f64(text.parse().ok()?));
        if number.is_none() {
            self.damage = Some("a number beyond what 64 bits hold");
        }
        number.map_or(Value::Null, Value::Number)
    }
}

/// The names and values of an object, as they stand there.
type Stated<'b> = Vec<(&'b RawValue, &'b RawValue)>;

struct Members;

impl<'b> Visitor<'b> for Members {
    type Value = Stated<'b>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        std::iter::from_fn(|| members.next_entry().transpose()).collect()
    }
}

/// Reads a string. serde_json hands it out as WTF-8, in which half a character is three bytes.
impl Visitor<'_> for &mut Reader<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
        let mut string = String::new();
        for chunk in bytes.utf8_chunks() {
            string.push_str(chunk.valid());
            // Each of the three is invalid by itself, and only the first of them is this one.
            if chunk.invalid() == b"\xed" {
                self.damage = Some("half a character (a lone surrogate)");
                string.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(string)
    }
}

#[cfg(test)]
mod tests;
