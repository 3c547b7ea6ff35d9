//! What one layer does with every request, whoever is asked: find the token, judge the verdict, render the rejection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "dpop")]
use http::HeaderValue;
use http::request::Parts;
use http::{Response, StatusCode};

#[cfg(feature = "dpop")]
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::error::IntrospectError;
use crate::introspect::Verdict;
#[cfg(feature = "dpop")]
use crate::introspect::{Ask, Introspect};
use crate::layer::stats::{HasOutcomes, Outcomes};
use crate::log_limit::LogLimit;
use crate::policy::{Policy, Refusal, tell_of_missing_proof};
#[cfg(feature = "dpop")]
use crate::possession::Dpop;
use crate::possession::Possession;
#[cfg(feature = "dpop")]
use crate::rejection::DpopChallenge;
use crate::rejection::{
    GrpcForm, Refused, Rejection, RejectionContext, RejectionReason, RejectionResponse, grpc_trailers, respond,
};
use crate::request::RequestView;
use crate::source::{Presented, TokenSources};
use crate::token::AccessToken;

/// A layer without its introspector: its settings, and how requests fared.
#[derive(Default)]
pub(crate) struct Guard<R> {
    pub(crate) sources: TokenSources,
    pub(crate) remove_token: bool,
    pub(crate) optional: bool,
    pub(crate) policy: Policy,
    /// How callers prove that they hold the key of a bound token.
    pub(crate) possession: Possession,
    /// What the policy and those of routes judge logins by, if it is not the system's.
    pub(crate) login_clock: Option<Arc<dyn Clock>>,
    pub(crate) context: RejectionContext,
    pub(crate) renderer: R,
    pub(crate) outcomes: Outcomes,
    /// The operator was told that there is no cache.
    pub(crate) lack_of_cache_told: AtomicBool,
}

/// Stands in the extensions of a request that an optional layer let through without a token, so that what runs below
/// can tell "no token" from "no layer", answer with the same challenge, and count where the layer does.
#[derive(Clone)]
#[cfg_attr(not(any(feature = "axum", feature = "tonic")), allow(dead_code))] // only what is in `extract` reads it
pub(crate) struct Anonymous {
    #[cfg_attr(not(feature = "axum"), allow(dead_code))] // a gRPC status has no challenge
    pub(crate) context: RejectionContext,
    layer: Arc<dyn HasOutcomes>,
}

impl Anonymous {
    /// What runs below wants a token.
    #[cfg(any(feature = "axum", feature = "tonic"))]
    pub(crate) fn count_missing_token(&self) {
        self.layer.outcomes().rejected(RejectionReason::MissingToken);
    }
}

pub(crate) const NOT_SET_UP: &str = "the service is not set up to check access tokens";

/// The answer to a fault in the application's wiring, which is not the caller's.
pub(crate) fn missing_layer<B: Default>(grpc: Option<GrpcForm>) -> Response<B> {
    const GRPC_INTERNAL: u8 = 13;
    if let Some(form) = grpc {
        return grpc_trailers(B::default(), form, GRPC_INTERNAL, NOT_SET_UP);
    }
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// Every request to such a route comes here.
pub(crate) fn report_missing_layer(found_by: &'static str) {
    const FAULT: &str = "found no IntrospectionLayer around it: add the layer to the same route, outside of it";
    static LIMIT: LogLimit<&str> = LogLimit::new();
    match LIMIT.due(found_by) {
        Some(untold) => tracing::error!(untold, "{found_by} {FAULT}"),
        None => tracing::debug!("{found_by} {FAULT}"),
    }
}

impl<R: Send + Sync> HasOutcomes for Guard<R> {
    fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }
}

impl<R> Guard<R> {
    pub(crate) fn with_renderer<R2>(self, renderer: R2) -> Guard<R2> {
        let Self {
            sources,
            remove_token,
            optional,
            policy,
            possession,
            login_clock,
            context,
            renderer: _,
            outcomes,
            lack_of_cache_told,
        } = self;
        Guard {
            sources,
            remove_token,
            optional,
            policy,
            possession,
            login_clock,
            context,
            renderer,
            outcomes,
            lack_of_cache_told,
        }
    }

    /// The token the request presents; `None` if it presents none and the layer is optional.
    pub(crate) fn find<'r>(&self, request: &'r mut Parts) -> Result<Option<Presented<'r>>, Refused> {
        match self.sources.find(request) {
            Ok(None) if !self.optional => Err(Refused::For(RejectionReason::MissingToken)),
            Ok(token) => Ok(token),
            Err(malformed) => Err(Refused::For(RejectionReason::Malformed(malformed))),
        }
    }

    /// Once: it is asked at the rate of requests.
    #[cold]
    pub(crate) fn report_lack_of_cache(&self) {
        if !self.lack_of_cache_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the authority is asked about every single request, since nothing remembers its answers: hand the layer `Cached::new(endpoint)` instead of the endpoint"
            );
        }
    }

    /// The one way in for a request with a token: hit or miss, the same verdict, policy and extension.
    pub(crate) fn admit(&self, answer: Result<Verdict, IntrospectError>, request: &mut Parts) -> Result<(), Refused> {
        let token = match answer {
            Ok(Verdict::Active(token)) => token,
            Ok(Verdict::Inactive(reason)) => {
                return Err(Refused::For(RejectionReason::Inactive(reason)));
            }
            Err(error) => return Err(Refused::Failed(error)),
        };
        self.sources.mark_sensitive(request);
        if let Err(refusal) = self.policy.judge(&token, &RequestView::new(request)) {
            self.admit_bound(refusal, &token, request)?;
        }
        if self.remove_token {
            self.sources.remove(request);
        }
        request.extensions.insert(token);
        self.outcomes.accepted();
        Ok(())
    }

    /// A token that the policy refuses comes in if all that it lacks is a proof, and the connection has one.
    #[cold]
    fn admit_bound(&self, refusal: Refusal, token: &AccessToken, request: &mut Parts) -> Result<(), Refused> {
        if refusal != Refusal::SenderConstrained {
            return Err(refusal.into());
        }
        if !self.possession.proves_by_connection(token, request)? {
            tell_of_missing_proof(token);
            return Err(refusal.into());
        }
        Ok(self.policy.judge(token, &RequestView::new(request))?)
    }

    /// Has challenges name DPoP, and tokens that come with a proof looked for, if that is switched on.
    #[cfg(feature = "dpop")]
    pub(crate) fn challenge_for_dpop(&mut self) -> Result<(), BuildError> {
        let Some(dpop) = self.possession.dpop.clone() else { return Ok(()) };
        if !self.sources.authorization_header {
            let problem = "a token that comes with a proof stands in the `Authorization` header: look into it, too";
            return Err(BuildError::new("dpop", problem));
        }
        self.sources.dpop = true;
        // A token that is bound to a certificate is presented as a bearer token.
        let accepts_bearer =
            !self.policy.always_requires_sender_constrained() || self.possession.looks_at_connections();
        let nonce = Arc::new(move || dpop.nonce());
        self.context.dpop = Some(DpopChallenge { algorithms: Dpop::algorithms().into(), accepts_bearer, nonce });
        Ok(())
    }

    /// Whether a request that has no bearer token has one that came with a proof.
    #[cfg(feature = "dpop")]
    pub(crate) fn finds_dpop(&self, refused: &Refused, request: &Parts) -> bool {
        refused.reason() == RejectionReason::MissingToken && self.sources.finds_dpop(&request.headers)
    }

    /// The way in for a token that came with a proof. Returns the nonce for the client's next one, if it needs another.
    #[cfg(feature = "dpop")]
    pub(crate) async fn admit_with_proof<I: Introspect>(
        &self,
        introspector: Option<&I>,
        request: &mut Parts,
    ) -> Result<Option<HeaderValue>, Refused> {
        self.sources.mark_all_sensitive(request);
        let found = self.sources.find_of_dpop(request);
        let token = found.map_err(RejectionReason::Malformed)?.into_owned();
        let introspector = introspector.ok_or(RejectionReason::NoAuthority)?;
        let verdict = match introspector.cached(&token) {
            Some(verdict) => verdict,
            None => {
                if introspector.wants_cache() {
                    self.report_lack_of_cache();
                }
                introspector.introspect(Ask::new(&token)).await.map_err(Refused::Failed)?
            }
        };
        let facts = match verdict {
            Verdict::Active(facts) => facts,
            Verdict::Inactive(reason) => return Err(RejectionReason::Inactive(reason).into()),
        };
        let mut proof = self.possession.judge_proof(&facts, &token, &RequestView::new(request))?;
        self.possession.use_proof(&mut proof, introspector.proof_memory(), request).await?;
        self.admit(Ok(Verdict::Active(facts)), request)?;
        Ok(proof.next_nonce)
    }

    /// The way in for a request without a token.
    pub(crate) fn admit_anonymous<B>(self: &Arc<Self>, request: &mut Parts)
    where
        R: RejectionResponse<B>,
        B: 'static,
    {
        self.sources.mark_sensitive(request);
        request.extensions.remove::<AccessToken>();
        let layer = Arc::<Self>::clone(self);
        request.extensions.insert(Anonymous { context: self.context.clone(), layer });
        #[cfg(feature = "axum")]
        request.extensions.insert(RejectsBelow::<B>(Arc::<Self>::clone(self)));
        self.outcomes.anonymous();
    }

    pub(crate) fn reject<B>(&self, refused: Refused, request: &mut Parts) -> Response<B>
    where
        R: RejectionResponse<B>,
    {
        self.reject_by(&self.policy, refused, request)
    }

    /// A rejection by this policy, which may be that of a route within the layer.
    pub(crate) fn reject_by<B>(&self, policy: &Policy, refused: Refused, request: &mut Parts) -> Response<B>
    where
        R: RejectionResponse<B>,
    {
        self.outcomes.rejected(refused.reason());
        // Whoever renders may log what it sees.
        self.sources.mark_all_sensitive(request);
        let request = RequestView::new(request);
        respond(&self.renderer, &Rejection::new(refused, &self.context, &request, Some(policy)), &request)
    }
}

/// Has an extractor answer a request without a token as the layer around it does. It stands in the extensions of such a
/// request, by the body that the layer answers with.
#[cfg(feature = "axum")]
pub(crate) struct RejectsBelow<B>(Arc<dyn RejectsMissingToken<B>>);

#[cfg(feature = "axum")]
impl<B> RejectsBelow<B> {
    pub(crate) fn reject(&self, request: &mut Parts) -> Response<B> {
        self.0.reject_missing_token(request)
    }
}

#[cfg(feature = "axum")]
impl<B> Clone for RejectsBelow<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(feature = "axum")]
trait RejectsMissingToken<B>: Send + Sync {
    fn reject_missing_token(&self, request: &mut Parts) -> Response<B>;
}

#[cfg(feature = "axum")]
impl<B, R: RejectionResponse<B>> RejectsMissingToken<B> for Guard<R> {
    fn reject_missing_token(&self, request: &mut Parts) -> Response<B> {
        self.reject(Refused::For(RejectionReason::MissingToken), request)
    }
}
