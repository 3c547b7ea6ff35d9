//! Rejections as responses: HTTP with an empty body, HTTP with a problem document, and gRPC.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{GrpcForm, Rejection};
use crate::request::RequestView;

/// Turns rejections into responses with the body type `B` of the inner service.
///
/// A closure `Fn(&Rejection, &RequestView) -> Response<B>` is one: it answers HTTP requests, while gRPC calls get the
/// answer their protocol asks for. What it returns is sent as it is; start from [`Rejection::response`] to keep the
/// status, the challenge and `Retry-After`.
///
/// The request is there to choose a form by: its `Accept` header, its path, its
/// [`ChosenAuthority`](crate::introspect::ChosenAuthority). Its headers are marked sensitive where a token may stand in
/// them; do not send any of it back.
///
/// ```
/// use tower_introspection::rejection::Rejection;
/// use tower_introspection::{IntrospectionLayer, RequestView};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let layer = IntrospectionLayer::builder(introspector)
///     .rejection_response(|rejection: &Rejection, request: &RequestView| {
///         let wants_html = request.header("accept").is_some_and(|accept| accept.starts_with("text/html"));
///         let text = rejection.description();
///         rejection.response(if wants_html { format!("<h1>{text}</h1>") } else { text.to_owned() })
///     })
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot render rejections with the body `{B}`",
    note = "`EmptyBody`, the default, needs a body that is `Default`, and `ProblemJson` one that comes from a `String`",
    note = "a layer inside of this one may have changed the body: put it around this one instead"
)]
pub trait RejectionResponse<B>: Send + Sync + 'static {
    /// The answer to an HTTP request.
    fn http(&self, rejection: &Rejection, request: &RequestView) -> Response<B>;

    /// The answer to a gRPC call.
    fn grpc(&self, rejection: &Rejection, request: &RequestView) -> Response<B>;
}

impl<F, B> RejectionResponse<B> for F
where
    F: Fn(&Rejection, &RequestView) -> Response<B> + Send + Sync + 'static,
    B: Default,
{
    fn http(&self, rejection: &Rejection, request: &RequestView) -> Response<B> {
        self(rejection, request)
    }

    fn grpc(&self, rejection: &Rejection, _: &RequestView) -> Response<B> {
        rejection.grpc_response(B::default())
    }
}

/// No body, the headers say it all. What a layer answers unless told otherwise.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EmptyBody;

impl EmptyBody {
    /// Answers without a body.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<B: Default> RejectionResponse<B> for EmptyBody {
    fn http(&self, rejection: &Rejection, _: &RequestView) -> Response<B> {
        rejection.response(B::default())
    }

    fn grpc(&self, rejection: &Rejection, _: &RequestView) -> Response<B> {
        rejection.grpc_response(B::default())
    }
}

/// An `application/problem+json` document, RFC 9457, with `title`, `status`, `detail` and the
/// [kind](super::RejectionKind).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ProblemJson;

impl ProblemJson {
    /// Answers with such a document.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<B: Default + From<String>> RejectionResponse<B> for ProblemJson {
    fn http(&self, rejection: &Rejection, _: &RequestView) -> Response<B> {
        let status = rejection.kind().status();
        let document = serde_json::json!({
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": rejection.description(),
            "kind": rejection.kind().as_str(),
        });
        let mut response = rejection.response(document.to_string().into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }

    fn grpc(&self, rejection: &Rejection, _: &RequestView) -> Response<B> {
        rejection.grpc_response(B::default())
    }
}

/// Renders in the form the request expects.
pub(crate) fn respond<B>(
    renderer: &impl RejectionResponse<B>,
    rejection: &Rejection,
    request: &RequestView,
) -> Response<B> {
    let response =
        if rejection.is_grpc() { renderer.grpc(rejection, request) } else { renderer.http(rejection, request) };
    logged_and_labelled(rejection, response)
}

/// Kind and reason travel along, whoever rendered it.
fn logged_and_labelled<B>(rejection: &Rejection, mut response: Response<B>) -> Response<B> {
    rejection.log();
    response.extensions_mut().insert(rejection.kind());
    response.extensions_mut().insert(rejection.reason());
    response
}

impl Rejection {
    /// An HTTP response with this body and the status, challenge and `Retry-After` of the rejection.
    #[must_use]
    pub fn response<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.kind().status();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(retry_after) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, whole_seconds(retry_after).into());
        }
        #[cfg(feature = "dpop")]
        self.add_dpop_nonce(response.headers_mut());
        response
    }

    /// A gRPC answer that consists of trailers only: HTTP 200, the status in the headers, and `body`, which has to be
    /// empty. gRPC-Web has these answers too (`PROTOCOL-WEB.md` of grpc/grpc). The content type is the call's own; for
    /// a message format that gRPC does not name, it is the one without a format.
    #[must_use]
    pub fn grpc_response<B>(&self, body: B) -> Response<B> {
        let form = self.grpc.unwrap_or_default();
        #[cfg_attr(not(feature = "dpop"), allow(unused_mut))]
        let mut response = grpc_trailers(body, form, self.kind().grpc_code(), self.description());
        // A client has to read how to make its next proof.
        #[cfg(feature = "dpop")]
        if self.context.dpop.is_some() {
            if let Some(challenge) = self.challenge() {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            self.add_dpop_nonce(response.headers_mut());
        }
        response
    }
}

pub(crate) fn grpc_trailers<B>(body: B, form: GrpcForm, code: u8, message: &str) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, form.content_type());
    headers.insert("grpc-status", u16::from(code).into());
    // Percent-encoded text is ASCII, so this always succeeds.
    if let Ok(message) = HeaderValue::try_from(utf8_percent_encode(message, GRPC_MESSAGE).to_string()) {
        headers.insert("grpc-message", message);
    }
    response
}

/// What the gRPC protocol has escaped in `grpc-message`: all but %x20-24 and %x26-7E.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// `Retry-After` has whole seconds; a fraction is rounded up, so that nobody comes back too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Percent-Byte-Unencoded → %x20-%x24 / %x26-%x7E`, in "gRPC over HTTP2".
    #[test]
    fn in_a_grpc_message_all_is_escaped_but_visible_ascii_spaces_and_not_the_percent_sign() {
        for byte in 0..=0x7f_u8 {
            let text = char::from(byte).to_string();
            let escaped = utf8_percent_encode(&text, GRPC_MESSAGE).to_string();
            let as_it_is = matches!(byte, 0x20..=0x24 | 0x26..=0x7e);
            assert_eq!(escaped, if as_it_is { text } else { format!("%{byte:02X}") });
        }
    }

    #[test]
    fn a_grpc_message_is_escaped_byte_by_byte() {
        let message = "50 % of\r\ngrpc-status: 0\u{7f} caf\u{e9} \u{1f512}";
        assert_eq!(
            grpc_trailers((), GrpcForm::default(), 0, message).headers()["grpc-message"],
            "50 %25 of%0D%0Agrpc-status: 0%7F caf%C3%A9 %F0%9F%94%92"
        );
    }
}
