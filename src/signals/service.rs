//! Taking what is pushed: events, RFC 8935, and logout tokens, OpenID Connect Back-Channel Logout 1.0 section 2.5.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use tower::Service;

use super::Signals;
use super::receiver::Taken;
use super::refusal::{Code, NotTaken, refused};
use super::set::{Form, LONGEST, Way};

/// A token, and what may stand around it in a form.
const LONGEST_BODY: usize = LONGEST + 4 * 1024;

/// How long a body may take to come.
const LONGEST_TIME: Duration = Duration::from_secs(10);

/// A service to mount where a transmitter sends to. Made by [`Signals::push`] and [`Signals::backchannel_logout`].
///
/// It takes POST, and bodies of up to 68 KiB that come within 10 seconds. Clones are the same.
#[derive(Clone)]
pub struct SignalsService {
    signals: Signals,
    form: Form,
}

impl SignalsService {
    pub(super) fn new(signals: Signals, form: Form) -> Self {
        Self { signals, form }
    }

    async fn answer<B>(self, request: Request<B>) -> Response<String>
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send,
        B::Data: Send,
    {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        if !is_of_type(&parts.headers, self.media_type()) {
            let why = match self.form {
                Form::Event => "the body is not `application/secevent+jwt`",
                Form::Logout => "the body is not `application/x-www-form-urlencoded`",
            };
            return self.unread(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        }
        let body = match tokio::time::timeout(LONGEST_TIME, Limited::new(body, LONGEST_BODY).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let why = "the body is larger than 68 KiB";
                return self.unread(StatusCode::PAYLOAD_TOO_LARGE, why);
            }
            Ok(Err(_)) => return self.unread(StatusCode::BAD_REQUEST, "the body broke off"),
            Err(_) => {
                let why = "the body did not come within 10 seconds";
                return self.unread(StatusCode::REQUEST_TIMEOUT, why);
            }
        };
        let (text, way) = match self.form {
            Form::Event => {
                let mut values = parts.headers.get_all(AUTHORIZATION).iter();
                // Of two nobody knows which one counts.
                let authorization = values.next().cloned().filter(|_| values.next().is_none());
                (String::from_utf8(body.into()).unwrap_or_default(), Way::Push { authorization })
            }
            Form::Logout => {
                let mut tokens = form_urlencoded::parse(&body).filter(|(name, _)| name == "logout_token");
                match (tokens.next(), tokens.next()) {
                    (Some((_, token)), None) => (token.into_owned(), Way::Logout),
                    _ => {
                        let why = "the form holds no `logout_token`, or several";
                        return self.unread(StatusCode::BAD_REQUEST, why);
                    }
                }
            }
        };
        match self.signals.receiver.take(&text, &way).await {
            Ok(Taken::Acted | Taken::Repeated) => empty(match self.form {
                Form::Event => StatusCode::ACCEPTED,
                Form::Logout => StatusCode::OK,
            }),
            Err(NotTaken::Refused(code, why)) => self.refusal(StatusCode::BAD_REQUEST, code, why),
            Err(NotTaken::TurnedAway(_, after)) => {
                let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
                response.headers_mut().insert(RETRY_AFTER, after.as_secs().max(1).into());
                response
            }
        }
    }

    /// What cannot even be looked at.
    fn unread(&self, status: StatusCode, why: &'static str) -> Response<String> {
        self.signals.receiver.of_nobody(refused(Code::InvalidRequest, why));
        self.refusal(status, Code::InvalidRequest, why)
    }

    fn media_type(&self) -> &'static str {
        match self.form {
            Form::Event => "application/secevent+jwt",
            Form::Logout => "application/x-www-form-urlencoded",
        }
    }

    /// RFC 8935 section 2.3; of a logout, RFC 6749 section 5.2.
    fn refusal(&self, status: StatusCode, code: Code, why: &'static str) -> Response<String> {
        let mut response = empty(status);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = match self.form {
            Form::Event => {
                response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
                json!({ "err": code.as_str(), "description": why })
            }
            Form::Logout => json!({ "error": Code::InvalidRequest.as_str(), "error_description": why }),
        };
        *response.body_mut() = body.to_string();
        response
    }
}

fn empty(status: StatusCode) -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// With parameters or without.
fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let stated = stated.and_then(|value| value.split(';').next()).map(str::trim);
    stated.is_some_and(|stated| stated.eq_ignore_ascii_case(media_type))
}

impl<B> Service<Request<B>> for SignalsService
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B::Data: Send,
{
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

impl fmt::Debug for SignalsService {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("SignalsService").field("form", &self.form).finish_non_exhaustive()
    }
}
