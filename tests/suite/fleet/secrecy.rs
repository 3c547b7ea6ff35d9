//! What leaves the process for the engine, and what comes back from it changed.

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use tower_introspection::cache::Selection;
use tower_introspection::fleet::{Fleet, FleetSecret, MemoryEngine};
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, InactiveReason, Scopes, Verdict};

use super::{Process, engine, passes, secret, until_in, values};
use crate::support::{Authority, START, bearer, failure, inactive, secs};

const TOKENS: [&str; 3] = ["mF_9.B5f-4.1JqM", "2YotnFZFEjr1zCsicMWpAA", "SlAV32hkKG-a-token-of-nobody"];
const CLAIMS: [&str; 5] =
    ["weather-app-of-ann", "ann@example.com", "session-0123456789", "tenant-of-ann", "read:weather"];

/// Whatever somebody could look a text up by without a secret.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let hashes = [&digest::SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA256, &digest::SHA384, &digest::SHA512];
    let hashes = hashes.map(|algorithm| digest::digest(algorithm, text.as_bytes()).as_ref().to_vec());
    let plain = [&[text.as_bytes().to_vec()][..], &hashes].concat();
    let encoded = plain.iter().flat_map(|bytes| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        [hex.to_uppercase(), hex, BASE64_STANDARD_NO_PAD.encode(bytes), BASE64_URL_SAFE_NO_PAD.encode(bytes)]
    });
    let encoded: Vec<_> = encoded.map(String::into_bytes).collect();
    [plain, encoded].concat()
}

fn facts() -> AccessToken {
    let [client, subject, session, tenant, scope] = CLAIMS;
    let token = AccessToken::builder().client_id(client).subject(subject).scopes(Scopes::parse(scope));
    let token = token.claim("sid", session).unwrap().claim("tenant", tenant).unwrap();
    token.expires_at(START + secs(600)).build()
}

/// Invariant 1: no token, no unkeyed hash of one, and none of its claims leave the process for the engine, be it in
/// names, values, records or settings.
#[tokio::test(start_paused = true)]
async fn no_token_no_plain_hash_of_one_and_no_claim_is_given_to_the_engine() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(facts())));
    let [one, other] = Process::several(&engine, &clock, &authority).await;
    let [client, subject, session, tenant, _] = CLAIMS;
    let selections = [
        Selection::token(&bearer(TOKENS[0])),
        Selection::token(&bearer(TOKENS[1])).and(Selection::client(client)),
        Selection::subject(subject).and(Selection::session(session)),
        Selection::claim("tenant", tenant).unwrap(),
        Selection::all(),
    ];
    for selection in selections {
        for token in TOKENS {
            assert!(one.presents(token).await.unwrap().is_active() && other.presents(token).await.unwrap().is_active());
        }
        one.handle().invalidate(selection).await;
        passes(&clock, secs(2)).await;
    }
    one.presents(TOKENS[0]).await.unwrap();
    other.presents(TOKENS[0]).await.unwrap();
    authority.says(inactive(InactiveReason::Revoked));
    passes(&clock, secs(55)).await;
    one.presents(TOKENS[0]).await.unwrap();
    passes(&clock, secs(6)).await;
    assert!(!other.presents(TOKENS[0]).await.unwrap().is_active());
    let (stored, written) = (engine.stored_bytes(), one.stats().records_written);
    assert!(one.stats().stored > 3 && written == 6 && other.stats().processes == 2, "{:?}", one.stats());
    for text in TOKENS.into_iter().chain(CLAIMS) {
        for form in forms(text) {
            assert!(!stored.windows(form.len()).any(|bytes| bytes == form), "{text} as {form:?}");
        }
    }
}

/// Invariant 2: what tells answers apart is in their names: the secret, the fleet's name, the cache's name, the token.
#[tokio::test(start_paused = true)]
async fn caches_of_another_name_fleet_or_secret_share_nothing() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let another_secret = FleetSecret::from_bytes(b"another secret of thirty-two bytes, no less").unwrap();
    let fleets = [
        (Fleet::in_memory(&engine, "orders", secret()), "default"),
        (Fleet::in_memory(&engine, "orders", secret()), "defaul"),
        (Fleet::in_memory(&engine, "orders", secret()), "defaulta"),
        (Fleet::in_memory(&engine, "orders2", secret()), "default"),
        (Fleet::in_memory(&engine, "orders", another_secret), "default"),
    ];
    let mut processes = Vec::new();
    for (fleet, name) in fleets {
        processes.push(Process::of(fleet, &clock, &authority, |cache| cache.name(name)));
        passes(&clock, secs(1)).await;
    }
    for (asked, process) in (0..).zip(&processes) {
        for (more, token) in (1..).zip(["bc", "abc", "c"]) {
            assert!(process.presents(token).await.unwrap().is_active());
            assert_eq!(authority.questions(), asked * 3 + more);
        }
    }
    assert_eq!(values(&engine), 15);
    assert_eq!(processes.iter().map(|process| process.stats().hits).sum::<u64>(), 0);
}

type Damage = fn(&MemoryEngine);

/// Each of them can be told by the seal alone.
const DAMAGE: [(&str, Damage); 8] = [
    ("copied to another name", |engine| assert!(engine.swap_values())),
    ("changed at its end", |engine| engine.tamper(|value| *value.last_mut().unwrap() ^= 1)),
    ("cut off", |engine| engine.tamper(|value| value.truncate(40))),
    ("made longer", |engine| engine.tamper(|value| value.push(0))),
    ("too large", |engine| engine.tamper(|value| value.resize(64 * 1024 + 1, 0))),
    ("of another version", |engine| engine.tamper(|value| value[0] += 1)),
    ("of later records", |engine| engine.tamper(|value| value[25] = 0x7f)),
    ("asked for in a hundred thousand years", |engine| engine.tamper(|value| value[18] = 1)),
];

/// Invariant 3: what was copied, changed or is too large is a miss, counted, and neither an error nor in the way of
/// what is stored next.
#[tokio::test(start_paused = true)]
async fn a_value_that_was_damaged_is_a_miss_and_the_next_one_takes_its_place() {
    for (how, damage) in DAMAGE {
        let (engine, clock) = engine();
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let [one, other, third] = Process::several(&engine, &clock, &authority).await;
        for token in ["abc", "def"] {
            assert!(one.presents(token).await.unwrap().is_active());
        }
        damage(&engine);
        for token in ["abc", "def"] {
            assert!(other.presents(token).await.unwrap().is_active(), "{how}");
        }
        let stats = other.stats();
        assert_eq!((authority.questions(), stats.hits, stats.misses), (4, 0, 2), "{how}");
        assert!(stats.unreadable >= 2 && stats.engine_failures == 0, "{how}: {stats:?}");
        for token in ["abc", "def"] {
            assert!(third.presents(token).await.unwrap().is_active());
        }
        assert_eq!((authority.questions(), third.stats().hits), (4, 2), "{how}");
        authority.says(failure(IntrospectErrorKind::Connect));
        damage(&engine);
        let last = Process::start(&engine, &clock, &authority);
        assert_eq!(last.presents("abc").await.unwrap_err().kind(), IntrospectErrorKind::Connect, "{how}");
    }
}

/// Invariant 3: so is what an engine cannot even tell the age of, or takes for a value of another epoch.
#[tokio::test(start_paused = true)]
async fn a_value_without_a_header_or_of_another_epoch_is_a_miss() {
    let damages: [Damage; 3] = [
        |engine| engine.tamper(Vec::clear),
        |engine| engine.tamper(|value| value.truncate(24)),
        |engine| engine.tamper(|value| value[9] = 0x7f),
    ];
    for damage in damages {
        let (engine, clock) = engine();
        let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
        let [one, other] = Process::several(&engine, &clock, &authority).await;
        assert!(one.presents("abc").await.unwrap().is_active());
        damage(&engine);
        assert!(other.presents("abc").await.unwrap().is_active());
        assert_eq!((authority.questions(), other.stats().hits, other.stats().engine_failures), (2, 0, 0));
    }
}
