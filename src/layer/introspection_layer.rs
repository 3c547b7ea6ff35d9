//! The layer.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::builder::IntrospectionLayerBuilder;
use super::guard::Guard;
use super::require::RequireLayer;
use super::service::Introspection;
use super::stats::{HasOutcomes, LayerHandle, LayerStats};
use crate::build_error::BuildError;
use crate::introspect::ChooseIntrospector;
use crate::policy::Policy;
use crate::rejection::EmptyBody;

/// Lets requests with an active access token through to the service it wraps, and answers all others itself.
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_introspection::{AccessToken, Apigee, Cached, IntrospectionLayer};
///
/// let apigee = Apigee::builder("my-org").basic_auth("token-reader@example.com", "password").build()?;
/// let service = ServiceBuilder::new()
///     .layer(IntrospectionLayer::new(Cached::new(apigee)))
///     .service_fn(|request: http::Request<String>| async move {
///         let token = request.extensions().get::<AccessToken>();
///         let client = token.and_then(AccessToken::client_id);
///         Ok::<_, std::convert::Infallible>(http::Response::new(format!("hello {client:?}")))
///     });
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
///
/// The inner service must be `Clone`, as `axum` and `tonic` services are; put others behind `tower::buffer::Buffer`.
/// Its response body must be `Default`, since rejections have an empty one. A closure that renders rejections needs
/// that too, for the answers to gRPC calls; [`problem_json`](IntrospectionLayerBuilder::problem_json) needs `Default`
/// and `From<String>`. Only a type with a [`RejectionResponse`](crate::rejection::RejectionResponse) of your own makes
/// whatever body it likes.
///
/// Clones of the layer share the cache, and so do layers built with clones of one [`Cached`](crate::Cached). For routes
/// with other requirements, build another layer with a clone of the `Cached`; routes that require
/// more get what [`require`](Self::require) makes.
///
/// While a request waits for the authority, it holds the inner service that was polled ready, and whatever that has
/// reserved, such as a permit of a `ConcurrencyLimit`. The permit of a limit outside this layer is held as well. So
/// requests with junk tokens use up permits while they wait. To limit only requests that were let in, acquire the
/// permit in the service itself, when it is called.
pub struct IntrospectionLayer<I, R = EmptyBody> {
    introspector: Arc<I>,
    guard: Arc<Guard<R>>,
}

impl<I: ChooseIntrospector> IntrospectionLayer<I> {
    /// Any active bearer token in the `Authorization` header comes in.
    ///
    /// Hand it a [`Cached`](crate::Cached): an endpoint by itself is asked about every request, and the log says so
    /// once.
    #[must_use]
    pub fn new(introspector: I) -> Self {
        Self::of(introspector, Guard::default())
    }

    /// Starts with what [`new`](Self::new) does.
    pub fn builder(introspector: I) -> IntrospectionLayerBuilder<I> {
        IntrospectionLayerBuilder::new(introspector)
    }
}

impl<I, R> IntrospectionLayer<I, R> {
    pub(super) fn of(introspector: I, guard: Guard<R>) -> Self {
        Self { introspector: Arc::new(introspector), guard: Arc::new(guard) }
    }

    /// A layer for routes within this one that require more: scopes, or whatever else a [`Policy`] can require. It
    /// answers and counts as this layer does. **Below another layer it judges the tokens that the other let in:** see
    /// [`RequireLayer`].
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use tower_introspection::{IntrospectionLayer, Policy};
    /// # let introspector = tower_introspection::introspect_fn(|_| async {
    /// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
    ///
    /// let guard = IntrospectionLayer::new(introspector);
    /// let admin = guard.require(Policy::new().require_scope("admin"))?;
    /// let app: Router = Router::new()
    ///     .route("/whoami", get(async || "you"))
    ///     .route("/admin", get(async || "welcome").route_layer(admin))
    ///     .route_layer(guard);
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// If the policy requires nothing, or something that no token could have.
    pub fn require(&self, policy: Policy) -> Result<RequireLayer<R>, BuildError> {
        RequireLayer::new(Arc::clone(&self.guard), policy)
    }

    /// How requests fared at this layer, its clones, and all services it wraps.
    #[must_use]
    pub fn stats(&self) -> LayerStats {
        self.guard.outcomes.stats()
    }
}

impl<I, R: Send + Sync + 'static> IntrospectionLayer<I, R> {
    /// Observes this layer from elsewhere in the application, such as a status page.
    #[must_use]
    pub fn handle(&self) -> LayerHandle {
        LayerHandle::new(Arc::clone(&self.guard) as Arc<dyn HasOutcomes>)
    }
}

impl<S, I, R> Layer<S> for IntrospectionLayer<I, R> {
    type Service = Introspection<S, I, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Introspection::new(inner, Arc::clone(&self.introspector), Arc::clone(&self.guard))
    }
}

impl<I, R> Clone for IntrospectionLayer<I, R> {
    fn clone(&self) -> Self {
        Self { introspector: Arc::clone(&self.introspector), guard: Arc::clone(&self.guard) }
    }
}

impl<I, R> fmt::Debug for IntrospectionLayer<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("IntrospectionLayer").finish_non_exhaustive()
    }
}
