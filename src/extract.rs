//! Where in a request the token stands.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use crate::build_error::BuildError;
use crate::token::{BearerToken, MalformedToken};

/// A place in a request where a token may stand.
///
/// A source only finds text; the layer checks its syntax and length, and refuses a request in which two sources find one.
/// [`token_source_fn`] makes a source from a closure.
pub trait TokenSource: Send + Sync + 'static {
    /// The text that stands in this place, if the request presents any here.
    ///
    /// # Errors
    /// If something stands here that cannot be read as exactly one token.
    fn find<'r>(&self, request: &'r Parts) -> Result<Option<Cow<'r, str>>, MalformedToken>;

    /// Marks what holds the token as sensitive, so that `Debug` of the request does not show it. Called before the request
    /// reaches the policy or the inner service. Does nothing unless written.
    fn mark_sensitive(&self, request: &mut Parts) {
        let _ = request;
    }

    /// Takes the token out of the request, for layers built with
    /// [`remove_token`](crate::IntrospectionLayerBuilder::remove_token). Does nothing unless written.
    fn remove(&self, request: &mut Parts) {
        let _ = request;
    }
}

/// `Authorization: Bearer <token>`, RFC 6750 section 2.1.
///
/// The scheme's name is matched in any case. Another scheme is no token; two `Authorization` headers are malformed, and so
/// is anything between the scheme and the end of the line that is not one token.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthorizationHeader;

impl TokenSource for AuthorizationHeader {
    fn find<'r>(&self, request: &'r Parts) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        match only_value(&request.headers, &AUTHORIZATION)? {
            Some(value) => bearer_credentials(value),
            None => Ok(None),
        }
    }

    fn mark_sensitive(&self, request: &mut Parts) {
        mark(&mut request.headers, &AUTHORIZATION);
    }

    /// Leaves credentials of another scheme where they are: they are not the token, and meant for somebody else.
    fn remove(&self, request: &mut Parts) {
        if self.find(request).is_ok_and(|token| token.is_some()) {
            request.headers.remove(AUTHORIZATION);
        }
    }
}

/// A header whose whole value is the token, such as `x-access-token`.
///
/// ```
/// use http::HeaderName;
/// use tower_introspection::{IntrospectionLayer, TokenHeader};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let layer = IntrospectionLayer::builder(introspector)
///     .token_source(TokenHeader::new(HeaderName::from_static("x-access-token")))
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenHeader(HeaderName);

impl TokenHeader {
    /// The header `name`, in which a token stands without a scheme before it.
    #[must_use]
    pub fn new(name: HeaderName) -> Self {
        Self(name)
    }
}

impl TokenSource for TokenHeader {
    fn find<'r>(&self, request: &'r Parts) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        match only_value(&request.headers, &self.0)? {
            Some(value) => text(value.as_bytes()).map(Some),
            None => Ok(None),
        }
    }

    fn mark_sensitive(&self, request: &mut Parts) {
        mark(&mut request.headers, &self.0);
    }

    fn remove(&self, request: &mut Parts) {
        request.headers.remove(&self.0);
    }
}

/// A [`TokenSource`] made by [`token_source_fn`].
#[derive(Clone, Copy)]
pub struct TokenSourceFn<F>(F);

/// Makes a [`TokenSource`] from a closure that finds the token's text.
///
/// ```
/// use tower_introspection::token_source_fn;
///
/// // The last segment of the path: `/feeds/<token>`.
/// let source = token_source_fn(|request| request.uri.path().strip_prefix("/feeds/").map(Into::into));
/// ```
///
/// A source made this way cannot mark or remove what it found: keep the place out of your access logs.
pub fn token_source_fn<F>(find: F) -> TokenSourceFn<F>
where
    F: for<'r> Fn(&'r Parts) -> Option<Cow<'r, str>> + Send + Sync + 'static,
{
    TokenSourceFn(find)
}

impl<F> TokenSource for TokenSourceFn<F>
where
    F: for<'r> Fn(&'r Parts) -> Option<Cow<'r, str>> + Send + Sync + 'static,
{
    fn find<'r>(&self, request: &'r Parts) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        Ok((self.0)(request))
    }
}

impl<F> std::fmt::Debug for TokenSourceFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("TokenSourceFn")
    }
}

/// All places a layer looks at.
#[derive(Clone)]
pub(crate) struct TokenSources {
    pub(crate) authorization_header: bool,
    pub(crate) others: Vec<Arc<dyn TokenSource>>,
    pub(crate) max_length: usize,
}

impl Default for TokenSources {
    fn default() -> Self {
        Self { authorization_header: true, others: Vec::new(), max_length: BearerToken::DEFAULT_MAX_LENGTH }
    }
}

impl TokenSources {
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if !self.authorization_header && self.others.is_empty() {
            return Err(BuildError::new(
                "without_authorization_header",
                "there is no other place to look for a token; name one with `token_source`",
            ));
        }
        if self.max_length == 0 {
            return Err(BuildError::new("max_token_length", "zero would let no token in"));
        }
        Ok(())
    }

    /// The one token the request presents.
    pub(crate) fn find<'r>(&self, request: &'r Parts) -> Result<Option<BearerToken<'r>>, MalformedToken> {
        let mut found = if self.authorization_header { AuthorizationHeader.find(request)? } else { None };
        for source in &self.others {
            if let Some(text) = source.find(request)?
                && found.replace(text).is_some()
            {
                return Err(MalformedToken::Repeated);
            }
        }
        found.map(|text| BearerToken::parse_within(text, self.max_length)).transpose()
    }

    pub(crate) fn mark_sensitive(&self, request: &mut Parts) {
        if self.authorization_header {
            AuthorizationHeader.mark_sensitive(request);
        }
        self.others.iter().for_each(|source| source.mark_sensitive(request));
    }

    pub(crate) fn remove(&self, request: &mut Parts) {
        if self.authorization_header {
            AuthorizationHeader.remove(request);
        }
        self.others.iter().for_each(|source| source.remove(request));
    }
}

fn only_value<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r HeaderValue>, MalformedToken> {
    // Most requests repeat no header at all, which is cheap to see; then there is no need to go through the values.
    let none_is_repeated = headers.len() == headers.keys_len();
    if !none_is_repeated && headers.get_all(name).iter().count() > 1 {
        return Err(MalformedToken::Repeated);
    }
    Ok(headers.get(name))
}

fn bearer_credentials(value: &HeaderValue) -> Result<Option<Cow<'_, str>>, MalformedToken> {
    const SCHEME: &[u8] = b"Bearer";
    let Some((scheme, rest)) = value.as_bytes().split_at_checked(SCHEME.len()) else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Ok(None);
    }
    match rest.first() {
        Some(b' ') => {
            let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
            text(&rest[spaces..]).map(Some)
        }
        Some(&byte) if continues_a_scheme(byte) => Ok(None),
        _ => Err(MalformedToken::Syntax),
    }
}

/// Whether `byte` belongs to a longer scheme name than the one before it: `tchar` of RFC 9110 section 5.6.2.
fn continues_a_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn text(value: &[u8]) -> Result<Cow<'_, str>, MalformedToken> {
    std::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| MalformedToken::Syntax)
}

fn mark(headers: &mut HeaderMap, name: &HeaderName) {
    if let Some(value) = headers.get_mut(name) {
        value.set_sensitive(true);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn found(headers: &[(&str, &str)]) -> Result<Option<String>, MalformedToken> {
        let parts = parts(headers);
        let sources = TokenSources {
            others: vec![Arc::new(TokenHeader::new(HeaderName::from_static("x-access-token")))],
            ..TokenSources::default()
        };
        sources.find(&parts).map(|token| token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn the_scheme_is_matched_in_any_case_and_may_be_followed_by_several_spaces() {
        for value in ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR   abc"] {
            assert_eq!(found(&[("authorization", value)]), Ok(Some("abc".into())), "{value}");
        }
    }

    #[test]
    fn another_scheme_or_no_header_is_no_token() {
        for value in ["Basic abc", "Bearerish abc", "Bearer-x abc", "DPoP abc", "Bear", ""] {
            assert_eq!(found(&[("authorization", value)]), Ok(None), "{value}");
        }
        assert_eq!(found(&[]), Ok(None));
    }

    #[test]
    fn whatever_else_follows_the_scheme_is_malformed() {
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer\tabc",
            "Bearer:abc",
            "Bearer a, Bearer b",
            "Bearer \u{e4}",
        ] {
            assert_eq!(found(&[("authorization", value)]), Err(MalformedToken::Syntax), "{value:?}");
        }
    }

    #[test]
    fn two_headers_or_two_places_are_refused() {
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        assert_eq!(found(&twice), Err(MalformedToken::Repeated));
        assert_eq!(found(&[("x-access-token", "a"), ("x-access-token", "b")]), Err(MalformedToken::Repeated));
        assert_eq!(found(&[("authorization", "Bearer a"), ("x-access-token", "a")]), Err(MalformedToken::Repeated));
        assert_eq!(found(&[("authorization", "Basic a"), ("x-access-token", "a")]), Ok(Some("a".into())));
    }

    #[test]
    fn a_token_header_holds_the_bare_token() {
        assert_eq!(found(&[("x-access-token", "abc")]), Ok(Some("abc".into())));
        assert_eq!(found(&[("x-access-token", "Bearer abc")]), Err(MalformedToken::Syntax));
        assert_eq!(found(&[("x-access-token", "")]), Err(MalformedToken::Syntax));
    }

    #[test]
    fn the_length_limit_is_the_layers() {
        let sources = TokenSources { max_length: 3, ..TokenSources::default() };
        let find = |value: &str| sources.find(&parts(&[("authorization", value)])).map(|token| token.is_some());
        assert_eq!(find("Bearer abc"), Ok(true));
        assert_eq!(find("Bearer abcd"), Err(MalformedToken::TooLong));
    }

    #[test]
    fn a_closure_finds_a_token_anywhere_in_the_request() {
        let source = token_source_fn(|request| request.uri.path().strip_prefix("/feeds/").map(Into::into));
        let request = http::Request::builder().uri("/feeds/abc").body(()).unwrap().into_parts().0;
        assert_eq!(source.find(&request), Ok(Some("abc".into())));
        assert_eq!(source.find(&parts(&[])), Ok(None));
    }

    fn find_bytes(value: &[u8]) -> Result<Option<String>, MalformedToken> {
        let value = HeaderValue::from_bytes(value).unwrap();
        let request = http::Request::builder().header("authorization", value).body(()).unwrap().into_parts().0;
        let found = TokenSources::default().find(&request);
        found.map(|token| token.map(|token| token.expose().to_owned()))
    }

    proptest! {
        #[test]
        fn a_bearer_header_gives_exactly_its_token(
            scheme in "[bB][eE][aA][rR][eE][rR]",
            spaces in 1..4_usize,
            token in "[A-Za-z0-9_~+/-][A-Za-z0-9._~+/-]{0,60}={0,3}",
        ) {
            let value = format!("{scheme}{}{token}", " ".repeat(spaces));
            prop_assert_eq!(find_bytes(value.as_bytes()), Ok(Some(token)));
        }

        #[test]
        fn whatever_is_found_in_any_header_is_its_tail_and_is_token68(value in "([bB]earer ?)?[ -~\u{80}-\u{ff}]{0,40}") {
            if let Ok(Some(token)) = find_bytes(value.as_bytes()) {
                prop_assert!(value[.."Bearer".len()].eq_ignore_ascii_case("Bearer"));
                prop_assert_eq!(value["Bearer".len()..].trim_start_matches(' '), token.as_str());
                prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)));
                prop_assert!(token != "." && token != "..");
            }
        }
    }
}
