//! Which of the forms of gRPC a call has, and so has its answer.

use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::request::RequestView;

/// The form of a gRPC call: its content type, which the answer has as well.
///
/// It is one of the fixed texts below and never the caller's own, so that nothing of a request gets into a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrpcForm(&'static str);

/// What "gRPC over HTTP2" has, and where every content type of a call begins.
const GRPC: &str = "application/grpc";

/// The others that "gRPC over HTTP2" and `PROTOCOL-WEB.md` of grpc/grpc name.
const FORMS: [&str; 12] = [
    GRPC,
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc+thrift",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web+json",
    "application/grpc-web+thrift",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
    "application/grpc-web-text+thrift",
    "application/grpc-web-text-base64",
];

impl GrpcForm {
    /// The form of this call; `None` if it is no gRPC call.
    ///
    /// A POST with a content type that begins with `application/grpc` is one. Any other method is no call, and its
    /// answer must say in its status that it is a refusal: a proxy that asks whether to let a request in, with the
    /// request's own headers (`auth_request` of nginx and the like), would take the HTTP 200 of gRPC for a yes, and a
    /// shared cache would keep it.
    pub(crate) fn of(request: &RequestView) -> Option<Self> {
        let content_type = request.headers().get(CONTENT_TYPE)?;
        if *request.method() == Method::POST { Self::named(content_type.as_bytes()) } else { None }
    }

    /// A message format that is not listed is left out, and a form that is not listed counts as [`GRPC`].
    fn named(content_type: &[u8]) -> Option<Self> {
        if !content_type.get(..GRPC.len())?.eq_ignore_ascii_case(GRPC.as_bytes()) {
            return None;
        }
        let until = |end| content_type.split(|byte| *byte == end).next().unwrap_or_default().trim_ascii_end();
        let listed = |name: &[u8]| FORMS.into_iter().find(|form| form.as_bytes().eq_ignore_ascii_case(name));
        Some(Self(listed(until(b';')).or_else(|| listed(until(b'+'))).unwrap_or(GRPC)))
    }

    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(self.0)
    }
}

impl Default for GrpcForm {
    fn default() -> Self {
        Self(GRPC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(content_type: &str) -> Option<&'static str> {
        GrpcForm::named(content_type.as_bytes()).map(|form| form.0)
    }

    #[test]
    fn each_form_of_grpc_is_answered_in_itself_in_whichever_case_and_with_whichever_parameters() {
        for form in FORMS {
            assert_eq!(named(form), Some(form));
            assert_eq!(named(&form.to_ascii_uppercase()), Some(form));
            assert_eq!(named(&format!("{form} ; charset=utf-8")), Some(form));
        }
    }

    #[test]
    fn of_a_form_that_is_not_listed_nothing_is_sent_back() {
        for (content_type, form) in [
            ("application/grpc-web+secret", "application/grpc-web"),
            ("application/grpc-web-text+secret; x=y", "application/grpc-web-text"),
            ("application/grpc+secret", "application/grpc"),
            ("application/grpc-secret", "application/grpc"),
            ("application/grpc-web-secret+proto", "application/grpc"),
            ("application/grpcsecret", "application/grpc"),
            ("application/grpc;application/grpc-web", "application/grpc"),
        ] {
            assert_eq!(named(content_type), Some(form), "{content_type}");
        }
        for other in ["", "application/gr", "application/json", " application/grpc", "text/x; application/grpc"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
