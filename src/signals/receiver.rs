//! What becomes of something that was sent, whichever way it came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;

use super::apply::Appliers;
use super::event::{EventKind, Reaction, SecurityEvent};
use super::heard::{EventOutcome, StreamStatus, Told};
use super::refusal::{Code, NotTaken, refused};
use super::set::{Form, Judged, Stated, code_of};
use super::subject::Scope;
use super::transmitter::Source;
use crate::cache::Selection;
use crate::clock::{Clock, Timestamp};
use crate::jose::Fault;
use crate::log_limit::LogLimit;
use crate::metrics::SignalsMetrics;

/// When something that was turned away may be sent again.
pub(super) const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(5);

/// All that is listened to.
pub(super) struct Receiver {
    pub(super) sources: Vec<Source>,
    pub(super) appliers: Arc<Appliers>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) nobody: Nobody,
}

/// What comes in nobody's name who is known.
pub(super) struct Nobody {
    pub(super) refused: AtomicU64,
    pub(super) metrics: SignalsMetrics,
    pub(super) told: LogLimit<&'static str>,
}

/// The way it came.
pub(super) enum Way {
    Push {
        authorization: Option<HeaderValue>,
    },
    /// From the transmitter at this place, which calls it by this name.
    Poll {
        place: usize,
        id: String,
    },
    Logout,
}

impl Way {
    fn form(&self) -> Form {
        match self {
            Self::Push { .. } | Self::Poll { .. } => Form::Event,
            Self::Logout => Form::Logout,
        }
    }
}

impl Receiver {
    /// Takes what was sent. It has had its effect when this says so, on all processes of a fleet that read its log.
    pub(super) async fn take(&self, text: &str, way: &Way) -> Result<(), NotTaken> {
        let stated = Stated::read(text, way.form()).map_err(|not_taken| self.of_nobody(not_taken))?;
        let Some(source) = self.source_of(&stated, way) else {
            let why = "`iss` is none of the transmitters, to the letter";
            return Err(self.of_nobody(refused(Code::InvalidIssuer, why)));
        };
        let taken = self.take_of(source, &stated, way).await;
        match &taken {
            Ok(()) => source.heard.spoke(),
            Err(not_taken) => tell(source, *not_taken),
        }
        taken
    }

    fn source_of(&self, stated: &Stated, way: &Way) -> Option<&Source> {
        let issuer = stated.issuer()?;
        let source = match way {
            Way::Poll { place, .. } => self.sources.get(*place),
            Way::Push { .. } | Way::Logout => self.sources.iter().find(|source| source.issuer == issuer),
        };
        source.filter(|source| source.issuer == issuer)
    }

    async fn take_of(&self, source: &Source, stated: &Stated<'_>, way: &Way) -> Result<(), NotTaken> {
        if let (Way::Push { authorization }, Some(expected)) = (way, &source.authorization)
            && !authorization.as_ref().is_some_and(|shown| is_same(shown.as_bytes(), expected.as_bytes()))
        {
            let why = "`Authorization` is missing, or is not that of the transmitter (`push_authorization`)";
            return Err(refused(Code::AuthenticationFailed, why));
        }
        let judged = stated.judge(way.form(), source, self.clock.now())?;
        if let Way::Poll { id, .. } = way
            && *id != judged.id
        {
            return Err(refused(Code::InvalidRequest, "`jti` is not what the answer calls it by"));
        }
        self.verify(source, stated, &judged).await?;
        let id = way.form().id(&judged.id);
        if source.memory.knows(&id) {
            for event in &judged.events {
                source.heard.event(event.kind, EventOutcome::Repeated);
            }
            return Ok(());
        }
        let mut selections = Vec::new();
        let mut outcomes = Vec::new();
        for event in &judged.events {
            outcomes.push((event.kind, Self::react(source, event, &mut selections)));
        }
        if !selections.is_empty() {
            self.appliers.apply(&source.caches, selections).await?;
        }
        source.memory.remember(&id);
        for (kind, outcome) in outcomes {
            source.heard.event(kind, outcome);
            tell_event(source, kind, outcome);
        }
        Ok(())
    }

    async fn verify(&self, source: &Source, stated: &Stated<'_>, judged: &Judged) -> Result<(), NotTaken> {
        let jws = &stated.jws;
        let found = source.keys.find(jws.header().kid.as_deref(), Some(judged.issued_at), |keys| keys.may_verify(jws));
        let keys = found.await.map_err(|error| {
            NotTaken::TurnedAway("the transmitter's keys cannot be had", error.retry_after().unwrap_or(LATER))
        })?;
        let keys = keys.ok_or(refused(Code::InvalidKey, Fault::NoSuchKey.as_str()))?;
        let now = self.clock.now();
        if source.forged.are_too_many(now) {
            return Err(NotTaken::TurnedAway("too many wrong signatures come in this transmitter's name", SOON));
        }
        keys.verify(jws).map(drop).map_err(|fault| {
            source.forged.add(now);
            refused(code_of(fault), fault.as_str())
        })
    }

    /// What is done about one event; adds what is to be forgotten.
    fn react(source: &Source, event: &SecurityEvent, selections: &mut Vec<Selection>) -> EventOutcome {
        match event.kind {
            EventKind::Verification => return EventOutcome::NoAction,
            EventKind::StreamUpdated => return stream_updated(source, event),
            _ => {}
        }
        match (source.decide)(event) {
            Reaction::Nothing if event.kind == EventKind::Other => EventOutcome::NotUnderstood,
            Reaction::Nothing => EventOutcome::NoAction,
            Reaction::Invalidate(chosen) => {
                selections.extend(chosen);
                EventOutcome::Applied
            }
            Reaction::Forget => {
                let token_issuers = until(source, event.issued_at);
                match (Scope { token_issuers: &token_issuers }).selections(event.subject.as_ref()) {
                    Ok(meant) => {
                        selections.extend(meant);
                        EventOutcome::Applied
                    }
                    Err(unmatched) => {
                        tell_unmatched(source, event.kind, unmatched.as_str());
                        EventOutcome::Unmatched
                    }
                }
            }
        }
    }

    fn of_nobody(&self, not_taken: NotTaken) -> NotTaken {
        self.nobody.refused.fetch_add(1, Ordering::Relaxed);
        self.nobody.metrics.not_taken(EventOutcome::Refused);
        if let NotTaken::Refused(code, cause) = not_taken {
            const TOLD: &str = "what was sent as a security event is refused, and names no transmitter that is known";
            match self.nobody.told.due(cause) {
                Some(untold) => tracing::info!(code = code.as_str(), cause, untold, "{TOLD}"),
                None => tracing::debug!(code = code.as_str(), cause, "{TOLD}"),
            }
        }
        not_taken
    }
}

/// Up to when tokens of each issuer are meant. Times are in whole seconds, and of one clock only if one authority
/// has issued both.
fn until(source: &Source, issued_at: Timestamp) -> Vec<(String, Timestamp)> {
    let second = Timestamp::from_unix_millis(issued_at.as_unix_millis().div_euclid(1_000).saturating_mul(1_000));
    let until = |issuer: &String| {
        let apart = if *issuer == source.issuer { Duration::ZERO } else { source.clock_skew };
        (issuer.clone(), second + Duration::from_secs(1) + apart)
    };
    source.token_issuers.iter().map(until).collect()
}

/// In a time that does not tell how much of it is the same.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

fn stream_updated(source: &Source, event: &SecurityEvent) -> EventOutcome {
    let stated: Option<String> = event.member("status");
    let status = StreamStatus::ALL.into_iter().find(|status| Some(status.as_str()) == stated.as_deref());
    let Some(status) = status else { return EventOutcome::NotUnderstood };
    if source.heard.has_status(status) {
        let (issuer, status) = (&source.heard.issuer, status.as_str());
        match status {
            "enabled" => tracing::info!(transmitter = issuer, "the transmitter sends security events again"),
            _ => tracing::warn!(
                transmitter = issuer,
                status,
                "the transmitter sends no security events: what it revokes is noticed as late as without them"
            ),
        }
    }
    EventOutcome::NoAction
}

fn tell_event(source: &Source, kind: EventKind, outcome: EventOutcome) {
    const TOLD: &str = "a security event was heard";
    let (transmitter, event) = (&source.heard.issuer, kind.as_str());
    match source.heard.told.due(Told::Event(kind, outcome)) {
        Some(untold) => tracing::info!(transmitter, event, outcome = outcome.as_str(), untold, "{TOLD}"),
        None => tracing::debug!(transmitter, event, outcome = outcome.as_str(), "{TOLD}"),
    }
}

fn tell_unmatched(source: &Source, kind: EventKind, cause: &'static str) {
    const TOLD: &str = "a security event has no effect";
    let (transmitter, event) = (&source.heard.issuer, kind.as_str());
    match source.heard.told.due(Told::Because(cause)) {
        Some(untold) => tracing::warn!(transmitter, event, cause, untold, "{TOLD}"),
        None => tracing::debug!(transmitter, event, cause, "{TOLD}"),
    }
}

fn tell(source: &Source, not_taken: NotTaken) {
    let transmitter = &source.heard.issuer;
    match not_taken {
        NotTaken::Refused(code, cause) => {
            const TOLD: &str = "what was sent as a security event is refused";
            source.heard.not_taken(EventOutcome::Refused);
            match source.heard.told.due(Told::Because(cause)) {
                Some(untold) => tracing::info!(transmitter, code = code.as_str(), cause, untold, "{TOLD}"),
                None => tracing::debug!(transmitter, code = code.as_str(), cause, "{TOLD}"),
            }
        }
        NotTaken::TurnedAway(cause, _) => {
            const TOLD: &str = "security events are turned away, and have to be sent again";
            source.heard.not_taken(EventOutcome::TurnedAway);
            match source.heard.told.due(Told::Because(cause)) {
                Some(untold) => tracing::warn!(transmitter, cause, untold, "{TOLD}"),
                None => tracing::debug!(transmitter, cause, "{TOLD}"),
            }
        }
    }
}
