//! Any RFC 7662 introspection endpoint.
//!
//! `POST {url}` with the token in a form. [`wire`] turns an answer into a verdict and knows neither sockets nor the
//! wall clock; [`discovery`] finds the endpoint of an issuer.

use std::fmt;

use http::StatusCode;

use super::builder::Rfc7662Builder;
#[cfg(feature = "jwt")]
use super::signed;
use super::wire::{self, Reading};
use crate::endpoint::{Endpoint, Heard};
use crate::error::IntrospectError;
use crate::excerpt::excerpt;
use crate::http::exchange::{Reply, status_error};
use crate::introspect::{Ask, InactiveReason, Introspect, Verdict};
use crate::json;
use crate::log_limit::LogLimit;
use crate::protection::EndpointHandle;
use crate::protection::Share;
use crate::token::BearerToken;
use crate::url::shown;

/// Asks an OAuth 2.0 token introspection endpoint, RFC 7662.
///
/// ```
/// use tower_introspection::{Cached, IntrospectionLayer, Rfc7662};
///
/// let endpoint = Rfc7662::builder("https://auth.example.com/introspect")
///     .client_secret_basic("my-api", "secret")
///     .build()?;
/// let layer = IntrospectionLayer::builder(Cached::new(endpoint)).require_audience("https://api.example.com").build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
///
/// `active` has to be a boolean: anything else is a failure of the endpoint, never a verdict. `exp`, `nbf` and `iat`
/// may have fractions and saturate; an `exp` or `nbf` that cannot be read, or an `exp` of zero or less, makes a token
/// inactive. A token without `exp` is active, and a cache asks about it again after its `max_ttl`. What the answer
/// itself calls another kind of token (`token_type`, `token_use`, `token_usage`, `typ`) is inactive, since endpoints
/// call refresh tokens active too; see [`require_token_type`](Rfc7662Builder::require_token_type). Every member is kept
/// as a [claim](crate::AccessToken::claim), save those that hold a token and those of RFC 7662 section 2.2 that have an
/// accessor. (An accessor that is added later will leave its claim in place.)
///
/// Answers in plain JSON are asked for and understood. Signed ones, `application/token-introspection+jwt` (RFC 9701),
/// are with `signed_answers` (feature `jwt`), and then nothing else. A server that sends them unasked has to be told
/// otherwise for this client, and until then the error names their content type.
///
/// HTTP 401 and 403, and the errors `invalid_client` and `unauthorized_client`, are about *this service*. The error
/// `unsupported_token_type` is about the token, and so is a 401 without `WWW-Authenticate` (which RFC 9110 section
/// 15.5.2 has a refusal of credentials carry) whose body is `{"active":false}` and nothing else: Django OAuth Toolkit
/// says so of a token it does not know. The log tells of those at the level `info`. A service whose credentials are
/// renewed ([`client_credentials`](Rfc7662Builder::client_credentials), [`credentials`](Rfc7662Builder::credentials))
/// logs in again and asks once more before it believes so, every half minute at most: a server might say it of an
/// expired credential.
pub struct Rfc7662 {
    /// The URL it was given or was found at, or the issuer that says where it is.
    pub(super) place: String,
    pub(super) token_type_hint: Option<String>,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) reading: Reading,
    pub(super) endpoint: Endpoint,
    /// Reads answers that have to be signed.
    #[cfg(feature = "jwt")]
    pub(super) signed: Option<signed::Opener>,
    /// Of which verdicts with a 401 the operator was told.
    pub(super) odd_verdicts: LogLimit<Share>,
}

impl Rfc7662 {
    /// Starts with the endpoint's URL. [Credentials](Rfc7662Builder::client_secret_basic) are required, the rest has
    /// defaults.
    pub fn builder(url: impl Into<String>) -> Rfc7662Builder {
        Rfc7662Builder::at_url(url.into())
    }

    /// Finds the endpoint in the metadata that `issuer` publishes: `/.well-known/oauth-authorization-server` with the
    /// issuer's path behind it (RFC 8414 section 3), then `/.well-known/openid-configuration` behind the issuer's path
    /// (OpenID Connect Discovery section 4), then before it (RFC 8414 section 5). The first document that names an
    /// introspection endpoint serves; whatever else a place gives, the next one is tried.
    ///
    /// The first question discovers, so that a service starts while its authority is down:
    ///
    /// ```
    /// use tower_introspection::Rfc7662;
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let endpoint = Rfc7662::discover("https://auth.example.com").client_secret("my-api", "secret").build()?;
    /// # Ok(()) }
    /// ```
    ///
    /// One discovery is under way at a time, however many questions wait for it, in a task of its own: each place has
    /// `request_timeout` to answer, and a question that cannot wait so long leaves it behind. For the question that
    /// began it, retries and the circuit breaker are the same as for any other. A failure is 503 with the kind
    /// [`Discovery`](crate::IntrospectErrorKind::Discovery). What somebody has to change (another issuer
    /// in the metadata, no introspection endpoint, no way to authenticate) is logged as an error, and looked at again
    /// after ten seconds. What was found serves until the process ends.
    ///
    /// With [`fetch`](Rfc7662Builder::fetch) a program discovers when it starts, or fails:
    ///
    /// ```no_run
    /// use tower_introspection::Rfc7662;
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let endpoint =
    ///     Rfc7662::discover("https://auth.example.com").client_secret("my-api", "secret").fetch().await?.build()?;
    /// # Ok(()) }
    /// ```
    pub fn discover(issuer: impl Into<String>) -> Rfc7662Builder {
        Rfc7662Builder::of_issuer(issuer.into())
    }

    /// The endpoint's URL. `None` as long as it is not discovered.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.endpoint.target().map(|target| target.url.as_str())
    }

    fn form<'q>(&'q self, token: &'q BearerToken) -> Vec<(&'q str, &'q str)> {
        let mut form = vec![("token", token.expose())];
        form.extend(self.token_type_hint.as_deref().map(|hint| ("token_type_hint", hint)));
        form.extend(self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        form
    }

    fn verdict(&self, reply: &Reply, token: &BearerToken, share: Share) -> Result<Heard<Verdict>, IntrospectError> {
        let now = self.endpoint.clock().now();
        match reply.status {
            StatusCode::OK => {
                let verdict = wire::read(&reply.body, token, now, self.reading, self.endpoint.unclear());
                verdict.map(Heard::OfTheToken).map_err(|error| reply.explain(error, token))
            }
            // RFC 6749 section 5.2 allows 400 for a client that is not accepted, and some servers use it.
            StatusCode::BAD_REQUEST if says(&reply.body, &["invalid_client", "unauthorized_client"]) => {
                Err(refuses_this_client())
            }
            // oidc-provider's answer to whatever looks like a JWT: any caller can cause it, so it is about the token.
            StatusCode::BAD_REQUEST if says(&reply.body, &["unsupported_token_type"]) => {
                Ok(Heard::OfTheToken(Verdict::Inactive(InactiveReason::Unclear)))
            }
            // A server that means this service asks for credentials with its 401, or names an error.
            StatusCode::UNAUTHORIZED if !reply.is_challenge() && wire::says_inactive_alone(&reply.body) => {
                self.tell_of_odd_verdict(share);
                Ok(Heard::OfTheTokenOrUs(Verdict::Inactive(InactiveReason::Unknown)))
            }
            _ => Err(reply.status_error(now)),
        }
    }

    /// Should it be about this service after all, the operator finds it here.
    fn tell_of_odd_verdict(&self, share: Share) {
        if let Some(untold) = self.odd_verdicts.due(share) {
            tracing::info!(
                endpoint = %excerpt(&shown(self.url().unwrap_or(&self.place))),
                untold,
                "the authority answered 401 with `{{\"active\":false}}` and no challenge: the token counts as unknown (a service that logs in does so again first, every half minute at most)"
            );
        }
    }

    async fn ask(&self, token: &BearerToken<'_>, share: Share) -> Result<Verdict, IntrospectError> {
        let form = self.form(token);
        #[cfg(feature = "jwt")]
        if let Some(signed) = &self.signed {
            let departed_at = self.endpoint.clock().now();
            let read = |reply: &Reply| self.signed_text(reply);
            let verify = async |text: String| {
                let now = self.endpoint.clock().now();
                let answer = signed.open(&text, departed_at, now).await?;
                wire::read(answer.as_bytes(), token, now, self.reading, self.endpoint.unclear())
            };
            return self.endpoint.ask_and(None, Some(&form), share, read, verify).await;
        }
        self.endpoint.ask(None, Some(&form), share, |reply| self.verdict(reply, token, share)).await
    }

    /// The body of an answer that has to be signed. Nothing else is a verdict: whoever can change an answer could send
    /// one that is not.
    #[cfg(feature = "jwt")]
    fn signed_text(&self, reply: &Reply) -> Result<Heard<String>, IntrospectError> {
        if reply.status != StatusCode::OK {
            let is_about_us = reply.status == StatusCode::BAD_REQUEST
                && says(&reply.body, &["invalid_client", "unauthorized_client"]);
            return Err(match is_about_us {
                true => refuses_this_client(),
                false => reply.status_error(self.endpoint.clock().now()),
            });
        }
        if !reply.is_of_type(signed::MEDIA_TYPE) {
            return Err(signed::unusable("its content type is not `application/token-introspection+jwt`"));
        }
        match str::from_utf8(&reply.body) {
            Ok(text) => Ok(Heard::OfTheToken(text.trim_ascii_end().to_owned())),
            Err(_) => Err(signed::unusable("it is not text")),
        }
    }
}

impl Introspect for Rfc7662 {
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

fn refuses_this_client() -> IntrospectError {
    status_error(StatusCode::UNAUTHORIZED).with_source("HTTP status 400, which says that this client may not ask")
}

fn says(body: &[u8], codes: &[&str]) -> bool {
    json::error_code(body).is_some_and(|code| codes.contains(&code.as_str()))
}

impl fmt::Debug for Rfc7662 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Rfc7662").field("place", &shown(self.url().unwrap_or(&self.place))).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
