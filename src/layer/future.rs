//! The way of one request through the layer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use crate::layer::cache_control::kept_private;
use crate::layer::guard::Guard;
use crate::rejection::{DPOP_NONCE, Refused, RejectionResponse};

/// The request, and the nonce for the client's next proof if it needs one, or why it does not come in.
pub(crate) type Admitting = Pin<Box<dyn Future<Output = (Parts, Result<Option<HeaderValue>, Refused>)> + Send>>;

pin_project! {
    /// The response to a guarded request: the inner service's, or a rejection.
    ///
    /// # Panics
    /// If it is polled again after it has completed, like the futures of the standard library and of `tower-http`.
    /// (That of a request which was let in does what the inner service's does.)
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, R, S::Future, S::Response>,
        private: bool,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, R, F, Res> {
        /// Rejected; the response is ready.
        Rejected { response: Option<Box<Res>> },
        /// The inner service is at work.
        Running { #[pin] future: F },
        /// The authority is being asked, or a proof judged.
        Asking { admitting: Admitting, held: Option<Box<Held<S, B, R>>> },
        /// The inner service is at work, and its response is to hand out a nonce.
        Proved { running: Box<Proved<F>> },
    }
}

/// The body of the request, and the inner service that was polled ready for it. Boxed, like the response of a
/// rejection, so that the future of a hit is hardly larger than the inner service's.
pub(crate) struct Held<S, B, R> {
    pub(crate) body: B,
    pub(crate) inner: S,
    pub(crate) guard: Arc<Guard<R>>,
}

impl<S, B, R> Held<S, B, R> {
    /// Asking -> Running: admitted; the service that was polled ready is the one that is called.
    ///
    /// Asking -> Rejected: the held service is dropped, and with it the readiness it reserved.
    #[inline(never)] // what a hit passes stays short
    fn proceed<ResBody>(
        self,
        (mut parts, admitted): (Parts, Result<Option<HeaderValue>, Refused>),
    ) -> State<S, B, R, S::Future, S::Response>
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
        R: RejectionResponse<ResBody>,
    {
        let Self { body, mut inner, guard } = self;
        match admitted {
            Ok(None) => State::Running { future: inner.call(Request::from_parts(parts, body)) },
            Ok(Some(nonce)) => {
                let future = Box::pin(inner.call(Request::from_parts(parts, body)));
                State::Proved { running: Box::new(Proved { future, nonce: Some(nonce) }) }
            }
            Err(refused) => State::Rejected { response: Some(Box::new(guard.reject(refused, &mut parts))) },
        }
    }
}

struct Proved<F> {
    future: Pin<Box<F>>,
    nonce: Option<HeaderValue>,
}

impl<F, B, E> Proved<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    #[inline(never)]
    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<Result<Response<B>, E>> {
        // Whoever else got the response would have an old nonce.
        let mut response = kept_private(ready!(self.future.as_mut().poll(context))?);
        if let Some(nonce) = self.nonce.take() {
            response.headers_mut().insert(DPOP_NONCE, nonce);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        Poll::Ready(Ok(response))
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(crate) fn rejected(response: S::Response, private: bool) -> Self {
        Self { state: State::Rejected { response: Some(Box::new(response)) }, private }
    }

    pub(crate) fn running(future: S::Future, private: bool) -> Self {
        Self { state: State::Running { future }, private }
    }

    pub(crate) fn asking(admitting: Admitting, held: Held<S, B, R>, private: bool) -> Self {
        Self { state: State::Asking { admitting, held: Some(Box::new(held)) }, private }
    }
}

impl<S, B, R, ResBody> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let private = *this.private;
        let mut state = this.state;
        loop {
            match state.as_mut().project() {
                StateProjection::Running { future } => {
                    let response = future.poll(context);
                    // Not mapped unless there is something to do: a response is large to move.
                    return if private { response.map_ok(kept_private) } else { response };
                }
                StateProjection::Rejected { response } => {
                    let Some(response) = response.take() else { polled_after_completion() };
                    return Poll::Ready(Ok(if private { kept_private(*response) } else { *response }));
                }
                StateProjection::Asking { admitting, held } => {
                    let admitted = ready!(admitting.as_mut().poll(context));
                    let Some(held) = held.take() else { polled_after_completion() };
                    state.set(held.proceed(admitted));
                }
                StateProjection::Proved { running } => {
                    return running.poll_response(context);
                }
            }
        }
    }
}

/// What every other future does: one that waits instead hides the mistake, and hangs whoever made it. Nothing but the
/// code that polls can bring it about: a request cannot.
#[cold]
#[track_caller]
#[allow(clippy::panic)] // whoever polls has no other answer coming
fn polled_after_completion() -> ! {
    panic!("`ResponseFuture` was polled after it had completed")
}

impl<S, B, R> std::fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self.state {
            State::Rejected { .. } => "ResponseFuture(Rejected)",
            State::Running { .. } => "ResponseFuture(Running)",
            State::Asking { .. } => "ResponseFuture(Asking)",
            State::Proved { .. } => "ResponseFuture(Running)",
        })
    }
}
