//! What comes again, too often, or while keys cannot be had.

use serde_json::json;
use tower_introspection::sandbox::Fault;

use super::*;
use crate::support::{bearer, secs};

#[tokio::test]
async fn an_event_that_comes_again_is_taken_and_has_no_second_effect() {
    let world = World::new().await;
    let set = world.sandbox.sign_event(world.about(&user(&world.sandbox, "ann"))).unwrap();
    for n in 0..3 {
        world.remembers("abc", facts().subject("ann")).await;
        assert_eq!(push(&world.signals, &set).await, TAKEN);
        assert_eq!(world.knows("abc"), n > 0);
    }
    assert_eq!(world.outcomes(), [(EventOutcome::Applied, 1), (EventOutcome::Repeated, 2)]);
    assert_eq!(world.tokens.questions("abc"), 0, "since it was issued anew");
}

/// Its identifier is one of a kind to its issuer and its kind of token.
#[tokio::test]
async fn a_logout_token_with_the_identifier_of_an_event_is_another_one() {
    let world = World::new().await;
    let claims = claims_of_event(&world, &json!({}));
    assert_eq!(push(&world.signals, &sign(&world.sandbox, "secevent+jwt", &claims)).await, TAKEN);
    world.remembers("abc", facts().subject("ann")).await;
    let token = sign(&world.sandbox, "logout+jwt", &claims_of_logout(&world, &json!({})));
    assert_eq!(log_out(&world.signals, &token).await, LOGGED_OUT);
    assert!(!world.knows("abc"));
    world.remembers("abc", facts().subject("ann")).await;
    assert_eq!(log_out(&world.signals, &token).await, LOGGED_OUT);
    assert!(world.knows("abc"));
}

/// Nobody can use up the identifier of an event that is still to come.
#[tokio::test]
async fn one_that_was_refused_leaves_no_trace() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    let other = Sandbox::start().await.unwrap();
    let claims = claims_of_event(&world, &json!({}));
    assert_eq!(push(&world.signals, &sign(&other, "secevent+jwt", &claims)).await, refused("invalid_key"));
    assert_eq!(push(&world.signals, &sign(&world.sandbox, "secevent+jwt", &claims)).await, TAKEN);
    assert!(!world.knows("abc"));
}

/// A transmitter whose keys are fetched.
async fn discovering() -> World {
    let world = World::new().await;
    let transmitter = Transmitter::discover(world.sandbox.issuer()).audience(AUDIENCE).cache(world.cached.handle());
    let signals = Signals::builder().transmitter(transmitter).clock(world.clock.clone()).build().unwrap();
    World { signals, ..world }
}

#[tokio::test]
async fn while_keys_cannot_be_had_events_are_turned_away_and_taken_when_they_come_again() {
    let world = discovering().await;
    world.remembers("abc", facts().subject("ann")).await;
    world.sandbox.set_jwks_fault(Fault::Status(500));
    let set = world.sandbox.sign_event(world.about(&user(&world.sandbox, "ann"))).unwrap();
    let request = || Request::post("/").header("content-type", "application/secevent+jwt").body(set.clone()).unwrap();
    let response = send(world.signals.push(), request()).await;
    assert_eq!(answer_of(&response), (503, None));
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert!(world.knows("abc"));
    world.sandbox.clear_jwks_fault();
    crate::support::patiently(async {
        // After a failure keys are fetched again a second later.
        while push(&world.signals, &set).await != TAKEN {
            tokio::time::sleep(secs(0)).await;
        }
    })
    .await;
    assert!(!world.knows("abc"));
    let turned_away = world.outcomes().iter().find(|(outcome, _)| *outcome == EventOutcome::TurnedAway).unwrap().1;
    assert!(turned_away >= 1);
}

#[tokio::test]
async fn keys_are_found_where_a_transmitter_says_and_can_be_fetched_at_the_start() {
    let world = discovering().await;
    world.signals.fetch_keys().await.unwrap();
    assert_eq!(world.sandbox.jwks_calls(), 1);
    assert_eq!(world.push(world.about(&user(&world.sandbox, "ann"))).await, TAKEN);
    assert_eq!(world.sandbox.jwks_calls(), 1);
    let gone = Transmitter::discover("http://127.0.0.1:1").audience(AUDIENCE).cache(world.cached.handle());
    assert!(Signals::builder().transmitter(gone).build().unwrap().fetch_keys().await.is_err());
}

#[tokio::test]
async fn junk_causes_no_question_and_one_fetch_of_keys() {
    let world = discovering().await;
    world.remembers("abc", facts().subject("ann")).await;
    assert_eq!(world.push(world.about(&user(&world.sandbox, "nobody"))).await, TAKEN);
    let fetches = world.sandbox.jwks_calls();
    let other = Sandbox::start().await.unwrap();
    for n in 0..200 {
        let claims = claims_of_event(&world, &json!({ "jti": n.to_string() }));
        let junk = [
            other.sign(json!({ "typ": "secevent+jwt", "kid": n.to_string() }), &claims).unwrap(),
            sign(&other, "secevent+jwt", &claims_of_event(&world, &json!({ "iss": format!("https://{n}.example") }))),
            format!("junk {n}"),
        ];
        for set in junk {
            assert_ne!(push(&world.signals, &set).await, TAKEN);
        }
    }
    assert!(world.sandbox.jwks_calls() - fetches <= 1);
    assert_eq!(world.tokens.all_questions(), 1);
    assert!(world.knows("abc"));
    let stats = world.signals.handle().stats();
    assert_eq!(stats.refused_of_nobody, 400);
    assert_eq!(stats.forgotten, 0);
}

#[tokio::test]
async fn wrong_signatures_are_looked_at_so_often_in_a_second_and_genuine_ones_then_again() {
    let world = World::new().await;
    let kid = serde_json::from_str::<serde_json::Value>(&world.sandbox.jwks()).unwrap()["keys"][0]["kid"].clone();
    let other = Sandbox::start().await.unwrap();
    let claims = claims_of_event(&world, &json!({}));
    let forged = other.sign(json!({ "typ": "secevent+jwt", "kid": kid }), &claims).unwrap();
    let mut answers = HashMap::<u16, usize>::new();
    for _ in 0..1_010 {
        *answers.entry(push(&world.signals, &forged).await.0).or_default() += 1;
    }
    assert_eq!(answers, HashMap::from([(400, 1_000), (503, 10)]));
    let genuine = sign(&world.sandbox, "secevent+jwt", &claims);
    assert_eq!(push(&world.signals, &genuine).await, (503, None));
    // At the other door nothing has happened.
    let logout = sign(&world.sandbox, "logout+jwt", &claims_of_logout(&world, &json!({})));
    assert_eq!(log_out(&world.signals, &logout).await, LOGGED_OUT);
    world.clock.advance(secs(1));
    assert_eq!(push(&world.signals, &genuine).await, TAKEN);
}

#[tokio::test]
async fn without_the_name_of_a_key_wrong_signatures_count_as_well() {
    let world = World::new().await;
    let other = Sandbox::start().await.unwrap();
    let forged = other.sign(json!({ "typ": "secevent+jwt", "kid": () }), claims_of_event(&world, &json!({}))).unwrap();
    let mut answers = HashMap::<u16, usize>::new();
    for _ in 0..1_010 {
        *answers.entry(push(&world.signals, &forged).await.0).or_default() += 1;
    }
    assert_eq!(answers, HashMap::from([(400, 1_000), (503, 10)]));
    // The same where keys are fetched, and may not be fetched again for junk.
    let world = discovering().await;
    let forged = other.sign(json!({ "typ": "secevent+jwt", "kid": () }), claims_of_event(&world, &json!({}))).unwrap();
    for _ in 0..1_010 {
        assert_ne!(push(&world.signals, &forged).await, TAKEN);
    }
    let genuine = world.sandbox.sign_event(world.about(&user(&world.sandbox, "ann"))).unwrap();
    assert_eq!(push(&world.signals, &genuine).await, (503, None));
    world.clock.advance(secs(1));
    assert_eq!(push(&world.signals, &genuine).await, TAKEN);
}

/// Nobody who does not know it can use up what is looked at.
#[tokio::test]
async fn whoever_shows_the_agreed_authorization_is_kept_out_by_no_flood() {
    let world = World::with(|transmitter| transmitter.push_authorization("Bearer ours")).await;
    let other = Sandbox::start().await.unwrap();
    let kid = serde_json::from_str::<serde_json::Value>(&world.sandbox.jwks()).unwrap()["keys"][0]["kid"].clone();
    let forged = other.sign(json!({ "typ": "secevent+jwt", "kid": kid }), claims_of_event(&world, &json!({}))).unwrap();
    let pushed = async |set: &str, authorization: &str| {
        let request = Request::post("/").header("content-type", "application/secevent+jwt");
        let request = request.header("authorization", authorization).body(set.to_owned()).unwrap();
        answer_of(&send(world.signals.push(), request).await)
    };
    for _ in 0..1_010 {
        assert_eq!(pushed(&forged, "Bearer junk").await, refused("authentication_failed"));
    }
    for _ in 0..1_010 {
        assert_eq!(pushed(&forged, "Bearer ours").await, refused("invalid_key"));
    }
    let genuine = world.sandbox.sign_event(world.about(&user(&world.sandbox, "ann"))).unwrap();
    assert_eq!(pushed(&genuine, "Bearer ours").await, TAKEN);
}

/// A `jti` that an issuer uses twice is no reason to pass over what it says.
#[tokio::test]
async fn another_event_with_the_same_identifier_is_another_one() {
    let world = World::new().await;
    for (name, subject) in [("abc", "ann"), ("def", "bob")] {
        world.remembers(name, facts().subject(subject)).await;
        let claims = claims_of_event(&world, &json!({ "sub_id": user(&world.sandbox, subject) }));
        assert_eq!(push(&world.signals, &sign(&world.sandbox, "secevent+jwt", &claims)).await, TAKEN);
        assert!(!world.knows(name));
    }
}

/// What happened may be told of later than it did: by a key that is newer than that.
#[tokio::test]
async fn an_event_of_before_that_is_signed_with_a_new_key_is_taken() {
    let world = discovering().await;
    world.remembers("abc", facts().subject("ann")).await;
    assert_eq!(world.push(world.about(&user(&world.sandbox, "nobody"))).await, TAKEN);
    world.sandbox.rotate_key().unwrap();
    let event = world.about(&user(&world.sandbox, "ann")).claim("iat", seconds(world.clock.now()) - 600).unwrap();
    let event = SandboxEvent::claim(event, "jti", "late").unwrap();
    world.tokens.issue("old", facts().subject("ann").issued_at(world.clock.now() - secs(700)).build());
    assert!(world.cached.introspect(Ask::new(&bearer("old"))).await.unwrap().is_active());
    assert_eq!(world.push(event).await, TAKEN);
    assert!(!world.knows("old"));
}

/// Nobody waits without end, and none of those that wait is lost.
#[tokio::test]
async fn with_more_events_than_may_wait_the_rest_is_turned_away() {
    let world = Arc::new(World::new().await);
    let mut all = tokio::task::JoinSet::new();
    for n in 0..1_100 {
        let world = Arc::clone(&world);
        all.spawn(async move { world.push(world.about(&user(&world.sandbox, &format!("user{n}")))).await });
    }
    let answers = all.join_all().await;
    assert!(answers.iter().all(|answer| *answer == TAKEN || *answer == (503, None)));
    let taken = answers.iter().filter(|answer| **answer == TAKEN).count();
    assert!((1_000..1_100).contains(&taken), "{taken}");
}

/// However many come at once, each has its effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_come_at_once_are_all_applied() {
    let world = Arc::new(World::new().await);
    for n in 0..300 {
        world.remembers(&format!("token{n}"), facts().subject(format!("user{n}"))).await;
    }
    let mut all = tokio::task::JoinSet::new();
    for n in 0..300 {
        let world = Arc::clone(&world);
        all.spawn(async move {
            let about = user(&world.sandbox, &format!("user{n}"));
            let answer = world.push(world.about(&about)).await;
            assert!(!world.knows(&format!("token{n}")), "it is done when it is answered");
            answer
        });
    }
    assert!(all.join_all().await.into_iter().all(|answer| answer == TAKEN));
    assert_eq!(world.signals.handle().stats().forgotten, 300);
}
