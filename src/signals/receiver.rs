//! What becomes of something that was sent, whichever way it came.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::apply::{Appliers, Meant, Until};
use super::event::{EventKind, Reaction, SecurityEvent};
use super::heard::{EventOutcome, StreamStatus, Told};
use super::refusal::{Code, LATER, NotTaken, SOON, refused};
use super::set::{Form, Judged, Stated, Way, code_of};
use super::source::Source;
use super::subject::{Scope, Unmatched};
use super::tell;
use crate::clock::{Clock, Timestamp};
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::jose::Fault;
use crate::log_limit::LogLimit;
use crate::metrics::SignalsMetrics;

/// Whoever sends a logout sends it once, as a rule: so long keys are waited for that may not be looked for yet.
const LONGEST_WAIT_FOR_KEYS: Duration = Duration::from_secs(2);

/// In how many ways the tokens may be told that one token of events is about.
const MOST_SELECTIONS: usize = 64;

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
    pub(super) told: LogLimit<&'static str>,
}

impl Receiver {
    /// Fetches the keys of all transmitters, unless they are at hand.
    pub(super) async fn fetch_keys(&self) -> Result<(), IntrospectError> {
        for source in &self.sources {
            source.keys.find(None, None, |_| true).await?;
        }
        Ok(())
    }

    /// Looks whether transmitters have fallen silent, without end. `None` if none of them is said to speak that often.
    pub(super) fn watch(self: &Arc<Self>) -> Option<impl Future<Output = ()> + Send + use<>> {
        let pause = self.sources.iter().filter_map(|source| source.heard.looked_at_every()).min()?;
        let this = Arc::clone(self);
        Some(async move {
            loop {
                tokio::time::sleep(pause).await;
                this.sources.iter().for_each(|source| source.heard.look());
            }
        })
    }

    /// Takes what was sent. It has had its effect when this says so, on all processes of a fleet that read its log.
    pub(super) async fn take(self: &Arc<Self>, text: &str, way: &Way) -> Result<Taken, NotTaken> {
        let signed = self.read(text, way).await?;
        // In a task of its own: it goes on if the transmitter hangs up.
        let acting = tokio::spawn(Arc::clone(self).act(signed));
        acting.await.unwrap_or(Err(NotTaken::TurnedAway("it was given up", SOON)))
    }

    /// What was sent, if a transmitter has signed it and it is as it has to be.
    async fn read(&self, text: &str, way: &Way) -> Result<Signed, NotTaken> {
        let is_polled = matches!(way, Way::Poll { .. });
        let stated = Stated::read(text, way.form()).map_err(|not_taken| self.of_nobody(not_taken))?;
        let Some((place, source)) = self.source_of(&stated, way) else {
            let why = "`iss` is none of the transmitters, to the letter";
            return Err(self.of_nobody(refused(Code::InvalidIssuer, why)));
        };
        let judged = self
            .judge(source, &stated, way)
            .await
            .inspect_err(|not_taken| tell::not_taken(source, *not_taken, is_polled))?;
        let events = stated.events(way.form(), source, &judged);
        let signed = stated.jws.payload().to_vec();
        Ok(Signed { place, form: way.form(), is_polled, judged, signed, events })
    }

    fn source_of(&self, stated: &Stated, way: &Way) -> Option<(usize, &Source)> {
        let issuer = stated.issuer()?;
        let place = match way {
            Way::Poll { place, .. } => *place,
            Way::Push { .. } | Way::Logout => self.sources.iter().position(|source| source.issuer == issuer)?,
        };
        let source = self.sources.get(place).filter(|source| source.issuer == issuer)?;
        Some((place, source))
    }

    async fn judge(&self, source: &Source, stated: &Stated<'_>, way: &Way) -> Result<Judged, NotTaken> {
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
        self.verify(source, stated, way).await?;
        Ok(judged)
    }

    async fn verify(&self, source: &Source, stated: &Stated<'_>, way: &Way) -> Result<(), NotTaken> {
        let (jws, now) = (&stated.jws, self.clock.now());
        let kid = jws.header().kid.as_deref();
        let forged = source.forged_by(way);
        if forged.is_some_and(|forged| forged.are_too_many(now)) {
            return Err(NotTaken::TurnedAway("too many wrong signatures come in this transmitter's name", SOON));
        }
        // When it says that it was issued tells nothing of its key: what happened may be told of later.
        let find = || source.keys.find(kid, None, |keys| keys.may_verify(jws));
        let mut found = find().await;
        if let (Way::Logout, Err(error)) = (way, &found)
            && let Some(wait) = error.retry_after().filter(|wait| *wait <= LONGEST_WAIT_FOR_KEYS)
        {
            tokio::time::sleep(wait).await;
            found = find().await;
        }
        let verified = match found {
            Ok(keys) => keys.ok_or(Fault::NoSuchKey).and_then(|keys| keys.verify(jws).map(drop)).map_err(Ok),
            Err(error) => Err(Err(error)),
        };
        // Without the name of a key each was tried, also if newer ones may not be looked for yet.
        let was_verified = |failed: &Result<Fault, IntrospectError>| match failed {
            Ok(fault) => kid.is_none() || *fault != Fault::NoSuchKey,
            Err(error) => kid.is_none() && error.kind() == IntrospectErrorKind::Overloaded,
        };
        if let (Some(forged), Err(failed)) = (forged, &verified)
            && was_verified(failed)
        {
            forged.add(now);
        }
        verified.map_err(|failed| match failed {
            Ok(fault) => refused(code_of(fault), fault.as_str()),
            Err(error) => {
                NotTaken::TurnedAway("the transmitter's keys cannot be had", error.retry_after().unwrap_or(LATER))
            }
        })
    }

    /// Does what is to be done about it.
    async fn act(self: Arc<Self>, signed: Signed) -> Result<Taken, NotTaken> {
        let Signed { place, form, is_polled, judged, signed, events } = signed;
        let Some(source) = self.sources.get(place) else {
            return Err(NotTaken::TurnedAway("its transmitter is gone", SOON));
        };
        let id = (form, &*judged.id, &*signed);
        if source.memory.knows(&id) {
            events.iter().for_each(|event| source.heard.event(event.kind, EventOutcome::Repeated));
            return Ok(Taken::Repeated);
        }
        // Of one that anybody can send again nobody knows who has sent it.
        source.heard.spoke();
        let mut meant = Vec::new();
        let outcomes: Vec<_> = events.iter().map(|event| (event.kind, react(source, event, &mut meant))).collect();
        if meant.len() > MOST_SELECTIONS {
            let not_taken = refused(Code::InvalidRequest, "its events are about too many subjects");
            tell::not_taken(source, not_taken, is_polled);
            return Err(not_taken);
        }
        if !meant.is_empty() {
            let applied = self.appliers.apply(&source.caches, meant).await;
            applied.inspect_err(|not_taken| tell::not_taken(source, *not_taken, is_polled))?;
        }
        source.memory.remember(&id);
        let is_about_the_stream = |kind| matches!(kind, EventKind::Verification | EventKind::StreamUpdated);
        if form == Form::Event && !events.iter().any(|event| is_about_the_stream(event.kind)) {
            source.heard.sends_events(judged.issued_at);
        }
        for (kind, outcome) in outcomes {
            source.heard.event(kind, outcome);
            tell::event(source, kind, outcome);
        }
        Ok(Taken::Acted)
    }

    pub(super) fn of_nobody(&self, not_taken: NotTaken) -> NotTaken {
        self.nobody.refused.fetch_add(1, Ordering::Relaxed);
        SignalsMetrics::refused_of_nobody();
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

/// What was sent, and that it is a transmitter's.
struct Signed {
    place: usize,
    form: Form,
    is_polled: bool,
    judged: Judged,
    /// What was signed.
    signed: Vec<u8>,
    events: Vec<SecurityEvent>,
}

/// It has had its effect, or needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Acted,
    /// It was acted on before.
    Repeated,
}

/// What is done about one event; adds what is to be forgotten.
fn react(source: &Source, event: &SecurityEvent, meant: &mut Vec<Meant>) -> EventOutcome {
    if event.kind == EventKind::StreamUpdated && !stream_updated(source, event) {
        return EventOutcome::NotUnderstood;
    }
    match decide(source, event) {
        Reaction::Nothing if event.kind == EventKind::Other => EventOutcome::NotUnderstood,
        Reaction::Nothing => EventOutcome::NoAction,
        Reaction::Invalidate(chosen) if chosen.is_empty() => EventOutcome::NoAction,
        Reaction::Invalidate(chosen) => {
            meant.extend(chosen.into_iter().map(|selection| Meant { selection, until: None }));
            EventOutcome::Applied
        }
        Reaction::Forget => match forget(source, event) {
            Ok(tokens) => {
                meant.extend(tokens);
                EventOutcome::Applied
            }
            Err(unmatched) => {
                tell::unmatched(source, event.kind, unmatched.as_str());
                EventOutcome::Unmatched
            }
        },
    }
}

/// A panic in what decides would have the event come again and again.
fn decide(source: &Source, event: &SecurityEvent) -> Reaction {
    catch_unwind(AssertUnwindSafe(|| (source.decide)(event))).unwrap_or_else(|_| {
        if let Some(untold) = source.heard.told.due(Told::Because("panic")) {
            let (transmitter, event) = (&source.heard.issuer, event.kind.as_str());
            tracing::error!(
                transmitter,
                event,
                untold,
                "what decides about security events (`on_event`) panicked: what is done by default is done"
            );
        }
        event.default_reaction()
    })
}

/// The tokens of the subject, by the first of the places where it is stated that tells them.
pub(super) fn forget(source: &Source, event: &SecurityEvent) -> Result<Vec<Meant>, Unmatched> {
    let scope = Scope { transmitter: &source.issuer, token_issuers: &source.token_issuers };
    let mut told = Err(Unmatched::Missing);
    for subject in &event.subjects {
        let selections = scope.selections(subject);
        if told.is_err() {
            told = selections;
        }
    }
    let until = |issuer: &str| {
        // Times are in whole seconds, and of one clock only if one authority has issued both.
        let second = event.issued_at.as_unix_millis().div_euclid(1_000).saturating_add(1).saturating_mul(1_000);
        let second = Timestamp::from_unix_millis(second);
        let asked = second + source.clock_skew;
        Until { judged_alone: if issuer == source.issuer { second } else { asked }, asked }
    };
    Ok(told?.into_iter().map(|(issuer, selection)| Meant { selection, until: Some(until(issuer)) }).collect())
}

/// In a time that does not tell how much of it is the same.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// Notes what the transmitter says of its stream, if that is understood.
fn stream_updated(source: &Source, event: &SecurityEvent) -> bool {
    let stated: Option<String> = event.member("status");
    let status = StreamStatus::ALL.into_iter().find(|status| Some(status.as_str()) == stated.as_deref());
    let Some(status) = status else { return false };
    source.heard.has_status(status, event.issued_at);
    true
}
