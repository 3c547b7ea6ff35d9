//! An introspector of a type that is known at run time only.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "dpop")]
use super::ProofMemory;
use super::{Ask, Introspect, Verdict};
use crate::error::IntrospectError;
use crate::protection::EndpointHandle;
use crate::token::BearerToken;

/// An [`Introspect`] of any type, for where the type is known at run time only. Cloning it copies a pointer.
///
/// ```
/// use tower_introspection::{Apigee, Cached, IntrospectionLayer, Rfc7662};
/// use tower_introspection::introspect::AnyIntrospector;
///
/// # let moved_to_keycloak = true;
/// let introspector = if moved_to_keycloak {
///     let endpoint = Rfc7662::builder("https://auth.example.com/introspect");
///     let endpoint = endpoint.client_secret_basic("my-api", "secret").build()?;
///     AnyIntrospector::new(Cached::new(endpoint))
/// } else {
///     AnyIntrospector::new(Cached::new(Apigee::builder("my-org").basic_auth("u", "p").build()?))
/// };
/// let layer = IntrospectionLayer::new(introspector);
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct AnyIntrospector(Arc<dyn Erased>);

type Answering<'q> = Pin<Box<dyn Future<Output = Result<Verdict, IntrospectError>> + Send + 'q>>;

trait Erased: Send + Sync {
    fn cached(&self, token: &BearerToken<'_>) -> Option<Verdict>;
    fn introspect<'q>(&'q self, ask: Ask<'q>) -> Answering<'q>;
    fn endpoint(&self) -> Option<EndpointHandle>;
    fn wants_cache(&self) -> bool;
    fn judges_alone(&self) -> Option<Duration>;
    #[cfg(feature = "dpop")]
    fn proof_memory(&self) -> Option<ProofMemory>;
}

impl<I: Introspect> Erased for I {
    fn cached(&self, token: &BearerToken<'_>) -> Option<Verdict> {
        Introspect::cached(self, token)
    }

    fn introspect<'q>(&'q self, ask: Ask<'q>) -> Answering<'q> {
        Box::pin(Introspect::introspect(self, ask))
    }

    fn endpoint(&self) -> Option<EndpointHandle> {
        Introspect::endpoint(self)
    }

    fn wants_cache(&self) -> bool {
        Introspect::wants_cache(self)
    }

    fn judges_alone(&self) -> Option<Duration> {
        Introspect::judges_alone(self)
    }

    #[cfg(feature = "dpop")]
    fn proof_memory(&self) -> Option<ProofMemory> {
        Introspect::proof_memory(self)
    }
}

impl AnyIntrospector {
    /// Forgets the type of `introspector`.
    #[must_use]
    pub fn new(introspector: impl Introspect) -> Self {
        Self(Arc::new(introspector))
    }
}

impl Introspect for AnyIntrospector {
    fn cached(&self, token: &BearerToken<'_>) -> Option<Verdict> {
        self.0.cached(token)
    }

    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        self.0.introspect(ask).await
    }

    fn endpoint(&self) -> Option<EndpointHandle> {
        self.0.endpoint()
    }

    fn wants_cache(&self) -> bool {
        self.0.wants_cache()
    }

    fn judges_alone(&self) -> Option<Duration> {
        self.0.judges_alone()
    }

    #[cfg(feature = "dpop")]
    fn proof_memory(&self) -> Option<ProofMemory> {
        self.0.proof_memory()
    }
}

impl fmt::Debug for AnyIntrospector {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("AnyIntrospector")
    }
}
