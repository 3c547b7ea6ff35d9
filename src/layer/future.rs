//! The way of one request through the layer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use crate::error::IntrospectError;
use crate::introspect::Verdict;
use crate::layer::cache_control::kept_private;
use crate::layer::guard::Guard;
use crate::rejection::RejectionResponse;

type Answering = Pin<Box<dyn Future<Output = Result<Verdict, IntrospectError>> + Send>>;

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
        /// The authority is being asked.
        Asking { answering: Answering, held: Option<Box<Held<S, B, R>>> },
    }
}

/// The request, and the inner service that was polled ready for it. Boxed, like the response of a rejection, so that
/// the future of a hit is hardly larger than the inner service's.
pub(crate) struct Held<S, B, R> {
    pub(crate) parts: Parts,
    pub(crate) body: B,
    pub(crate) inner: S,
    pub(crate) guard: Arc<Guard<R>>,
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

    pub(crate) fn asking(answering: Answering, held: Held<S, B, R>, private: bool) -> Self {
        Self { state: State::Asking { answering, held: Some(Box::new(held)) }, private }
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
                StateProjection::Asking { answering, held } => {
                    let answer = ready!(answering.as_mut().poll(context));
                    let Some(mut held) = held.take() else { polled_after_completion() };
                    // Asking -> Running: admitted; the service that was polled ready is the one that is called.
                    // Asking -> Rejected: the held service is dropped, and with it the readiness it reserved.
                    let next = match held.guard.admit(answer, &mut held.parts) {
                        Ok(()) => {
                            let Held { parts, body, mut inner, .. } = *held;
                            State::Running { future: inner.call(Request::from_parts(parts, body)) }
                        }
                        Err(refused) => {
                            let response = held.guard.reject(refused, &mut held.parts);
                            State::Rejected { response: Some(Box::new(response)) }
                        }
                    };
                    state.set(next);
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
        })
    }
}
