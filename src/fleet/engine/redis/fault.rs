//! What a failure of a call means: for the caller, and for the connection.

use redis::{ErrorKind, RedisError};

use crate::excerpt::excerpt;
use crate::fleet::engine::redis::address::Host;
use crate::fleet::engine::{EngineError, EngineErrorKind};

/// What becomes of the connection after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aftermath {
    Kept,
    /// It leads to a server that cannot serve, or it broke.
    Discarded,
    /// It is as good as before, but other servers have the keys now.
    Moved,
}

pub(super) fn no_connection(text: impl Into<String>) -> EngineError {
    EngineError { kind: EngineErrorKind::Connection, text: text.into() }
}

pub(super) fn unexpected_answer(to: &str) -> EngineError {
    EngineError { kind: EngineErrorKind::Answer, text: format!("the answer to {to} is not understood") }
}

/// What `error` of the server at `host` means. `secrets` are what its text may not hold: the server was told them, and
/// may tell them again.
pub(super) fn judge(host: &Host, secrets: &[&str], error: &RedisError) -> (EngineError, Aftermath) {
    let (kind, aftermath) = kind_of(error);
    let told = error.to_string();
    let is_secret = secrets.iter().any(|secret| !secret.is_empty() && told.contains(secret));
    let told = if is_secret { "(its text holds a secret, and is not shown)".to_owned() } else { told };
    let told: String = excerpt(&told).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    (EngineError { kind, text: format!("{host}: {told}") }, aftermath)
}

fn kind_of(error: &RedisError) -> (EngineErrorKind, Aftermath) {
    use Aftermath::{Discarded, Kept, Moved};
    match error.kind() {
        ErrorKind::AuthenticationFailed => return (EngineErrorKind::Refused, Discarded),
        ErrorKind::Io => return (EngineErrorKind::Connection, Discarded),
        ErrorKind::Parse => return (EngineErrorKind::Answer, Discarded),
        _ => {}
    }
    match error.code().unwrap_or_default() {
        "NOAUTH" | "WRONGPASS" => (EngineErrorKind::Refused, Discarded),
        // Of MISCONF: it cannot write to its disk, and takes nothing.
        "NOPERM" | "MISCONF" => (EngineErrorKind::Refused, Kept),
        // Redis 7.0 says so of a command within a script.
        _ if error.detail().is_some_and(|detail| detail.contains("script can't run this command")) => {
            (EngineErrorKind::Refused, Kept)
        }
        // Of a command that is longer than somebody may send who has not said a password.
        _ if error.detail().is_some_and(|detail| detail.contains("unauthenticated")) => {
            (EngineErrorKind::Refused, Discarded)
        }
        "OOM" => (EngineErrorKind::Full, Kept),
        "READONLY" | "LOADING" | "MASTERDOWN" | "NOREPLICAS" => (EngineErrorKind::Connection, Discarded),
        "MOVED" | "CLUSTERDOWN" => (EngineErrorKind::Connection, Moved),
        "ASK" | "TRYAGAIN" => (EngineErrorKind::Connection, Kept),
        "BUSY" => (EngineErrorKind::Timeout, Kept),
        _ => (EngineErrorKind::Answer, Kept),
    }
}
