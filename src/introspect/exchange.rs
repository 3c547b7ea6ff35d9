//! One bounded HTTP exchange with an authority: time, size, redirects, status and credentials. Shared by all endpoints.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, Response};
use tracing::Instrument;

use super::connection::Connection;
use super::credentials::{Credentials, Lease};
use super::{IntrospectError, IntrospectErrorKind};
use crate::clock::{Clock, Stopwatch};

const USER_AGENT_VALUE: &str = concat!("tower-introspection/", env!("CARGO_PKG_VERSION"));

pub(super) struct Exchange {
    client: Client,
    credentials: Credentials,
    request_timeout: Duration,
    max_response_bytes: usize,
    clock: Arc<dyn Clock>,
}

/// What is sent, all but the credentials.
#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) url: &'q str,
    /// With a form it is a POST, without one a GET.
    pub(super) form: Option<&'q [(&'q str, &'q str)]>,
}

/// A complete answer within the limits. Nothing is known about what it says.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(client: Client, credentials: Credentials, settings: &Connection) -> Self {
        Self {
            client,
            credentials,
            request_timeout: settings.request_timeout,
            max_response_bytes: settings.max_response_bytes,
            clock: Arc::clone(&settings.clock),
        }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Sends `question` and reads the whole answer, all within the request timeout.
    ///
    /// If the authority refuses this service's credentials (`is_refusal`) and there is a way to renew them, it is asked
    /// once more with the new ones.
    pub(super) async fn send(
        &self,
        question: Question<'_>,
        is_refusal: impl Fn(&Answer) -> bool + Send + Sync,
    ) -> Result<Answer, IntrospectError> {
        let asking = async {
            let stopwatch = Stopwatch::start();
            let answer = within(self.request_timeout, self.send_authorized(question, is_refusal)).await;
            let latency_ms = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
            match &answer {
                Ok(answer) => {
                    tracing::debug!(status = answer.status.as_u16(), latency_ms, "the authority answered");
                }
                Err(error) => {
                    let kind = error.kind().as_str();
                    tracing::warn!(kind, ?error, latency_ms, "the authority could not be asked");
                }
            }
            answer
        };
        asking.instrument(tracing::debug_span!("introspection")).await
    }

    async fn send_authorized(
        &self,
        question: Question<'_>,
        is_refusal: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, IntrospectError> {
        let lease = self.credentials.current(&self.clock).await?;
        let answer = self.send_once(question, &lease).await?;
        if is_refusal(&answer)
            && let Some(renewed) = self.credentials.instead_of(&lease, &self.clock).await?
        {
            return self.send_once(question, &renewed).await;
        }
        Ok(answer)
    }

    async fn send_once(&self, question: Question<'_>, lease: &Lease) -> Result<Answer, IntrospectError> {
        let credential = &lease.credential;
        let request = match question.form {
            None => self.client.get(question.url),
            Some(form) => {
                let mut body = form_urlencoded::Serializer::new(String::new());
                body.extend_pairs(form).extend_pairs(credential.form_parameters());
                let request = self.client.post(question.url);
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.finish())
            }
        };
        let request = request.header(USER_AGENT, USER_AGENT_VALUE).header(ACCEPT, "application/json");
        let request = credential.authorize(request).build().map_err(transport_error)?;
        let asked = request.url().clone();
        let response = self.client.execute(request).await.map_err(transport_error)?;
        if *response.url() != asked {
            return Err(IntrospectError::new(IntrospectErrorKind::Status)
                .with_source("the HTTP client followed a redirect; build it with `redirect::Policy::none()`"));
        }
        let status = response.status();
        let body = self.read(response).await?;
        Ok(Answer { status, body })
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, IntrospectError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport_error)? {
            if chunk.len() > self.max_response_bytes - body.len() {
                return Err(IntrospectError::new(IntrospectErrorKind::Answer).with_source(format!(
                    "it is larger than {} bytes (`max_response_bytes`)",
                    self.max_response_bytes
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

async fn within<T>(
    timeout: Duration,
    answer: impl Future<Output = Result<T, IntrospectError>>,
) -> Result<T, IntrospectError> {
    tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| {
        Err(IntrospectError::new(IntrospectErrorKind::Timeout)
            .with_source(format!("{timeout:?} passed (`request_timeout`)")))
    })
}

/// reqwest prints the URL of a failed request, and with Apigee the URL holds the token.
fn transport_error(error: reqwest::Error) -> IntrospectError {
    let kind = if error.is_timeout() {
        IntrospectErrorKind::Timeout
    } else if error.is_connect() {
        IntrospectErrorKind::Connect
    } else {
        IntrospectErrorKind::Transport
    };
    IntrospectError::new(kind).with_source(error.without_url())
}

/// What an HTTP status says when the body says nothing: always something about us or the authority, never about a token.
pub(super) fn status_error(status: StatusCode) -> IntrospectError {
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => IntrospectErrorKind::Credentials,
        StatusCode::TOO_MANY_REQUESTS => IntrospectErrorKind::RateLimited,
        _ => IntrospectErrorKind::Status,
    };
    if kind == IntrospectErrorKind::Credentials {
        tracing::error!(
            status = status.as_u16(),
            "the authority refused this service's own credentials: check what the endpoint's builder was given, and what the account or client may do; callers get 503 until then"
        );
    }
    IntrospectError::new(kind).with_source(format!("HTTP status {}", status.as_u16()))
}
