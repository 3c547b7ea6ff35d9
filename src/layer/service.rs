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
            Err(refused) => (Err(refused), false),
            Ok(None) => {
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
        parts: Parts,
        body: ReqBody,
        private: bool,
    ) -> ResponseFuture<S, ReqBody, R>
    where
        S: Service<Request<ReqBody>>,
        I: ChooseIntrospector,
    {
        if introspector.wants_cache() {
            self.guard.report_lack_of_cache();
        }
        let question = Box::pin(async move { introspector.introspect(Ask::new(&token)).await });
        let (inner, guard) = (self.take_ready(), Arc::clone(&self.guard));
        ResponseFuture::asking(question, Held { parts, body, inner, guard }, private)
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
