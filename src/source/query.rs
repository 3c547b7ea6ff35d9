//! Tokens in the query of a request.

use std::borrow::Cow;

use http::Uri;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::TokenSource;
use crate::request::{RequestView, change_uris};
use crate::token::MalformedToken;

/// The `access_token` parameter of the request's query, RFC 6750 section 2.3.
///
/// **URLs are logged, kept in histories and sent as referers.** Switch this on only for clients that cannot set a
/// header, such as a browser's WebSocket, and keep queries out of your access logs;
/// [`remove_token`](crate::layer::IntrospectionLayerBuilder::remove_token) takes it out of the URI, and out of the copy
/// of it that axum's `OriginalUri` is (feature `axum`). Nothing marks it sensitive. Responses to requests with a token
/// in it get `Cache-Control: private`. A repeated parameter is malformed, and so is an empty one: 400, also by an
/// optional layer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TokenQueryParameter;

impl TokenQueryParameter {
    /// Looks for `access_token`.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    const NAME: &str = "access_token";

    fn holds_token(pair: &str) -> bool {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).eq(Self::NAME.bytes())
    }

    /// What is left of a URI after a part of its query was taken out is one, so it is `None` only without a query.
    fn without_token(uri: &Uri) -> Option<Uri> {
        let kept: Vec<&str> = uri.query()?.split('&').filter(|pair| !Self::holds_token(pair)).collect();
        let target = match kept.as_slice() {
            [] => uri.path().to_owned(),
            kept => format!("{}?{}", uri.path(), kept.join("&")),
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = target.parse().ok();
        Uri::from_parts(parts).ok()
    }
}

impl TokenSource for TokenQueryParameter {
    fn find<'r>(&self, request: &RequestView<'r>) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        let query = request.query().unwrap_or_default();
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
        change_uris(request, |uri| {
            if let Some(without) = Self::without_token(uri) {
                *uri = without;
            }
        });
    }
}
