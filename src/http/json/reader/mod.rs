//! A reader of JSON, RFC 8259, for what others write and verdicts depend on.
//!
//! Serde's reader keeps the last of two members of one name, gives up on half a character and on a number beyond a
//! float, tells of each of these in texts that may hold what it read, and changes with features that any crate of the
//! application can switch on. So this one reads answers, in one way whatever is switched on.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Number, Value};

/// Serde reads a text back, as claims are, that is nested so deeply and no deeper.
const DEEPEST: usize = 127;

/// Serde takes an object with such a member for something else, if certain features are switched on.
const RESERVED: &str = "$serde_json::private::";

/// Why a text is not read. Nothing of what was read is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Empty,
    Utf16,
    NotUtf8,
    Incomplete,
    Syntax { at: usize },
    Trailing { at: usize },
    NotAnObject,
    Twice { at: usize },
    TooDeep,
    Reserved,
    Damaged { member: &'static str, damage: Damage },
}

/// What a text or a number has lost on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    HalfACharacter,
    BeyondAnyNumber,
}

impl Fault {
    pub(crate) fn is_not_json(self) -> bool {
        matches!(
            self,
            Self::Empty | Self::Utf16 | Self::NotUtf8 | Self::Incomplete | Self::Syntax { .. } | Self::Trailing { .. }
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Utf16 => f.write_str("it is UTF-16, and JSON is UTF-8"),
            Self::NotUtf8 => f.write_str("it is not UTF-8, as JSON is"),
            Self::Incomplete => f.write_str("it is not JSON: it ends too early"),
            Self::Syntax { at } => write!(f, "it is not JSON: byte {at} is none that may stand there"),
            Self::Trailing { at } => write!(f, "it is not JSON: it goes on after its end, at byte {at}"),
            Self::NotAnObject => f.write_str("it is JSON, but not an object"),
            Self::Twice { at } => write!(f, "an object holds a member twice, the second time before byte {at}"),
            Self::TooDeep => write!(f, "it is nested deeper than {DEEPEST} levels"),
            Self::Reserved => write!(f, "a member has a name that begins with `{RESERVED}`"),
            Self::Damaged { member, damage: Damage::HalfACharacter } => {
                write!(f, "`{member}`, which decides, holds half a character (a lone surrogate)")
            }
            Self::Damaged { member, damage: Damage::BeyondAnyNumber } => {
                write!(f, "`{member}`, which decides, holds a number beyond what 64 bits hold")
            }
        }
    }
}

impl Error for Fault {}

/// Reads a JSON object, each member of which is there once, at any depth. A byte order mark may stand before it.
///
/// Half a character (a lone surrogate, which is what a cut through an emoji leaves) becomes U+FFFD, and a number beyond
/// a float becomes `null`, but not in a member that is `decisive`.
pub(crate) fn parse(body: &[u8], decisive: &[&'static str]) -> Result<Map<String, Value>, Fault> {
    if body.starts_with(b"\xfe\xff") || body.starts_with(b"\xff\xfe") {
        return Err(Fault::Utf16);
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| Fault::NotUtf8)?;
    let mut reader = Reader { text, at: 0, depth: 0, damage: None, decisive };
    reader.skip_white_space();
    if reader.peek().is_none() {
        return Err(Fault::Empty);
    }
    let value = reader.value()?;
    reader.skip_white_space();
    match (value, reader.peek()) {
        (_, Some(_)) => Err(Fault::Trailing { at: reader.at }),
        (Value::Object(members), None) => Ok(members),
        (_, None) => Err(Fault::NotAnObject),
    }
}

struct Reader<'b> {
    text: &'b str,
    at: usize,
    depth: usize,
    /// Of the member that is being read, of the outermost object.
    damage: Option<Damage>,
    decisive: &'b [&'static str],
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Fault> {
        let byte = self.peek().ok_or(Fault::Incomplete)?;
        self.at += 1;
        Ok(byte)
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.takes(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Fault {
        if self.peek().is_none() { Fault::Incomplete } else { Fault::Syntax { at: self.at } }
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// White space may stand before it.
    fn value(&mut self) -> Result<Value, Fault> {
        self.skip_white_space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, Fault>) -> Result<Value, Fault> {
        if self.depth == DEEPEST {
            return Err(Fault::TooDeep);
        }
        self.at += 1;
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, Fault> {
        let mut members = Map::new();
        self.skip_white_space();
        if self.takes(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_white_space();
            let name = self.string()?;
            if name.starts_with(RESERVED) {
                return Err(Fault::Reserved);
            }
            self.skip_white_space();
            self.expect(b':')?;
            if self.depth == 1 {
                self.damage = None;
            }
            let value = self.value()?;
            if self.depth == 1
                && let Some(damage) = self.damage
                && let Some(member) = self.decisive.iter().find(|member| **member == name)
            {
                return Err(Fault::Damaged { member, damage });
            }
            if members.insert(name, value).is_some() {
                return Err(Fault::Twice { at: self.at });
            }
            self.skip_white_space();
            if self.takes(b'}') {
                return Ok(Value::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn array(&mut self) -> Result<Value, Fault> {
        let mut values = Vec::new();
        self.skip_white_space();
        if self.takes(b']') {
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value()?);
            self.skip_white_space();
            if self.takes(b']') {
                return Ok(Value::Array(values));
            }
            self.expect(b',')?;
        }
    }

    fn literal(&mut self, text: &str, value: Value) -> Result<Value, Fault> {
        text.bytes().try_for_each(|byte| self.expect(byte))?;
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let begin = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        let mut is_integer = true;
        if self.takes(b'.') {
            is_integer = false;
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            is_integer = false;
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        let text = self.text.get(begin..self.at).unwrap_or_default();
        let integer = || text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok();
        // What is beyond 64 bits is a float, and so is -0.
        let number = integer().filter(|_| is_integer && text != "-0");
        let float = || Number::from_f64(text.parse().ok()?);
        Ok(number.or_else(float).map_or_else(
            || {
                self.damage = Some(Damage::BeyondAnyNumber);
                Value::Null
            },
            Value::Number,
        ))
    }

    /// One digit at least.
    fn digits(&mut self) -> Result<(), Fault> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == begin { Err(self.unexpected()) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.expect(b'"')?;
        let mut string = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.bytes().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            string.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    self.at += 1;
                    string.push(self.escape()?);
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let at = self.at;
        Ok(match self.next()? {
            escaped @ (b'"' | b'\\' | b'/') => escaped.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.four_digits()?;
                let behind = self.at;
                let low = match first {
                    0xd800..=0xdbff if self.takes(b'\\') && self.takes(b'u') => self.four_digits()?,
                    _ => 0,
                };
                let code = if (0xdc00..=0xdfff).contains(&low) {
                    0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    // Whatever follows is another character.
                    self.at = behind;
                    first
                };
                char::from_u32(code).unwrap_or_else(|| {
                    self.damage = Some(Damage::HalfACharacter);
                    char::REPLACEMENT_CHARACTER
                })
            }
            _ => return Err(Fault::Syntax { at }),
        })
    }

    fn four_digits(&mut self) -> Result<u32, Fault> {
        let mut code = 0;
        for _ in 0..4 {
            let at = self.at;
            let digit = char::from(self.next()?).to_digit(16).ok_or(Fault::Syntax { at })?;
            code = code * 16 + digit;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests;
