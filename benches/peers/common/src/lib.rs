//! What all peers have in common, so that they differ by what guards the route and by nothing else: the requests, the
//! way they are sent and timed, and an authorization server on loopback.
//!
//! A peer is a program that calls [`run`] with a function that makes the guarded service. `compare` starts it with one
//! of
//!
//! * `hits opaque|rs256|es256 MILLISECONDS`: what a request costs whose token is known, or can be verified without a
//!   question;
//! * `herd good|failing`: how many questions [`HERD`] requests make that come at once with one unknown token;
//!
//! and it prints one line of JSON.
#![allow(clippy::disallowed_methods)]

mod authority;
mod herd;
mod hits;
mod signing;
mod tokens;

use std::convert::Infallible;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use tower::Service;

pub use authority::Authority;
pub use herd::HERD;
pub use tokens::TokenKind;

/// Each peer requires it where it can.
pub const SCOPE: &str = "orders.read";
/// Peers that verify signatures require it.
pub const AUDIENCE: &str = "https://api.example.com";
/// The route that is guarded.
pub const PATH: &str = "/orders";
/// Room in each cache, so that all tokens stay.
pub const CAPACITY: u32 = 100_000;
/// How long a cache may use an answer: longer than any run, shorter than the token lives.
pub const TTL: Duration = Duration::from_secs(600);
/// What peers authenticate themselves with.
pub const CLIENT: (&str, &str) = ("orders-api", "secret");

/// No run takes that long. If one does, it ends, whatever it waits for.
const TOO_LONG: Duration = Duration::from_secs(120);

pub type Failure = Box<dyn std::error::Error>;

/// What a peer was started for.
enum Task {
    Hits(TokenKind, Duration),
    Herd { failing: bool },
}

impl Task {
    fn from_arguments() -> Option<Self> {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["hits", kind, milliseconds] => {
                Some(Self::Hits(TokenKind::from_name(kind)?, Duration::from_millis(milliseconds.parse().ok()?)))
            }
            ["herd", "good"] => Some(Self::Herd { failing: false }),
            ["herd", "failing"] => Some(Self::Herd { failing: true }),
            _ => None,
        }
    }
}

/// What a server would serve.
pub trait App: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone {}

impl<S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone> App for S {}

/// Does what the arguments say to the service that `guarded` makes.
pub fn run<S: App>(guarded: impl AsyncFn(&Authority) -> Result<S, Failure>) -> ExitCode {
    let Some(task) = Task::from_arguments() else {
        eprintln!("usage: hits opaque|rs256|es256 MILLISECONDS, or herd good|failing");
        return ExitCode::FAILURE;
    };
    std::thread::spawn(|| {
        std::thread::sleep(TOO_LONG);
        eprintln!("not done after {TOO_LONG:?}");
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            match task {
                Task::Hits(kind, duration) => hits::measure(&guarded, kind, duration).await,
                Task::Herd { failing } => herd::measure(&guarded, failing).await,
            }
        })
    });
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A failure with these words.
fn failure(words: impl fmt::Display) -> Failure {
    words.to_string().into()
}
