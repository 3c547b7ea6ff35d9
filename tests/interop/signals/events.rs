//! npm `jose` signs what the specifications and servers show as examples: each is taken or refused as it has to be, and
//! forgets the tokens of its subject, and no others.
//!
//! `examples.json` has where each is from, its claims to the letter, and what is expected: what it is about, what
//! becomes of it, and tokens that it means, or would mean if it had an effect. `token_issuer` is whose tokens these
//! are, if that is not the transmitter.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower_introspection::clock::Timestamp;
use tower_introspection::jwt::KeySet;
use tower_introspection::signals::{Signals, SignalsHandle, StreamHealth, Transmitter};
use tower_introspection::{AccessToken, CacheHandle, Cached, Introspect, Verdict, introspect_fn};

use super::{listener, serve};
use crate::server::{installed, is_installed, run, which};
use crate::support::{client, known_or_asked};

const ALGORITHMS: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];

/// All that the specifications define, and one of Google's.
const EVENTS: [&str; 27] = [
    "session_revoked",
    "token_claims_change",
    "credential_change",
    "assurance_level_change",
    "device_compliance_change",
    "session_established",
    "session_presented",
    "risk_level_change",
    "account_credential_change_required",
    "account_purged",
    "account_disabled",
    "account_enabled",
    "identifier_changed",
    "identifier_recycled",
    "credential_compromise",
    "opt_in",
    "opt_out_initiated",
    "opt_out_cancelled",
    "opt_out_effective",
    "recovery_activated",
    "recovery_information_changed",
    "sessions_revoked",
    "tokens_revoked",
    "verification",
    "stream_updated",
    "logout",
    "other",
];

/// Of subjects, and of the members of complex ones.
const FORMATS: [&str; 16] = [
    "account",
    "aliases",
    "catalog_item",
    "complex",
    "did",
    "email",
    "id_token_claims",
    "ip-addresses",
    "iss-sub",
    "iss_sub",
    "jwt_id",
    "oauth_token",
    "opaque",
    "phone_number",
    "saml_assertion_id",
    "uri",
];

#[derive(Deserialize)]
struct Example {
    source: String,
    event: String,
    outcome: String,
    /// Of a refusal, RFC 8935 section 2.4.
    code: Option<String>,
    token_issuer: Option<String>,
    tokens: Vec<Claims>,
    claims: Claims,
}

type Claims = Map<String, Value>;

impl Example {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("examples.json")).unwrap()
    }

    fn issuer(&self) -> &str {
        self.claims["iss"].as_str().unwrap()
    }

    fn audiences(&self) -> Vec<&str> {
        match &self.claims["aud"] {
            Value::Array(all) => all.iter().map(|one| one.as_str().unwrap()).collect(),
            one => vec![one.as_str().unwrap()],
        }
    }

    fn is_logout(&self) -> bool {
        self.event == "logout"
    }

    /// The tokens that it means, and for each of them such as differ from it in one respect.
    fn tokens(&self) -> (Vec<String>, Vec<String>) {
        let (mut meant, mut others) = (Vec::new(), Vec::new());
        let issuer = self.token_issuer.as_deref().unwrap_or(self.issuer());
        for claims in &self.tokens {
            let mut claims = claims.clone();
            claims.insert("iss".into(), issuer.into());
            claims.insert("iat".into(), (now() - 600).into());
            // Whatever a token calls the user, it is of the session that it names.
            let is_of_the_user = |name: &str| ["sub", "email"].contains(&name);
            let names = claims.keys().filter(|name| !is_of_the_user(name) || !claims.contains_key("sid"));
            let changed = names.map(|name| {
                let other = match &claims[name] {
                    Value::String(text) => format!("{text}-other").into(),
                    _ => json!(now() + 600),
                };
                let mut changed = claims.clone();
                changed.insert(name.clone(), other);
                token_of(&changed)
            });
            others.extend(changed);
            meant.push(token_of(&claims));
        }
        // One may differ from another in what the event says nothing about.
        others.retain(|other| !meant.contains(other));
        (meant, others)
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    Timestamp::now().as_unix_millis() / 1_000
}

/// A token that says of itself what the authority is to say of it.
fn token_of(claims: &Claims) -> String {
    URL_SAFE_NO_PAD.encode(Value::from(claims.clone()).to_string())
}

fn facts_of(token: &str) -> AccessToken {
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let facts = claims.iter().fold(AccessToken::builder(), |facts, (name, value)| match name.as_str() {
        "iat" => facts.issued_at(Timestamp::from_unix_seconds(value.as_i64().unwrap())),
        "iss" => facts.issuer(text(value)),
        "sub" => facts.subject(text(value)),
        "jti" => facts.token_id(text(value)),
        "client_id" => facts.client_id(text(value)),
        name => facts.claim(name, value).unwrap(),
    });
    facts.build()
}

/// What a transmitter counted: events and outcomes.
type Counted = (BTreeMap<&'static str, u64>, BTreeMap<&'static str, u64>);

fn counted(handle: &SignalsHandle, issuer: &str) -> Counted {
    let stats = handle.stats();
    let transmitter = stats.transmitters.into_iter().find(|transmitter| transmitter.issuer == issuer).unwrap();
    (
        transmitter.events.into_iter().map(|(event, count)| (event.as_str(), count)).collect(),
        transmitter.outcomes.into_iter().map(|(outcome, count)| (outcome.as_str(), count)).collect(),
    )
}

/// What one has counted since, if it is one event and one outcome.
fn what_is_new(before: &Counted, after: &Counted) -> (Option<&'static str>, Option<&'static str>) {
    let new = |before: &BTreeMap<&'static str, u64>, after: &BTreeMap<&'static str, u64>| {
        let more = after.iter().filter(|(word, count)| **count > before.get(*word).copied().unwrap_or_default());
        let more: Vec<_> = more.map(|(word, _)| *word).collect();
        let sum = |counts: &BTreeMap<&'static str, u64>| counts.values().sum::<u64>();
        assert!(sum(after) - sum(before) <= 1, "{before:?}, {after:?}");
        more.first().copied()
    };
    (new(&before.0, &after.0), new(&before.1, &after.1))
}

/// A service that hears of the transmitters of all examples.
struct Door {
    handle: SignalsHandle,
    address: SocketAddr,
}

impl Door {
    /// To each transmitter it says that tokens are the transmitter's own, or those of all whom its examples name.
    async fn open(examples: &[Example], keys: &str, cache: &CacheHandle, names_all: bool) -> Self {
        let issuers: BTreeSet<_> = examples.iter().map(Example::issuer).collect();
        let signals = issuers.into_iter().fold(Signals::builder(), |signals, issuer| {
            let transmitter = Transmitter::new(issuer).keys(KeySet::from_json(keys).unwrap()).cache(cache.clone());
            let of_it = || examples.iter().filter(|example| example.issuer() == issuer);
            let audiences: BTreeSet<_> = of_it().flat_map(Example::audiences).collect();
            let transmitter = audiences.into_iter().fold(transmitter, Transmitter::audience);
            let token_issuers: BTreeSet<_> = of_it().filter_map(|example| example.token_issuer.as_deref()).collect();
            let token_issuers = token_issuers.into_iter().chain([issuer]).filter(|_| names_all);
            signals.transmitter(token_issuers.fold(transmitter, Transmitter::token_issuer))
        });
        let signals = signals.build().unwrap();
        Self { handle: signals.handle(), address: serve(listener().await, &signals).await }
    }
}

/// What is sent where, and what is to become of it.
struct Step<'s> {
    door: &'s Door,
    token: &'s str,
    answer: Answered,
    event: Option<&'s str>,
    outcome: &'s str,
}

/// The status, and the code of a refusal.
type Answered = (u16, Option<String>);

impl Example {
    fn steps<'s>(&'s self, narrow: &'s Door, wide: &'s Door, token: &'s str, forged: &'s str) -> Vec<Step<'s>> {
        let refused = |code: &str| (400, Some(code.to_owned()));
        let refusal =
            |token, code: &str| Step { door: narrow, token, answer: refused(code), event: None, outcome: "refused" };
        if let Some(code) = &self.code {
            return vec![refusal(token, code), refusal(token, code)];
        }
        let taken = |door, outcome| {
            let status = if self.is_logout() { 200 } else { 202 };
            Step { door, token, answer: (status, None), event: Some(&*self.event), outcome }
        };
        let of_wrong_key = if self.is_logout() { "invalid_request" } else { "invalid_key" };
        let mut steps = vec![refusal(forged, of_wrong_key), taken(narrow, &*self.outcome), taken(narrow, "repeated")];
        if self.token_issuer.is_some() {
            steps.push(taken(wide, "applied"));
        }
        steps
    }
}

async fn send(client: &Client, address: SocketAddr, is_logout: bool, token: &str) -> Answered {
    let request = if is_logout {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", token).finish();
        let request = client.post(format!("http://{address}/backchannel-logout")).body(form);
        request.header("content-type", "application/x-www-form-urlencoded")
    } else {
        let request = client.post(format!("http://{address}/events")).body(token.to_owned());
        request.header("content-type", "application/secevent+jwt")
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    let code = body.get(if is_logout { "error" } else { "err" });
    (status, code.map(|code| code.as_str().unwrap().to_owned()))
}

#[test]
fn the_examples_are_of_each_event_and_of_each_format_of_a_subject() {
    let examples = Example::all();
    let events: BTreeSet<_> = examples.iter().map(|example| example.event.as_str()).collect();
    assert_eq!(events, EVENTS.into());
    fn add_formats<'v>(value: &'v Value, formats: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if let ("format" | "subject_type", Value::String(format)) = (name.as_str(), member) {
                        formats.insert(format);
                    }
                    add_formats(member, formats);
                }
            }
            Value::Array(members) => members.iter().for_each(|member| add_formats(member, formats)),
            _ => {}
        }
    }
    let mut formats = BTreeSet::new();
    for example in &examples {
        example.claims.values().for_each(|claim| add_formats(claim, &mut formats));
    }
    assert_eq!(formats, FORMATS.into());
}

#[tokio::test]
async fn each_example_is_taken_and_forgets_the_tokens_of_its_subject_and_no_others() {
    let (node, script) = (which("node"), installed().join("oidc-provider/events.mjs"));
    if !is_installed("jose", &node, &script) {
        return;
    }
    let examples = Example::all();
    let typ = |example: &Example| if example.is_logout() { "logout+jwt" } else { "secevent+jwt" };
    let to_sign = |example: &Example| json!({ "typ": typ(example), "claims": &example.claims });
    let to_sign: Vec<_> = examples.iter().map(to_sign).collect();
    let said = run(&node, &script, &json!({ "algorithms": ALGORITHMS, "examples": to_sign })).await;

    let questions = Arc::<Mutex<HashMap<String, usize>>>::default();
    let counted_questions = Arc::clone(&questions);
    let authority = introspect_fn(move |token| {
        *counted_questions.lock().unwrap().entry(token.expose().to_owned()).or_default() += 1;
        let facts = facts_of(token.expose());
        async move { Ok(Verdict::Active(facts)) }
    });
    let cached = Cached::builder(authority).max_ttl(Duration::from_secs(86_400)).build().unwrap();
    let keys = said["keys"].to_string();
    let narrow = Door::open(&examples, &keys, &cached.handle(), false).await;
    let wide = Door::open(&examples, &keys, &cached.handle(), true).await;

    let (client, mut wrong) = (client(), Vec::new());
    for (example, signed) in examples.iter().zip(said["signed"].as_array().unwrap()) {
        for algorithm in ALGORITHMS {
            let text = |member: &str| signed[member][algorithm].as_str().unwrap();
            let (meant, others) = example.tokens();
            for step in example.steps(&narrow, &wide, text("token"), text("forged")) {
                let mut says = |what: String| wrong.push(format!("{}, {algorithm}: {what}", example.source));
                let asked_again = questions_after(&cached, &questions, &meant, &others, async || {
                    let count = || counted(&step.door.handle, example.issuer());
                    let before = count();
                    let answer = send(&client, step.door.address, example.is_logout(), step.token).await;
                    let became = what_is_new(&before, &count());
                    if (&answer, became) != (&step.answer, (step.event, Some(step.outcome))) {
                        says(format!("{answer:?}, {became:?}"));
                    }
                });
                let asked_again = asked_again.await;
                let forgotten = if step.outcome == "applied" { (meant.len(), 0) } else { (0, 0) };
                if asked_again != forgotten {
                    let of = (meant.len(), others.len());
                    says(format!("of {of:?} tokens {asked_again:?} are forgotten"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
    // One of the examples pauses its stream.
    assert_eq!(narrow.handle.health(), StreamHealth::Stopped);
}

/// How many of `meant` and of `others` had to be asked about again after `event`.
async fn questions_after(
    cached: &Cached<impl Introspect>,
    questions: &Mutex<HashMap<String, usize>>,
    meant: &[String],
    others: &[String],
    event: impl AsyncFnOnce(),
) -> (usize, usize) {
    let present = async |tokens: &[String]| {
        let count = || tokens.iter().map(|token| questions.lock().unwrap().get(token).copied().unwrap_or_default());
        let before: usize = count().sum();
        for token in tokens {
            assert!(known_or_asked(cached, token).await.unwrap().is_active());
        }
        count().sum::<usize>() - before
    };
    present(meant).await;
    present(others).await;
    event().await;
    (present(meant).await, present(others).await)
}
