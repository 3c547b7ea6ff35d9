//! The scopes of a token.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// The scopes an access token was granted, in the order its authority lists them.
///
/// ```
/// use tower_introspection::Scopes;
///
/// let scopes = Scopes::parse("READ ADMIN,WRITE");
/// assert!(scopes.contains("ADMIN"));
/// assert!(!scopes.contains("admin"), "scopes are case-sensitive, RFC 6749 section 3.3");
/// assert_eq!(scopes.iter().collect::<Vec<_>>(), ["READ", "ADMIN", "WRITE"]);
/// ```
///
/// Two are equal if they hold the same scopes, in whatever order.
#[derive(Clone, Default)]
pub struct Scopes(Text);

impl PartialEq for Scopes {
    fn eq(&self, other: &Self) -> bool {
        let holds_all_of = |some: &Self, others: &Self| others.iter().all(|scope| some.contains(scope));
        holds_all_of(self, other) && holds_all_of(other, self)
    }
}

impl Eq for Scopes {}

/// The scopes, separated by single spaces. What is short, as most lists are, stands where the token's other facts do:
/// then a request with a required scope has nothing more to fetch.
#[derive(Clone)]
enum Text {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<str>),
}

const SHORT: usize = 30;

impl Default for Text {
    fn default() -> Self {
        Self::Short { length: 0, bytes: [0; SHORT] }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        let mut bytes = [0; SHORT];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }
}

impl Text {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(text) => text.as_bytes(),
        }
    }

    fn as_str(&self) -> &str {
        // It was made of a text.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Scopes {
    /// Reads a list separated by white space, commas, or both.
    ///
    /// RFC 6749 separates by spaces; Apigee documents commas and has been recorded with spaces.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.split(|c: char| c.is_whitespace() || c == ',').collect()
    }

    /// Whether `scope` was granted. Exact and case-sensitive.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        !scope.is_empty() && !scope.contains(' ') && self.lists(scope)
    }

    /// How many bytes the list takes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_bytes().len()
    }

    /// Whether one of these was granted, each of which is known to be one scope.
    pub(crate) fn lists_any(&self, scopes: &[Box<str>]) -> bool {
        scopes.iter().any(|scope| self.lists(scope))
    }

    /// `scope` must be one scope: not empty, without spaces.
    fn lists(&self, scope: &str) -> bool {
        let (mut rest, scope) = (self.0.as_bytes(), scope.as_bytes());
        // By hand, since every request with a required scope comes this way; `split` takes four times the instructions.
        loop {
            match rest.strip_prefix(scope) {
                Some([] | [b' ', ..]) => return true,
                _ => match rest.iter().position(|&byte| byte == b' ') {
                    Some(space) => rest = &rest[space + 1..],
                    None => return false,
                },
            }
        }
    }

    /// The scopes, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.as_str().split(' ').filter(|scope| !scope.is_empty())
    }

    /// Whether no scope was granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.as_bytes().is_empty()
    }
}

/// Each element may hold several scopes with white space between them.
impl<S: AsRef<str>> FromIterator<S> for Scopes {
    fn from_iter<T: IntoIterator<Item = S>>(scopes: T) -> Self {
        let mut joined = String::new();
        for scope in scopes {
            for part in scope.as_ref().split_whitespace() {
                if !joined.is_empty() {
                    joined.push(' ');
                }
                joined.push_str(part);
            }
        }
        Self(joined.into())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One text with single spaces between the scopes, as `scope` of a token is: RFC 6749 section 3.3.
impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// Such a text, or an array of them. A comma separates nothing here: it may stand in a scope.
///
/// # Errors
/// Anything else.
impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Listed)
    }
}

struct Listed;

impl<'de> Visitor<'de> for Listed {
    type Value = Scopes;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("scopes separated by spaces, or an array of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scopes, E> {
        Ok([text].into_iter().collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Scopes, A::Error> {
        let mut scopes = Vec::new();
        while let Some(text) = texts.next_element::<String>()? {
            scopes.push(text);
        }
        Ok(scopes.into_iter().collect())
    }
}

/// `scope-token` of RFC 6749 section 3.3: what may stand in a challenge's `scope` parameter.
pub(crate) fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_any_length_come_back_as_they_were() {
        for length in 0..100 {
            let text = "ä".repeat(length / 2) + &"b".repeat(length % 2);
            let scopes = Scopes::parse(&text);
            assert_eq!((scopes.to_string(), scopes.is_empty()), (text.clone(), length == 0));
            assert_eq!((scopes.contains(&text), scopes == Scopes::parse(&text)), (length > 0, true));
        }
    }

    #[test]
    fn white_space_and_commas_separate_and_never_make_an_empty_scope() {
        let scopes = Scopes::parse(" a,b , c\td,,\n");
        assert_eq!(scopes.iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(scopes.to_string(), "a b c d");
        assert!(!scopes.contains(""));
        assert!(Scopes::parse(" , ").is_empty());
        assert_eq!(Scopes::default().iter().count(), 0);
        assert!(!Scopes::default().contains(""));
    }

    #[test]
    fn the_order_of_scopes_does_not_matter() {
        assert_eq!(Scopes::parse("a b"), Scopes::parse("b a a"));
        assert_ne!(Scopes::parse("a b"), Scopes::parse("a"));
        assert_ne!(Scopes::parse("a"), Scopes::parse("a b"));
    }

    #[test]
    fn a_scope_is_matched_whole() {
        let scopes = Scopes::parse("read:all write");
        assert!(!scopes.contains("read"));
        assert!(!scopes.contains("read:all write"));
    }

    #[test]
    fn scopes_serialize_as_one_text_as_they_do_in_a_token() {
        assert_eq!(serde_json::to_string(&Scopes::parse("a b")).unwrap(), r#""a b""#);
        assert_eq!(serde_json::to_string(&Scopes::default()).unwrap(), r#""""#);
    }

    #[test]
    fn scopes_are_read_from_one_text_or_from_an_array_and_from_nothing_else() {
        let read = |text| serde_json::from_str::<Scopes>(text).map(|scopes| scopes.to_string()).ok();
        for (text, scopes) in
            [(r#""a  b,c""#, "a b,c"), (r#"["a","b c"]"#, "a b c"), ("[]", ""), (r#""""#, ""), (r#""\u0061""#, "a")]
        {
            assert_eq!(read(text).as_deref(), Some(scopes), "{text}");
        }
        for other in ["1", "null", "{}", r#"["a",1]"#, "true"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn scope_tokens_exclude_quotes_backslashes_spaces_and_controls() {
        for good in ["a", "read:all", "https://x/y?z", "!"] {
            assert!(is_scope_token(good), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a\\b", "a\n", "ä"] {
            assert!(!is_scope_token(bad), "{bad:?}");
        }
    }
}
