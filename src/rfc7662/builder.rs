//! The settings of an RFC 7662 endpoint.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::endpoint::Rfc7662;
use super::wire::Reading;
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::credentials::ClientCredentials;
#[cfg(feature = "private-key-jwt")]
use crate::credentials::PrivateKeyJwt;
use crate::credentials::source::CredentialSource;
use crate::endpoint::Endpoint;
use crate::http::connection::Connection;
use crate::http::credential::{Credential, check_client_id};
use crate::http::link::Link;
use crate::protection::{Limits, RateLimit};
use crate::url::shown;

/// Questions a minute.
const RATE_LIMIT: u32 = 60_000;

/// Configures an [`Rfc7662`]. Made by [`Rfc7662::builder`] or by [`Rfc7662::discover`].
///
/// Of the methods that set credentials the last one called counts. A certificate stays: with
/// [`tls_client_auth`](Self::tls_client_auth) before another it is shown as well (RFC 8705 section 3).
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::Rfc7662;
///
/// let endpoint = Rfc7662::builder("https://auth.example.com/introspect")
///     .client_secret_post("my-api", "secret")
///     .parameter("resource", "https://api.example.com")
///     .request_timeout(Duration::from_secs(2))
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct Rfc7662Builder {
    url: String,
    /// What a discovered server says of itself.
    pub(crate) issuer: Option<String>,
    pub(crate) auth_methods: Option<Vec<String>>,
    /// Where it wants clients with a certificate to ask.
    pub(crate) mtls_url: Option<String>,
    credentials: Option<Result<CredentialSource, BuildError>>,
    token_type_hint: Option<String>,
    parameters: Vec<(String, String)>,
    reading: Reading,
    pub(crate) link: Link,
    limits: Limits,
}

impl Rfc7662Builder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            issuer: None,
            auth_methods: None,
            mtls_url: None,
            credentials: None,
            token_type_hint: Some("access_token".into()),
            parameters: Vec::new(),
            reading: Reading::default(),
            link: Link::default(),
            limits: Limits::new(),
        }
    }

    /// Authenticates with the client's identifier and secret in the `Authorization` header, form-urlencoded as RFC 6749
    /// section 2.3.1 asks: give both as they are. Letters, digits and `*-._` stay, every other character is encoded.
    ///
    /// There are servers that do not decode them, Doorkeeper among them. A secret with another character is then
    /// refused with 401, whoever wrote it down correctly: use [`client_secret_post`](Self::client_secret_post), or
    /// [`Credential::basic`], which encodes nothing:
    ///
    /// ```
    /// use tower_introspection::Rfc7662;
    /// use tower_introspection::credentials::Credential;
    ///
    /// let endpoint = Rfc7662::builder("https://auth.example.com/introspect")
    ///     .credentials(|| async { Ok(Credential::basic("my-api", "s+cret/=")?) })
    ///     .build()?;
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    pub fn client_secret_basic(self, client_id: impl AsRef<str>, client_secret: impl AsRef<str>) -> Self {
        let client_id = client_id.as_ref();
        let credential = Credential::client_secret_basic(client_id, client_secret);
        self.client("client_secret_basic", client_id, credential)
    }

    /// Authenticates with the client's identifier and secret in the form.
    pub fn client_secret_post(self, client_id: impl AsRef<str>, client_secret: impl AsRef<str>) -> Self {
        let client_id = client_id.as_ref();
        let credential = Credential::client_secret_post(client_id, client_secret);
        self.client("client_secret_post", client_id, credential)
    }

    /// Authenticates with the client's identifier and secret in the way the discovered server lists
    /// (`introspection_endpoint_auth_methods_supported`, or else what it lists for its token endpoint): in the header
    /// if it lists `client_secret_basic` or nothing at all, in the form if it lists `client_secret_post`. If it lists
    /// neither, [`build`](Self::build) fails. For an endpoint that was not discovered this is
    /// [`client_secret_basic`](Self::client_secret_basic).
    pub fn client_secret(mut self, client_id: impl AsRef<str>, client_secret: impl AsRef<str>) -> Self {
        let lists = |method: &str| self.auth_methods.as_ref().is_none_or(|methods| methods.iter().any(|m| m == method));
        if lists("client_secret_basic") {
            self.client_secret_basic(client_id, client_secret)
        } else if lists("client_secret_post") {
            self.client_secret_post(client_id, client_secret)
        } else {
            self.credentials = Some(Err(BuildError::new(
                "client_secret",
                format!(
                    "the server accepts no client secret, only {:?}",
                    self.auth_methods.as_deref().unwrap_or_default()
                ),
            )));
            self
        }
    }

    /// Authenticates with a signed assertion (feature `private-key-jwt`). Whom it is meant for is set by
    /// [`PrivateKeyJwt::audience`]: look there if a server refuses it, Okta above all.
    #[cfg(feature = "private-key-jwt")]
    pub fn private_key_jwt(mut self, key: PrivateKeyJwt) -> Self {
        self.credentials = Some(Ok(CredentialSource::Signed(Box::new(key))));
        self
    }

    /// Authenticates with a certificate in the TLS handshake, RFC 8705 (`tls_client_auth` and
    /// `self_signed_tls_client_auth`): `pem` holds the certificate, the chain if there is one, and the private key
    /// (with the feature `native-tls` alone in PKCS #8). A discovered server is then asked at its
    /// `mtls_endpoint_aliases`, if it has some (RFC 8705 section 5).
    pub fn tls_client_auth(mut self, client_id: impl AsRef<str>, pem: impl Into<Vec<u8>>) -> Self {
        let client_id = client_id.as_ref();
        self.link.identity = Some(pem.into());
        self.client("tls_client_auth", client_id, Credential::form([("client_id", client_id)]))
    }

    /// Authenticates with a bearer token that never changes.
    pub fn bearer_token(mut self, token: impl AsRef<str>) -> Self {
        self.credentials =
            Some(Credential::bearer_given_as("bearer_token", token.as_ref()).map(CredentialSource::Fixed));
        self
    }

    /// Authenticates with a bearer token from the client credentials grant, kept and renewed early.
    pub fn client_credentials(mut self, login: ClientCredentials) -> Self {
        self.credentials = Some(login.into_credentials());
        self
    }

    /// Authenticates with what `provider` hands out, as
    /// [`ApigeeBuilder::credentials`](crate::apigee::ApigeeBuilder::credentials) says.
    pub fn credentials<F, Fut>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credential, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.credentials = Some(Ok(CredentialSource::renewed("the `credentials` hook", provider)));
        self
    }

    /// Does not authenticate: for endpoints that only a network guards, such as Hydra's admin port, and for an
    /// `http_client` that does it.
    pub fn without_credentials(mut self) -> Self {
        self.credentials = Some(Ok(CredentialSource::Fixed(Credential::none())));
        self
    }

    fn client(mut self, setting: &'static str, client_id: &str, credential: Credential) -> Self {
        self.credentials = Some(check_client_id(setting, client_id).map(|()| CredentialSource::Fixed(credential)));
        self
    }

    /// Whether a token counts as inactive if the answer has no `token_type`. Default: `false`, since RFC 7662 section
    /// 2.2 makes the member optional. Look at what your server says of access tokens first.
    ///
    /// Some servers call every token active that they know, and state `token_type` for access tokens only. Without this
    /// setting the others are let in as well. As of the versions looked at:
    ///
    /// * oidc-provider: refresh tokens.
    /// * Spring Authorization Server: refresh and ID tokens, authorization codes, and device and user codes, these two
    ///   before anybody has consented.
    /// * oidc-provider: refresh tokens.
    /// * Doorkeeper from 6.0 on: refresh tokens. Up to 5.9 they answer as their access token does, and nothing tells
    ///   them apart.
    ///
    /// It does not help with authentik, where a refresh token answers as an access token does.
    pub fn require_token_type(mut self, require: bool) -> Self {
        self.reading.require_token_type = require;
        self
    }

    /// What kind of token the server is told to look for first. Default: `access_token`. A hint keeps no other kind
    /// out: a server that finds nothing by it looks at all it has (RFC 7662 section 2.1). See
    /// [`require_token_type`](Self::require_token_type) for that.
    pub fn token_type_hint(mut self, hint: impl Into<String>) -> Self {
        self.token_type_hint = Some(hint.into());
        self
    }

    /// Sends no `token_type_hint`, for servers that refuse one or find nothing with it, such as WSO2 Identity Server
    /// before the
    /// end of 2018. RFC 7662 section 2.1 makes the hint optional.
    pub fn without_token_type_hint(mut self) -> Self {
        self.token_type_hint = None;
        self
    }

    /// A further parameter of every question's form.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// How the endpoint is reached. Default: [`Connection::new`].
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// How long a question may take in all: waiting for its turn, credentials, connection, retries, and the last byte
    /// of the answer. Default: 3 seconds.
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

    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting that cannot work:
    ///
    /// * a URL that is none, or has a fragment, a user name or a password; `http` to another machine without
    ///   [`dangerously_allow_plain_http`](Connection::dangerously_allow_plain_http), or of a discovered endpoint whose
    ///   issuer is `https`; `https` without the feature `rustls` or `native-tls` (or an `http_client`)
    /// * no credentials, or some that cannot be sent: an empty client identifier, a bearer token with a line end, a
    ///   login with a setting that cannot work; a secret for a discovered server that lists no way to send it; a
    ///   certificate that cannot be read, or for `http`
    /// * a parameter that is set by another setting
    /// * zero for a timeout, `max_response_bytes`, `max_concurrent_requests`, `rate_limit`, `breaker_threshold` or
    ///   `breaker_pause`
    /// * a [`root_certificate`](Connection::root_certificate) that is none, and what an `http_client` does not go with
    pub fn build(mut self) -> Result<Rfc7662, BuildError> {
        // The URL of a discovered endpoint comes from the metadata; what can be wrong with it is named as there.
        let mut url_setting = if self.issuer.is_some() { "introspection_endpoint" } else { "url" };
        if let (Some(url), Some(_)) = (self.mtls_url.take(), &self.link.identity) {
            (self.url, url_setting) = (url, "mtls_endpoint_aliases");
        }
        let url = Url::parse(&self.url).map_err(|error| BuildError::new(url_setting, format!("not a URL: {error}")))?;
        if self.issuer.as_ref().is_some_and(|issuer| issuer.starts_with("https:")) && url.scheme() != "https" {
            return Err(BuildError::new(url_setting, "the issuer is https, and the endpoint it names is not"));
        }
        let credentials = self.credentials.unwrap_or_else(|| {
            Err(BuildError::new(
                "client_secret_basic",
                "no credentials are set; call `client_secret_basic`, another of its kind, or `without_credentials`",
            ))
        })?;
        credentials.check_parameters("parameter", &self.parameters, &["token", "token_type_hint"])?;
        #[cfg(feature = "private-key-jwt")]
        let credentials = match credentials {
            CredentialSource::Signed(key) => {
                CredentialSource::Signed(Box::new(key.or_audience(self.issuer.as_deref().unwrap_or(&self.url))))
            }
            other => other,
        };
        let endpoint =
            Endpoint::open(url_setting, &url, self.link, &self.limits, RateLimit::per_minute(RATE_LIMIT), credentials)?;
        Ok(Rfc7662 {
            url: self.url,
            token_type_hint: self.token_type_hint,
            parameters: self.parameters,
            reading: self.reading,
            endpoint,
        })
    }
}

impl fmt::Debug for Rfc7662Builder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Rfc7662Builder").field("url", &shown(&self.url)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_it_is_told_otherwise_it_asks_60_000_questions_a_minute_at_most() {
        let limit = RateLimit::per_minute(RATE_LIMIT);
        assert_eq!((limit.questions, limit.per), (60_000, Duration::from_secs(60)));
    }
}
