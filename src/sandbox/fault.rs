//! What a sandbox can be told to get wrong.

use std::time::Duration;

/// What goes wrong while it is set: with the questions about tokens
/// ([`set_fault`](super::Sandbox::set_fault)), or with those for the key set
/// ([`set_jwks_fault`](super::Sandbox::set_jwks_fault)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The right answer, later.
    Delay(Duration),
    /// This HTTP status, with a body that says nothing about the token.
    Status(u16),
    /// No answer at all, on a connection that stays open.
    Hang,
    /// The connection is reset instead of an answer.
    Reset,
    /// 200 with an HTML page.
    Garbage,
    /// 200 with a JSON object of at least this many bytes.
    Oversized(usize),
    /// 307 to another address of the sandbox, which has the right answer.
    Redirect,
    /// Of the key set alone: the keys that sign are not in it, as in a copy that was made before
    /// [`rotate_key`](super::Sandbox::rotate_key).
    OldKeys,
    /// Of signed answers alone: the answer is there, but not signed.
    Unsigned,
    /// Of signed answers alone: the header says that it is a JWT of another kind (`"typ": "JWT"`).
    WrongType,
    /// Of signed answers alone: it is meant for another client than the one that asks.
    WrongAudience,
}
