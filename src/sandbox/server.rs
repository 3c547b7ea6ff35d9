//! Connections, and how to break them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::state::State;
use super::{api, oauth};
use crate::log_limit::LogLimit;

/// Serves until it is dropped, and every connection with it.
pub(super) async fn run(listener: TcpListener, state: Arc<State>) {
    let (mut connections, limit) = (JoinSet::new(), LogLimit::new());
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                state.connection();
                connections.spawn(serve(stream, Arc::clone(&state)));
            }
            // Out of file descriptors, or the peer is gone already: others may still connect.
            Err(error) => {
                if let Some(untold) = limit.due(()) {
                    tracing::warn!(%error, untold, "the sandbox could not accept a connection");
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let reset = Arc::new(AtomicBool::new(false));
    let connection = TokioIo::new(Resettable { stream, reset: Arc::clone(&reset) });
    let service = service_fn(move |request| {
        let (state, reset) = (Arc::clone(&state), Arc::clone(&reset));
        async move {
            let is_management = request.uri().path().starts_with("/v1");
            let reply =
                if is_management { api::answer(&state, request).await } else { oauth::answer(&state, request).await };
            if reply.is_err() {
                reset.store(true, Ordering::Release);
            }
            reply
        }
    });
    if let Err(error) = http1::Builder::new().serve_connection(connection, service).await {
        tracing::debug!(%error, "a connection to the sandbox ended");
    }
}

/// A stream that is closed with RST instead of FIN if so told.
struct Resettable {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Acquire)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::warn!(%error, "the sandbox closes a connection it was to reset");
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
