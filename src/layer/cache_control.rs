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
    for (name, value) in headers.iter_mut() {
        if let Some(none) = not_to_be_stored(name) {
            *value = HeaderValue::from_static(none);
        }
    }
    response
}

/// What keeps a response out of caches that prefer a header of this name to `Cache-Control`: RFC 9213, before that the
/// Edge Architecture Specification, and nginx. There is no form of theirs that says `private`.
fn not_to_be_stored(name: &HeaderName) -> Option<&'static str> {
    match name.as_str() {
        "cdn-cache-control" | "surrogate-control" => Some("no-store"),
        "x-accel-expires" => Some("0"),
        name => name.ends_with("-cdn-cache-control").then_some("no-store"),
    }
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
    fn what_some_shared_caches_prefer_to_cache_control_keeps_it_out_of_them_too() {
        let mut response = Response::new(());
        let headers =
            ["CDN-Cache-Control", "Surrogate-Control", "Example-CDN-Cache-Control", "X-Accel-Expires", "X-Mine"];
        for name in headers {
            for _ in 0..2 {
                let name = HeaderName::try_from(name).unwrap();
                response.headers_mut().append(name, HeaderValue::from_static("max-age=60"));
            }
        }
        let response = kept_private(response);
        let values = headers.map(|name| response.headers().get_all(name).iter().collect::<Vec<_>>());
        assert_eq!(values, [["no-store"; 2], ["no-store"; 2], ["no-store"; 2], ["0"; 2], ["max-age=60"; 2]]);
        assert_eq!(response.headers()[CACHE_CONTROL], "private");
    }
}
