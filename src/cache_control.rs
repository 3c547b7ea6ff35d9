//! Responses that belong to the holder of a token alone.

use http::Response;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};

/// Keeps the answer to a request that had its token elsewhere than in `Authorization` out of shared caches, which would
/// serve it to whoever asks for the same URL: RFC 6750 section 2.3, RFC 9111 section 3.5. What the inner service said
/// stays, unless it said the opposite.
pub(crate) fn kept_private<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    let mut directives = b"private".to_vec();
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in split_outside_quotes(value.as_bytes()) {
            let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default();
            if !["", "public", "private", "s-maxage"]
                .iter()
                .any(|dropped| name.eq_ignore_ascii_case(dropped.as_bytes()))
            {
                directives.extend_from_slice(b", ");
                directives.extend_from_slice(directive);
            }
        }
    }
    if let Ok(value) = HeaderValue::try_from(directives) {
        headers.insert(CACHE_CONTROL, value);
    }
    let targeted: Vec<_> = headers.keys().filter(|name| is_targeted(name)).cloned().collect();
    for name in targeted {
        headers.remove(name);
    }
    response
}

/// Whether the header tells some shared caches something else than `Cache-Control`, which they prefer to it: RFC 9213
/// and, before that, the Edge Architecture Specification.
fn is_targeted(name: &HeaderName) -> bool {
    matches!(name.as_str(), "cdn-cache-control" | "surrogate-control") || name.as_str().ends_with("-cdn-cache-control")
}

/// The elements of a list; a comma within quotes separates none.
fn split_outside_quotes(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let elements = list.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    elements.map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_with_bytes_beyond_ascii_is_kept() {
        let mut response = Response::new(());
        let theirs = HeaderValue::from_bytes(b"no-store, ext=\"\xe9\", public").unwrap();
        response.headers_mut().insert(CACHE_CONTROL, theirs);
        assert_eq!(kept_private(response).headers()[CACHE_CONTROL], &b"private, no-store, ext=\"\xe9\""[..]);
    }

    #[test]
    fn what_some_shared_caches_prefer_to_cache_control_is_taken_out() {
        let mut response = Response::new(());
        for name in ["CDN-Cache-Control", "Surrogate-Control", "Example-CDN-Cache-Control", "X-Cache-Control"] {
            response.headers_mut().insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("max-age=60"));
        }
        let response = kept_private(response);
        let mut left: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cache-control", "x-cache-control"]);
        assert_eq!(response.headers()[CACHE_CONTROL], "private");
    }
}
