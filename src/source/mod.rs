//! Where in a request the token stands.

mod cookie;
mod query;

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

pub use self::cookie::TokenCookie;
pub use self::query::TokenQueryParameter;

use crate::build_error::BuildError;
use crate::request::RequestView;
use crate::token::{BearerToken, MalformedToken};

/// A place in a request where a token may stand.
///
/// A source only finds text; the layer checks its syntax and length, and refuses a request in which two sources find
/// one. [`token_source_fn`] makes a source from a closure.
pub trait TokenSource: Send + Sync + 'static {
    /// The text that stands in this place, if the request presents any here.
    ///
    /// # Errors
    /// If something stands here that cannot be read as exactly one token.
    fn find<'r>(&self, request: &RequestView<'r>) -> Result<Option<Cow<'r, str>>, MalformedToken>;

    /// Marks what holds the token as sensitive, so that `Debug` of the request does not show it. Called before the
    /// request reaches the policy, the inner service, or a [`RejectionResponse`](crate::rejection::RejectionResponse),
    /// whether a token was found in this place or not. The default does nothing.
    fn mark_sensitive(&self, request: &mut Parts) {
        let _ = request;
    }

    /// Takes the token out of the request, for layers built with
    /// [`remove_token`](crate::layer::IntrospectionLayerBuilder::remove_token). The default does nothing.
    fn remove(&self, request: &mut Parts) {
        let _ = request;
    }

    /// Whether the response to a request whose token was found in this place must be kept out of shared caches. If so,
    /// the layer adds `Cache-Control: private` to it and removes `public` and `s-maxage`; headers that some caches
    /// prefer to it, such as `CDN-Cache-Control`, are made to forbid storing. (It does not do this to the 400 for a
    /// malformed token.) Shared caches respect the `Authorization` header by themselves (RFC 9111 section 3.5), but no
    /// other place, so the default is `true`.
    fn needs_private_response(&self) -> bool {
        true
    }
}

/// A header whose whole value is the token, such as `x-access-token`. An empty one is malformed, and so is one with a
/// blank before or after the token. Responses to requests with a token in it get `Cache-Control: private`.
///
/// ```
/// use http::HeaderName;
/// use tower_introspection::IntrospectionLayer;
/// use tower_introspection::source::TokenHeader;
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
    fn find<'r>(&self, request: &RequestView<'r>) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        check_not_repeated(request.headers(), &self.0)?;
        request.headers().get(&self.0).map(|value| text(value.as_bytes())).transpose()
    }

    fn mark_sensitive(&self, request: &mut Parts) {
        mark(&mut request.headers, &self.0);
    }

    fn remove(&self, request: &mut Parts) {
        request.headers.remove(&self.0);
    }

    fn needs_private_response(&self) -> bool {
        self.0 != AUTHORIZATION
    }
}

/// A [`TokenSource`] made by [`token_source_fn`].
#[derive(Clone, Copy)]
pub struct TokenSourceFn<F>(F);

/// Makes a [`TokenSource`] from a closure that finds the token's text.
///
/// ```
/// use tower_introspection::source::token_source_fn;
///
/// // The last segment of the path: `/feeds/<token>`.
/// let source = token_source_fn(|request| request.path().strip_prefix("/feeds/").map(Into::into));
/// ```
///
/// A source made this way cannot mark or remove what it found: keep the place out of your access logs.
pub fn token_source_fn<F>(find: F) -> TokenSourceFn<F>
where
    F: for<'r> Fn(&RequestView<'r>) -> Option<Cow<'r, str>> + Send + Sync + 'static,
{
    TokenSourceFn(find)
}

impl<F> TokenSource for TokenSourceFn<F>
where
    F: for<'r> Fn(&RequestView<'r>) -> Option<Cow<'r, str>> + Send + Sync + 'static,
{
    fn find<'r>(&self, request: &RequestView<'r>) -> Result<Option<Cow<'r, str>>, MalformedToken> {
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
    /// Whether a token that comes with a proof is one. Otherwise its scheme is another one.
    pub(crate) dpop: bool,
    pub(crate) others: Vec<Arc<dyn TokenSource>>,
    pub(crate) max_length: usize,
}

impl Default for TokenSources {
    fn default() -> Self {
        Self {
            authorization_header: true,
            dpop: false,
            others: Vec::new(),
            max_length: BearerToken::DEFAULT_MAX_LENGTH,
        }
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
                "authorization_header",
                "there is no other place to look for a token; name one with `token_source`",
            ));
        }
        if self.max_length == 0 {
            return Err(BuildError::new("max_token_length", "zero would let no token in"));
        }
        Ok(())
    }

    /// The one token the request presents.
    pub(crate) fn find<'r>(&self, request: &'r mut Parts) -> Result<Option<Presented<'r>>, MalformedToken> {
        if self.others.is_empty() {
            return found_and_marked(&mut request.headers)?.map(|bytes| self.presented(bytes)).transpose();
        }
        self.find_among_all(request)
    }

    fn find_among_all<'r>(&self, request: &'r Parts) -> Result<Option<Presented<'r>>, MalformedToken> {
        let in_header = if self.authorization_header { found(&request.headers)? } else { None };
        let is_of_dpop = self.finds_dpop(&request.headers);
        let mut elsewhere = None;
        for source in &self.others {
            let Some(text) = source.find(&RequestView::new(request))? else { continue };
            let is_second = in_header.is_some() || is_of_dpop;
            if is_second || elsewhere.replace((text, source.needs_private_response())).is_some() {
                return Err(MalformedToken::Repeated);
            }
        }
        if let Some((text, private)) = elsewhere {
            return Ok(Some(Presented { token: BearerToken::parse_within(text, self.max_length)?, private }));
        }
        in_header.map(|bytes| self.presented(bytes)).transpose()
    }

    /// Whether there is a token that came with a proof, RFC 9449 section 7.1. It is none that [`find`](Self::find)
    /// finds.
    pub(crate) fn finds_dpop(&self, headers: &HeaderMap) -> bool {
        self.dpop && headers.get(AUTHORIZATION).is_some_and(|value| is_dpop(value.as_bytes()))
    }

    /// The token that came with a proof.
    #[cfg(feature = "dpop")]
    pub(crate) fn find_of_dpop<'r>(&self, request: &'r Parts) -> Result<BearerToken<'r>, MalformedToken> {
        let value = request.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let Some(rest) = value.filter(|value| is_dpop(value)).and_then(|value| value.get(DPOP.len()..)) else {
            return Err(MalformedToken::Syntax);
        };
        match credentials(rest)? {
            Some(token) => BearerToken::from_bytes(Cow::Borrowed(token), self.max_length),
            None => Err(MalformedToken::Syntax),
        }
    }

    fn presented<'r>(&self, bytes: &'r [u8]) -> Result<Presented<'r>, MalformedToken> {
        Ok(Presented { token: BearerToken::from_bytes(Cow::Borrowed(bytes), self.max_length)?, private: false })
    }

    /// Marks what `find` has not marked yet.
    pub(crate) fn mark_sensitive(&self, request: &mut Parts) {
        if !self.others.is_empty() {
            self.mark_all_sensitive(request);
        }
    }

    /// Marks every place in which a token may stand, whether one was found there or not.
    pub(crate) fn mark_all_sensitive(&self, request: &mut Parts) {
        mark(&mut request.headers, &AUTHORIZATION);
        if self.dpop {
            mark(&mut request.headers, &PROOF);
        }
        self.others.iter().for_each(|source| source.mark_sensitive(request));
    }

    pub(crate) fn remove(&self, request: &mut Parts) {
        // Credentials of another scheme stay where they are: they are not the token, and meant for somebody else.
        if self.authorization_header {
            if found(&request.headers).is_ok_and(|token| token.is_some()) {
                request.headers.remove(AUTHORIZATION);
            } else if self.finds_dpop(&request.headers) {
                request.headers.remove(AUTHORIZATION);
                request.headers.remove(PROOF);
            }
        }
        self.others.iter().for_each(|source| source.remove(request));
    }
}

/// What stands after the scheme in `Authorization: Bearer <token>`, RFC 6750 section 2.1.
///
/// The scheme's name is matched in any case. Another scheme is no token; two `Authorization` headers are malformed, and
/// so is anything between the scheme and the end of the line that is not one token. A value that does not begin with
/// the name of a scheme is malformed as well. It may begin with a blank: HTTP/1 takes that away, but a peer can send it
/// over HTTP/2, where RFC 9113 section 8.2.1 calls it malformed. Code that reads the header after this layer might
/// overlook the blank, and see a token that nobody has judged.
fn found(headers: &HeaderMap) -> Result<Option<&[u8]>, MalformedToken> {
    check_not_repeated(headers, &AUTHORIZATION)?;
    headers.get(AUTHORIZATION).map_or(Ok(None), bearer_credentials)
}

/// The same, and marks it, with one look into the headers instead of two: this is the way of most requests.
fn found_and_marked(headers: &mut HeaderMap) -> Result<Option<&[u8]>, MalformedToken> {
    check_not_repeated(headers, &AUTHORIZATION)?;
    let Some(value) = headers.get_mut(AUTHORIZATION) else { return Ok(None) };
    value.set_sensitive(true);
    bearer_credentials(value)
}

fn check_not_repeated(headers: &HeaderMap, name: &HeaderName) -> Result<(), MalformedToken> {
    // Most requests repeat no header at all, which is cheap to see; then there is no need to go through the values.
    let none_is_repeated = headers.len() == headers.keys_len();
    if none_is_repeated || headers.get_all(name).iter().count() <= 1 { Ok(()) } else { Err(MalformedToken::Repeated) }
}

fn bearer_credentials(value: &HeaderValue) -> Result<Option<&[u8]>, MalformedToken> {
    const SCHEME: &[u8] = b"Bearer";
    let value = value.as_bytes();
    let Some((scheme, rest)) = value.split_at_checked(SCHEME.len()) else {
        return another_scheme(value);
    };
    // As almost everyone writes it, or in any other case.
    if scheme != SCHEME && !scheme.eq_ignore_ascii_case(SCHEME) {
        return another_scheme(value);
    }
    credentials(rest)
}

/// What stands after the name of a scheme; `None` if the name is longer.
fn credentials(rest: &[u8]) -> Result<Option<&[u8]>, MalformedToken> {
    match rest {
        [b' ', ..] => {
            let mut token = rest;
            while let [b' ', after @ ..] = token {
                token = after;
            }
            Ok(Some(token))
        }
        // A longer name, such as `Bearer-x`.
        [byte, ..] if is_of_a_scheme(*byte) => Ok(None),
        _ => Err(MalformedToken::Syntax),
    }
}

/// No token, if this is a scheme at all. An empty value is none either, but presents nothing.
fn another_scheme(value: &[u8]) -> Result<Option<&[u8]>, MalformedToken> {
    match value {
        [first, ..] if !is_of_a_scheme(*first) => Err(MalformedToken::Syntax),
        _ => Ok(None),
    }
}

const DPOP: &[u8] = b"DPoP";

/// The header with the proof, RFC 9449 section 4.1.
pub(crate) const PROOF: HeaderName = HeaderName::from_static("dpop");

/// Whether these are credentials of the scheme `DPoP`.
pub(crate) fn is_dpop(value: &[u8]) -> bool {
    let scheme = value.split_at_checked(DPOP.len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(DPOP));
    scheme.is_some_and(|(_, rest)| !rest.first().is_some_and(|byte| is_of_a_scheme(*byte)))
}

/// Whether `byte` can stand in the name of a scheme: `tchar` of RFC 9110 section 5.6.2.
fn is_of_a_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn text(value: &[u8]) -> Result<Cow<'_, str>, MalformedToken> {
    std::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| MalformedToken::Syntax)
}

fn mark(headers: &mut HeaderMap, name: &HeaderName) {
    headers.iter_mut().filter(|(present, _)| *present == name).for_each(|(_, value)| value.set_sensitive(true));
}

#[cfg(test)]
mod tests;
