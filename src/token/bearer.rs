//! The string a caller presents.

use std::borrow::Cow;
use std::fmt;

/// A bearer token as a caller presented it: syntactically sound, and never shown.
///
/// It holds RFC 6750 `token68` (letters, digits and `-._~+/`, then any number of `=`), is neither `.` nor `..`, and is
/// not longer than the limit. It has no `Display`, and its `Debug` shows no character of it.
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
pub struct BearerToken<'a>(Cow<'a, [u8]>);

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

    /// Like [`parse`](Self::parse), with another limit, in bytes; for layers built with
    /// [`max_token_length`](crate::layer::IntrospectionLayerBuilder::max_token_length).
    ///
    /// # Errors
    /// As [`parse`](Self::parse), with this limit.
    pub fn parse_within(text: impl Into<Cow<'a, str>>, max_length: usize) -> Result<Self, MalformedToken> {
        let bytes = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::from_bytes(bytes, max_length)
    }

    /// The same for a header's value. What is `token68` need not be looked at again to see that it is UTF-8.
    #[inline]
    pub(crate) fn from_bytes(bytes: Cow<'a, [u8]>, max_length: usize) -> Result<Self, MalformedToken> {
        if bytes.len() > max_length {
            return Err(MalformedToken::TooLong);
        }
        if !is_token68(&bytes) || matches!(&*bytes, b"." | b"..") {
            return Err(MalformedToken::Syntax);
        }
        Ok(Self(bytes))
    }

    /// The token itself. Whoever calls this has a reason to send it to the authority, and never to write it down.
    #[must_use]
    pub fn expose(&self) -> &str {
        // All of `token68` is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// What [`expose`](Self::expose) gives, for those to whom text is bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same token, free of the request it was found in.
    #[must_use]
    pub fn into_owned(self) -> BearerToken<'static> {
        BearerToken(Cow::Owned(self.0.into_owned()))
    }
}

#[cfg(test)]
impl<'a> BearerToken<'a> {
    /// What no request can present: for what does not depend on the syntax.
    pub(crate) fn of_any_bytes(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
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
    // Sixteen at a time, for which the compiler takes the processor's wide registers. The last sixteen overlap with
    // those before.
    match body.last_chunk::<16>() {
        Some(last) => is_sound::<16>(last) && body.as_chunks::<16>().0.iter().all(is_sound),
        None => !body.is_empty() && body.iter().all(|&byte| is_sound(&[byte])),
    }
}

/// Whether these are characters of `token68` before its padding, RFC 9110 section 11.2.
#[inline]
fn is_sound<const N: usize>(bytes: &[u8; N]) -> bool {
    // Without branches, which wide registers do not have.
    bytes.iter().fold(true, |so_far, &byte| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // `-`, `.`, `/` and the digits follow on each other.
        let is_from_dash_to_nine = byte.wrapping_sub(b'-') <= b'9' - b'-';
        so_far & (is_letter | is_from_dash_to_nine | (byte == b'_') | (byte == b'~') | (byte == b'+'))
    })
}

/// Why what a request presents is not one bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedToken {
    /// Not RFC 6750 `token68`.
    Syntax,
    /// Longer than the limit.
    TooLong,
    /// More than one token, or one token in more than one place.
    Repeated,
}

impl MalformedToken {
    /// One sentence, for callers too.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Syntax => "the access token is malformed",
            Self::TooLong => "the access token is too long",
            Self::Repeated => "the request presents more than one access token, or more than one Authorization header",
        }
    }
}

impl fmt::Display for MalformedToken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.description())
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
        for bad in [
            "", "=", "==", "a=b", "a b", " a", "a ", "a,b", "a%2Fb", "a\t", "ä", "a\"", ".", "..", "a?b", "a#b",
            "00D!AQ",
        ] {
            assert_eq!(BearerToken::parse(bad).unwrap_err(), MalformedToken::Syntax, "{bad:?}");
        }
    }

    /// The syntax as RFC 9110 section 11.2 states it, one character after the other.
    fn is_token68_by_the_book(text: &[u8]) -> bool {
        let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
        let (body, _) = text.split_at(text.len() - padding);
        !body.is_empty() && body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
    }

    #[test]
    fn every_byte_is_judged_in_every_place_of_a_token_of_any_length() {
        for length in 1..=50 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    let expected = is_token68_by_the_book(&text) && text != b".";
                    let token = BearerToken::from_bytes(Cow::Borrowed(&text), length);
                    assert_eq!(token.is_ok(), expected, "{byte} at {place} of {length}");
                    assert!(token.is_ok_and(|token| token.expose().as_bytes() == text) == expected);
                }
            }
        }
    }

    #[test]
    fn a_token_at_the_limit_is_accepted_and_one_byte_more_is_not() {
        let limit = BearerToken::DEFAULT_MAX_LENGTH;
        assert!(BearerToken::parse("a".repeat(limit)).is_ok());
        let error = BearerToken::parse("a".repeat(limit + 1)).unwrap_err();
        assert_eq!((error, error.to_string().as_str()), (MalformedToken::TooLong, "the access token is too long"));
    }

    #[test]
    fn debug_shows_the_length_and_no_character() {
        let token = BearerToken::parse("s3cr3t").unwrap().into_owned();
        assert_eq!(format!("{token:?}"), "BearerToken(6 bytes)");
        assert_eq!(token.expose(), "s3cr3t");
    }
}
