//! Work that goes on by itself, and ends with whoever it is for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;

/// A span for work that nobody waits for. It follows from the one it was caused in, but stands in none: a request's
/// span that has it for a child stays open until it ends.
macro_rules! background_span {
    ($($name_and_fields:tt)*) => {{
        let span = tracing::debug_span!(parent: None, $($name_and_fields)*);
        span.follows_from(tracing::Span::current());
        span
    }};
}
pub(crate) use background_span;

/// Whoever background work is for. When the last clone is gone, the work ends.
#[derive(Clone, Default)]
pub(crate) struct Owner(Arc<watch::Sender<()>>);

impl Owner {
    /// Does `work` until it is done or the owner is gone.
    pub(crate) fn keeps_alive<W: Future<Output = ()> + Send>(
        &self,
        work: W,
    ) -> impl Future<Output = ()> + Send + use<W> {
        let mut owner = self.0.subscribe();
        async move {
            let mut work = pin!(work);
            // Nothing is ever sent: it ends when the sender does.
            let mut owner_is_gone = pin!(owner.changed());
            poll_fn(|context| match owner_is_gone.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => work.as_mut().poll(context),
            })
            .await;
        }
    }
}
