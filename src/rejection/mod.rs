//! What the caller is told.
//!
//! [`RejectionReason`] is the one table from reasons to kinds, [`RejectionKind`] the one from kinds to answers; the
//! renderers of `response` write them as HTTP or gRPC.

mod challenge;
mod grpc;
mod possession;
mod reason;
mod response;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

pub(crate) use challenge::Challenge;
#[cfg(feature = "dpop")]
pub(crate) use challenge::DpopChallenge;
pub(crate) use grpc::GrpcForm;
pub use possession::{CertificateFault, ProofFault};
pub use reason::RejectionReason;
pub use response::{EmptyBody, ProblemJson, RejectionResponse};
pub(crate) use response::{grpc_trailers, respond};

use crate::error::{IntrospectError, Sort};
use crate::log_limit::LogLimit;
use crate::policy::{Policy, Refusal, WantedLogin};
use crate::request::RequestView;

/// The header with a nonce for a client's next proof, RFC 9449 section 8.
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What a rejection comes down to. The layer puts it into the extensions of the response, so that layers around it can
/// count or log it.
///
/// | kind | when | HTTP | RFC 6750 error | gRPC |
/// | --- | --- | --- | --- | --- |
/// | `MissingToken` | no token, or another scheme | 401 | none | 16 `UNAUTHENTICATED` |
/// | `InvalidRequest` | malformed or oversized token, or more than one | 400 | `invalid_request` | 16 |
/// | `InvalidToken` | unknown, revoked, expired, not yet valid, not clearly active, bound to a key that the caller did not prove to hold, or to none where one is required, for another audience, from another issuer, of no authority | 401 | `invalid_token` | 16 |
/// | `InvalidDpopProof` | the proof that goes with the token is not as it has to be (feature `dpop`) | 401 | `invalid_dpop_proof`, RFC 9449 | 16 |
/// | `UseDpopNonce` | the proof has no nonce, or an old one (feature `dpop`) | 401 | `use_dpop_nonce`, RFC 9449 | 16 |
/// | `InsufficientUserAuthentication` | active, but the route asks for another login, or a later one | 401 | `insufficient_user_authentication`, RFC 9470 | 16 |
/// | `InsufficientScope` | active, but the route asks for more | 403 | `insufficient_scope` | 7 `PERMISSION_DENIED` |
/// | `Denied` | active, but another client's, without the product, or the route's own rule says no | 403 | none | 7 |
/// | `Unavailable` | the authority could not be asked, or refused *us* | 503 | no challenge | 14 `UNAVAILABLE` |
/// | `Overloaded` | too many questions are under way | 503 | no challenge | 14 |
/// | `TooManyProofs` | there is no room to remember a DPoP proof, or too many with a wrong signature came in (feature `dpop`) | 503 | no challenge | 14 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The request presents no bearer token.
    MissingToken,
    /// What it presents is not exactly one well-formed bearer token.
    InvalidRequest,
    /// The token is not active, or is not meant for this service.
    InvalidToken,
    /// The token is bound to a key, and the DPoP proof that its caller holds the key is not as it has to be.
    InvalidDpopProof,
    /// The DPoP proof has to hold a nonce that this service has handed out lately.
    UseDpopNonce,
    /// The token is active, but the login behind it is not of a kind that the route requires, or too long ago.
    InsufficientUserAuthentication,
    /// The token is active, but lacks a scope that the route requires.
    InsufficientScope,
    /// The token is active, but its client, its products or a rule of the route keep it out.
    Denied,
    /// Whether the token is active could not be found out.
    Unavailable,
    /// Whether the token is active was not even asked, because too many questions are under way.
    Overloaded,
    /// Whether the DPoP proof is good was not found out, because there are too many.
    TooManyProofs,
}

struct Row {
    name: &'static str,
    status: StatusCode,
    error: Option<&'static str>,
    grpc_code: u8,
}

impl RejectionKind {
    /// All of them, in the order in which they are listed.
    pub(crate) const ALL: [Self; 11] = [
        Self::MissingToken,
        Self::InvalidRequest,
        Self::InvalidToken,
        Self::InvalidDpopProof,
        Self::UseDpopNonce,
        Self::InsufficientUserAuthentication,
        Self::InsufficientScope,
        Self::Denied,
        Self::Unavailable,
        Self::Overloaded,
        Self::TooManyProofs,
    ];

    fn row(self) -> Row {
        let row = |name, status, error, grpc_code| Row { name, status, error, grpc_code };
        match self {
            Self::MissingToken => row("missing_token", StatusCode::UNAUTHORIZED, None, 16),
            Self::InvalidRequest => row("invalid_request", StatusCode::BAD_REQUEST, Some("invalid_request"), 16),
            Self::InvalidToken => row("invalid_token", StatusCode::UNAUTHORIZED, Some("invalid_token"), 16),
            Self::InvalidDpopProof => {
                row("invalid_dpop_proof", StatusCode::UNAUTHORIZED, Some("invalid_dpop_proof"), 16)
            }
            Self::UseDpopNonce => row("use_dpop_nonce", StatusCode::UNAUTHORIZED, Some("use_dpop_nonce"), 16),
            Self::InsufficientUserAuthentication => {
                let error = "insufficient_user_authentication";
                row(error, StatusCode::UNAUTHORIZED, Some(error), 16)
            }
            Self::InsufficientScope => row("insufficient_scope", StatusCode::FORBIDDEN, Some("insufficient_scope"), 7),
            Self::Denied => row("denied", StatusCode::FORBIDDEN, None, 7),
            Self::Unavailable => row("unavailable", StatusCode::SERVICE_UNAVAILABLE, None, 14),
            Self::Overloaded => row("overloaded", StatusCode::SERVICE_UNAVAILABLE, None, 14),
            Self::TooManyProofs => row("too_many_proofs", StatusCode::SERVICE_UNAVAILABLE, None, 14),
        }
    }

    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// The `error` of the challenge, RFC 6750 section 3.1, RFC 9449 section 7.1 and RFC 9470 section 3.
    #[must_use]
    pub fn error(self) -> Option<&'static str> {
        self.row().error
    }

    /// The gRPC status code.
    #[must_use]
    pub fn grpc_code(self) -> u8 {
        self.row().grpc_code
    }

    /// Whether the answer carries a challenge: it does unless the fault is on this side.
    fn has_challenge(self) -> bool {
        self.status() != StatusCode::SERVICE_UNAVAILABLE
    }
}

/// A request that does not come in, and what its caller is told.
///
/// Everything in it is from fixed texts and from the layer's own settings; nothing comes from the request, the token or
/// the authority's answer, but for how long the authority wants to be left alone, within the bound set for it.
#[derive(Clone, Debug)]
pub struct Rejection {
    reason: RejectionReason,
    wanted_scopes: Option<String>,
    wanted_login: WantedLogin,
    cause: Option<IntrospectError>,
    context: RejectionContext,
    /// The token came with a proof.
    #[cfg(feature = "dpop")]
    is_of_dpop: bool,
    /// `None` if the request is no gRPC call.
    grpc: Option<GrpcForm>,
}

/// The soonest a caller is told to come back.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What all rejections of one layer have in common.
#[derive(Clone, Debug)]
pub(crate) struct RejectionContext {
    pub(crate) challenge: Arc<Challenge>,
    pub(crate) retry_after: Duration,
    /// Where tokens come in with a proof, too.
    #[cfg(feature = "dpop")]
    pub(crate) dpop: Option<DpopChallenge>,
    /// Of which failures the operator was told.
    pub(crate) told: Arc<LogLimit<Sort>>,
}

impl Default for RejectionContext {
    fn default() -> Self {
        Self {
            challenge: Arc::default(),
            retry_after: Duration::from_secs(5),
            #[cfg(feature = "dpop")]
            dpop: None,
            told: Arc::new(LogLimit::new()),
        }
    }
}

/// Why a request does not come in.
pub(crate) enum Refused {
    For(RejectionReason),
    /// Holds the scopes that are wanted, separated by spaces.
    InsufficientScope(String),
    Failed(IntrospectError),
}

impl Refused {
    pub(crate) fn reason(&self) -> RejectionReason {
        match self {
            Self::For(reason) => *reason,
            Self::InsufficientScope(_) => RejectionReason::InsufficientScope,
            Self::Failed(error) if error.is_overloaded() => RejectionReason::Overloaded,
            Self::Failed(_) => RejectionReason::Unavailable,
        }
    }

    /// Whether another login of the user helps.
    pub(crate) fn is_step_up(&self) -> bool {
        self.reason().kind() == RejectionKind::InsufficientUserAuthentication
    }
}

impl From<RejectionReason> for Refused {
    fn from(reason: RejectionReason) -> Self {
        Self::For(reason)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::For(match refusal {
            Refusal::SenderConstrained => RejectionReason::SenderConstrained,
            Refusal::NotSenderConstrained => RejectionReason::NotSenderConstrained,
            Refusal::Audience => RejectionReason::Audience,
            Refusal::Issuer => RejectionReason::Issuer,
            Refusal::Acr => RejectionReason::Acr,
            Refusal::RecentLogin => RejectionReason::RecentLogin,
            Refusal::Client => RejectionReason::Client,
            Refusal::ApiProduct => RejectionReason::ApiProduct,
            Refusal::Rule => RejectionReason::Rule,
            Refusal::InsufficientScope(wanted) => return Self::InsufficientScope(wanted),
        })
    }
}

impl Rejection {
    /// The answer to this request, of which `policy` would have required something.
    pub(crate) fn new(
        refused: Refused,
        context: &RejectionContext,
        request: &RequestView,
        policy: Option<&Policy>,
    ) -> Self {
        let (reason, is_step_up) = (refused.reason(), refused.is_step_up());
        let wants_another_token =
            is_step_up || (reason.kind().status() == StatusCode::UNAUTHORIZED && context.challenge.names_metadata());
        let (wanted_scopes, cause) = match refused {
            Refused::InsufficientScope(wanted) => (Some(wanted), None),
            Refused::Failed(error) => (None, Some(error)),
            Refused::For(_) if wants_another_token => {
                (policy.and_then(|policy| policy.wanted_scopes(request.method())), None)
            }
            Refused::For(_) => (None, None),
        };
        let policy = policy.filter(|_| is_step_up);
        let wanted_login = policy.map(|policy| policy.wanted_login(request.method())).unwrap_or_default();
        Self {
            reason,
            wanted_scopes,
            wanted_login,
            cause,
            context: context.clone(),
            #[cfg(feature = "dpop")]
            is_of_dpop: context.dpop.is_some() && challenge::is_of_dpop(request),
            grpc: GrpcForm::of(request),
        }
    }

    /// What it comes down to.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.reason.kind()
    }

    /// Why it is so.
    #[must_use]
    pub fn reason(&self) -> RejectionReason {
        self.reason
    }

    /// One fixed sentence for the caller, in the characters RFC 6750 allows for `error_description`.
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.reason.description()
    }

    /// The scopes the route wants, separated by spaces: of an [`InsufficientScope`](RejectionKind::InsufficientScope)
    /// and an [`InsufficientUserAuthentication`](RejectionKind::InsufficientUserAuthentication), and of every 401 from
    /// a layer with [`resource_metadata`](crate::layer::IntrospectionLayerBuilder::resource_metadata).
    #[must_use]
    pub fn wanted_scopes(&self) -> Option<&str> {
        self.wanted_scopes.as_deref()
    }

    /// The `acr` values of which the route wants one, in the order of preference, separated by spaces: of an
    /// [`InsufficientUserAuthentication`](RejectionKind::InsufficientUserAuthentication) where the route
    /// [wants one](Policy::require_acr).
    #[must_use]
    pub fn wanted_acr_values(&self) -> Option<&str> {
        self.wanted_login.acr_values.as_deref()
    }

    /// How long ago the login may be at the most: of an
    /// [`InsufficientUserAuthentication`](RejectionKind::InsufficientUserAuthentication) where the route
    /// [says so](Policy::require_recent_login).
    #[must_use]
    pub fn wanted_max_age(&self) -> Option<Duration> {
        self.wanted_login.max_age
    }

    /// Why the authority could not be asked. For logs: it is not for the caller.
    #[must_use]
    pub fn cause(&self) -> Option<&IntrospectError> {
        self.cause.as_ref()
    }

    /// The value of `WWW-Authenticate`, RFC 6750 section 3 and RFC 9470 section 3. `None` if the fault is on this side
    /// (503).
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        let kind = self.kind();
        if !kind.has_challenge() {
            return None;
        }
        let max_age = self.wanted_max_age().map(|max_age| max_age.as_secs().to_string());
        let parameters = [
            ("error", kind.error()),
            ("error_description", kind.error().map(|_| self.description())),
            ("scope", self.wanted_scopes()),
            ("acr_values", self.wanted_acr_values()),
            ("max_age", max_age.as_deref()),
        ];
        #[cfg(feature = "dpop")]
        if let Some(dpop) = &self.context.dpop {
            return self.context.challenge.render_with_dpop(dpop, self.schemes(dpop), parameters);
        }
        self.context.challenge.render(parameters)
    }

    /// What the challenge is to name where DPoP is accepted: RFC 9449 section 7.1.
    #[cfg(feature = "dpop")]
    fn schemes(&self, dpop: &DpopChallenge) -> challenge::Schemes {
        let wants_a_bound_token = self.reason == RejectionReason::NotSenderConstrained;
        if self.is_of_dpop || wants_a_bound_token || !dpop.accepts_bearer {
            challenge::Schemes::Dpop
        } else {
            challenge::Schemes::Both
        }
    }

    /// The nonce that the client is to put into its next proof (`DPoP-Nonce`), RFC 9449 section 9: of a 401, where
    /// [nonces](crate::possession::DpopBuilder::require_nonces) are handed out. An answer with it must not be cached.
    #[cfg(feature = "dpop")]
    #[must_use]
    pub fn dpop_nonce(&self) -> Option<HeaderValue> {
        let dpop = self.context.dpop.as_ref().filter(|_| self.kind().status() == StatusCode::UNAUTHORIZED)?;
        (dpop.nonce)()
    }

    /// Adds what a client needs for its next proof.
    #[cfg(feature = "dpop")]
    fn add_dpop_nonce(&self, headers: &mut http::HeaderMap) {
        if let Some(nonce) = self.dpop_nonce() {
            headers.insert(DPOP_NONCE, nonce);
            headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }

    /// How long the caller should wait before it tries again: as long as the authority is left alone, or else as the
    /// layer was told. `None` unless the fault is on this side (503).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let known = self.cause.as_ref().and_then(IntrospectError::retry_after);
        (!self.kind().has_challenge()).then(|| known.map_or(self.context.retry_after, |delay| delay.max(AT_ONCE)))
    }

    /// Whether the request is a gRPC call, and expects an answer of that form: a POST whose content type begins with
    /// `application/grpc`.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.grpc.is_some()
    }

    /// Tells the operator. Nothing here comes from the request.
    fn log(&self) {
        let (kind, reason, description) = (self.kind().as_str(), self.reason.as_str(), self.description());
        let Some(error) = &self.cause else {
            tracing::debug!(kind, reason, "request rejected: {description}");
            return;
        };
        let cause = error.kind().as_str();
        let was_said = error.is_reported() || error.was_not_asked();
        match (!was_said).then(|| self.context.told.due(error.sort())).flatten() {
            Some(untold) => tracing::warn!(kind, reason, cause, ?error, untold, "request rejected: {description}"),
            None => tracing::debug!(kind, reason, cause, ?error, "request rejected: {description}"),
        }
    }
}
