//! The guarded service.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower::Service;

use crate::introspect::{Ask, ChooseIntrospector, Introspect};
use crate::layer::future::{Held, ResponseFuture};
use crate::layer::guard::Guard;
use crate::rejection::{EmptyBody, Refused, RejectionReason, RejectionResponse};
use crate::source::Presented;
use crate::token::BearerToken;

/// A service whose requests come in only with an active access token. Made by
/// [`IntrospectionLayer`](crate::IntrospectionLayer).
pub struct Introspection<S, I, R = EmptyBody> {
    inner: S,
    introspector: Arc<I>,
    guard: Arc<Guard<R>>,
}

impl<S, I, R> Introspection<S, I, R> {
    pub(crate) fn new(inner: S, introspector: Arc<I>, guard: Arc<Guard<R>>) -> Self {
        Self { inner, introspector, guard }
    }
}

impl<S, I, R, ReqBody, ResBody> Service<Request<ReqBody>> for Introspection<S, I, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    I: ChooseIntrospector,
    R: RejectionResponse<ResBody>,
    ResBody: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        // Before `find`: the token that it finds borrows the request.
        let introspector = self.introspector.choose(&mut parts);
        let (admitted, private) = match self.guard.find(&mut parts) {
            Err(refused) => {
                #[cfg(feature = "dpop")]
                if self.guard.finds_dpop(&refused, &parts) {
                    let introspector = introspector.map(Arc::clone);
                    return self.prove(introspector, parts, body);
                }
                (Err(refused), false)
            }
            Ok(None) => {
                #[cfg(feature = "dpop")]
                if self.guard.sources.finds_dpop(&parts.headers) {
                    let introspector = introspector.map(Arc::clone);
                    return self.prove(introspector, parts, body);
                }
                self.guard.admit_anonymous::<ResBody>(&mut parts);
                (Ok(()), false)
            }
            Ok(Some(Presented { token, private })) => match introspector {
                None => (Err(Refused::For(RejectionReason::NoAuthority)), private),
                Some(introspector) => match introspector.cached(&token) {
                    Some(verdict) => (self.guard.admit(Ok(verdict), &mut parts), private),
                    None => {
                        let (introspector, token) = (Arc::clone(introspector), token.into_owned());
                        return self.ask(introspector, token, parts, body, private);
                    }
                },
            },
        };
        match admitted {
            Ok(()) => ResponseFuture::running(self.inner.call(Request::from_parts(parts, body)), private),
            Err(refused) => {
                drop(self.take_ready());
                ResponseFuture::rejected(self.guard.reject(refused, &mut parts), private)
            }
        }
    }
}

impl<S: Clone, I, R> Introspection<S, I, R> {
    fn ask<ReqBody>(
        &mut self,
        introspector: Arc<I::Introspector>,
        token: BearerToken<'static>,
        mut parts: Parts,
        body: ReqBody,
        private: bool,
    ) -> ResponseFuture<S, ReqBody, R>
    where
        S: Service<Request<ReqBody>>,
        I: ChooseIntrospector,
        R: Send + Sync + 'static,
    {
        if introspector.wants_cache() {
            self.guard.report_lack_of_cache();
        }
        let (inner, guard) = (self.take_ready(), Arc::clone(&self.guard));
        let held = Held { body, inner, guard: Arc::clone(&guard) };
        let admitting = Box::pin(async move {
            let answer = introspector.introspect(Ask::new(&token)).await;
            drop(token);
            let admitted = guard.admit(answer, &mut parts).map(|()| None);
            (parts, admitted)
        });
        ResponseFuture::asking(admitting, held, private)
    }

    /// A token that came with a proof. The way of it is longer, so it is one future, hit or miss.
    #[cfg(feature = "dpop")]
    #[cold]
    #[inline(never)] // what most requests pass stays short
    fn prove<ReqBody>(
        &mut self,
        introspector: Option<Arc<I::Introspector>>,
        mut parts: Parts,
        body: ReqBody,
    ) -> ResponseFuture<S, ReqBody, R>
    where
        S: Service<Request<ReqBody>>,
        I: ChooseIntrospector,
        R: Send + Sync + 'static,
    {
        let (inner, guard) = (self.take_ready(), Arc::clone(&self.guard));
        let held = Held { body, inner, guard: Arc::clone(&guard) };
        let admitting = Box::pin(async move {
            let admitted = guard.admit_with_proof(introspector.as_deref(), &mut parts).await;
            (parts, admitted)
        });
        // Shared caches keep nothing that was asked for with an `Authorization` header.
        ResponseFuture::asking(admitting, held, false)
    }

    /// Takes out the inner service that was polled ready. It may have reserved something (a permit, a place in a
    /// buffer): whoever gets it calls it, or drops it so that another request can have the place.
    fn take_ready(&mut self) -> S {
        let unready = self.inner.clone();
        mem::replace(&mut self.inner, unready)
    }
}

impl<S: Clone, I, R> Clone for Introspection<S, I, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), introspector: Arc::clone(&self.introspector), guard: Arc::clone(&self.guard) }
    }
}

impl<S: fmt::Debug, I, R> fmt::Debug for Introspection<S, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Introspection").field("inner", &self.inner).finish_non_exhaustive()
    }
}
