//! Configuring a cache.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cached::Cached;
use super::settings::CacheSettings;
#[cfg(feature = "redis")]
use super::shared::Membership;
use crate::build_error::BuildError;
use crate::clock::{Clock, SystemClock};
#[cfg(feature = "redis")]
use crate::fleet::Fleet;
use crate::introspect::Introspect;

/// Configures a [`Cached`]. Made by [`Cached::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::{Cached, introspect_fn};
/// # let introspector = introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let cached = Cached::builder(introspector)
///     .max_capacity(1_000_000)
///     .max_ttl(Duration::from_secs(180))
///     .inactive_ttl(Duration::from_secs(5))
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct CachedBuilder<I> {
    introspector: I,
    settings: CacheSettings,
    clock: Arc<dyn Clock>,
    #[cfg(feature = "redis")]
    fleet: Option<Fleet>,
}

impl<I: Introspect> CachedBuilder<I> {
    pub(super) fn new(introspector: I) -> Self {
        Self {
            introspector,
            settings: CacheSettings::default(),
            clock: Arc::new(SystemClock),
            #[cfg(feature = "redis")]
            fleet: None,
        }
    }

    /// All settings as one value, for those that stand in a file. Replaces what was set before; what is set after it
    /// counts.
    pub fn settings(mut self, settings: CacheSettings) -> Self {
        self.settings = settings;
        self
    }

    /// What this cache is called in metrics, log lines and on the status page. Give each a name of its own if there are
    /// several. Default: `default`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// How many active tokens are remembered. Zero remembers none. Default: 100,000. How many tokens stay *known*
    /// follows from it, too: see [`Cached`].
    ///
    /// A token takes the bytes of its facts and some 700 more (measured with glibc on 64 bits); with what Apigee's
    /// documentation shows, 690 to 1,010 in all. How large the facts are is the authority's choice, up to the
    /// endpoint's `max_response_bytes` and a little more. So that memory has a bound, a token with more than 4 KiB of
    /// facts counts as several, one for each 4 KiB that it began: **a cache takes less than 5 KiB for each token of its
    /// capacity**, 500 MB with the default, and would take that only if all facts were of 4 KiB. (Up to
    /// 400 new answers may exceed it for a third of a second, besides those of questions under way, which have limits
    /// of their own.)
    pub fn max_capacity(mut self, entries: u64) -> Self {
        self.settings.max_capacity = entries;
        self
    }

    /// How long an active answer serves, counted from when the question was asked; always cut off at the token's
    /// expiry. This is how long a revoked token may still be accepted. Zero means that no answer serves twice: each
    /// request asks, or waits for a question asked after it came (and with [`stale_if_error`](Self::stale_if_error) an
    /// answer is kept for when the authority fails, and for nothing else). Default: 60 seconds.
    #[doc(alias = "TTL")]
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.settings.max_ttl = ttl;
        self
    }

    /// How many inactive tokens are remembered, in a cache of their own. Zero remembers none. Default: 10,000.
    #[doc(alias = "negative cache")]
    pub fn inactive_capacity(mut self, entries: u64) -> Self {
        self.settings.inactive_capacity = entries;
        self
    }

    /// How long an inactive answer serves. Apigee can approve a revoked token again, so keep it short. Zero means that
    /// each request asks. "Not valid yet" of an [`Rfc7662`](crate::Rfc7662) endpoint serves for a second at most, since
    /// a clock here may be a little behind; of an introspector that answers with an active token whose `not_before` is
    /// ahead, no longer than until then. Default: 10 seconds.
    #[doc(alias = "TTL")]
    #[doc(alias = "negative cache")]
    pub fn inactive_ttl(mut self, ttl: Duration) -> Self {
        self.settings.inactive_ttl = ttl;
        self
    }

    /// How early a token in use is refreshed, as the last part of an active answer's time, from 0 to 1. In that part a
    /// request served from memory starts a question in the background, so that a token in constant use never waits.
    /// With 0.2 and the default `max_ttl` that is the last 12 seconds; it starts up to half of that later, depending on
    /// the token, so that tokens first seen together are not all refreshed together.
    ///
    /// If the question fails, the answer stays as it is, and the refresh is tried again. Tokens that are hardly used
    /// are not refreshed: see [`refresh_ahead_uses`](Self::refresh_ahead_uses). Zero switches refreshing off. Default:
    /// 0.2.
    #[doc(alias = "stale-while-revalidate")]
    pub fn refresh_ahead(mut self, part: f64) -> Self {
        self.settings.refresh_ahead = part;
        self
    }

    /// How many requests an answer must have served from memory before it is [refreshed](Self::refresh_ahead), the one
    /// that starts the refresh included. A higher number asks fewer questions about tokens that are not used again
    /// before the answer runs out, but makes little-used tokens wait more often. With 0 or 1, every token that is used
    /// in the last part is refreshed. Default: 4.
    pub fn refresh_ahead_uses(mut self, uses: u32) -> Self {
        self.settings.refresh_ahead_uses = uses;
        self
    }

    /// How much longer an active answer serves if the authority *fails* to answer the next question about the token. It
    /// never serves longer after the authority said no, nor at or after the token's expiry. **A token revoked during
    /// the outage is accepted this much longer.** [`AccessToken::is_stale`](crate::AccessToken::is_stale) is true of a
    /// token let in this way.
    ///
    /// The request first waits for the question to fail. It does not wait once the endpoint's circuit breaker is open.
    /// Answers kept for this purpose count against [`max_capacity`](Self::max_capacity).
    ///
    /// A question that is turned away as [`Overloaded`](crate::introspect::IntrospectErrorKind::Overloaded) has not
    /// failed at the authority, so no older answer serves: otherwise whoever sends enough requests could use a revoked
    /// token for this long although the authority is well. Tokens never seen before cannot have known ones turned away,
    /// since known ones come first in the limits of this crate's endpoints. If it happens, the known tokens themselves
    /// need more than a limit allows: raise it, or [`max_ttl`](Self::max_ttl). In an outage it is different: for 30
    /// seconds after a question about a known token failed, an overload counts as a failure too, because at the end of
    /// an outage all tokens are asked about at once. (While an authority hangs, the first such failure comes after the
    /// endpoint's `request_timeout`; what is turned away before that gets 503.)
    ///
    /// Default: zero, so that in an outage a token is no longer accepted `max_ttl` after it was last asked about.
    #[doc(alias = "stale-if-error")]
    pub fn stale_if_error(mut self, allowance: Duration) -> Self {
        self.settings.stale_if_error = allowance;
        self
    }

    /// How long before a token's expiry the cache stops answering for it, so that the authority's own clock decides the
    /// last moments. For a clock here that may lag behind the authority's. It never lets a token live longer. Default:
    /// zero.
    pub fn expiry_leeway(mut self, leeway: Duration) -> Self {
        self.settings.expiry_leeway = leeway;
        self
    }

    /// How many tokens may be asked about at a time, and as many again of those that were active when they were last
    /// asked about. What is known elsewhere as *single flight* holds here for each token: one question about it is
    /// under way at a time, its flight, and all requests that present it wait for that one. A request that would start
    /// one more fails with [`Overloaded`](crate::introspect::IntrospectErrorKind::Overloaded). Default: 1,000.
    #[doc(alias = "single flight")]
    #[doc(alias = "singleflight")]
    #[doc(alias = "coalescing")]
    pub fn max_flights(mut self, flights: usize) -> Self {
        self.settings.max_flights = flights;
        self
    }

    /// How long a question may take before it fails, whatever introspector it was put to. An endpoint of this crate
    /// ends sooner, by its own `request_timeout`, and this may not be shorter than that, or the endpoint might not
    /// learn that the authority hangs. It is the bound for introspectors that have none. Default: 30 seconds, or a
    /// second more than the `request_timeout` of the endpoint if that is longer.
    #[doc(alias = "timeout")]
    pub fn question_timeout(mut self, timeout: Duration) -> Self {
        self.settings.question_timeout = Some(timeout);
        self
    }

    /// How long the longest of tokens lives that are [judged alone](Introspect::judges_alone), from when it is issued
    /// until it expires. The log of a fleet keeps invalidations for so long at least, so that a process
    /// that starts later hears of them, too; a token that lives longer may be let in by such a process, and is a line
    /// in the log at `warn`. The log has room for 30,000 of them: where that is too little, a process that starts
    /// refuses every token that was issued before the oldest which is there, and says so at `warn`. Other caches, and
    /// those that are in no fleet, have no use for it. Default: 24 hours.
    pub fn longest_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.longest_token_lifetime = lifetime;
        self
    }

    /// The processes that this one shares answers with. All that have a cache of this [name](Self::name) in a fleet of
    /// the same name and secret, and ask the same authority as the same client, ask like one process: what one of them
    /// has learned serves in all, and [`CacheHandle::invalidate`](crate::CacheHandle::invalidate) reaches all. Their
    /// rate limit is one, too. Whatever becomes of the engine, this process goes on by itself. The
    /// [guide](crate::guide::fleet) has a chapter about it. Default: none.
    ///
    /// What is shared is what the authority said, as the endpoint read it; each process judges it by its own settings
    /// of the cache and by its own policy. So processes whose endpoints send something else or read it in another way
    /// share no answers, only invalidations and the rate limit, and the log says so at `warn`. Of an
    /// [`Rfc7662`](crate::Rfc7662) endpoint these settings are
    /// [`parameter`](crate::rfc7662::Rfc7662Builder::parameter),
    /// [`token_type_hint`](crate::rfc7662::Rfc7662Builder::token_type_hint),
    /// [`send_token_type_hint`](crate::rfc7662::Rfc7662Builder::send_token_type_hint) and
    /// [`require_token_type`](crate::rfc7662::Rfc7662Builder::require_token_type); of [`Apigee`](crate::Apigee)
    /// [`allow_unexpiring`](crate::apigee::ApigeeBuilder::allow_unexpiring) and
    /// [`verify_token_echo`](crate::apigee::ApigeeBuilder::verify_token_echo). Such a setting can be changed in one
    /// process after the other.
    ///
    /// **What this crate cannot tell has to be the same in all processes**, or what one of them lets in serves in all:
    ///
    /// * An introspector of your own. One around another that hands on its
    ///   [`endpoint`](crate::Introspect::endpoint) is taken for that one, also if it changes verdicts: put it around
    ///   the [`Cached`] instead, or change the name of the cache with what it does. One without an endpoint is known by
    ///   the name of the cache alone: two of one name share their answers, in one process too.
    /// * Whom the authority sees if the endpoint asks with a bearer token, with what a hook hands out or with nothing.
    /// * An [`http_client`](crate::connection::Connection::http_client) that changes what is sent or answered.
    ///
    /// Several caches of a process can be in one fleet, as those of [`Authorities`](crate::Authorities): give each a
    /// [name](Self::name) of its own. They share the fleet's connection and its log, and no answers.
    #[cfg(feature = "redis")]
    pub fn fleet(mut self, fleet: &Fleet) -> Self {
        self.fleet = Some(fleet.clone());
        self
    }

    /// The clock that judges every read. Default: [`SystemClock`](crate::clock::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// If [`max_flights`](Self::max_flights) or [`question_timeout`](Self::question_timeout) is zero, since no
    /// token could ever be checked, if the latter is shorter than the `request_timeout` of the endpoint, if
    /// [`refresh_ahead`](Self::refresh_ahead) is not a number from 0 to 1, if the endpoint has its rate limit from
    /// another fleet than this cache is in, or if that fleet is strict and tokens are
    /// [judged alone](Introspect::judges_alone).
    pub fn build(self) -> Result<Cached<I>, BuildError> {
        if self.settings.max_flights == 0 {
            return Err(BuildError::new("max_flights", "zero would let no token be checked"));
        }
        if self.settings.question_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(BuildError::new("question_timeout", "zero leaves no time for an answer"));
        }
        if let (Some(timeout), Some(endpoint)) = (self.settings.question_timeout, self.introspector.endpoint())
            && timeout < endpoint.deadline()
        {
            let problem = format!(
                "shorter than the `request_timeout` of the endpoint, {:?}: shorten that one",
                endpoint.deadline()
            );
            return Err(BuildError::new("question_timeout", problem));
        }
        if !(0.0..=1.0).contains(&self.settings.refresh_ahead) {
            return Err(BuildError::new("refresh_ahead", "it is a part of the time an answer serves, from 0 to 1"));
        }
        #[cfg(not(feature = "redis"))]
        let shared = None;
        #[cfg(feature = "redis")]
        let shared = match self.fleet {
            Some(fleet) => Some(Membership::new(fleet, &self.settings.name, &self.introspector)?),
            None => None,
        };
        Ok(Cached::with_settings(self.introspector, self.settings, self.clock, shared))
    }
}

impl<I> fmt::Debug for CachedBuilder<I> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("CachedBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspect::{InactiveReason, Verdict};
    use crate::introspect_fn;
    use crate::rfc7662::endpoint::Rfc7662;

    #[test]
    fn unless_it_is_told_otherwise_a_cache_has_the_limits_of_the_readme() {
        let introspector = || introspect_fn(|_| async { Ok(Verdict::Inactive(InactiveReason::Unknown)) });
        let read: CacheSettings = serde_json::from_str("{}").unwrap();
        for settings in [Cached::builder(introspector()).settings, CacheSettings::default(), read] {
            let CacheSettings { max_capacity, inactive_capacity, max_flights, .. } = settings;
            assert_eq!((max_capacity, inactive_capacity, max_flights), (100_000, 10_000, 1_000));
            assert_eq!((settings.name.as_str(), settings.question_timeout), ("default", None));
            for limits in [settings.limits(), Cached::new(introspector()).store.limits] {
                assert_eq!((limits.max_ttl, limits.inactive_ttl), (Duration::from_secs(60), Duration::from_secs(10)));
                assert_eq!((limits.expiry_leeway, limits.stale_if_error), (Duration::ZERO, Duration::ZERO));
                // The last fifth, and up to half of that later by chance: the last 20 to 10 %.
                assert!((limits.refresh_ahead - 0.2).abs() < f64::EPSILON, "{limits:?}");
                assert_eq!(limits.refresh_ahead_uses, 4);
            }
        }
    }

    #[test]
    fn a_file_says_what_the_methods_say_and_what_is_set_after_it_counts() {
        let introspector = || introspect_fn(|_| async { Ok(Verdict::Inactive(InactiveReason::Unknown)) });
        let file = r#"{"name":"a","max_capacity":1,"max_ttl":2,"inactive_capacity":3,"inactive_ttl":4.5,"expiry_leeway":5,
            "refresh_ahead":1,"refresh_ahead_uses":6,"stale_if_error":7,"max_flights":8,"question_timeout":9}"#;
        let read: CacheSettings = serde_json::from_str(file).unwrap();
        let set = Cached::builder(introspector())
            .name("a")
            .max_capacity(1)
            .max_ttl(Duration::from_secs(2))
            .inactive_capacity(3)
            .inactive_ttl(Duration::from_millis(4_500))
            .expiry_leeway(Duration::from_secs(5))
            .refresh_ahead(1.0)
            .refresh_ahead_uses(6)
            .stale_if_error(Duration::from_secs(7))
            .max_flights(8)
            .question_timeout(Duration::from_secs(9));
        assert_eq!(format!("{read:?}"), format!("{:?}", set.settings));
        let cached = Cached::builder(introspector()).name("b").settings(read).max_ttl(Duration::ZERO).build().unwrap();
        assert_eq!((cached.store.name.as_str(), cached.store.limits.max_ttl), ("a", Duration::ZERO));
        assert_eq!(cached.store.question_timeout, Duration::from_secs(9));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_what_cannot_work_is_found_when_the_cache_is_built() {
        for (file, error) in [
            (r#"{"max_ttl":"60s"}"#, "`max_ttl`: invalid type: string \"60s\", expected a number of seconds"),
            (r#"{"name":7}"#, "`name`: invalid type: integer `7`, expected a string"),
            (r#"{"ttl":7}"#, "unknown field `ttl`, expected one of `name`, `max_capacity`, `max_ttl`"),
        ] {
            let problem = serde_json::from_str::<CacheSettings>(file).unwrap_err().to_string();
            assert!(problem.starts_with(error), "{file}: {problem}");
        }
        let introspector = introspect_fn(|_| async { Ok(Verdict::Inactive(InactiveReason::Unknown)) });
        let read = serde_json::from_str(r#"{"refresh_ahead":2}"#).unwrap();
        let error = Cached::builder(introspector).settings(read).build().unwrap_err();
        assert_eq!(error.setting(), "refresh_ahead");
    }

    #[test]
    fn a_question_has_as_long_as_its_endpoint_gives_it_unless_a_bound_is_set() {
        let endpoint = |seconds| {
            let builder = Rfc7662::builder("http://127.0.0.1/introspect").without_credentials();
            builder.request_timeout(Duration::from_secs(seconds)).build().unwrap()
        };
        assert_eq!(Cached::new(endpoint(3)).store.question_timeout, Duration::from_secs(30));
        assert_eq!(Cached::new(endpoint(60)).store.question_timeout, Duration::from_secs(61));
        assert_eq!(Cached::new(endpoint(u64::MAX)).store.question_timeout, Duration::MAX);
        let set = |seconds| Cached::builder(endpoint(5)).question_timeout(Duration::from_secs(seconds)).build();
        assert_eq!(set(5).unwrap().store.question_timeout, Duration::from_secs(5));
        let error = set(4).unwrap_err();
        assert_eq!(error.setting(), "question_timeout");
        assert!(error.to_string().contains("`request_timeout` of the endpoint, 5s"), "{error}");
    }
}
