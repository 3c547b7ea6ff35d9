//! Scopes for single routes, below an [`IntrospectionLayer`](crate::IntrospectionLayer).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower::Service;
use tower_layer::Layer;

use super::builder::Responses;
use crate::build_error::BuildError;
use crate::layer::future::ResponseFuture;
use crate::layer::guard::{Anonymous, missing_layer, report_missing_layer};
use crate::layer::stats::Outcomes;
use crate::policy::{Policy, policy_settings};
use crate::rejection::{
    EmptyBody, ProblemJson, Refused, Rejection, RejectionContext, RejectionKind, RejectionReason, RejectionResponse,
    is_grpc, respond,
};
use crate::token::AccessToken;

/// Requires scopes, or whatever else a [`Policy`] can require, on one route, of the token that an
/// [`IntrospectionLayer`](crate::IntrospectionLayer) around it let in.
///
/// It answers in its own form: give it the [`realm`](RequireScopeLayerBuilder::realm) and the other settings of answers
/// that the layer around it has. Only a request without a token, let through by an optional layer, gets the challenge
/// of that layer; it is [`MissingToken`](crate::rejection::RejectionKind::MissingToken). Without any layer around it every request
/// gets a 500 (a gRPC call: status 13, `INTERNAL`) and the log names the fault: it never lets a request in by mistake.
/// The response body of the inner service must be `Default`, however rejections are rendered.
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_introspection::IntrospectionLayer;
/// use tower_introspection::layer::RequireScopeLayer;
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let admin = ServiceBuilder::new()
///     .layer(IntrospectionLayer::new(introspector))
///     .layer(RequireScopeLayer::new("admin")?)
///     .service_fn(|_: http::Request<String>| async {
///         Ok::<_, std::convert::Infallible>(http::Response::new(String::from("welcome")))
///     });
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
pub struct RequireScopeLayer<R = EmptyBody>(Arc<Requirement<R>>);

struct Requirement<R> {
    policy: Policy,
    context: RejectionContext,
    renderer: R,
    outcomes: Outcomes,
}

impl RequireScopeLayer {
    /// Requires `scope`.
    ///
    /// # Errors
    /// If `scope` is not one scope.
    pub fn new(scope: impl Into<String>) -> Result<Self, BuildError> {
        Self::builder().require_scope(scope).build()
    }

    /// Starts with nothing required: name a scope, or whatever else a [`Policy`] can require.
    pub fn builder() -> RequireScopeLayerBuilder {
        RequireScopeLayerBuilder { policy: Policy::default(), responses: Responses::default(), renderer: EmptyBody }
    }
}

impl<R> RequireScopeLayer<R> {
    /// How many requests this layer, its clones and all services it wraps have rejected, by kind; kinds that did not
    /// occur are left out. The layer around it had accepted them.
    #[must_use]
    pub fn rejected(&self) -> Vec<(RejectionKind, u64)> {
        self.0.outcomes.rejections()
    }
}

impl<S, R> Layer<S> for RequireScopeLayer<R> {
    type Service = RequireScope<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireScope { inner, requirement: Arc::clone(&self.0) }
    }
}

impl<R> Clone for RequireScopeLayer<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> fmt::Debug for RequireScopeLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("RequireScopeLayer").finish_non_exhaustive()
    }
}

/// Configures a [`RequireScopeLayer`]. Made by [`RequireScopeLayer::builder`].
///
/// ```
/// use tower_introspection::layer::RequireScopeLayer;
///
/// let layer = RequireScopeLayer::builder().require_any_scope(["admin", "support"]).realm("orders").build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct RequireScopeLayerBuilder<R = EmptyBody> {
    policy: Policy,
    responses: Responses,
    renderer: R,
}

impl<R> RequireScopeLayerBuilder<R> {
    policy_settings!(policy);

    /// The protection space named in challenges. Give it the realm of the layer around. Default: `api`.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.responses.realm = Some(realm.into());
        self
    }

    /// Names the document about this resource in every challenge. Give it that of the layer around. Default: none.
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.responses.resource_metadata = Some(url.into());
        self
    }

    /// Answers rejections with `application/problem+json`, RFC 9457, instead of an empty body.
    pub fn problem_json(self) -> RequireScopeLayerBuilder<ProblemJson> {
        self.rejection_response(ProblemJson)
    }

    /// Renders rejections your own way: a closure, or a [`RejectionResponse`].
    pub fn rejection_response<R2>(self, renderer: R2) -> RequireScopeLayerBuilder<R2> {
        RequireScopeLayerBuilder { policy: self.policy, responses: self.responses, renderer }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// If nothing is required, or something that no token could have, or the realm or URL cannot stand in a challenge.
    pub fn build(self) -> Result<RequireScopeLayer<R>, BuildError> {
        if self.policy.requires_nothing() {
            return Err(BuildError::new("require_scope", "nothing is named, so the layer would require nothing"));
        }
        self.policy.check()?;
        let requirement = Requirement {
            policy: self.policy,
            context: self.responses.check()?,
            renderer: self.renderer,
            outcomes: Outcomes::default(),
        };
        Ok(RequireScopeLayer(Arc::new(requirement)))
    }
}

impl<R> fmt::Debug for RequireScopeLayerBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("RequireScopeLayerBuilder").finish_non_exhaustive()
    }
}

/// A service whose requests come in only with certain scopes. Made by [`RequireScopeLayer`].
pub struct RequireScope<S, R = EmptyBody> {
    inner: S,
    requirement: Arc<Requirement<R>>,
}

impl<R> Requirement<R> {
    /// The response that keeps the request out, if it is to be kept out.
    fn refusal<B: Default>(&self, request: &Parts) -> Option<Response<B>>
    where
        R: RejectionResponse<B>,
    {
        let (refused, context) = match (request.extensions.get::<AccessToken>(), request.extensions.get::<Anonymous>())
        {
            (Some(token), _) => (self.policy.judge(token, request).err()?.into(), &self.context),
            (None, Some(Anonymous(context))) => (Refused::For(RejectionReason::MissingToken), context),
            (None, None) => {
                report_missing_layer("RequireScopeLayer");
                return Some(missing_layer(is_grpc(request)));
            }
        };
        self.outcomes.rejected(refused.reason());
        Some(respond(&self.renderer, &Rejection::new(refused, context, request, Some(&self.policy)), request))
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for RequireScope<S, R>
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
        let (parts, body) = request.into_parts();
        match self.requirement.refusal(&parts) {
            None => ResponseFuture::running(self.inner.call(Request::from_parts(parts, body)), false),
            Some(response) => {
                // Whatever the service that was polled ready had reserved is given back with it.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(response, false)
            }
        }
    }
}

impl<S: Clone, R> Clone for RequireScope<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), requirement: Arc::clone(&self.requirement) }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for RequireScope<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("RequireScope").field("inner", &self.inner).finish_non_exhaustive()
    }
}
