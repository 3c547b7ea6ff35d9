//! What was heard of a transmitter.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::event::EventKind;
use crate::clock::{Stopwatch, Timestamp};
use crate::log_limit::LogLimit;
use crate::metrics::SignalsMetrics;

/// What became of something that a transmitter sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventOutcome {
    /// Tokens were forgotten, if there were any of its subject.
    Applied,
    /// It was understood, and there was nothing to do.
    NoAction,
    /// It was acted on before, and came again.
    Repeated,
    /// Its type is not known here, and nobody [decided](super::Transmitter::on_event) what to do about it. It is
    /// acknowledged.
    NotUnderstood,
    /// No claim of a token tells its subject, or the subject is of an issuer whose tokens are not judged here. It is
    /// acknowledged.
    Unmatched,
    /// It is not as it has to be.
    Refused,
    /// It was not taken for now: keys cannot be had, there is too much, the engine of a fleet is away, or it is from
    /// further ahead than the clocks may be apart. The transmitter is to send it again.
    TurnedAway,
}

impl EventOutcome {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Self; 7] = [
        Self::Applied,
        Self::NoAction,
        Self::Repeated,
        Self::NotUnderstood,
        Self::Unmatched,
        Self::Refused,
        Self::TurnedAway,
    ];

    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NoAction => "no_action",
            Self::Repeated => "repeated",
            Self::NotUnderstood => "not_understood",
            Self::Unmatched => "unmatched",
            Self::Refused => "refused",
            Self::TurnedAway => "turned_away",
        }
    }
}

/// What a transmitter has said of its stream, Shared Signals Framework 1.0 section 8.1.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamStatus {
    /// Nothing, or that it sends events.
    Enabled,
    /// That it sends none for now, and keeps them.
    Paused,
    /// That it sends none, and keeps none.
    Disabled,
}

impl StreamStatus {
    pub(crate) const ALL: [Self; 3] = [Self::Enabled, Self::Paused, Self::Disabled];

    /// One word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// Whether events of a transmitter arrive, as far as that can be told. What is revoked while they do not is noticed as
/// it is without events: after the cache's `max_ttl`, or when the token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StreamHealth {
    /// Nothing speaks against it.
    Healthy,
    /// Nothing was heard for [so long](super::Transmitter::silent_after).
    Silent,
    /// The transmitter has said that it sends none: [`StreamStatus`].
    Stopped,
}

impl StreamHealth {
    /// One word for logs and probes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
        }
    }
}

/// The figures of a transmitter. The counters count from when it was built, and never go down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransmitterStats {
    /// Who it is.
    pub issuer: String,
    /// Whether its events arrive.
    pub health: StreamHealth,
    /// What it has said of its stream.
    pub status: StreamStatus,
    /// How long ago something of it came that was signed and new, or an answer to a poll, with an event or without.
    /// `None`: never.
    pub last_heard: Option<Duration>,
    /// How long ago its last event was accepted that is not about the stream itself. `None`: never.
    pub last_event: Option<Duration>,
    /// Events by what became of them; what did not occur is left out.
    pub outcomes: Vec<(EventOutcome, u64)>,
    /// Events that were accepted, by what they are about; what did not occur is left out.
    pub events: Vec<(EventKind, u64)>,
    /// How often it was polled, but for requests that were held open until the time ran out.
    pub polls: u64,
    /// How many of these polls failed.
    pub failed_polls: u64,
}

/// Notes all that.
pub(super) struct Heard {
    pub(super) issuer: String,
    silent_after: Option<Duration>,
    made: Stopwatch,
    last: Mutex<Last>,
    was_silent: AtomicBool,
    outcomes: [AtomicU64; EventOutcome::ALL.len()],
    events: [AtomicU64; EventKind::ALL.len()],
    polls: AtomicU64,
    failed_polls: AtomicU64,
    metrics: SignalsMetrics,
    pub(super) told: LogLimit<Told>,
}

#[derive(Default)]
struct Last {
    heard: Option<Stopwatch>,
    event: Option<Stopwatch>,
    /// What it has said last, if anything.
    status: Option<StreamStatus>,
    /// By the transmitter's clock.
    status_said_at: Option<Timestamp>,
}

/// The sorts of lines that are written of a transmitter.
#[derive(PartialEq, Eq)]
pub(super) enum Told {
    Event(EventKind, EventOutcome),
    Because(&'static str),
    PollFailed(&'static str),
}

impl Heard {
    pub(super) fn new(issuer: String, silent_after: Option<Duration>) -> Self {
        Self {
            metrics: SignalsMetrics::new(&issuer),
            issuer,
            silent_after,
            made: Stopwatch::start(),
            last: Mutex::default(),
            was_silent: AtomicBool::new(false),
            outcomes: Default::default(),
            events: std::array::from_fn(|_| AtomicU64::new(0)),
            polls: AtomicU64::new(0),
            failed_polls: AtomicU64::new(0),
            told: LogLimit::new(),
        }
    }

    /// Counts one event of something that was accepted.
    pub(super) fn event(&self, kind: EventKind, outcome: EventOutcome) {
        add_one(&self.events, kind as usize);
        self.metrics.accepted(kind);
        self.outcome(outcome);
        if !matches!(kind, EventKind::Verification | EventKind::StreamUpdated) {
            self.last().event = Some(Stopwatch::start());
        }
    }

    /// Counts what became of an event, or of something that was not accepted.
    pub(super) fn outcome(&self, outcome: EventOutcome) {
        add_one(&self.outcomes, outcome as usize);
        self.metrics.outcome(outcome);
    }

    /// The transmitter has spoken.
    pub(super) fn spoke(&self) {
        self.last().heard = Some(Stopwatch::start());
        self.metrics.heard();
    }

    pub(super) fn polled(&self, is_answered: bool) {
        self.polls.fetch_add(1, Ordering::Relaxed);
        if !is_answered {
            self.failed_polls.fetch_add(1, Ordering::Relaxed);
        }
        self.metrics.polled(is_answered);
    }

    /// Notes what the transmitter says of its stream. What was said before the last one has been overtaken.
    pub(super) fn has_status(&self, status: StreamStatus, said_at: Timestamp) {
        let mut last = self.last();
        if last.status_said_at.is_none_or(|last| last <= said_at) {
            self.note_status(&mut last, status, said_at);
        }
    }

    /// Whoever sends events has a stream that is enabled, unless it said something else with them, or later.
    pub(super) fn sends_events(&self, said_at: Timestamp) {
        let mut last = self.last();
        if last.status_said_at.is_some_and(|last| last < said_at) {
            self.note_status(&mut last, StreamStatus::Enabled, said_at);
        }
    }

    fn note_status(&self, last: &mut Last, status: StreamStatus, said_at: Timestamp) {
        last.status_said_at = Some(said_at);
        if last.status.replace(status).unwrap_or(StreamStatus::Enabled) == status {
            return;
        }
        let (transmitter, word) = (&self.issuer, status.as_str());
        if status == StreamStatus::Enabled {
            tracing::info!(transmitter, "the transmitter sends security events again");
        } else {
            tracing::warn!(
                transmitter,
                status = word,
                "the transmitter sends no security events: what it revokes is noticed as late as without them"
            );
        }
    }

    /// How often it has to be looked at whether the stream is silent, if ever.
    pub(super) fn looked_at_every(&self) -> Option<Duration> {
        Some((self.silent_after? / 8).clamp(Duration::from_millis(100), Duration::from_secs(30)))
    }

    /// Tells once that the stream has fallen silent, and once that it has not any more.
    pub(super) fn look(&self) {
        let health = self.health();
        let is_silent = health == StreamHealth::Silent;
        if self.was_silent.swap(is_silent, Ordering::Relaxed) == is_silent {
            return;
        }
        let transmitter = &self.issuer;
        if is_silent {
            tracing::warn!(
                transmitter,
                "nothing is heard of the transmitter: what it revokes is noticed as late as without events"
            );
        } else {
            tracing::info!(transmitter, "the transmitter is heard again");
        }
    }

    pub(super) fn health(&self) -> StreamHealth {
        let health = self.judged_health();
        self.metrics.publish(health == StreamHealth::Healthy);
        health
    }

    fn judged_health(&self) -> StreamHealth {
        if self.status() != StreamStatus::Enabled {
            return StreamHealth::Stopped;
        }
        let silence = self.last().heard.as_ref().unwrap_or(&self.made).elapsed();
        let is_silent = self.silent_after.is_some_and(|longest| silence > longest);
        if is_silent { StreamHealth::Silent } else { StreamHealth::Healthy }
    }

    fn status(&self) -> StreamStatus {
        self.last().status.unwrap_or(StreamStatus::Enabled)
    }

    pub(super) fn stats(&self) -> TransmitterStats {
        let (last_heard, last_event) = {
            let last = self.last();
            let ago = |moment: &Option<Stopwatch>| moment.as_ref().map(Stopwatch::elapsed);
            (ago(&last.heard), ago(&last.event))
        };
        TransmitterStats {
            issuer: self.issuer.clone(),
            health: self.health(),
            status: self.status(),
            last_heard,
            last_event,
            outcomes: counted(EventOutcome::ALL, &self.outcomes),
            events: counted(EventKind::ALL, &self.events),
            polls: self.polls.load(Ordering::Relaxed),
            failed_polls: self.failed_polls.load(Ordering::Relaxed),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add_one(counters: &[AtomicU64], place: usize) {
    // There is a place for each.
    if let Some(counter) = counters.get(place) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn counted<K>(kinds: impl IntoIterator<Item = K>, counters: &[AtomicU64]) -> Vec<(K, u64)> {
    let counts = counters.iter().map(|counter| counter.load(Ordering::Relaxed));
    kinds.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}
