//! What single routes require, below an [`IntrospectionLayer`](crate::IntrospectionLayer).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower::Service;
use tower_layer::Layer;

use super::future::ResponseFuture;
use super::guard::{Anonymous, Guard, missing_layer, report_missing_layer};
use crate::build_error::BuildError;
use crate::policy::{Policy, Refusal, tell_of_missing_proof};
use crate::rejection::{EmptyBody, GrpcForm, Refused, RejectionReason, RejectionResponse};
use crate::request::RequestView;
use crate::token::AccessToken;

/// Requires more of requests to some routes, of the token that the [`IntrospectionLayer`](crate::IntrospectionLayer)
/// around them let in. Made by [`IntrospectionLayer::require`](crate::IntrospectionLayer::require).
///
/// It answers as the layer it was made from does, and counts there. A request without a token, let through by an
/// optional layer, is [`MissingToken`](crate::rejection::RejectionKind::MissingToken). Of a login that is not enough
/// the challenge names what the layer requires, too, since the next one has to be good for both. Without any layer
/// around it every request gets a 500 (a gRPC call: status 13, `INTERNAL`) and the log names the fault: without a layer
/// it lets nobody in. The response body of the inner service must be `Default`, however rejections are rendered.
///
/// **A token that another layer let in is judged as if the layer this was made from had let it in.** A token does not
/// say which layer that was; to note it would cost every request. So below a layer with another authority, or with
/// another audience, a token that has the required scope comes in. Make this only with the layer that stands around it.
pub struct RequireLayer<R = EmptyBody>(Arc<Requirement<R>>);

struct Requirement<R> {
    guard: Arc<Guard<R>>,
    policy: Policy,
    /// What the layer around requires, and the policy: a new login has to be good for both.
    whole: Policy,
}

impl<R> RequireLayer<R> {
    pub(super) fn new(guard: Arc<Guard<R>>, mut policy: Policy) -> Result<Self, BuildError> {
        if policy.requires_nothing() {
            return Err(BuildError::new("require", "the policy names nothing, so the layer would require nothing"));
        }
        policy.check()?;
        if let Some(clock) = &guard.login_clock {
            policy.judge_logins_by(clock);
        }
        let whole = guard.policy.clone().policy(policy.clone());
        Ok(Self(Arc::new(Requirement { guard, policy, whole })))
    }
}

impl<S, R> Layer<S> for RequireLayer<R> {
    type Service = Require<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Require { inner, requirement: Arc::clone(&self.0) }
    }
}

impl<R> Clone for RequireLayer<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> fmt::Debug for RequireLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("RequireLayer").finish_non_exhaustive()
    }
}

/// A service whose requests have to meet a policy of its own. Made by [`RequireLayer`].
pub struct Require<S, R = EmptyBody> {
    inner: S,
    requirement: Arc<Requirement<R>>,
}

impl<R> Requirement<R> {
    /// The response that keeps the request out, if it is to be kept out.
    fn refusal<B: Default>(&self, request: &mut Parts) -> Option<Response<B>>
    where
        R: RejectionResponse<B>,
    {
        let view = RequestView::new(request);
        let refused: Refused = match (view.extension::<AccessToken>(), view.extension::<Anonymous>()) {
            (Some(token), _) => {
                let refusal = self.policy.judge(token, &view).err()?;
                if refusal == Refusal::SenderConstrained {
                    tell_of_missing_proof(token);
                }
                refusal.into()
            }
            (None, Some(_)) => Refused::For(RejectionReason::MissingToken),
            (None, None) => {
                report_missing_layer("RequireLayer");
                return Some(missing_layer(GrpcForm::of(&view)));
            }
        };
        let challenging = if refused.is_step_up() { &self.whole } else { &self.policy };
        Some(self.guard.reject_by(challenging, refused, request))
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Require<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    R: RejectionResponse<ResBody>,
    ResBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.requirement.refusal(&mut parts) {
            None => ResponseFuture::running(self.inner.call(Request::from_parts(parts, body)), false),
            Some(response) => {
                // Whatever the service that was polled ready had reserved is given back with it.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(response, false)
            }
        }
    }
}

impl<S: Clone, R> Clone for Require<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), requirement: Arc::clone(&self.requirement) }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Require<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Require").field("inner", &self.inner).finish_non_exhaustive()
    }
}
