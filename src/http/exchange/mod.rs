//! One bounded HTTP exchange with an authority: time, size, redirects, status and credentials. Shared by all endpoints.

use std::time::Duration;

use http::StatusCode;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
};
use reqwest::{Client, Response};

use crate::clock::Timestamp;
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::http::credential::Credential;
use crate::json::{self, Fault};
use crate::token::BearerToken;

/// How much of a content type is shown.
const LONGEST_CONTENT_TYPE: usize = 100;

/// The codings of RFC 9110 section 8.4.1, and later ones that servers use. No other is named: an answer's own words
/// could be a token's.
const CODINGS: [&str; 7] = ["`gzip`", "`x-gzip`", "`deflate`", "`br`", "`zstd`", "`compress`", "`x-compress`"];

const USER_AGENT_VALUE: &str = concat!("tower-introspection/", env!("CARGO_PKG_VERSION"));

pub(crate) struct Exchange {
    client: Client,
    request_timeout: Duration,
    max_response_bytes: usize,
}

/// The media type of JSON, RFC 8259 section 11.
pub(crate) const JSON: &str = "application/json";

/// What is sent, all but the credentials.
#[derive(Clone, Copy)]
pub(crate) struct Call<'q> {
    pub(crate) url: &'q str,
    /// With a body it is a POST, without one a GET.
    pub(crate) body: Option<Body<'q>>,
    /// The media type that is asked for.
    pub(crate) accept: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Body<'q> {
    Form(&'q [(&'q str, &'q str)]),
    /// Credentials that travel in a form do not go with it.
    #[cfg(feature = "signals")]
    Json(&'q str),
}

/// A complete answer within the limits. Nothing is known about what it says.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    headers: HeaderMap,
}

impl Exchange {
    pub(crate) fn new(client: Client, request_timeout: Duration, max_response_bytes: usize) -> Self {
        Self { client, request_timeout, max_response_bytes }
    }

    /// Sends `call` once and reads the whole answer, within the request timeout.
    pub(crate) async fn send(&self, call: Call<'_>, credential: &Credential) -> Result<Reply, IntrospectError> {
        tokio::time::timeout(self.request_timeout, self.send_without_limit(call, credential)).await.unwrap_or_else(
            |_| {
                Err(IntrospectError::new(IntrospectErrorKind::Timeout)
                    .with_source(format!("{:?} passed (`request_timeout`)", self.request_timeout)))
            },
        )
    }

    async fn send_without_limit(&self, call: Call<'_>, credential: &Credential) -> Result<Reply, IntrospectError> {
        let request = match call.body {
            None => self.client.get(call.url),
            #[cfg(feature = "signals")]
            Some(Body::Json(json)) => {
                let request = self.client.post(call.url).header(CONTENT_TYPE, JSON);
                // RFC 8936 section 2.6 wants to know what errors are described in.
                request.header(http::header::CONTENT_LANGUAGE, "en").body(json.to_owned())
            }
            Some(Body::Form(form)) => {
                let mut body = form_urlencoded::Serializer::new(String::new());
                body.extend_pairs(form).extend_pairs(credential.form_parameters());
                let request = self.client.post(call.url);
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.finish())
            }
        };
        // Without `Accept-Encoding` a server may choose any coding, RFC 9110 section 12.5.3.
        let request = request
            .header(USER_AGENT, USER_AGENT_VALUE)
            .header(ACCEPT, call.accept)
            .header(ACCEPT_ENCODING, "identity");
        let request = credential.authorize(request).build().map_err(broken)?;
        let asked = request.url().clone();
        let response = self.client.execute(request).await.map_err(no_answer)?;
        if *response.url() != asked {
            return Err(IntrospectError::new(IntrospectErrorKind::Status)
                .with_source("the HTTP client followed a redirect; build it with `redirect::Policy::none()`"));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.read(response).await?;
        Ok(Reply { status, body, headers })
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, IntrospectError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if chunk.len() > self.max_response_bytes - body.len() {
                let limit = self.max_response_bytes;
                let error = IntrospectError::new(IntrospectErrorKind::Answer).too_large();
                return Err(error.with_source(format!("it is larger than {limit} bytes (`max_response_bytes`)")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The request went out, or could not, and nothing came back.
fn no_answer(error: reqwest::Error) -> IntrospectError {
    // A connection that timed out was not made; any other timeout used up the time there was.
    let is_worth_another = error.is_connect() || !(error.is_timeout() || error.is_builder());
    let error = broken(error);
    if is_worth_another { error.before_answer() } else { error }
}

/// reqwest prints the URL of a failed request, and with Apigee the URL holds the token.
fn broken(error: reqwest::Error) -> IntrospectError {
    let kind = match (error.is_connect(), error.is_timeout()) {
        (true, true) => {
            return IntrospectError::new(IntrospectErrorKind::Connect)
                .with_source("none came about within the `connect_timeout`, or that of an `http_client`");
        }
        (true, false) => IntrospectErrorKind::Connect,
        (false, true) => IntrospectErrorKind::Timeout,
        (false, false) => IntrospectErrorKind::Transport,
    };
    IntrospectError::new(kind).with_source(error.without_url())
}

impl Reply {
    /// What the status says when the body says nothing: always something about us or the authority, never about a
    /// token.
    pub(crate) fn status_error(&self, now: Timestamp) -> IntrospectError {
        let mut error = status_error(self.status);
        if let Some(coding) = self.foreign_coding() {
            error = error.with_source(format!("HTTP status {}; {coding}", self.status.as_u16()));
        }
        match self.retry_after(now) {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }

    /// The same error, which came of reading the body, with what the answer calls itself if that is why: a proxy's
    /// page, say, or a signed answer.
    pub(crate) fn explain(&self, error: IntrospectError, presented: &BearerToken) -> IntrospectError {
        if let Some(coding) = self.foreign_coding() {
            return error.with_source(coding).of_fault("coding");
        }
        match self.foreign_content_type(presented) {
            Some(kind) if !self.is_json() => {
                error.with_source(format!("it is not JSON, but `{kind}`")).of_fault("content type")
            }
            _ => error,
        }
    }

    fn is_json(&self) -> bool {
        !json::parse(&self.body, &[]).is_err_and(Fault::is_not_json)
    }

    /// Why the body cannot be read, if it is the coding of a server or proxy that compresses unasked. There are servers
    /// that name a coding and use none (`Content-Encoding: UTF-8`); those are understood.
    pub(crate) fn foreign_coding(&self) -> Option<String> {
        let values = self.headers.get_all(CONTENT_ENCODING);
        let mut codings = values.iter().flat_map(|value| value.to_str().unwrap_or("?").split(',')).map(str::trim);
        let coding = codings.find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))?;
        if self.is_json() {
            return None;
        }
        let is_named = |known: &&str| known.trim_matches('`').eq_ignore_ascii_case(coding);
        let name = CODINGS.into_iter().find(is_named).unwrap_or("unknown here");
        Some(format!("its `Content-Encoding` is {name}, though `identity` was asked for"))
    }

    /// Whether the answer says itself that it is of this media type, with parameters or without.
    #[cfg(feature = "jwt")]
    pub(crate) fn is_of_type(&self, media_type: &str) -> bool {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = value.and_then(|value| value.split(';').next()).map(str::trim);
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(media_type))
    }

    /// The `type/subtype` of an answer that says itself that it is not JSON. Never with the token in it, should it be
    /// echoed even here.
    fn foreign_content_type(&self, presented: &BearerToken) -> Option<&str> {
        let value = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = value.split(';').next()?.trim();
        let (_, subtype) = kind.split_once('/')?;
        let is_json = subtype.to_ascii_lowercase().ends_with("json");
        let is_shown = kind.bytes().all(|byte| byte.is_ascii_graphic()) && !kind.contains(presented.expose());
        (is_shown && !is_json).then(|| &kind[..kind.len().min(LONGEST_CONTENT_TYPE)])
    }

    /// Whether it asks for credentials, as RFC 9110 section 15.5.2 has whoever refuses those of a request do.
    pub(crate) fn is_challenge(&self) -> bool {
        self.headers.contains_key(WWW_AUTHENTICATE)
    }

    /// How long the authority wants to be left alone: seconds or a date, RFC 9110 section 10.2.3, with the two statuses
    /// that ask for it.
    fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        if !matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = httpdate::parse_http_date(value).ok()?;
        Some(Timestamp::from(date).saturating_since(now))
    }
}

pub(crate) fn status_error(status: StatusCode) -> IntrospectError {
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => IntrospectErrorKind::Credentials,
        StatusCode::TOO_MANY_REQUESTS => IntrospectErrorKind::RateLimited,
        _ => IntrospectErrorKind::Status,
    };
    IntrospectError::new(kind).with_status(status).with_source(format!("HTTP status {}", status.as_u16()))
}

#[cfg(test)]
mod tests;
