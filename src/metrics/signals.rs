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

    use metrics::{Gauge, SharedString, Unit, counter, describe_counter, describe_gauge, gauge};

    use crate::clock::Timestamp;
    use crate::signals::{EventKind, EventOutcome};

    const EVENTS: &str = "tower_introspection.signals.events_total";
    const POLLS: &str = "tower_introspection.signals.polls_total";
    const HEARD: &str = "tower_introspection.signals.last_heard_timestamp_seconds";
    const HEALTHY: &str = "tower_introspection.signals.healthy";

    pub(crate) struct SignalsMetrics {
        transmitter: SharedString,
        gauges: OnceLock<Gauges>,
    }

    struct Gauges {
        heard: Gauge,
        healthy: Gauge,
    }

    impl SignalsMetrics {
        pub(crate) fn new(transmitter: &str) -> Self {
            Self { transmitter: transmitter.to_owned().into(), gauges: OnceLock::new() }
        }

        pub(crate) fn event(&self, kind: EventKind, outcome: EventOutcome) {
            self.count(kind.as_str(), outcome);
        }

        /// What nobody looked into, so that its kind is not known.
        pub(crate) fn not_taken(&self, outcome: EventOutcome) {
            self.count("none", outcome);
        }

        fn count(&self, event: &'static str, outcome: EventOutcome) {
            describe_counter!(EVENTS, Unit::Count, "security events, by kind and by what became of them");
            let transmitter = self.transmitter.clone();
            let outcome = outcome.as_str();
            counter!(EVENTS, "transmitter" => transmitter, "event" => event, "outcome" => outcome).increment(1);
        }

        pub(crate) fn polled(&self, is_answered: bool) {
            describe_counter!(POLLS, Unit::Count, "polls for security events");
            let outcome = if is_answered { "answered" } else { "failed" };
            counter!(POLLS, "transmitter" => self.transmitter.clone(), "outcome" => outcome).increment(1);
        }

        pub(crate) fn heard(&self) {
            let since = Duration::from_millis(Timestamp::now().as_unix_millis().unsigned_abs());
            self.gauges().heard.set(since.as_secs_f64());
        }

        pub(crate) fn publish(&self, is_healthy: bool) {
            self.gauges().healthy.set(f64::from(u8::from(is_healthy)));
        }

        /// Made outside of the cell, as those of a cache are.
        fn gauges(&self) -> &Gauges {
            self.gauges.get().unwrap_or_else(|| {
                describe_gauge!(HEARD, Unit::Seconds, "when the transmitter was heard last, since the Unix epoch");
                describe_gauge!(HEALTHY, "1 while nothing speaks against it that security events arrive");
                let of = |name| gauge!(name, "transmitter" => self.transmitter.clone());
                let made = Gauges { heard: of(HEARD), healthy: of(HEALTHY) };
                self.gauges.get_or_init(|| made)
            })
        }
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

        pub(crate) fn event(&self, _: EventKind, _: EventOutcome) {}

        pub(crate) fn not_taken(&self, _: EventOutcome) {}

        pub(crate) fn polled(&self, _: bool) {}

        pub(crate) fn heard(&self) {}

        pub(crate) fn publish(&self, _: bool) {}
    }
}
