//! What this crate's own HTTP client does, whatever an application switches on in reqwest: these tests have its
//! features on, HTTP/2, cookies and every coding among them.

// Without TLS there is nothing to stall.
#![cfg_attr(not(feature = "rustls"), allow(dead_code))]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::support::faulty::good_to_keep;
use crate::support::recorder::Recorder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_introspection::Introspect;
use tower_introspection::introspect::Ask;

/// Stands before a server. The connections it has can stall: whatever comes is taken, and goes nowhere.
struct Relay {
    port: u16,
    connections: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
    swallowed: Arc<AtomicUsize>,
}

impl Relay {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            swallowed: Arc::default(),
        };
        let (connections, swallowed) = (Arc::clone(&relay.connections), Arc::clone(&relay.swallowed));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let stalls = Arc::new(AtomicBool::new(false));
                connections.lock().unwrap().push(Arc::clone(&stalls));
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = TcpStream::connect(&server).await.unwrap().into_split();
                tokio::spawn(pass_on(from_client, to_server, Arc::clone(&stalls), Arc::clone(&swallowed)));
                tokio::spawn(pass_on(from_server, to_client, stalls, Arc::clone(&swallowed)));
            }
        });
        relay
    }

    fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// From now on; connections made later work.
    fn stalls(&self) {
        self.connections.lock().unwrap().iter().for_each(|connection| connection.store(true, Ordering::SeqCst));
    }

    async fn has_swallowed_something(&self) {
        until(|| self.swallowed.load(Ordering::SeqCst) > 0).await;
    }
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    stalls: Arc<AtomicBool>,
    swallowed: Arc<AtomicUsize>,
) {
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if stalls.load(Ordering::SeqCst) {
            swallowed.fetch_add(read, Ordering::SeqCst);
        } else if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(feature = "rustls")]
mod over_tls {
    use std::io;
    use std::net::SocketAddr;

    use super::*;
    use crate::faults::tls::{Issuer, NOW};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    struct Tls {
        listener: TcpListener,
        acceptor: TlsAcceptor,
    }

    impl axum::serve::Listener for Tls {
        type Io = TlsStream<TcpStream>;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (Self::Io, SocketAddr) {
            loop {
                let (stream, address) = self.listener.accept().await.unwrap();
                if let Ok(stream) = self.acceptor.accept(stream).await {
                    return (stream, address);
                }
            }
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.listener.local_addr()
        }
    }

    /// An authority for HTTP/2 and HTTP/1.1.
    async fn authority(issuer: &Issuer) -> String {
        let mut config = issuer.server("localhost", NOW);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tls = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let app = axum::Router::new().fallback(async || GOOD);
        tokio::spawn(async move { axum::serve(tls, app).await });
        address
    }

    #[tokio::test]
    async fn a_connection_that_stalls_costs_one_question_and_the_next_one_gets_a_fresh_connection() {
        let issuer = Issuer::new("the issuer");
        for protocol in BOTH {
            let relay = Relay::to(authority(&issuer).await).await;
            let base = format!("https://localhost:{}", relay.port);
            let guarded = guarded!(protocol, base, connection(issuer.trusted()));
            guarded.lets_in("first").await;
            guarded.lets_in("second").await;
            assert_eq!(relay.connections(), 1, "{protocol:?}: it is kept");

            relay.stalls();
            skipping(relay.has_swallowed_something(), guarded.turns_away("abc")).await;
            assert_eq!(guarded.failures(), [(Timeout, 1)], "{protocol:?}");
            for token in ["abc", "new", "newer"] {
                guarded.lets_in(token).await;
            }
            assert_eq!((relay.connections(), guarded.failures()), (2, vec![(Timeout, 1)]), "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_question_keeps_no_cookie_and_asks_for_an_answer_without_a_coding() {
    for protocol in BOTH {
        let authority = Recorder::answering_with(http::header::SET_COOKIE, "session=1; Path=/", GOOD).await;
        let guarded = guarded!(protocol, authority.url());
        guarded.lets_in("first").await;
        guarded.lets_in("second").await;
        let requests = authority.requests();
        assert_eq!(requests.len(), 2, "{protocol:?}");
        for seen in requests {
            assert_eq!(seen.headers["accept-encoding"], "identity", "{protocol:?}");
            assert!(!seen.headers.contains_key("cookie"), "{protocol:?}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_in_a_coding_that_nobody_asked_for_is_not_decoded_and_the_error_names_the_coding() {
    let codings = [
        ("gzip", "`gzip`"),
        ("X-GZIP", "`x-gzip`"),
        ("identity, br", "`br`"),
        ("deflate", "`deflate`"),
        ("zstd", "`zstd`"),
        ("abc", "unknown here"),
    ];
    for protocol in BOTH {
        for (coding, named) in codings {
            for status in ["200 OK", "400 Bad Request", "404 Not Found", "500 Oops"] {
                let authority = Faulty::start();
                authority.does(coded(status, coding));
                let endpoint = asking!(protocol, authority.url());
                let error = endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
                let kind = if status.starts_with("200") { Answer } else { Status };
                assert_eq!(error.kind(), kind, "{coding}, {status}, {protocol:?}");
                let error = format!("{error:?}");
                let cause = format!("its `Content-Encoding` is {named}, though `identity` was asked for");
                assert!(error.contains(&cause), "{coding}, {status}, {protocol:?}: {error}");
                assert!(
                    !error.contains("abc"),
                    "{status}, {protocol:?}: what it calls itself is not repeated: {error}"
                );
            }
        }
    }
}

/// As [`Introspect`] documents it.
#[test]
fn a_question_after_one_on_a_runtime_that_is_no_longer_driven_runs_out_of_time_unless_that_runtime_is_gone() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let servers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for protocol in BOTH {
        for is_kept in [true, false] {
            let authority = servers.block_on(async { Faulty::start() });
            authority.does(vec![good_to_keep(), Step::KeepAlive]);
            let guarded = guarded!(protocol, authority.url());
            let at_start = runtime();
            at_start.block_on(guarded.lets_in("first"));
            let at_start = is_kept.then_some(at_start);
            runtime().block_on(async {
                if is_kept {
                    skipping(std::future::ready(()), guarded.turns_away("abc")).await;
                }
                guarded.lets_in("abc").await;
                guarded.lets_in("new").await;
            });
            let lost = if is_kept { vec![(Timeout, 1)] } else { vec![] };
            assert_eq!((authority.connections(), guarded.failures()), (2, lost), "{protocol:?}, kept: {is_kept}");
            drop(at_start);
        }
    }
}
