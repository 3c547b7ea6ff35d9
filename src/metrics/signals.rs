//! The figures of security events (feature `signals`). Their only label, but for those of fixed values, is the issuer
//! of the transmitter, as it was configured.

#[cfg(feature = "metrics")]
pub(crate) use published::SignalsMetrics;
#[cfg(not(feature = "metrics"))]
pub(crate) use silent::SignalsMetrics;

#[cfg(feature = "metrics")]
mod published {
    use std::sync::OnceLock;
    use std::time::Duration;

    use metrics::{Counter, Gauge, SharedString, Unit, counter, describe_counter, describe_gauge, gauge};

    use crate::clock::Timestamp;
    use crate::signals::{EventKind, EventOutcome};

    const OUTCOMES: &str = "tower_introspection.signals.events_total";
    const ACCEPTED: &str = "tower_introspection.signals.accepted_events_total";
    const POLLS: &str = "tower_introspection.signals.polls_total";
    const HEARD: &str = "tower_introspection.signals.last_heard_timestamp_seconds";
    const HEALTHY: &str = "tower_introspection.signals.healthy";

    pub(crate) struct SignalsMetrics {
        transmitter: SharedString,
        handles: OnceLock<Handles>,
    }

    struct Handles {
        /// In the order of their lists.
        outcomes: [Counter; EventOutcome::ALL.len()],
        accepted: [Counter; EventKind::ALL.len()],
        answered: Counter,
        failed: Counter,
        healthy: Gauge,
    }

    impl SignalsMetrics {
        pub(crate) fn new(transmitter: &str) -> Self {
            Self { transmitter: transmitter.to_owned().into(), handles: OnceLock::new() }
        }

        /// Something that is of no transmitter.
        pub(crate) fn refused_of_nobody() {
            of_nobody().increment(1);
        }

        pub(crate) fn outcome(&self, outcome: EventOutcome) {
            if let Some(counter) = self.handles().outcomes.get(outcome as usize) {
                counter.increment(1);
            }
        }

        pub(crate) fn accepted(&self, kind: EventKind) {
            if let Some(counter) = self.handles().accepted.get(kind as usize) {
                counter.increment(1);
            }
        }

        pub(crate) fn polled(&self, is_answered: bool) {
            let handles = self.handles();
            if is_answered { &handles.answered } else { &handles.failed }.increment(1);
        }

        /// Not there before the first time, or it would say 1970.
        pub(crate) fn heard(&self) {
            let since = Duration::from_millis(Timestamp::now().as_unix_millis().unsigned_abs());
            gauge!(HEARD, "transmitter" => self.transmitter.clone()).set(since.as_secs_f64());
        }

        pub(crate) fn publish(&self, is_healthy: bool) {
            self.handles().healthy.set(f64::from(u8::from(is_healthy)));
        }

        /// Made outside of the cell, as those of a cache are.
        fn handles(&self) -> &Handles {
            self.handles.get().unwrap_or_else(|| {
                let made = self.make();
                self.handles.get_or_init(|| made)
            })
        }

        #[cold]
        fn make(&self) -> Handles {
            describe_counter!(OUTCOMES, Unit::Count, "security events, by what became of them");
            describe_counter!(ACCEPTED, Unit::Count, "security events that were accepted, by what they are about");
            describe_counter!(POLLS, Unit::Count, "polls for security events");
            describe_gauge!(HEARD, Unit::Seconds, "when the transmitter was heard last, since the Unix epoch");
            describe_gauge!(HEALTHY, "1 while nothing speaks against it that security events arrive");
            of_nobody().increment(0);
            let healthy = gauge!(HEALTHY, "transmitter" => self.transmitter.clone());
            healthy.set(1.0);
            let transmitter = || self.transmitter.clone();
            let polls = |outcome| counter!(POLLS, "transmitter" => transmitter(), "outcome" => outcome);
            Handles {
                outcomes: EventOutcome::ALL
                    .map(|outcome| counter!(OUTCOMES, "transmitter" => transmitter(), "outcome" => outcome.as_str())),
                accepted: EventKind::ALL
                    .map(|kind| counter!(ACCEPTED, "transmitter" => transmitter(), "event" => kind.as_str())),
                answered: polls("answered"),
                failed: polls("failed"),
                healthy,
            }
        }
    }

    fn of_nobody() -> Counter {
        counter!(OUTCOMES, "transmitter" => "unknown", "outcome" => EventOutcome::Refused.as_str())
    }
}

#[cfg(not(feature = "metrics"))]
mod silent {
    use crate::signals::{EventKind, EventOutcome};

    pub(crate) struct SignalsMetrics;

    #[allow(clippy::unused_self)]
    impl SignalsMetrics {
        pub(crate) fn new(_: &str) -> Self {
            Self
        }

        pub(crate) fn refused_of_nobody() {}

        pub(crate) fn outcome(&self, _: EventOutcome) {}

        pub(crate) fn accepted(&self, _: EventKind) {}

        pub(crate) fn polled(&self, _: bool) {}

        pub(crate) fn heard(&self) {}

        pub(crate) fn publish(&self, _: bool) {}
    }
}
