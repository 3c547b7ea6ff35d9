//! Where in a request the token stands.

use std::borrow::Cow;
use std::sync::Arc;

use http::Uri;
use http::header::{AUTHORIZATION, COOKIE, Entry, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use percent_encoding::percent_decode_str;

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

    /// Whether responses to requests with a token in this place must be kept out of shared caches: then the layer adds
    /// `Cache-Control: private` to them. `false` unless written.
    fn needs_private_response(&self) -> bool {
        false
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

/// The `access_token` parameter of the request's query, RFC 6750 section 2.3.
///
/// **URLs are logged, kept in histories and sent as referers.** Switch this on only for clients that cannot set a header, such
/// as a browser's WebSocket, and keep queries out of your access logs;
/// [`remove_token`](crate::IntrospectionLayerBuilder::remove_token) hides it from what runs below the layer. Responses get
/// `Cache-Control: private`. A repeated parameter is malformed.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenQueryParameter;

impl TokenQueryParameter {
    const NAME: &str = "access_token";

    fn holds_token(pair: &str) -> bool {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).eq(Self::NAME.bytes())
    }
}

impl TokenSource for TokenQueryParameter {
    fn find<'r>(&self, request: &'r Parts) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        let query = request.uri.query().unwrap_or_default();
        let mut pairs = query.split('&').filter(|pair| Self::holds_token(pair));
        let Some(pair) = pairs.next() else {
            return Ok(None);
        };
        if pairs.next().is_some() {
            return Err(MalformedToken::Repeated);
        }
        let (_, value) = pair.split_once('=').unwrap_or_default();
        // A plus sign stands for itself, RFC 3986. As a space, which forms make of it, it could be in no token anyway.
        percent_decode_str(value).decode_utf8().map(Some).map_err(|_| MalformedToken::Syntax)
    }

    fn remove(&self, request: &mut Parts) {
        let Some(query) = request.uri.query() else { return };
        let kept: Vec<&str> = query.split('&').filter(|pair| !Self::holds_token(pair)).collect();
        let target = match kept.as_slice() {
            [] => request.uri.path().to_owned(),
            kept => format!("{}?{}", request.uri.path(), kept.join("&")),
        };
        let mut uri = request.uri.clone().into_parts();
        uri.path_and_query = target.parse().ok();
        // What is left of a URI after a part of its query was taken out is one, so this always succeeds.
        if let Ok(uri) = Uri::from_parts(uri) {
            request.uri = uri;
        }
    }

    fn needs_private_response(&self) -> bool {
        true
    }
}

/// A cookie whose value is the token.
///
/// **Browsers send cookies by themselves, also with requests that another site makes them send.** Use this with `SameSite`
/// cookies or a protection against cross-site request forgery. Two cookies of the name are malformed.
///
/// ```
/// use tower_introspection::{IntrospectionLayer, TokenCookie};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let layer = IntrospectionLayer::builder(introspector).token_source(TokenCookie::new("__Host-token")).build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenCookie(Box<str>);

impl TokenCookie {
    /// The cookie `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into().into())
    }

    /// The value of a `name=value` pair, if the name is this one's.
    fn value<'v>(&self, pair: &'v [u8]) -> Option<&'v [u8]> {
        let value =
            pair.trim_ascii().strip_prefix(self.0.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    }
}

impl TokenSource for TokenCookie {
    fn find<'r>(&self, request: &'r Parts) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        // HTTP/2 may spread the cookies over several headers, RFC 9113 section 8.2.3.
        let headers = request.headers.get_all(COOKIE).iter();
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
        if let Entry::Occupied(mut cookies) = request.headers.entry(COOKIE) {
            cookies.iter_mut().for_each(|value| value.set_sensitive(true));
        }
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

/// The one token of a request.
pub(crate) struct Presented<'r> {
    pub(crate) token: BearerToken<'r>,
    /// Whether the response must be kept out of shared caches.
    pub(crate) private: bool,
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
    pub(crate) fn find<'r>(&self, request: &'r Parts) -> Result<Option<Presented<'r>>, MalformedToken> {
        let mut found = if self.authorization_header { AuthorizationHeader.find(request)? } else { None };
        let mut private = false;
        for source in &self.others {
            if let Some(text) = source.find(request)? {
                if found.replace(text).is_some() {
                    return Err(MalformedToken::Repeated);
                }
                private = source.needs_private_response();
            }
        }
        let Some(text) = found else { return Ok(None) };
        Ok(Some(Presented { token: BearerToken::parse_within(text, self.max_length)?, private }))
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
mod tests;
