//! A model test: random histories of proofs, replays, times, revocations and processes, against what the rules say.
//!
//! * Nobody comes in whose proof was not made for this token, method and URI, with the key that the token is bound to,
//!   within its time; nor with a proof whose `jti` came in with one that is not too old yet, at whichever process,
//!   wherever the clock stands.
//! * Nobody comes in with a token that was revoked longer ago than `max_ttl`, or as a bearer with one that is bound.
//! * Everybody else comes in.

use std::collections::HashMap;
use std::sync::Mutex;

use http::Method;
use proptest::prelude::*;
use serde_json::json;
use tower::Layer;
use tower_introspection::clock::{Clock, Timestamp};
use tower_introspection::{BearerToken, InactiveReason, introspect_fn};

use super::*;

const LIFETIME: u64 = 60;
const SKEW: u64 = 10;
const MAX_TTL: u64 = 30;

/// The key that each token is bound to, if it is.
const TOKENS: [(&str, Option<usize>); 4] =
    [("first-of-one", Some(0)), ("second-of-one", Some(0)), ("of-the-other", Some(1)), ("of-nobody", None)];

#[derive(Clone, Debug)]
enum Step {
    /// Makes a proof: by a key, for a token, a path, a method, so many seconds from now, with one of few `jti`.
    Make {
        key: usize,
        token: usize,
        path: usize,
        post: bool,
        from_now: i64,
        jti: Option<u8>,
    },
    /// Presents a proof that was made, with a token, at a path, at one of two processes.
    Send {
        proof: usize,
        token: usize,
        path: usize,
        post: bool,
        bearer: bool,
        process: usize,
    },
    /// As it should be: the newest proof for what it was made for.
    SendAsMade {
        process: usize,
    },
    Pass {
        seconds: u64,
    },
    SetBack {
        seconds: u64,
    },
    Revoke {
        token: usize,
    },
}

const PATHS: [&str; 2] = ["/orders", "/Orders"];

fn step() -> impl Strategy<Value = Step> {
    let made = (0..2_usize, 0..4_usize, 0..2_usize, any::<bool>(), -90..30_i64, proptest::option::of(0..3_u8));
    let sent = (any::<prop::sample::Index>(), 0..4_usize, 0..2_usize, any::<bool>(), 0..8_u8, 0..2_usize);
    prop_oneof![
        4 => made.prop_map(|(key, token, path, post, from_now, jti)| {
            // Most are good ones.
            let from_now = if (-70..=10).contains(&from_now) { from_now / 8 } else { from_now };
            let key = TOKENS[token].1.filter(|_| from_now % 5 != 0).unwrap_or(key);
            Step::Make { key, token, path, post, from_now, jti }
        }),
        3 => sent.prop_map(|(proof, token, path, post, bearer, process)| {
            Step::Send { proof: proof.index(1_000), token, path, post, bearer: bearer == 0, process }
        }),
        6 => (0..2_usize).prop_map(|process| Step::SendAsMade { process }),
        2 => (0..40_u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => (0..90_u64).prop_map(|seconds| Step::SetBack { seconds }),
        1 => (0..4_usize).prop_map(|token| Step::Revoke { token }),
    ]
}

struct Made {
    key: usize,
    token: usize,
    path: usize,
    method: Method,
    issued_at: Timestamp,
    jti: String,
    text: String,
}

struct World {
    keys: [ProofKey; 2],
    clock: ManualClock,
    /// The latest that it has shown.
    latest: Timestamp,
    was_set_back: bool,
    services: Vec<tower::util::BoxCloneSyncService<Request<String>, Response<String>, Infallible>>,
    revoked: Arc<Mutex<HashMap<String, Timestamp>>>,
    made: Vec<Made>,
    /// Until when each proof that came in could have.
    used: HashMap<(usize, String), Timestamp>,
    let_in: usize,
}

impl World {
    fn new() -> Self {
        let keys = [ProofKey::generate().unwrap(), ProofKey::generate().unwrap()];
        let (clock, revoked) = (ManualClock::at(START), Arc::<Mutex<HashMap<String, Timestamp>>>::default());
        let dpop = Dpop::builder(ORIGIN).clock(clock.clone()).proof_lifetime(secs(LIFETIME)).clock_skew(secs(SKEW));
        let dpop = dpop.build().unwrap();
        let services = (0..2).map(|_| {
            let (revoked, thumbprints) = (Arc::clone(&revoked), keys.each_ref().map(ProofKey::thumbprint));
            let authority = introspect_fn(move |token: BearerToken<'static>| {
                let is_revoked = revoked.lock().unwrap().contains_key(token.expose());
                let key = TOKENS.iter().find(|(text, _)| *text == token.expose()).and_then(|(_, key)| *key);
                let cnf = key.map(|key| json!({ "jkt": thumbprints[key] }));
                async move {
                    let facts = AccessToken::builder();
                    Ok(match (is_revoked, cnf) {
                        (true, _) => Verdict::Inactive(InactiveReason::Revoked),
                        (_, None) => Verdict::Active(facts.build()),
                        (_, Some(cnf)) => Verdict::Active(facts.claim("cnf", cnf).unwrap().build()),
                    })
                }
            });
            let cached = Cached::builder(authority).clock(clock.clone()).max_ttl(secs(MAX_TTL)).build().unwrap();
            let layer = IntrospectionLayer::builder(cached).dpop(dpop.clone()).build().unwrap();
            tower::util::BoxCloneSyncService::new(layer.layer(Counting::default()))
        });
        let services = services.collect();
        let (made, used) = (Vec::new(), HashMap::new());
        Self { keys, latest: START, was_set_back: false, clock, services, revoked, made, used, let_in: 0 }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Make { key, token, path, post, from_now, jti } => self.make(key, token, path, post, from_now, jti),
            Step::Send { proof, token, path, post, bearer, process } if !self.made.is_empty() => {
                self.send(proof % self.made.len(), token, path, method(post), bearer, process).await;
            }
            Step::SendAsMade { process } if !self.made.is_empty() => {
                let last = self.made.len() - 1;
                let Made { token, path, method, .. } = &self.made[last];
                self.send(last, *token, *path, method.clone(), false, process).await;
            }
            Step::Send { .. } | Step::SendAsMade { .. } => {}
            Step::Pass { seconds } => self.clock.advance(secs(seconds)),
            Step::SetBack { seconds } => {
                self.was_set_back = true;
                self.clock.set(self.now() - secs(seconds));
            }
            Step::Revoke { token } => {
                let now = self.now();
                self.revoked.lock().unwrap().entry(TOKENS[token].0.to_owned()).or_insert(now);
            }
        }
        self.latest = self.latest.max(self.now());
    }

    fn make(&mut self, key: usize, token: usize, path: usize, post: bool, from_now: i64, jti: Option<u8>) {
        let issued_at = Timestamp::from_unix_seconds(self.now().as_unix_millis() / 1_000 + from_now);
        let jti = jti.map_or_else(|| format!("own-{}", self.made.len()), |jti| format!("common-{jti}"));
        let proof = self.keys[key].proof(method(post), format!("{ORIGIN}{}", PATHS[path])).token(TOKENS[token].0);
        let text = proof.issued_at(issued_at).claim("jti", &jti).unwrap().sign().unwrap();
        self.made.push(Made { key, token, path, method: method(post), issued_at, jti, text });
    }

    async fn send(&mut self, proof: usize, token: usize, path: usize, method: Method, bearer: bool, process: usize) {
        let (now, made) = (self.now(), &self.made[proof]);
        let scheme = if bearer { "Bearer" } else { "DPoP" };
        let mut request = to(PATHS[path], &format!("{scheme} {}", TOKENS[token].0), &made.text);
        *request.method_mut() = method.clone();
        let response = send(&self.services[process], request).await;
        let came_in = response.status() == 200;

        let revoked = self.revoked.lock().unwrap().get(TOKENS[token].0).copied();
        let is_made_for_this = TOKENS[token].1 == Some(made.key)
            && made.token == token
            && made.path == path
            && made.method == method
            && (made.issued_at - secs(SKEW)..=made.issued_at + secs(LIFETIME + SKEW)).contains(&now);
        let until = made.issued_at + secs(LIFETIME + SKEW);
        let used_until = self.used.get(&(made.key, made.jti.clone())).copied();
        let may_be_new = used_until.is_none_or(|until| until < self.latest);
        let reason = response.extensions().get::<RejectionReason>();
        let told = format!("{reason:?} at {now:?} of {} by {scheme}", made.jti);
        if bearer {
            assert!(!came_in || TOKENS[token].1.is_none(), "a bound token came in as a bearer's: {told}");
        } else {
            assert!(!came_in || (is_made_for_this && may_be_new), "it was not to come in: {told}");
            // What would have been forgotten by now may not come in again if the clock is set back.
            let was_forgotten = until < self.latest;
            let has_to = is_made_for_this && used_until.is_none() && revoked.is_none() && !was_forgotten;
            assert!(came_in || !has_to, "it was to come in: {told}");
        }
        // A clock that is set back lengthens the life of an answer.
        let is_too_old = revoked.is_some_and(|at| at + secs(MAX_TTL) < now) && !self.was_set_back;
        assert!(!came_in || !is_too_old, "revoked for longer than `max_ttl`: {told}");
        if came_in && !bearer {
            self.let_in += 1;
            let key = (made.key, made.jti.clone());
            self.used.insert(key, used_until.map_or(until, |earlier| earlier.max(until)));
        }
    }
}

fn method(post: bool) -> Method {
    if post { Method::POST } else { Method::GET }
}

#[test]
fn no_history_lets_in_what_is_not_proved_nor_keeps_out_what_is() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let let_in = std::cell::Cell::new(0);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    proptest!(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }, |(
        steps in proptest::collection::vec(step(), 1..60)
    )| {
        let_in.set(let_in.get() + runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.take(step).await;
            }
            world.let_in
        }));
    });
    assert!(let_in.get() > cases as usize, "{} came in: the model tests less than it should", let_in.get());
}
