//! Configuring a layer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::guard::Guard;
use super::introspection_layer::IntrospectionLayer;
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::introspect::ChooseIntrospector;
use crate::policy::policy_settings;
use crate::rejection::{Challenge, EmptyBody, ProblemJson, RejectionContext};
use crate::source::TokenSource;

/// Settings of answers, as given.
#[derive(Default)]
pub(crate) struct Responses {
    pub(crate) realm: Option<String>,
    pub(crate) resource_metadata: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl Responses {
    pub(crate) fn check(self) -> Result<RejectionContext, BuildError> {
        let mut context = RejectionContext {
            challenge: Arc::new(Challenge::new(self.realm.as_deref(), self.resource_metadata.as_deref())?),
            ..RejectionContext::default()
        };
        if let Some(retry_after) = self.retry_after {
            context.retry_after = retry_after;
        }
        Ok(context)
    }
}

/// Configures an [`IntrospectionLayer`]. Made by [`IntrospectionLayer::builder`].
///
/// ```
/// use tower_introspection::IntrospectionLayer;
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let layer = IntrospectionLayer::builder(introspector)
///     .realm("orders")
///     .require_scope("orders.read")
///     .authorize(|token, _| token.attribute("tier") == Some("gold"))
///     .problem_json()
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct IntrospectionLayerBuilder<I, R = EmptyBody> {
    introspector: I,
    guard: Guard<R>,
    responses: Responses,
}

impl<I: ChooseIntrospector> IntrospectionLayerBuilder<I> {
    pub(super) fn new(introspector: I) -> Self {
        Self { introspector, guard: Guard::default(), responses: Responses::default() }
    }
}

impl<I: ChooseIntrospector, R> IntrospectionLayerBuilder<I, R> {
    /// The protection space named in challenges, RFC 9110 section 11.5. Default: `api`.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.responses.realm = Some(realm.into());
        self
    }

    /// Names the document about this resource in every challenge, RFC 9728 section 5.1: the absolute URL of what
    /// [`ProtectedResource`](crate::ProtectedResource) serves. A 401 then names the required scopes too, so that a
    /// client that starts with nothing learns where to ask and for what.
    ///
    /// It comes from here and never from the `Host` header.
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.responses.resource_metadata = Some(url.into());
        self
    }

    policy_settings!(guard.policy);

    /// Lets tokens in that are bound to a key, if the caller proves that it holds the key (DPoP, RFC 9449). Bearer
    /// tokens come in as before, unless [`require_sender_constrained`](Self::require_sender_constrained) says
    /// otherwise; challenges name both. Without this such a token is refused. See
    /// [`Dpop`](crate::possession::Dpop) for what is required.
    #[cfg(feature = "dpop")]
    pub fn dpop(mut self, dpop: crate::possession::Dpop) -> Self {
        self.guard.possession.dpop = Some(dpop);
        self
    }

    /// Lets tokens in that are bound to a client certificate, if the connection has it (RFC 8705). Without this such a
    /// token is refused. See [`ClientCertificates`](crate::possession::ClientCertificates) for where it comes from.
    #[cfg(feature = "certificate-bound")]
    pub fn client_certificates(mut self, certificates: crate::possession::ClientCertificates) -> Self {
        self.guard.possession.certificates = Some(certificates);
        self
    }

    /// The clock that tells how long ago a login was, for
    /// [`require_recent_login`](Self::require_recent_login) here and in what the layer's
    /// [`require`](IntrospectionLayer::require) makes. Whether a token has expired is judged by that of the cache.
    /// Default: [`SystemClock`](crate::clock::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.guard.login_clock = Some(Arc::new(clock));
        self
    }

    /// Looks for the token in this place too. A request that presents a token in two places is malformed.
    pub fn token_source(mut self, source: impl TokenSource) -> Self {
        self.guard.sources.others.push(Arc::new(source));
        self
    }

    /// Whether to look into the `Authorization` header. Without it name another [`token_source`](Self::token_source).
    /// Default: `true`.
    pub fn authorization_header(mut self, look: bool) -> Self {
        self.guard.sources.authorization_header = look;
        self
    }

    /// The longest token accepted, in bytes; a longer one is malformed and nobody is asked about it.
    /// Default: [`BearerToken::DEFAULT_MAX_LENGTH`](crate::BearerToken::DEFAULT_MAX_LENGTH), 4,096.
    pub fn max_token_length(mut self, bytes: usize) -> Self {
        self.guard.sources.max_length = bytes;
        self
    }

    /// Whether to take the token out of the request before the inner service sees it. Otherwise it stays, marked
    /// sensitive where it is a header: `Debug` of the request shows one in the query. Copies of the URI
    /// ([`OriginalUri`](crate::layer::OriginalUri), and axum's with that feature) lose it too. What a
    /// [`token_source_fn`](crate::source::token_source_fn) found is neither marked nor removed. Default: `false`.
    pub fn remove_token(mut self, remove: bool) -> Self {
        self.guard.remove_token = remove;
        self
    }

    /// Whether requests that present no token are let through, without an [`AccessToken`](crate::AccessToken) in their
    /// extensions. A token that is presented is judged as ever, and a bad one is rejected. Required scopes and rules
    /// bind requests with a token only. Default: `false`.
    pub fn optional(mut self, optional: bool) -> Self {
        self.guard.optional = optional;
        self
    }

    /// What a 503 sends as `Retry-After`, rounded up to whole seconds, unless it is known how long the authority will
    /// not be asked. Default: 5 seconds.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.responses.retry_after = Some(delay);
        self
    }

    /// Answers rejections with `application/problem+json`, RFC 9457, instead of an empty body.
    pub fn problem_json(self) -> IntrospectionLayerBuilder<I, ProblemJson> {
        self.rejection_response(ProblemJson)
    }

    /// Renders rejections your own way: a closure, or a [`RejectionResponse`](crate::rejection::RejectionResponse).
    pub fn rejection_response<R2>(self, renderer: R2) -> IntrospectionLayerBuilder<I, R2> {
        let Self { introspector, guard, responses } = self;
        IntrospectionLayerBuilder { introspector, guard: guard.with_renderer(renderer), responses }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting that cannot work:
    ///
    /// * a realm or scope that cannot stand in a challenge
    /// * a [`resource_metadata`](Self::resource_metadata) that is not an absolute `https` URL (`http` on loopback), or
    ///   has a fragment, a user name or a password
    /// * a requirement that names nothing, or an empty text
    /// * two requirements of a client, of an issuer, or of an `acr`, that no token could meet, since it has one of each
    /// * an `acr` that cannot stand in a challenge, a login's age of no whole seconds or of zero
    /// * no place to look for a token, a length limit of zero
    /// * `dpop` without the `Authorization` header, in which such tokens come
    pub fn build(mut self) -> Result<IntrospectionLayer<I, R>, BuildError> {
        self.guard.policy.check()?;
        if let Some(clock) = &self.guard.login_clock {
            self.guard.policy.judge_logins_by(clock);
        }
        self.guard.sources.check()?;
        self.guard.context = self.responses.check()?;
        #[cfg(feature = "dpop")]
        self.guard.challenge_for_dpop()?;
        Ok(IntrospectionLayer::of(self.introspector, self.guard))
    }
}

impl<I, R> fmt::Debug for IntrospectionLayerBuilder<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("IntrospectionLayerBuilder").finish_non_exhaustive()
    }
}
