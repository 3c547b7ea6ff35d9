//! One bounded HTTP exchange with an authority: time, size, redirects, status and credentials. Shared by all endpoints.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, USER_AGENT};
use reqwest::{Client, RequestBuilder, Response, Url};
use tracing::Instrument;

use super::credentials::{Credential, Credentials, Lease};
use super::{IntrospectError, IntrospectErrorKind};
use crate::build_error::BuildError;
use crate::clock::{Clock, Stopwatch, SystemClock};

const USER_AGENT_VALUE: &str = concat!("tower-introspection/", env!("CARGO_PKG_VERSION"));

/// What the builders of all endpoints have in common.
pub(super) struct ExchangeBuilder {
    pub(super) credentials: Option<Result<Credentials, BuildError>>,
    pub(super) http_client: Option<Client>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) request_timeout: Duration,
    pub(super) max_response_bytes: usize,
    pub(super) plain_http: bool,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for ExchangeBuilder {
    fn default() -> Self {
        Self {
            credentials: None,
            http_client: None,
            connect_timeout: None,
            request_timeout: Duration::from_secs(3),
            max_response_bytes: 64 * 1024,
            plain_http: false,
            clock: Arc::new(SystemClock),
        }
    }
}

impl ExchangeBuilder {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

    pub(super) fn fixed_credential(&mut self, credential: Result<Credential, BuildError>) {
        self.credentials = Some(credential.map(Credentials::Fixed));
    }

    /// Checks every setting; `url_setting` names the builder method that gave `url`.
    pub(super) fn build(self, url_setting: &'static str, url: &Url) -> Result<Exchange, BuildError> {
        let loopback = is_loopback(url);
        match url.scheme() {
            "https" if self.http_client.is_none() && !cfg!(any(feature = "rustls", feature = "native-tls")) => {
                return Err(BuildError::new(
                    url_setting,
                    "https needs the feature `rustls` or `native-tls`, or an `http_client` of your own",
                ));
            }
            "https" => {}
            "http" if loopback || self.plain_http => {}
            "http" => {
                return Err(BuildError::new(
                    url_setting,
                    "http would send tokens and credentials in clear text; use https, or call `dangerously_allow_plain_http(true)`",
                ));
            }
            other => return Err(BuildError::new(url_setting, format!("the scheme is {other:?}, not https"))),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BuildError::new(url_setting, "it holds a user name or a password; give them to `basic_auth`"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BuildError::new(url_setting, "it holds a query or a fragment; give the plain base of the API"));
        }
        if self.request_timeout.is_zero() {
            return Err(BuildError::new("request_timeout", "zero leaves no time for an answer"));
        }
        if self.max_response_bytes == 0 {
            return Err(BuildError::new("max_response_bytes", "zero leaves no room for an answer"));
        }
        if self.connect_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(BuildError::new("connect_timeout", "zero leaves no time to connect"));
        }
        let client = match (self.http_client, self.connect_timeout) {
            (Some(_), Some(_)) => {
                return Err(BuildError::new(
                    "connect_timeout",
                    "it has no effect on an `http_client` of your own; set it there",
                ));
            }
            (Some(client), None) => client,
            (None, timeout) => http_client(timeout.unwrap_or(Self::CONNECT_TIMEOUT), loopback)?,
        };
        let credentials = self.credentials.unwrap_or_else(|| {
            Err(BuildError::new(
                "basic_auth",
                "no credentials are set; call `basic_auth`, `bearer_token` or `credentials`",
            ))
        })?;
        Ok(Exchange {
            client,
            credentials,
            request_timeout: self.request_timeout,
            max_response_bytes: self.max_response_bytes,
            clock: self.clock,
        })
    }
}

fn http_client(connect_timeout: Duration, loopback: bool) -> Result<Client, BuildError> {
    let mut client = Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        // A referer would carry the URL, and the URL may hold the token.
        .referer(false);
    if loopback {
        // A proxy cannot reach this machine's own loopback.
        client = client.no_proxy();
    }
    client
        .build()
        .map_err(|error| BuildError::new("http_client", format!("no HTTP client can be made: {}", error.without_url())))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

pub(super) struct Exchange {
    client: Client,
    credentials: Credentials,
    request_timeout: Duration,
    max_response_bytes: usize,
    clock: Arc<dyn Clock>,
}

/// A complete answer within the limits. Nothing is known about what it says.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Exchange {
    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Sends `request` and reads the whole answer, all within the request timeout.
    ///
    /// If the authority refuses this service's credentials (`is_refusal`) and there is a way to renew them, it is asked
    /// once more with the new ones.
    pub(super) async fn send(
        &self,
        request: impl Fn(&Client) -> RequestBuilder + Send + Sync,
        is_refusal: impl Fn(&Answer) -> bool + Send + Sync,
    ) -> Result<Answer, IntrospectError> {
        let question = async {
            let stopwatch = Stopwatch::start();
            let answer = within(self.request_timeout, self.send_authorized(request, is_refusal)).await;
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
        question.instrument(tracing::debug_span!("introspection")).await
    }

    async fn send_authorized(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        is_refusal: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, IntrospectError> {
        let lease = self.credentials.current(&self.clock).await?;
        let answer = self.send_once(&request, &lease).await?;
        if is_refusal(&answer)
            && let Some(renewed) = self.credentials.instead_of(&lease, &self.clock).await?
        {
            return self.send_once(&request, &renewed).await;
        }
        Ok(answer)
    }

    async fn send_once(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        lease: &Lease,
    ) -> Result<Answer, IntrospectError> {
        let request = request(&self.client).header(USER_AGENT, USER_AGENT_VALUE).header(ACCEPT, "application/json");
        let request = lease.credential.authorize(request).build().map_err(transport_error)?;
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
            "the authority refused this service's own credentials: check `basic_auth`, `bearer_token` or `credentials` and the account's permissions; callers get 503 until then"
        );
    }
    IntrospectError::new(kind).with_source(format!("HTTP status {}", status.as_u16()))
}
