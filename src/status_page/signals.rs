//! What there is to show of those who tell of security events.

use super::figures::{Figure, Group, Shown};
use crate::signals::SignalsHandle;

pub(super) fn transmitters(signals: &SignalsHandle) -> Vec<Shown> {
    use Figure::{Count, Seconds, Word};

    let stats = signals.stats();
    let (nobody, forgotten) = (stats.refused_of_nobody, stats.forgotten);
    let shown = |transmitter: crate::signals::TransmitterStats| {
        let seconds = |ago: Option<std::time::Duration>| Seconds(ago.map(|ago| ago.as_secs_f64()));
        let outcomes = transmitter.outcomes.iter().map(|(outcome, count)| (outcome.as_str(), *count));
        let events = transmitter.events.iter().map(|(kind, count)| (kind.as_str(), *count));
        let glance = vec![
            ("Events", "health", Word(transmitter.health.as_str())),
            ("Last event heard, ago", "last_event_seconds", seconds(transmitter.last_event)),
        ];
        let rows = vec![
            ("Transmitter last heard, ago", "last_heard_seconds", seconds(transmitter.last_heard)),
            ("Stream, as it says", "status", Word(transmitter.status.as_str())),
            ("What became of events", "outcomes", Figure::kinds(outcomes)),
            ("Accepted events by kind", "events", Figure::kinds(events)),
            ("Polls", "polls", Count(transmitter.polls)),
            ("Polls failed", "failed_polls", Count(transmitter.failed_polls)),
            ("Tokens forgotten (all transmitters)", "forgotten", Count(forgotten)),
            ("Refused, of no transmitter that is known", "refused_of_nobody", Count(nobody)),
        ];
        let groups = vec![Group { title: "Security events", rows }];
        Shown { name: transmitter.issuer, glance, groups, times: Vec::new() }
    };
    stats.transmitters.into_iter().map(shown).collect()
}
