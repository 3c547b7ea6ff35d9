//! An authority that fails in whatever way a test tells it to: HTTP written by hand on a socket, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::{patiently, secs, until};

/// How much a flood has to say.
const FLOOD: usize = 256 * 1024 * 1024;

/// What both endpoints take for an active token.
pub const GOOD: &str = r#"{"active":true,"status":"approved","expiresAt":9999999999999}"#;

/// One thing the authority does once it has read a request. After the last one it closes the connection.
#[derive(Clone, Debug)]
pub enum Step {
    Send(String),
    SendBytes(&'static [u8]),
    /// One byte at a time.
    Drip(String),
    /// A byte a second, as long as there is somebody to take it.
    DripForever,
    /// 256 MiB of white space, as the chunks of a body or as it is.
    Flood {
        chunked: bool,
    },
    /// Says no more, and keeps the connection.
    Hang,
    /// Closes its own direction of the connection, and goes on.
    HalfClose,
    /// Reads the next request of the same connection.
    KeepAlive,
    /// Breaks the connection with a RST.
    Reset,
    /// Closes the connection under a TLS session that goes on.
    Truncate,
}

/// A whole answer, and the connection's last.
pub fn answer(status: &str, headers: &str, body: &str) -> Step {
    let length = body.len();
    Step::Send(format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"))
}

/// A JSON object that is a good answer to whatever is asked, compressed by gzip.
const GZIPPED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\x4c\x2e\xc9\x2c\x4b\x55\xb2\x2a\x29\x2a\x4d\xd5\x51\x2a\x2e\x49\x2c\x29\
    \x2d\x56\xb2\x52\x4a\x2c\x28\x28\xca\x2f\x4b\x4d\x51\xd2\x51\x4a\xad\x28\xc8\x2c\x4a\x2d\x76\x2c\x51\xb2\xb2\x44\x06\x3a\x40\xbd\xc9\xa9\xc5\xc5\
    \xf1\x25\xf9\xd9\xa9\x79\x20\x3d\x49\xc9\x4a\xb5\x00\x09\xf6\xcc\x43\x52\x00\x00\x00";

/// A whole answer in what it calls the coding `coding`, and the connection's last.
pub fn coded(status: &str, coding: &str) -> Vec<Step> {
    let length = GZIPPED.len();
    let headers = format!("connection: close\r\ncontent-encoding: {coding}\r\ncontent-length: {length}");
    vec![Step::Send(format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n")), Step::SendBytes(GZIPPED)]
}

pub fn good() -> Vec<Step> {
    vec![answer("200 OK", "content-type: application/json\r\n", GOOD)]
}

/// The same, but the connection may serve again.
pub fn good_to_keep() -> Step {
    Step::Send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{GOOD}", GOOD.len()))
}

pub struct Faulty {
    address: SocketAddr,
    listening: Listening,
    shared: Arc<Shared>,
}

enum Listening {
    Yes(JoinHandle<()>),
    /// Bound all the same, so that nobody else gets the port meanwhile.
    No(TcpSocket),
    Changing,
}

struct Shared {
    /// What is done with one request after the other; the last for all that follow.
    scripts: Mutex<Vec<Vec<Step>>>,
    tls: Mutex<Option<TlsAcceptor>>,
    connections: AtomicUsize,
    requests: watch::Sender<usize>,
    dripped: AtomicUsize,
    /// How much of the last flood was taken.
    flooded: watch::Sender<Option<usize>>,
}

impl Faulty {
    /// Answers well until it is told otherwise.
    pub fn start() -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).listen(16).unwrap();
        let shared = Arc::new(Shared {
            scripts: Mutex::new(vec![good()]),
            tls: Mutex::default(),
            connections: AtomicUsize::default(),
            requests: watch::Sender::new(0),
            dripped: AtomicUsize::default(),
            flooded: watch::Sender::new(None),
        });
        let address = listener.local_addr().unwrap();
        Self { address, listening: Listening::Yes(accept(listener, Arc::clone(&shared))), shared }
    }

    /// Speaks TLS on the connections that come from now on.
    pub fn speaks_tls(&self, config: ServerConfig) {
        *self.shared.tls.lock().unwrap() = Some(TlsAcceptor::from(Arc::new(config)));
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it does with each request from now on.
    pub fn does(&self, steps: Vec<Step>) {
        self.does_in_turn(vec![steps]);
    }

    /// What it does with the next request, with the one after it, and so on; the last for all that follow.
    pub fn does_in_turn(&self, scripts: Vec<Vec<Step>>) {
        assert!(!scripts.is_empty());
        *self.shared.scripts.lock().unwrap() = scripts;
    }

    /// Refuses connections, and breaks those it has.
    pub async fn refuse(&mut self) {
        let Listening::Yes(accepting) = std::mem::replace(&mut self.listening, Listening::Changing) else { return };
        accepting.abort();
        assert!(accepting.await.unwrap_err().is_cancelled());
        self.listening = Listening::No(bind(self.address));
    }

    /// Takes connections again.
    pub fn listen(&mut self) {
        if let Listening::No(socket) = std::mem::replace(&mut self.listening, Listening::Changing) {
            self.listening = Listening::Yes(accept(socket.listen(16).unwrap(), Arc::clone(&self.shared)));
        }
    }

    /// How many connections it was offered while it took them.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many requests it has read to their end.
    pub fn requests(&self) -> usize {
        *self.shared.requests.borrow()
    }

    /// Waits until it has read `n` requests.
    pub async fn asked(&self, n: usize) {
        patiently(self.shared.requests.subscribe().wait_for(|&requests| requests >= n)).await.unwrap();
    }

    /// Waits until it was offered a connection more than `n`.
    pub async fn connected(&self, n: usize) {
        until(|| self.connections() > n).await;
    }

    /// How many bytes were dripped without an end in sight.
    pub fn dripped(&self) -> usize {
        self.shared.dripped.load(Ordering::SeqCst)
    }

    /// Waits until a flood is over, and tells how many bytes of it went out.
    pub async fn flooded(&self) -> usize {
        let mut flooded = self.shared.flooded.subscribe();
        let over = patiently(flooded.wait_for(Option::is_some)).await.unwrap();
        over.unwrap()
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    // The system would let it grow to megabytes, and what stands in it was taken by nobody.
    socket.set_send_buffer_size(64 * 1024).unwrap();
    socket.bind(address).unwrap();
    socket
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    tokio::spawn(async move {
        // They end with this task.
        let mut talks = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let shared = Arc::clone(&shared);
            talks.spawn(async move { shared.secure(stream).await });
        }
    })
}

trait Connection: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Connection for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Shared {
    async fn secure(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let acceptor = self.tls.lock().unwrap().clone();
        match acceptor {
            None => self.talk(stream).await,
            Some(acceptor) => self.talk(acceptor.accept(stream).await?).await,
        }
    }

    /// An error is a client that went away, which is what some of the tests are about.
    async fn talk(&self, mut stream: impl Connection) -> io::Result<()> {
        'requests: loop {
            read_request(&mut stream).await?;
            let steps = self.next_script();
            self.requests.send_modify(|requests| *requests += 1);
            for step in steps {
                match step {
                    Step::Send(text) => stream.write_all(text.as_bytes()).await?,
                    Step::SendBytes(bytes) => stream.write_all(bytes).await?,
                    Step::Drip(text) => {
                        for byte in text.into_bytes() {
                            stream.write_all(&[byte]).await?;
                            yield_now().await;
                        }
                    }
                    Step::DripForever => loop {
                        stream.write_all(b" ").await?;
                        self.dripped.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(secs(1)).await;
                    },
                    Step::Flood { chunked } => {
                        let written = flood(&mut stream, chunked).await;
                        self.flooded.send_replace(Some(written));
                    }
                    Step::Hang => std::future::pending().await,
                    Step::HalfClose => stream.shutdown().await?,
                    Step::KeepAlive => continue 'requests,
                    Step::Reset => return stream.tcp().set_zero_linger(),
                    Step::Truncate => return Ok(()),
                }
            }
            return stream.shutdown().await;
        }
    }

    fn next_script(&self) -> Vec<Step> {
        let mut scripts = self.scripts.lock().unwrap();
        if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() }
    }
}

async fn read_request(stream: &mut impl Connection) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Ok(());
        }
    }
}

/// Tells how much of it went out before nobody took any more.
async fn flood(stream: &mut impl Connection, chunked: bool) -> usize {
    let spaces = " ".repeat(64 * 1024);
    let block = if chunked { format!("{:x}\r\n{spaces}\r\n", spaces.len()) } else { spaces };
    let mut written = 0;
    while written < FLOOD {
        match stream.write(&block.as_bytes()[written % block.len()..]).await {
            Ok(n) if n > 0 => written += n,
            _ => break,
        }
    }
    written
}
