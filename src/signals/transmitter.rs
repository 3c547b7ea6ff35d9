//! Whom events are taken from, as an application says it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::event::{Reaction, SecurityEvent};
use super::forged::Forged;
use super::heard::Heard;
use super::memory::Memory;
use super::poll::Poll;
use super::source::{Decide, Source};
use crate::build_error::BuildError;
use crate::cache::handle::CacheHandle;
use crate::clock::Clock;
use crate::connection::Connection;
use crate::http::link::Link;
use crate::jose::{Algorithm, KeySet};
use crate::jwks::{KeySource, Place};
use crate::protection::{Authority, Limits};
use crate::url::shown;

const LONGEST_CLOCK_SKEW: Duration = Duration::from_secs(300);
/// A stream that is polled is looked at without end.
const SILENT_AFTER_IF_POLLED: Duration = Duration::from_secs(120);

/// An authority that tells of security events: who it is, and what it speaks about. Given to
/// [`SignalsBuilder::transmitter`](super::SignalsBuilder::transmitter).
///
/// ```
/// use tower_introspection::signals::{EventKind, Reaction, Transmitter};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
/// # let cache = tower_introspection::Cached::new(introspector).handle();
///
/// let transmitter = Transmitter::discover("https://auth.example.com")
///     .audience("https://api.example.com")
///     .cache(cache)
///     // That a user's password was changed is no reason to ask again here.
///     .on_event(|event| match event.kind() {
///         EventKind::CredentialChange => Reaction::Nothing,
///         _ => event.default_reaction(),
///     });
/// ```
#[must_use]
pub struct Transmitter {
    issuer: String,
    token_issuers: Vec<String>,
    audiences: Vec<String>,
    keys: KeySource,
    algorithms: Vec<Algorithm>,
    caches: Vec<CacheHandle>,
    decide: Option<Decide>,
    push_authorization: Option<String>,
    poll: Option<Poll>,
    clock_skew: Duration,
    max_event_age: Duration,
    silent_after: Option<Duration>,
    refresh_keys_every: Duration,
    link: Link,
}

impl Transmitter {
    /// Finds the keys of `issuer` in the metadata that it publishes (`jwks_uri`): as a transmitter (Shared Signals
    /// Framework 1.0 section 7.2), or as an authorization server, as [`Jwt::discover`](crate::Jwt::discover) does. The
    /// first event discovers. An [audience](Self::audience) and a [cache](Self::cache) are required, the rest has
    /// defaults.
    pub fn discover(issuer: impl Into<String>) -> Self {
        Self { keys: KeySource::At(Place::TransmitterSays), ..Self::new(issuer) }
    }

    /// Starts with the issuer. [Keys](Self::keys) or where [they are](Self::jwks_url), an [audience](Self::audience)
    /// and a [cache](Self::cache) are required, the rest has defaults.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            token_issuers: Vec::new(),
            audiences: Vec::new(),
            keys: KeySource::Unsaid,
            algorithms: Algorithm::ALL.to_vec(),
            caches: Vec::new(),
            decide: None,
            push_authorization: None,
            poll: None,
            clock_skew: Duration::from_secs(60),
            max_event_age: Duration::from_secs(7 * 24 * 3_600),
            silent_after: None,
            refresh_keys_every: KeySource::REFRESH_EVERY,
            link: Link::default(),
        }
    }

    /// Whom events have to be meant for: their `aud` has to name one of the audiences, to the letter. Of an event that
    /// is what the stream was set up with; of a logout token the client's identifier. May be called several times.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// A cache that is to forget: one around an endpoint or a [`Jwt`](crate::Jwt) that judges tokens of the
    /// [token issuer](Self::token_issuer). May be called several times. No other cache hears of its events.
    pub fn cache(mut self, cache: CacheHandle) -> Self {
        self.caches.push(cache);
        self
    }

    /// Who issued the tokens that events are about, as tokens name it in `iss`, if that is not the transmitter itself.
    /// May be called several times, for one that speaks about tokens of several issuers. A subject of any other issuer
    /// is [not matched](super::EventOutcome::Unmatched).
    pub fn token_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.token_issuers.push(issuer.into());
        self
    }

    /// The transmitter's keys, which stay as they are.
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.keys = KeySource::Given(keys);
        self
    }

    /// Where the transmitter publishes its keys (`jwks_uri`), for one whose metadata does not say.
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.keys = KeySource::At(Place::At(url.into()));
        self
    }

    /// How an event may be signed. Default: all of [`Algorithm`](crate::jwt::Algorithm).
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// What is done about each event, those about the stream itself included. Default:
    /// [`SecurityEvent::default_reaction`], which is also what is done if `decide` panics. It runs where events arrive,
    /// so it is not to wait for anything, and once more for an event that was turned away and comes again.
    pub fn on_event(mut self, decide: impl Fn(&SecurityEvent) -> Reaction + Send + Sync + 'static) -> Self {
        self.decide = Some(Arc::new(decide));
        self
    }

    /// The value of `Authorization` that the transmitter sends with each push, RFC 8935 section 3, such as
    /// `Bearer 2YotnFZFEjr1zCsi`: what the stream was set up with as `authorization_header`. A push without it, or with
    /// another, is refused before its signature is looked at. Default: none, so the signature alone tells who sent it.
    pub fn push_authorization(mut self, value: impl Into<String>) -> Self {
        self.push_authorization = Some(value.into());
        self
    }

    /// Fetches events from the transmitter, RFC 8936. Default: they are pushed.
    pub fn poll(mut self, poll: Poll) -> Self {
        self.poll = Some(poll);
        self
    }

    /// How far the transmitter's clock may be ahead of this one; an event from further ahead is turned away (503). By
    /// so much later than the event tokens may have been issued that are forgotten, too: those that an authority is
    /// asked about, since to forget one too many costs a question, and those that another than the transmitter has
    /// issued, whose clock may be another. Default: 60 seconds; at most 5 minutes.
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = skew;
        self
    }

    /// How old an event may be when it comes, by its `iat`. Where tokens are judged alone, choose no less than they
    /// live. Default: 7 days. Logout tokens say themselves when they expire.
    pub fn max_event_age(mut self, age: Duration) -> Self {
        self.max_event_age = age;
        self
    }

    /// After how long without a word from the transmitter its stream counts as [silent](super::StreamHealth::Silent).
    /// What it says of the stream itself counts, too: have it send a verification event in half that time. Default: 2
    /// minutes for one that is [polled](Self::poll), or twice its [`request_timeout`](Poll::request_timeout) if that is
    /// longer, of which any answer counts; never for one that pushes, which has nothing to say as long as nothing
    /// happens.
    pub fn silent_after(mut self, silence: Duration) -> Self {
        self.silent_after = Some(silence);
        self
    }

    /// After what time keys are fetched again, or up to a tenth earlier. Default: 5 minutes; at least 1 second.
    pub fn refresh_keys_every(mut self, pause: Duration) -> Self {
        self.refresh_keys_every = pause;
        self
    }

    /// How keys and metadata are fetched. Default: [`Connection::new`].
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// How long a fetch of keys may take in all. Default: 3 seconds.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.link.request_timeout = timeout;
        self
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `place_of` finds the place of a cache among those of all transmitters.
    ///
    /// # Errors
    /// Names the setting that cannot work.
    pub(super) fn open(
        self,
        clock: &Arc<dyn Clock>,
        mut place_of: impl FnMut(&CacheHandle) -> usize,
    ) -> Result<(Source, Option<Poll>), BuildError> {
        if self.issuer.is_empty() {
            return Err(BuildError::new(
                "issuer",
                "it is empty; name the transmitter exactly as its events do in `iss`",
            ));
        }
        if self.audiences.is_empty() {
            let fix = "call it with what events name in `aud`";
            return Err(BuildError::new("audience", format!("none is set, so events for others would count; {fix}")));
        }
        if self.audiences.iter().any(String::is_empty) {
            return Err(BuildError::new("audience", "an empty one names nobody"));
        }
        if self.algorithms.is_empty() {
            return Err(BuildError::new("algorithms", "none is allowed, so every event would be refused"));
        }
        if self.caches.is_empty() {
            return Err(BuildError::new("cache", "none is set, so no event would have an effect"));
        }
        if self.clock_skew > LONGEST_CLOCK_SKEW {
            return Err(BuildError::new("clock_skew", "it is more than 5 minutes; synchronize the clocks instead"));
        }
        if self.max_event_age.is_zero() {
            return Err(BuildError::new("max_event_age", "zero refuses every event"));
        }
        if self.silent_after.is_some_and(|silence| silence.is_zero()) {
            return Err(BuildError::new("silent_after", "zero makes every stream a silent one"));
        }
        let authorization = self.push_authorization.map(|value| match HeaderValue::try_from(&value) {
            Ok(value) if !value.is_empty() => Ok(value),
            _ => Err(BuildError::new("push_authorization", "it is empty, or holds what no header can; trim line ends")),
        });
        let authorization = authorization.transpose()?;
        let link = Link { clock: Arc::clone(clock), ..self.link };
        let authority = Authority { url: format!("{}#keys", self.issuer), ..Authority::default() };
        let (keys, _) = self.keys.open(&self.issuer, authority, link, &Limits::new(), self.refresh_keys_every)?;
        let if_polled = self.poll.as_ref().map(|poll| SILENT_AFTER_IF_POLLED.max(poll.longest_silence()));
        let heard = Heard::new(shown(&self.issuer).into_owned(), self.silent_after.or(if_polled));
        let token_issuers = if self.token_issuers.is_empty() { vec![self.issuer.clone()] } else { self.token_issuers };
        let source = Source {
            caches: self.caches.iter().map(&mut place_of).collect(),
            issuer: self.issuer,
            token_issuers,
            audiences: self.audiences,
            algorithms: self.algorithms,
            keys,
            decide: self.decide.unwrap_or_else(|| Arc::new(SecurityEvent::default_reaction)),
            authorization,
            clock_skew: self.clock_skew,
            max_event_age: self.max_event_age,
            memory: Memory::default(),
            forged_pushes: Forged::default(),
            forged_logouts: Forged::default(),
            heard,
        };
        Ok((source, self.poll))
    }
}

impl fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Transmitter").field("issuer", &shown(&self.issuer)).finish_non_exhaustive()
    }
}
