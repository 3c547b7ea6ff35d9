//! Tokens in cookies.

use std::borrow::Cow;

use http::header::{COOKIE, Entry, HeaderName, HeaderValue};
use http::request::Parts;

use super::{TokenSource, mark, text};
use crate::build_error::BuildError;
use crate::request::RequestView;
use crate::token::MalformedToken;

/// A cookie whose value is the token.
///
/// **Browsers send cookies by themselves, also with requests that another site makes them send.** Use this with
/// `SameSite` cookies or a protection against cross-site request forgery. Responses to requests with a token in it get
/// `Cache-Control: private`. Two cookies of the name are malformed, and so is an empty one: 400, also by an optional
/// layer.
///
/// ```
/// use tower_introspection::IntrospectionLayer;
/// use tower_introspection::source::TokenCookie;
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let layer = IntrospectionLayer::builder(introspector).token_source(TokenCookie::new("__Host-token")?).build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenCookie(Box<str>);

impl TokenCookie {
    /// The cookie `name`.
    ///
    /// # Errors
    /// If no cookie can have this name: RFC 6265 section 4.1.1 has letters, digits and some signs, no spaces and no
    /// `=`, `;` or `,`. The error names `name`.
    pub fn new(name: impl Into<String>) -> Result<Self, BuildError> {
        let name = name.into();
        // A cookie's name is a token as a header's is.
        if HeaderName::try_from(&name).is_err() {
            return Err(BuildError::new("name", format!("{name:?} cannot be the name of a cookie")));
        }
        Ok(Self(name.into()))
    }

    /// The value of a `name=value` pair, if the name is this one's.
    fn value<'v>(&self, pair: &'v [u8]) -> Option<&'v [u8]> {
        let value =
            pair.trim_ascii().strip_prefix(self.0.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    }
}

impl TokenSource for TokenCookie {
    fn find<'r>(&self, request: &RequestView<'r>) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        // HTTP/2 may spread the cookies over several headers, RFC 9113 section 8.2.3.
        let headers = request.headers().get_all(COOKIE).iter();
        let mut values = headers
            .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'))
            .filter_map(|pair| self.value(pair));
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => text(value).map(Some),
            (Some(_), Some(_)) => Err(MalformedToken::Repeated),
        }
    }

    fn mark_sensitive(&self, request: &mut Parts) {
        mark(&mut request.headers, &COOKIE);
    }

    fn remove(&self, request: &mut Parts) {
        let Entry::Occupied(cookies) = request.headers.entry(COOKIE) else { return };
        let (_, headers) = cookies.remove_entry_mult();
        let without = |header: HeaderValue| {
            let pairs = header.as_bytes().split(|&byte| byte == b';');
            let kept: Vec<&[u8]> = pairs.filter(|pair| self.value(pair).is_none()).map(<[u8]>::trim_ascii).collect();
            // A part of a header's value always is one.
            let mut value = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|value| !value.is_empty())?;
            value.set_sensitive(header.is_sensitive());
            Some(value)
        };
        let kept: Vec<HeaderValue> = headers.filter_map(without).collect();
        for value in kept {
            request.headers.append(COOKIE, value);
        }
    }
}
