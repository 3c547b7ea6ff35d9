//! Configuring who is listened to.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::runtime::Handle;
use tracing::Instrument;

use super::Signals;
use super::apply::Appliers;
use super::receiver::{Nobody, Receiver};
use super::transmitter::Transmitter;
use crate::background::{Owner, background_span};
use crate::build_error::BuildError;
use crate::cache::handle::CacheHandle;
use crate::clock::{Clock, SystemClock};
use crate::log_limit::LogLimit;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Configures [`Signals`]. Made by [`Signals::builder`].
#[must_use]
pub struct SignalsBuilder {
    transmitters: Vec<Transmitter>,
    clock: Arc<dyn Clock>,
}

impl SignalsBuilder {
    pub(super) fn new() -> Self {
        Self { transmitters: Vec::new(), clock: Arc::new(SystemClock) }
    }

    /// Whom events are taken from. May be called several times, with another issuer each time.
    pub fn transmitter(mut self, transmitter: Transmitter) -> Self {
        self.transmitters.push(transmitter);
        self
    }

    /// The clock that judges times. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks every setting. Fetches no keys. Where a transmitter is [polled](Transmitter::poll), or is said to speak
    /// [so often](Transmitter::silent_after), that begins now, in tasks of the Tokio runtime in which this is called.
    ///
    /// # Errors
    /// Names the setting that cannot work: no `transmitter`, or two of one `issuer`; no `audience`, or an empty one; no
    /// `cache`; no `keys`; no `algorithms`; a `clock_skew`, `max_event_age`, `silent_after`, `interval` or
    /// `refresh_keys_every` beyond its bounds; a `push_authorization` that no header can hold; an `issuer`, `jwks_url`
    /// or `poll` that is no `https` URL (`http` works on loopback, and with
    /// [`dangerously_allow_plain_http`](crate::connection::Connection::dangerously_allow_plain_http)); `poll` outside
    /// of a Tokio runtime; what [`Rfc7662Builder::build`](crate::rfc7662::Rfc7662Builder::build) says of a connection;
    /// a `bearer_token` that no header can hold.
    pub fn build(self) -> Result<Signals, BuildError> {
        if self.transmitters.is_empty() {
            return Err(BuildError::new("transmitter", "there is none, so nothing would ever be heard"));
        }
        for (at, transmitter) in self.transmitters.iter().enumerate() {
            if self.transmitters.iter().take(at).any(|before| before.issuer() == transmitter.issuer()) {
                let fix = "give one of them all its audiences and caches";
                return Err(BuildError::new("issuer", format!("two transmitters have the same one; {fix}")));
            }
        }
        let mut caches: Vec<CacheHandle> = Vec::new();
        let mut place_of = |cache: &CacheHandle| {
            let known = caches.iter().position(|known| known.is_of_the_cache_of(cache));
            known.unwrap_or_else(|| {
                caches.push(cache.clone());
                caches.len() - 1
            })
        };
        let (mut sources, mut polled) = (Vec::new(), Vec::new());
        for (place, transmitter) in self.transmitters.into_iter().enumerate() {
            let (source, poll) = transmitter.open(&self.clock, &mut place_of)?;
            sources.push(source);
            if let Some(poll) = poll {
                polled.push((place, poll.open(&self.clock)?));
            }
        }
        let nobody = Nobody { refused: AtomicU64::new(0), told: LogLimit::new() };
        let appliers = Arc::new(Appliers::new(caches));
        let signals = Signals {
            receiver: Arc::new(Receiver { sources, appliers, clock: self.clock, nobody }),
            owner: Owner::default(),
        };
        let is_polled = !polled.is_empty();
        let mut tasks: Vec<Task> = Vec::new();
        for (place, poll) in polled {
            tasks.push(Box::pin(poll.run(Arc::clone(&signals.receiver), place)));
        }
        if let Some(watching) = signals.receiver.watch() {
            tasks.push(Box::pin(watching));
        }
        if !tasks.is_empty() {
            let setting = if is_polled { "poll" } else { "silent_after" };
            let runtime = Handle::try_current().map_err(|_| {
                BuildError::new(setting, "there is no Tokio runtime here, in which it could go on; build within one")
            })?;
            for task in tasks {
                let task = signals.owner.keeps_alive(task);
                runtime.spawn(task.instrument(background_span!("introspection_signals")));
            }
        }
        Ok(signals)
    }
}

impl fmt::Debug for SignalsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("SignalsBuilder").field("transmitters", &self.transmitters).finish_non_exhaustive()
    }
}
