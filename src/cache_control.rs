//! Responses that belong to the holder of a token alone.

use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};

/// Keeps the answer to a request that had its token elsewhere than in `Authorization` out of shared caches, which would serve it
/// to whoever asks for the same URL: RFC 6750 section 2.3, RFC 9111 section 3.5. What the inner service said stays, unless it
/// said the opposite.
pub(crate) fn kept_private<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    let mut directives = String::from("private");
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in split_outside_quotes(value.to_str().unwrap_or_default()) {
            let name = directive.split('=').next().unwrap_or_default();
            if !["", "public", "private", "s-maxage"].iter().any(|dropped| name.eq_ignore_ascii_case(dropped)) {
                directives.push_str(", ");
                directives.push_str(directive);
            }
        }
    }
    if let Ok(value) = HeaderValue::try_from(directives) {
        headers.insert(CACHE_CONTROL, value);
    }
    response
}

/// The elements of a list; a comma within quotes separates none.
fn split_outside_quotes(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let elements = list.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    elements.map(str::trim)
}
