//! What a sandbox can be told to get wrong.

use std::time::Duration;

/// What goes wrong with the questions about tokens, while it is set.
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
}
