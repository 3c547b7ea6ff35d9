//! Which tokens an event reaches: by when they were issued, by cache, and where they are judged alone.

use serde_json::json;
use tower_introspection::sandbox::SandboxToken;
use tower_introspection::{Introspect, Jwt};

use super::*;
use crate::support::{millis, secs, under_way};

async fn is_let_in(introspector: &impl Introspect, token: &str) -> bool {
    introspector.introspect(Ask::new(&bearer(token))).await.unwrap().is_active()
}

#[tokio::test]
async fn where_an_authority_is_asked_those_of_the_clock_skew_after_the_event_are_meant_too() {
    let world = World::with(|transmitter| transmitter.clock_skew(secs(10))).await;
    let second = world.clock.now();
    for (name, issued_at) in [
        ("before", second - millis(1)),
        ("same", second),
        ("within", second + millis(10_999)),
        ("after", second + secs(11)),
    ] {
        world.tokens.issue(name, facts().subject("ann").issued_at(issued_at).build());
        assert!(is_let_in(&world.cached, name).await);
    }
    world.remembers("unsaid", facts().subject("ann")).await;
    world.tokens.issue("unsaid", facts().subject("ann").build());
    world.clock.advance(secs(5));
    let event = world.about(&user(&world.sandbox, "ann")).claim("iat", seconds(second)).unwrap();
    assert_eq!(world.push(event).await, TAKEN);
    let known = ["before", "same", "within", "after", "unsaid"].map(|name| world.knows(name));
    assert_eq!(known, [false, false, false, true, false]);
    assert_eq!(world.signals.handle().stats().forgotten, 4);
}

/// Where to forget is to refuse, whoever logs in again is not to be kept out; but where another issued the tokens, the
/// clocks of the two may be apart.
#[tokio::test]
async fn where_tokens_are_judged_alone_those_of_the_second_of_the_event_are_meant_and_of_another_issuer_of_the_skew() {
    let clock = ManualClock::at(START);
    let start = || Sandbox::start_with_clock(clock.clone());
    let (sandbox, vendor) = (start().await.unwrap(), start().await.unwrap());
    for (from, end) in [(&sandbox, secs(1)), (&vendor, secs(11))] {
        let keys = KeySet::from_json(sandbox.jwks()).unwrap();
        let jwt = Jwt::builder(sandbox.issuer()).keys(keys).audience(AUDIENCE).clock(clock.clone());
        let cached = Cached::builder(jwt.clock_skew(secs(60)).build().unwrap()).clock(clock.clone()).build().unwrap();
        let listens = transmitter(from).token_issuer(sandbox.issuer()).cache(cached.handle()).clock_skew(secs(10));
        let signals = Signals::builder().transmitter(listens).clock(clock.clone()).build().unwrap();
        let event = SandboxEvent::new(SESSION_REVOKED).about_user(sandbox.issuer(), "ann");
        assert_eq!(push(&signals, &from.sign_event(event).unwrap()).await, TAKEN);
        let said_at = clock.now();
        clock.advance(secs(20));
        let issued = |at: Timestamp| {
            let token = SandboxToken::new().end_user("ann").claim("iat", seconds(at)).unwrap();
            sandbox.issue_jwt(token).unwrap()
        };
        assert!(!is_let_in(&cached, &issued(said_at + end - secs(1))).await);
        assert!(is_let_in(&cached, &issued(said_at + end)).await);
    }
}

/// The authority's clock may be ahead of the one here, and of what tokens are allowed.
#[tokio::test]
async fn an_event_from_ahead_is_held_against_tokens_from_ahead() {
    let clock = ManualClock::at(START);
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    let keys = KeySet::from_json(sandbox.jwks()).unwrap();
    let jwt = Jwt::builder(sandbox.issuer()).keys(keys).audience(AUDIENCE).clock(clock.clone()).build().unwrap();
    let cached = Cached::builder(jwt).clock(clock.clone()).build().unwrap();
    let listens = transmitter(&sandbox).cache(cached.handle());
    let signals = Signals::builder().transmitter(listens).clock(clock.clone()).build().unwrap();
    let token = SandboxToken::new().end_user("ann").claim("iat", seconds(clock.now()) + 15).unwrap();
    let token = sandbox.issue_jwt(token).unwrap();
    let event = SandboxEvent::new(SESSION_REVOKED).about_user(sandbox.issuer(), "ann");
    let event = event.claim("iat", seconds(clock.now()) + 20).unwrap();
    assert_eq!(push(&signals, &sandbox.sign_event(event).unwrap()).await, TAKEN);
    assert!(!is_let_in(&cached, &token).await);
    clock.advance(secs(30));
    assert!(!is_let_in(&cached, &token).await);
}

/// Where a signature is verified, to forget is not enough.
#[tokio::test]
async fn a_jwt_that_is_judged_alone_is_refused_from_then_on_and_a_newer_one_is_let_in() {
    let clock = ManualClock::at(START);
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    let jwt = || {
        let keys = KeySet::from_json(sandbox.jwks()).unwrap();
        Jwt::builder(sandbox.issuer()).keys(keys).audience(AUDIENCE).clock(clock.clone()).build().unwrap()
    };
    let cached = Cached::builder(jwt()).clock(clock.clone()).build().unwrap();
    let (max_age, listens) = (secs(3_600), transmitter(&sandbox).cache(cached.handle()).max_event_age(secs(3_600)));
    let signals = Signals::builder().transmitter(listens).clock(clock.clone()).build().unwrap();
    let issue = |user: &str| {
        sandbox
            .issue_jwt(SandboxToken::new().end_user(user).expires_in(secs(7_200)).claim("sid", "s").unwrap())
            .unwrap()
    };
    let (ann, unseen, bob) = (issue("ann"), issue("ann"), issue("bob"));
    let gone = sandbox.issue_jwt(SandboxToken::new().end_user("carl").claim("jti", "t-1").unwrap()).unwrap();
    for token in [&ann, &bob, &gone] {
        assert!(is_let_in(&cached, token).await);
    }
    clock.advance(secs(1));
    let about = |subject: serde_json::Value| SandboxEvent::new(SESSION_REVOKED).subject(subject).unwrap();
    assert_eq!(push(&signals, &sandbox.sign_event(about(user(&sandbox, "ann"))).unwrap()).await, TAKEN);
    let of_id = json!({ "format": "jwt_id", "iss": sandbox.issuer(), "jti": "t-1" });
    assert_eq!(push(&signals, &sandbox.sign_event(about(of_id)).unwrap()).await, TAKEN);
    for (token, expected) in [(&ann, false), (&unseen, false), (&bob, true), (&gone, false)] {
        assert_eq!(is_let_in(&cached, token).await, expected);
    }
    // The user logs in again.
    clock.advance(secs(1));
    let again = issue("ann");
    assert!(is_let_in(&cached, &again).await);
    // The same event, of which nobody remembers anything any more, does the new token no harm.
    let other = Signals::builder().transmitter(transmitter(&sandbox).cache(cached.handle())).clock(clock.clone());
    let old = about(user(&sandbox, "ann")).claim("iat", seconds(clock.now()) - 1).unwrap();
    assert_eq!(push(&other.build().unwrap(), &sandbox.sign_event(old).unwrap()).await, TAKEN);
    assert!(is_let_in(&cached, &again).await);
    // After a restart nothing is held against anybody: an event that comes late does so again.
    let restarted = Cached::builder(jwt()).clock(clock.clone()).build().unwrap();
    assert!(is_let_in(&restarted, &ann).await);
    let listens = transmitter(&sandbox).cache(restarted.handle()).max_event_age(max_age);
    let signals = Signals::builder().transmitter(listens).clock(clock.clone()).build().unwrap();
    let late = about(user(&sandbox, "ann")).claim("iat", seconds(clock.now()) - 1).unwrap();
    assert_eq!(push(&signals, &sandbox.sign_event(late).unwrap()).await, TAKEN);
    assert_eq!((is_let_in(&restarted, &ann).await, is_let_in(&restarted, &again).await), (false, true));
}

#[tokio::test]
async fn an_event_reaches_the_caches_of_its_transmitter_and_no_others() {
    let (one, other) = (Sandbox::start().await.unwrap(), Sandbox::start().await.unwrap());
    let tokens = Tokens::default();
    tokens.issue("abc", facts().subject("ann").build());
    let caches = [(); 3].map(|()| Cached::new(tokens.clone()));
    let [first, second, shared] = &caches;
    let signals = Signals::builder()
        .transmitter(transmitter(&one).cache(first.handle()).cache(shared.handle()))
        .transmitter(transmitter(&other).cache(second.handle()).cache(shared.handle()))
        .build()
        .unwrap();
    let remember = async || {
        for cached in &caches {
            assert!(is_let_in(cached, "abc").await);
        }
    };
    let known = || caches.each_ref().map(|cached| cached.cached(&bearer("abc")).is_some());
    for (sandbox, expected) in [(&one, [false, true, false]), (&other, [true, false, false])] {
        remember().await;
        let event = SandboxEvent::new(ACCOUNT_DISABLED).about_user(sandbox.issuer(), "ann");
        assert_eq!(push(&signals, &sandbox.sign_event(event).unwrap()).await, TAKEN);
        assert_eq!(known(), expected);
    }
    // The keys of one do not sign for the other, and its subjects are none of the other's.
    remember().await;
    let claims = json!({
        "iss": other.issuer(), "aud": AUDIENCE, "iat": seconds(Timestamp::now()), "jti": "1",
        "sub_id": user(&other, "ann"), "events": { SESSION_REVOKED: {} },
    });
    assert_eq!(push(&signals, &sign(&one, "secevent+jwt", &claims)).await, refused("invalid_key"));
    let event = SandboxEvent::new(ACCOUNT_DISABLED).about_user(other.issuer(), "ann");
    assert_eq!(push(&signals, &one.sign_event(event).unwrap()).await, TAKEN);
    assert_eq!(known(), [true; 3]);
    let stats = signals.handle().stats().transmitters;
    assert_eq!(stats[0].outcomes, [(EventOutcome::Applied, 1), (EventOutcome::Unmatched, 1)]);
    assert_eq!(stats[1].outcomes, [(EventOutcome::Applied, 1), (EventOutcome::Refused, 1)]);
}

/// There are servers that tell of a logout before they have done it, such as `oidc-provider`.
#[tokio::test(start_paused = true)]
async fn what_was_asked_about_too_early_is_asked_about_again() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    assert_eq!(world.push(world.about(&user(&world.sandbox, "ann"))).await, TAKEN);
    assert!(is_let_in(&world.cached, "abc").await, "the authority says so still");
    assert!(world.knows("abc"));
    tokio::time::sleep(millis(5_100)).await;
    crate::support::until(|| !world.knows("abc")).await;
    assert!(is_let_in(&world.cached, "abc").await);
    tokio::time::sleep(secs(60)).await;
    assert!(world.knows("abc"), "once more is all");
}

#[tokio::test]
async fn a_question_under_way_is_asked_anew() {
    let sandbox = Sandbox::start().await.unwrap();
    let ann = facts().subject("ann").build();
    let (authority, cached, question) = under_way(Ok(Verdict::Active(ann))).await;
    let signals = Signals::builder().transmitter(transmitter(&sandbox).cache(cached.handle())).build().unwrap();
    let event = SandboxEvent::new(ACCOUNT_DISABLED).about_user(sandbox.issuer(), "ann");
    assert_eq!(push(&signals, &sandbox.sign_event(event).unwrap()).await, TAKEN);
    authority.release();
    authority.asked(2).await;
    authority.says(Ok(Verdict::Inactive(InactiveReason::Revoked)));
    authority.release();
    assert!(!question.await.unwrap().unwrap().is_active());
}
