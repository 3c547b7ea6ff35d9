//! What one layer does with every request, whoever is asked: find the token, judge the verdict, render the rejection.

use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;
use http::{Response, StatusCode};

use crate::extract::{Presented, TokenSources};
use crate::introspect::{IntrospectError, Verdict};
use crate::metrics::LayerMetrics;
use crate::policy::Policy;
use crate::rejection::{
    Rejection, RejectionContext, RejectionKind, RejectionReason, RejectionResponse, grpc_trailers, respond,
};
use crate::striped::Striped;
use crate::token::AccessToken;

/// The settings of a layer, all but the introspector.
#[derive(Default)]
pub(crate) struct Guard<R> {
    pub(crate) sources: TokenSources,
    pub(crate) remove_token: bool,
    pub(crate) optional: bool,
    pub(crate) policy: Policy,
    pub(crate) context: RejectionContext,
    pub(crate) renderer: R,
    pub(crate) outcomes: Outcomes,
}

/// Stands in the extensions of a request that an optional layer let through without a token, so that what runs below can
/// tell "no token" from "no layer", and answer with the same challenge.
#[derive(Clone)]
pub(crate) struct Anonymous(pub(crate) RejectionContext);

pub(crate) const NOT_SET_UP: &str = "the service is not set up to check access tokens";

/// The answer to a fault in the application's wiring, which is not the caller's.
pub(crate) fn missing_layer<B: Default>(is_grpc: bool) -> Response<B> {
    const GRPC_INTERNAL: u8 = 13;
    if is_grpc {
        return grpc_trailers(B::default(), GRPC_INTERNAL, NOT_SET_UP);
    }
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

pub(crate) fn report_missing_layer(found_by: &'static str) {
    tracing::error!("{found_by} found no IntrospectionLayer around it: add the layer to the same route, outside of it");
}

impl<R> Guard<R> {
    pub(crate) fn with_renderer<R2>(self, renderer: R2) -> Guard<R2> {
        let Self { sources, remove_token, optional, policy, context, renderer: _, outcomes } = self;
        Guard { sources, remove_token, optional, policy, context, renderer, outcomes }
    }

    /// The token the request presents; `None` if it presents none and the layer is optional.
    pub(crate) fn find<'r>(&self, request: &'r mut Parts) -> Result<Option<Presented<'r>>, Rejection> {
        match self.sources.find(request) {
            Ok(None) if !self.optional => Err(Rejection::new(RejectionReason::MissingToken, &self.context)),
            Ok(token) => Ok(token),
            Err(malformed) => Err(Rejection::new(RejectionReason::Malformed(malformed), &self.context)),
        }
    }

    pub(crate) fn unknown_authority(&self) -> Rejection {
        Rejection::new(RejectionReason::NoAuthority, &self.context)
    }

    /// The one way in for a request with a token: hit or miss, the same verdict, policy and extension.
    pub(crate) fn admit(&self, answer: Result<Verdict, IntrospectError>, request: &mut Parts) -> Result<(), Rejection> {
        let token = match answer {
            Ok(Verdict::Active(token)) => token,
            Ok(Verdict::Inactive(reason)) => {
                return Err(Rejection::new(RejectionReason::Inactive(reason), &self.context));
            }
            Err(error) => return Err(Rejection::failed(error, &self.context)),
        };
        self.sources.mark_sensitive(request);
        self.policy.judge(&token, request).map_err(|refusal| Rejection::refused(refusal, &self.context))?;
        if self.remove_token {
            self.sources.remove(request);
        }
        request.extensions.insert(token);
        self.outcomes.accepted();
        Ok(())
    }

    /// The way in for a request without a token.
    pub(crate) fn admit_anonymous(&self, request: &mut Parts) {
        request.extensions.remove::<AccessToken>();
        request.extensions.insert(Anonymous(self.context.clone()));
        self.outcomes.anonymous();
    }

    pub(crate) fn reject<B>(&self, rejection: Rejection, request: &Parts) -> Response<B>
    where
        R: RejectionResponse<B>,
    {
        self.outcomes.rejected(rejection.reason());
        respond(&self.renderer, &rejection.to(request, Some(&self.policy)))
    }
}

/// How requests fared at one layer.
#[derive(Default)]
pub(crate) struct Outcomes {
    accepted: Striped<AtomicU64>,
    anonymous: AtomicU64,
    rejected: [AtomicU64; RejectionReason::ALL.len()],
    metrics: LayerMetrics,
}

impl Outcomes {
    fn accepted(&self) {
        self.accepted.own().fetch_add(1, Ordering::Relaxed);
        self.metrics.accepted();
    }

    fn anonymous(&self) {
        self.anonymous.fetch_add(1, Ordering::Relaxed);
        self.metrics.anonymous();
    }

    pub(crate) fn rejected(&self, reason: RejectionReason) {
        // Each reason has a place of its own in the array.
        if let Some(counter) = self.rejected.get(reason.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.metrics.rejected(reason);
    }

    pub(crate) fn stats(&self) -> LayerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LayerStats {
            accepted: self.accepted.all().map(read).sum(),
            anonymous: read(&self.anonymous),
            rejected: self.rejections(),
            rejected_by_reason: self.rejections_by_reason(),
        }
    }

    /// By kind; kinds that did not occur are left out.
    pub(crate) fn rejections(&self) -> Vec<(RejectionKind, u64)> {
        let by_reason = self.rejections_by_reason();
        let count = |kind| by_reason.iter().filter(|(reason, _)| reason.kind() == kind).map(|(_, count)| count).sum();
        RejectionKind::ALL.map(|kind| (kind, count(kind))).into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn rejections_by_reason(&self) -> Vec<(RejectionReason, u64)> {
        let counts = self.rejected.iter().map(|counter| counter.load(Ordering::Relaxed));
        RejectionReason::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// How requests fared at a layer, since it was made. Given by [`IntrospectionLayer::stats`](crate::IntrospectionLayer::stats).
///
/// What is refused behind the layer, by a [`RequireScopeLayer`](crate::RequireScopeLayer) or an extractor, was let through by it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerStats {
    /// Requests let through with a token.
    pub accepted: u64,
    /// Requests let through without one, as [`optional`](crate::IntrospectionLayerBuilder::optional) has it.
    pub anonymous: u64,
    /// Requests rejected, by kind; kinds that did not occur are left out.
    pub rejected: Vec<(RejectionKind, u64)>,
    /// The same requests by reason; reasons that did not occur are left out.
    pub rejected_by_reason: Vec<(RejectionReason, u64)>,
}
