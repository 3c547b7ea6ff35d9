//! The string a caller presents.

use std::borrow::Cow;
use std::fmt;

/// A bearer token as a caller presented it: syntactically sound, and never shown.
///
/// It holds RFC 6750 `token68` (letters, digits and `-._~+/`, then any number of `=`), is neither `.` nor `..`, and is not
/// longer than the limit. It has no `Display`, and its `Debug` shows no character of it.
///
/// ```
/// use tower_introspection::BearerToken;
///
/// let token = BearerToken::parse("25poPXCPOw43s0hJBn6tQYnUb5KF").unwrap();
/// assert_eq!(format!("{token:?}"), "BearerToken(28 bytes)");
/// assert!(BearerToken::parse("not a token").is_err());
/// assert!(BearerToken::parse("..").is_err());
/// ```
#[derive(Clone)]
pub struct BearerToken<'a>(Cow<'a, str>);

impl<'a> BearerToken<'a> {
    /// The longest token accepted unless the layer is told otherwise: 4,096 bytes.
    pub const DEFAULT_MAX_LENGTH: usize = 4096;

    /// Checks `text` for the syntax of RFC 6750, section 2.1.
    ///
    /// # Errors
    /// [`MalformedToken::Syntax`] if it is not `token68`, or is `.` or `..`, which the URL standard would resolve as a
    /// folder; [`MalformedToken::TooLong`] above [`DEFAULT_MAX_LENGTH`](Self::DEFAULT_MAX_LENGTH).
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Self, MalformedToken> {
        Self::parse_within(text, Self::DEFAULT_MAX_LENGTH)
    }

    /// The same with another limit, in bytes; for layers built with
    /// [`max_token_length`](crate::IntrospectionLayerBuilder::max_token_length).
    ///
    /// # Errors
    /// As [`parse`](Self::parse), with this limit.
    pub fn parse_within(text: impl Into<Cow<'a, str>>, max_length: usize) -> Result<Self, MalformedToken> {
        let text = text.into();
        if text.len() > max_length {
            return Err(MalformedToken::TooLong);
        }
        if !is_token68(text.as_bytes()) || text == "." || text == ".." {
            return Err(MalformedToken::Syntax);
        }
        Ok(Self(text))
    }

    /// The token itself. Whoever calls this has a reason to send it to the authority, and never to write it down.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same token, free of the request it was found in.
    #[must_use]
    pub fn into_owned(self) -> BearerToken<'static> {
        BearerToken(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "BearerToken({} bytes)", self.0.len())
    }
}

fn is_token68(text: &[u8]) -> bool {
    let mut body = text;
    while let [before @ .., b'='] = body {
        body = before;
    }
    // Without a way out in the middle, which costs more than it saves: almost every token is sound.
    !body.is_empty() && body.iter().fold(true, |so_far, &byte| so_far & TOKEN68[usize::from(byte)])
}

/// The characters of `token68` before its padding, RFC 9110 section 11.2.
const TOKEN68: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        byte += 1;
    }
    table
};

/// Why what a request presents is not one bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MalformedToken {
    /// Not RFC 6750 `token68`.
    Syntax,
    /// Longer than the limit.
    TooLong,
    /// More than one token, or one token in more than one place.
    Repeated,
}

impl fmt::Display for MalformedToken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "the access token is malformed",
            Self::TooLong => "the access token is too long",
            Self::Repeated => "the request presents more than one access token",
        })
    }
}

impl std::error::Error for MalformedToken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token68_is_accepted_and_nothing_else() {
        for good in ["a", "Az09-._~+/", "mF_9.B5f-4.1JqM", "YWJj==", "...", "a="] {
            assert!(BearerToken::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "=", "==", "a=b", "a b", " a", "a ", "a,b", "a%2Fb", "a\t", "ä", "a\"", ".", "..", "a?b", "a#b"]
        {
            assert_eq!(BearerToken::parse(bad).unwrap_err(), MalformedToken::Syntax, "{bad:?}");
        }
    }

    #[test]
    fn a_token_at_the_limit_is_accepted_and_one_byte_more_is_not() {
        let limit = BearerToken::DEFAULT_MAX_LENGTH;
        assert!(BearerToken::parse("a".repeat(limit)).is_ok());
        assert_eq!(BearerToken::parse("a".repeat(limit + 1)).unwrap_err(), MalformedToken::TooLong);
    }

    #[test]
    fn debug_shows_the_length_and_no_character() {
        let token = BearerToken::parse("s3cr3t").unwrap().into_owned();
        assert_eq!(format!("{token:?}"), "BearerToken(6 bytes)");
        assert_eq!(token.expose(), "s3cr3t");
    }
}
