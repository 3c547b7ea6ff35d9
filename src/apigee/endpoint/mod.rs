//! Apigee Edge's access-token endpoint.
//!
//! `GET {base}/o/{org}/oauth2/accesstokens/{token}`, as the vendor's management API has it. [`wire`] turns an answer
//! into a verdict and knows neither sockets nor the wall clock.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::login::ApigeeLogin;
use super::wire::{self, Reading};
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::credentials::source::CredentialSource;
use crate::endpoint::{Endpoint, Heard};
use crate::error::IntrospectError;
use crate::http::connection::Connection;
use crate::http::credential::Credential;
use crate::http::exchange::Reply;
use crate::http::link::Link;
use crate::introspect::{Ask, InactiveReason, Introspect, Verdict};
use crate::protection::Share;
use crate::protection::{self, Authority, EndpointHandle, Limits, RateLimit};
use crate::token::BearerToken;

/// Questions a minute, of the 10,000 that the vendor allows an organisation.
const RATE_LIMIT: u32 = 6_000;

const CLOUD: &str = "https://api.enterprise.apigee.com/v1";

/// Servers refuse longer request lines than 8 KiB, as they come by default, and whoever sends such a token would make
/// questions fail. 7,000 bytes are a token of any characters and 2,333 bytes, or one of letters and digits that is
/// longer than a layer lets in.
const LONGEST_SEGMENT: usize = 7_000;

/// Everything but RFC 3986's unreserved characters.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Asks Apigee Edge about access tokens.
///
/// The vendor's management API is not made for run-time use and is limited to 10,000 calls a minute for an
/// organisation, so wrap this in a [`Cached`](crate::Cached).
///
/// ```
/// use tower_introspection::{Apigee, Cached, IntrospectionLayer};
///
/// let apigee = Apigee::builder("my-org").basic_auth("token-reader@example.com", "password").build()?;
/// let layer = IntrospectionLayer::new(Cached::new(apigee));
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
///
/// A token counts as active if its `status` is `approved` **and** its `expiresAt` lies ahead. "No such token" is a
/// verdict only with one of the vendor's four codes for it; every other 4xx or 5xx is a failure of the endpoint, and
/// 401 or 403 are about the account asking. The secrets in an answer (`token`, `refreshToken`) are read past and never
/// kept.
///
/// Two kinds of tokens are [`Unknown`](InactiveReason::Unknown) without a question, since the token stands in the URL
/// that is asked: one that is 7,000 bytes or longer when percent-encoded (letters, digits and `-._~` stay, any other
/// character becomes three bytes), and one with `.` or `..` as a part between slashes, or of slashes
/// alone.
pub struct Apigee {
    tokens_url: String,
    endpoint: Endpoint,
    reading: Reading,
}

impl Apigee {
    /// Starts with the organisation's name. [Credentials](ApigeeBuilder::basic_auth) are required, the rest has
    /// defaults.
    pub fn builder(org: impl Into<String>) -> ApigeeBuilder {
        ApigeeBuilder {
            org: org.into(),
            base_url: CLOUD.into(),
            link: Link::default(),
            limits: Limits::new(),
            credentials: None,
            reading: Reading::default(),
        }
    }

    pub(crate) fn url_of(&self, token: &BearerToken) -> String {
        format!("{}/{}", self.tokens_url, utf8_percent_encode(token.expose(), PATH_SEGMENT))
    }

    fn verdict(&self, reply: &Reply, token: &BearerToken) -> Result<Verdict, IntrospectError> {
        let now = self.endpoint.clock().now();
        if reply.status == StatusCode::OK {
            let verdict = wire::read(&reply.body, token, now, self.reading, self.endpoint.unclear());
            return verdict.map_err(|error| reply.explain(error, token));
        }
        // The code before the status: the same code has been seen with five of them.
        if wire::says_no_such_token(&reply.body) {
            return Ok(Verdict::Inactive(InactiveReason::Unknown));
        }
        Err(reply.status_error(now))
    }

    async fn ask(&self, token: &BearerToken<'_>, share: Share) -> Result<Verdict, IntrospectError> {
        let url = self.url_of(token);
        if is_path_elsewhere(token.expose()) || url.len() - self.tokens_url.len() > LONGEST_SEGMENT {
            return Ok(Verdict::Inactive(InactiveReason::Unknown));
        }
        self.endpoint.ask(Some(&url), None, share, |reply| self.verdict(reply, token).map(Heard::OfTheToken)).await
    }
}

impl Introspect for Apigee {
    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        self.ask(ask.token(), Share::of(ask.is_known())).await
    }

    fn endpoint(&self) -> Option<EndpointHandle> {
        Some(self.endpoint.handle())
    }

    fn wants_cache(&self) -> bool {
        true
    }
}

/// Whether a proxy that decodes `%2F` before it resolves dots and joins slashes would leave the tokens' folder, which
/// is the admin API's, or ask for the folder itself. No authority issues such tokens, so nobody is asked.
pub(crate) fn is_path_elsewhere(token: &str) -> bool {
    token.split('/').any(|segment| segment == "." || segment == "..") || token.bytes().all(|byte| byte == b'/')
}

impl fmt::Debug for Apigee {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Apigee").field("tokens_url", &self.tokens_url).finish_non_exhaustive()
    }
}

/// Configures an [`Apigee`]. Made by [`Apigee::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::Apigee;
/// use tower_introspection::connection::Connection;
///
/// // A private cloud, on its own network.
/// let apigee = Apigee::builder("my-org")
///     .base_url("http://apigee-ms.example.internal:8080/v1")
///     .connection(Connection::new().dangerously_allow_plain_http(true))
///     .basic_auth("token-reader@example.com", "password")
///     .request_timeout(Duration::from_secs(2))
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct ApigeeBuilder {
    org: String,
    base_url: String,
    link: Link,
    limits: Limits,
    credentials: Option<Result<CredentialSource, BuildError>>,
    reading: Reading,
}

impl ApigeeBuilder {
    /// The management API up to and with its version. Default: the vendor's cloud,
    /// `https://api.enterprise.apigee.com/v1`; a private cloud has `https://HOST:PORT/v1`.
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = base_url.into();
        self
    }

    /// Asks with HTTP Basic authentication. The vendor stops taking it for accounts with a second factor: use
    /// [`login`](Self::login) for those. The last of `basic_auth`, `bearer_token`, `login` and `credentials` counts.
    pub fn basic_auth(mut self, username: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let credential = Credential::basic_given_as("basic_auth", username.as_ref(), password.as_ref());
        self.credentials = Some(credential.map(CredentialSource::Fixed));
        self
    }

    /// Asks with a bearer token of the admin account that never changes.
    pub fn bearer_token(mut self, token: impl AsRef<str>) -> Self {
        self.credentials =
            Some(Credential::bearer_given_as("bearer_token", token.as_ref()).map(CredentialSource::Fixed));
        self
    }

    /// Asks with the access token of an OAuth login at the vendor, for accounts with a second factor. Where its
    /// one-time code comes from is told by [`ApigeeLogin::mfa_token`].
    pub fn login(mut self, login: ApigeeLogin) -> Self {
        self.credentials = Some(login.into_credentials());
        self
    }

    /// Asks with what `provider` hands out. It is called for the first question; for the next question once a
    /// credential has no more than 30 seconds left (half its life, if it lives less than a minute); and after the
    /// authority refused one (HTTP 401), unless another refusal led to a call within the last 30 seconds. Its errors
    /// are logged, with what caused them: no secret may be in them. An [`IntrospectError`] tells by what
    /// [it is](IntrospectError::is_outage) whether it is an outage; any other error is a mistake somebody has to mend.
    ///
    /// One call is under way at a time, in a task of its own, for 30 seconds at most. Questions wait for it only if no
    /// valid credential is at hand, and no longer than their own [`request_timeout`](Self::request_timeout). A failed
    /// call is repeated after 1 second, then 2, 4, 8, 16 and 32, however many questions there are, so that a wrong
    /// password does not lock the account.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_introspection::Apigee;
    /// use tower_introspection::credentials::Credential;
    ///
    /// # async fn log_in() -> Result<(String, u64), std::io::Error> { Ok(("t".into(), 1799)) }
    /// let apigee = Apigee::builder("my-org")
    ///     .credentials(|| async {
    ///         let (access_token, expires_in) = log_in().await?;
    ///         Ok(Credential::bearer(&access_token)?.expires_in(Duration::from_secs(expires_in)))
    ///     })
    ///     .build()?;
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    pub fn credentials<F, Fut>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credential, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.credentials = Some(Ok(CredentialSource::renewed("the `credentials` hook", provider)));
        self
    }

    /// How the management API is reached. Default: [`Connection::new`].
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// How long a question may take in all: waiting for its turn and a place, credentials, connection, retries, and the
    /// last byte of the answer. Default: 3 seconds.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.link.request_timeout = timeout;
        self
    }

    /// The clock that judges expiry. Default: [`SystemClock`](crate::clock::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.link.clock = Arc::new(clock);
        self
    }

    /// How much the authority is asked, and when it is left alone. Default: [`Limits::new`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether a token with `"expiresAt": -1`, the vendor's mark for "never", is active. Default: `false`. A cache asks
    /// about it again after its `max_ttl` all the same.
    pub fn allow_unexpiring(mut self, allow: bool) -> Self {
        self.reading.allow_unexpiring = allow;
        self
    }

    /// Whether an answer whose `token` is not the one asked for is a failure. Default: `true`. Switch it off for
    /// organisations that store tokens hashed.
    pub fn verify_token_echo(mut self, verify: bool) -> Self {
        self.reading.verify_token_echo = verify;
        self
    }

    /// Whoever adds a setting decides here whether answers differ by it.
    fn noted_reading(&self) -> protection::Reading {
        let Self { org: _, base_url: _, link: _, limits: _, credentials: _, reading } = self;
        let Reading { allow_unexpiring, verify_token_echo } = *reading;
        let mut noted = protection::Reading::default();
        if allow_unexpiring {
            noted.note("allow_unexpiring", &["true"]);
        }
        if !verify_token_echo {
            noted.note("verify_token_echo", &["false"]);
        }
        noted
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting that cannot work:
    ///
    /// * an organisation's name with other characters than letters, digits, `-` and `_`
    /// * a base URL that is none, or has a query, a fragment, a user name or a password; `http` to another machine
    ///   without [`dangerously_allow_plain_http`](Connection::dangerously_allow_plain_http); `https` without the
    ///   feature `rustls` or `native-tls` (or an `http_client`)
    /// * no credentials, or some that cannot be sent: a user name with a colon, a bearer token with a line end, a login
    ///   with a setting that cannot work
    /// * zero for a timeout, `max_response_bytes`, `max_concurrent_requests`, `rate_limit`, `breaker_threshold` or
    ///   `breaker_pause`
    /// * a [`root_certificate`](Connection::root_certificate) that is none, and what an `http_client` does not go with
    pub fn build(self) -> Result<Apigee, BuildError> {
        let reading = self.noted_reading();
        if self.org.is_empty()
            || !self.org.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        {
            return Err(BuildError::new(
                "org",
                format!("{:?} is not an organisation's name: letters, digits, `-` and `_`", self.org),
            ));
        }
        let base_url =
            Url::parse(&self.base_url).map_err(|error| BuildError::new("base_url", format!("not a URL: {error}")))?;
        if base_url.query().is_some() {
            return Err(BuildError::new("base_url", "it holds a query; give the plain base of the API"));
        }
        let credentials = self.credentials.unwrap_or_else(|| {
            Err(BuildError::new(
                "credentials",
                "no credentials are set; call `basic_auth`, `bearer_token`, `login` or `credentials`",
            ))
        })?;
        let org_url = format!("{}/o/{}", base_url.as_str().trim_end_matches('/'), self.org);
        let tokens_url = format!("{org_url}/oauth2/accesstokens");
        let authority = Authority { url: org_url, client: credentials.account(), reading };
        let endpoint = Endpoint::open(
            "base_url",
            &base_url,
            authority,
            self.link,
            &self.limits,
            RateLimit::per_minute(RATE_LIMIT),
            credentials,
        )?;
        Ok(Apigee { tokens_url, endpoint, reading: self.reading })
    }
}

impl fmt::Debug for ApigeeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("ApigeeBuilder").field("org", &self.org).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
