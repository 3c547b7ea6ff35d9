//! What a fleet shares: the seam to Redis and to whatever may follow.
//!
//! An engine stores sealed bytes under keyed names and knows nothing else: neither tokens nor rules. It is asked for
//! six things: values with a lease on them, a log, who is there, the time, turns of a rate limit, and whether a name is
//! a new one. Each call is one
//! exchange, which may be dropped at any point, and ends within the engine's own timeout. All times are the engine's.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

#[cfg(test)]
pub(crate) mod conformance;
pub(crate) mod memory;
pub(crate) mod redis;

pub(crate) type Exchange<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// The engine's time, in milliseconds since the Unix epoch.
pub(crate) type EngineTime = i64;

/// How far the engine's clock may go back within an epoch, in milliseconds: by more than that, and another one begins.
/// So a value may be as much older than its times tell.
pub(crate) const CLOCK_TOLERANCE: EngineTime = 250;

/// A number of a process, drawn at random when its fleet is built.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct NodeId(pub(crate) u128);

/// What a value is stored under: a keyed hash, RFC 2104, of all that tells one token of one authority from others. As
/// text, so that it can be seen in a monitor and needs no escape in a hash tag: 43 characters of base64url.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Name(pub(crate) String);

/// Which log it is. Positions of one epoch compare; an epoch is a number that only grows, and another one means that
/// records may be lost: the engine was emptied, another server has taken over, or its clock went back.
pub(crate) type Epoch = u64;

/// A place in the log: records are numbered from 1 without a gap, and 0 is before the first. The nonce, drawn at random
/// by the engine's caller for each record, tells apart two records that two servers gave one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Position {
    pub(crate) number: u64,
    pub(crate) nonce: u64,
}

/// How old a value is: what has a greater one is newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Version {
    pub(crate) epoch: Epoch,
    pub(crate) asked_at: EngineTime,
}

/// The part of a stored value that the engine reads, in front of what is sealed. On the wire it is [`Header::BYTES`]
/// bytes, numbers big-endian: the version of the format, one byte; the id of the secret, 8; epoch, 8; `asked_at`, 8;
/// `as_of`, 8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) key_id: u64,
    pub(crate) version: Version,
    /// The number of the last record that had been applied before the question left.
    pub(crate) as_of: u64,
}

/// Asks for the value under `name`, or for the lease to ask the authority.
pub(crate) struct Claim<'a> {
    pub(crate) name: &'a Name,
    pub(crate) node: NodeId,
    /// Of this epoch only.
    pub(crate) epoch: Epoch,
    /// A value whose `asked_at` is longer ago than this does not count as one that serves.
    pub(crate) max_age: Duration,
    /// One that is not newer than this does not either.
    pub(crate) newer_than: Option<Version>,
    /// How long the lease lasts if it is given. `None` only looks.
    pub(crate) lease: Option<Duration>,
}

pub(crate) struct Claimed {
    pub(crate) now: EngineTime,
    /// What is stored, of this epoch, however old: the header tells.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) lease: Lease,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lease {
    /// The value serves, or the claim only looked.
    NotNeeded,
    /// This node asks. (Given again to the node that has it.)
    Ours,
    /// That node asks; its lease ends after this.
    Of(NodeId, Duration),
}

/// Stores a value if it is newer than what is there, and gives up the lease if it is this node's.
pub(crate) struct Put<'a> {
    pub(crate) name: &'a Name,
    pub(crate) node: NodeId,
    /// With its header.
    pub(crate) value: &'a [u8],
    pub(crate) version: Version,
    /// When the engine is to tidy it away: `PXAT`.
    pub(crate) until: EngineTime,
    /// Only in place of a value that is there.
    pub(crate) only_replace: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    /// There was one before.
    pub(crate) had_value: bool,
    /// It is stored now. Not, if what is there is as new.
    pub(crate) is_stored: bool,
}

pub(crate) struct Append<'a> {
    /// Sealed.
    pub(crate) record: &'a [u8],
    pub(crate) nonce: u64,
    /// Records older than that are let go, but for the newest.
    pub(crate) retention: Duration,
    /// And the oldest, if there are more.
    pub(crate) max_records: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Appended {
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
}

pub(crate) struct Read<'a> {
    /// From the first record if there is none.
    pub(crate) after: Option<Position>,
    /// At most so many records in one page.
    pub(crate) limit: u64,
    /// Tells the others who reads.
    pub(crate) announce: Option<Announce<'a>>,
}

pub(crate) struct Announce<'a> {
    pub(crate) node: NodeId,
    /// Sealed settings of this node, and how far `after` it has read.
    pub(crate) settings: &'a [u8],
    /// A node that has not announced itself for this long is forgotten.
    pub(crate) forget_after: Duration,
}

pub(crate) struct Page {
    pub(crate) now: EngineTime,
    pub(crate) epoch: Epoch,
    /// The number of the oldest record that is kept, or one more than `last` if none is.
    pub(crate) first: u64,
    /// The newest record ever appended.
    pub(crate) last: Position,
    /// The record at `after` is there with that nonce, or it is gone and nothing after it is missing: what was read
    /// before is a beginning of this log. True without `after`.
    pub(crate) continues: bool,
    /// Those after `after`, oldest first.
    pub(crate) records: Vec<(Position, Vec<u8>)>,
}

/// A node that announced itself.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// How long ago it did, by the engine's clock.
    pub(crate) ago: Duration,
    pub(crate) settings: Vec<u8>,
}

/// A turn of a rate limit by the generic cell rate algorithm, in microseconds.
pub(crate) struct Turn<'a> {
    pub(crate) name: &'a Name,
    pub(crate) interval: i64,
    /// How much earlier than the interval allows a turn of this share may be.
    pub(crate) tolerance: i64,
    /// The same for known tokens, which come first: nobody may have them wait for more than `max_wait_of_known`.
    pub(crate) tolerance_of_known: i64,
    pub(crate) max_wait: i64,
    pub(crate) max_wait_of_known: i64,
}

/// How an engine fails. The texts are for logs: no address with a password, nothing of a request.
#[derive(Clone, Debug)]
pub(crate) struct EngineError {
    pub(crate) kind: EngineErrorKind,
    pub(crate) text: String,
}

/// How a call of the engine of a fleet fails.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// No connection, or it broke.
    Connection,
    /// It took longer than a request waits for it (10 to 50 ms, by what it asks for), or, where none waits, 500 ms.
    Timeout,
    /// A wrong password, or a permission that is missing: somebody has to change something.
    Refused,
    /// It has no memory left for what is to be stored.
    Full,
    /// What it answers is not understood, or something else stands under the name.
    Answer,
}

impl EngineError {
    /// Whoever asked could not wait.
    pub(crate) fn too_slow() -> Self {
        Self { kind: EngineErrorKind::Timeout, text: "it took longer than a request may wait for it".into() }
    }
}

impl EngineError {
    /// A process that may wait longer has booked turns, or somebody who is none of the fleet has.
    pub(crate) fn booked_too_far() -> Self {
        let text = "the turns of the rate limit are booked further ahead than this process may wait";
        Self { kind: EngineErrorKind::Answer, text: text.into() }
    }

    /// There are no random bytes.
    pub(crate) fn unsealed() -> Self {
        Self { kind: EngineErrorKind::Answer, text: "a record could not be sealed".into() }
    }
}

impl EngineErrorKind {
    pub(crate) const ALL: [Self; 5] = [Self::Connection, Self::Timeout, Self::Refused, Self::Full, Self::Answer];

    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::Answer => "answer",
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for EngineError {}

pub(crate) trait Engine: Send + Sync + 'static {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Exchange<'a, Claimed>;

    /// Prolongs the lease on each of `names` that this node still has.
    fn renew<'a>(&'a self, names: &'a [Name], node: NodeId, lease: Duration) -> Exchange<'a, ()>;

    fn put<'a>(&'a self, put: Put<'a>) -> Exchange<'a, Stored>;

    /// Gives up the lease if it is this node's.
    fn release<'a>(&'a self, name: &'a Name, node: NodeId) -> Exchange<'a, ()>;

    fn delete<'a>(&'a self, name: &'a Name) -> Exchange<'a, ()>;

    fn append<'a>(&'a self, append: Append<'a>) -> Exchange<'a, Appended>;

    /// Finds out whether the engine can be reached, and connects again if it has to: the only call that does.
    fn read<'a>(&'a self, read: Read<'a>) -> Exchange<'a, Page>;

    /// All nodes that announced themselves within `forget_after`.
    fn nodes(&self) -> Exchange<'_, Vec<Node>>;

    /// Books a turn, and tells how long it is until then; `None` if that is too long, and then nothing is booked. An
    /// [`EngineErrorKind::Answer`] if turns are booked further ahead than processes with this `max_wait` do: whoever
    /// has done that must not hold up all others.
    fn take_turn<'a>(&'a self, turn: Turn<'a>) -> Exchange<'a, Option<Duration>>;

    /// Keeps the name for so long, in one step. False if it is kept already.
    #[cfg(feature = "dpop")]
    fn insert_once<'a>(&'a self, name: &'a Name, lasts: Duration) -> Exchange<'a, bool>;
}
