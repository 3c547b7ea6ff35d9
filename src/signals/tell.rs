//! What the log says of events.

use super::event::EventKind;
use super::heard::{EventOutcome, Told};
use super::refusal::NotTaken;
use super::source::Source;

pub(super) fn event(source: &Source, kind: EventKind, outcome: EventOutcome) {
    const TOLD: &str = "a security event was heard";
    let (transmitter, event) = (&source.heard.issuer, kind.as_str());
    match source.heard.told.due(Told::Event(kind, outcome)) {
        Some(untold) => tracing::info!(transmitter, event, outcome = outcome.as_str(), untold, "{TOLD}"),
        None => tracing::debug!(transmitter, event, outcome = outcome.as_str(), "{TOLD}"),
    }
}

pub(super) fn unmatched(source: &Source, kind: EventKind, cause: &'static str) {
    const TOLD: &str = "a security event has no effect";
    let (transmitter, event) = (&source.heard.issuer, kind.as_str());
    match source.heard.told.due(Told::Because(cause)) {
        Some(untold) => tracing::warn!(transmitter, event, cause, untold, "{TOLD}"),
        None => tracing::debug!(transmitter, event, cause, "{TOLD}"),
    }
}

pub(super) fn not_taken(source: &Source, not_taken: NotTaken, is_polled: bool) {
    let transmitter = &source.heard.issuer;
    match not_taken {
        NotTaken::Refused(code, cause) => {
            const TOLD: &str = "what was sent as a security event is refused";
            source.heard.outcome(EventOutcome::Refused);
            match source.heard.told.due(Told::Because(cause)) {
                // Who answers there is no stranger, so a setting is wrong.
                Some(untold) if is_polled => {
                    tracing::warn!(transmitter, code = code.as_str(), cause, untold, "{TOLD}");
                }
                Some(untold) => tracing::info!(transmitter, code = code.as_str(), cause, untold, "{TOLD}"),
                None => tracing::debug!(transmitter, code = code.as_str(), cause, "{TOLD}"),
            }
        }
        NotTaken::TurnedAway(cause, _) => {
            const TOLD: &str = "security events are turned away, and have to be sent again";
            source.heard.outcome(EventOutcome::TurnedAway);
            match source.heard.told.due(Told::Because(cause)) {
                Some(untold) => tracing::warn!(transmitter, cause, untold, "{TOLD}"),
                None => tracing::debug!(transmitter, cause, "{TOLD}"),
            }
        }
    }
}
