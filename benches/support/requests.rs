//! Requests as a server hands them on: headers parsed, extensions in use.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};

/// One that presents the token `token_name('t', n)`. It is made out of nothing that lies in memory, so that what the
/// processor has to fetch is the layer's own.
pub fn request_with_token(n: usize) -> Request<()> {
    let mut header = *b"Bearer 25poPXCPOw43s0hJBn6t00000000";
    let mut rest = n;
    for digit in header.iter_mut().rev().take(8) {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    let mut request = Request::new(());
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_bytes(&header).unwrap());
    request.extensions_mut().insert("from the server");
    request
}
