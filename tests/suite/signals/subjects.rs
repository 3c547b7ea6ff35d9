//! Whom an event is about: which tokens are forgotten for which subject, and which are not.

use serde_json::{Value, json};
use tower_introspection::token::AccessTokenBuilder;

use super::*;

/// Tokens of several users, sessions and applications; what each is called says what it states.
fn tokens(issuer: &str) -> Vec<(&'static str, AccessTokenBuilder)> {
    let of = |subject: &str| facts().subject(subject);
    vec![
        ("ann", of("ann")),
        ("ann-issuer", of("ann").issuer(issuer)),
        ("ann-other-issuer", of("ann").issuer("https://other.example")),
        ("ann-s1", of("ann").claim("sid", "s1").unwrap()),
        ("ann-s2", of("ann").claim("sid", "s2").unwrap()),
        ("ann-app", of("ann").client_id("app")),
        ("ann-other-app", of("ann").client_id("other")),
        ("s1", facts().claim("sid", "s1").unwrap()),
        ("bob", of("bob")),
        ("bob-s1", of("bob").claim("sid", "s1").unwrap()),
        ("email", facts().claim("email", "Ann@example.com").unwrap()),
        ("phone", facts().claim("phone_number", "+12065550100").unwrap()),
        ("jti", facts().token_id("t-1")),
        ("uri", of("https://user.example.com/")),
        ("did", of("did:example:123456")),
        ("app", facts().client_id("app")),
        ("silent", facts()),
    ]
}

const OF_ANN: [&str; 6] = ["ann", "ann-issuer", "ann-s1", "ann-s2", "ann-app", "ann-other-app"];

/// The names of tokens that are forgotten for this subject, and the outcome.
async fn forgotten(subject: &dyn Fn(&str) -> Value) -> (Vec<&'static str>, EventOutcome) {
    let world = World::new().await;
    let issuer = world.sandbox.issuer();
    for (name, facts) in tokens(&issuer) {
        world.remembers(name, facts).await;
    }
    let event = world.about(&subject(&issuer));
    assert_eq!(world.push(event).await, TAKEN);
    let names = tokens(&issuer).into_iter().map(|(name, _)| name).filter(|name| !world.knows(name));
    (names.collect(), world.outcomes()[0].0)
}

fn opaque(id: &str) -> Value {
    json!({ "format": "opaque", "id": id })
}

#[tokio::test]
async fn each_form_of_a_subject_means_its_tokens_and_no_others() {
    let ann = |issuer: &str| json!({ "format": "iss_sub", "iss": issuer, "sub": "ann" });
    let session = |id: &str| json!({ "format": "complex", "session": opaque(id) });
    type Subject<'s> = &'s dyn Fn(&str) -> Value;
    let cases: [(Subject, &[&str]); 28] = [
        (&ann, &OF_ANN),
        (&|issuer| json!({ "subject_type": "iss-sub", "iss": issuer, "sub": "ann" }), &OF_ANN),
        (&|issuer| json!({ "subject_type": "id_token_claims", "iss": issuer, "sub": "ann" }), &OF_ANN),
        (&|_| opaque("ann"), &OF_ANN),
        (&|_| opaque("s1"), &["ann-s1", "s1", "bob-s1"]),
        (&|_| json!({ "format": "email", "email": "ann@EXAMPLE.com" }), &["email"]),
        (&|_| json!({ "format": "phone_number", "phone_number": "+12065550100" }), &["phone"]),
        (&|_| json!({ "subject_type": "phone", "phone": "+12065550100" }), &["phone"]),
        (&|_| json!({ "format": "phone_number", "phone_number": "+1 (206) 555-0100" }), &["phone"]),
        (&|issuer| json!({ "format": "jwt_id", "iss": issuer, "jti": "t-1" }), &["jti"]),
        (&|_| json!({ "format": "uri", "uri": "https://user.example.com/" }), &["uri"]),
        (&|_| json!({ "format": "did", "url": "did:example:123456" }), &["did"]),
        (
            &|_| json!({ "format": "aliases", "identifiers": [{ "format": "email", "email": "ann@example.com" }, opaque("bob")] }),
            &["bob", "bob-s1", "email"],
        ),
        // Of what a complex subject says only what tokens state counts.
        (&|issuer| json!({ "format": "complex", "user": ann(issuer) }), &OF_ANN),
        (&|issuer| json!({ "user": ann(issuer) }), &OF_ANN),
        (
            &|issuer| json!({ "format": "complex", "user": ann(issuer), "tenant": opaque("t"), "device": opaque("d") }),
            &OF_ANN,
        ),
        (&|_| json!({ "format": "complex", "user": opaque("ann") }), &OF_ANN),
        (&|_| json!({ "format": "complex", "user": opaque("s1") }), &[]),
        (
            &|issuer| json!({ "format": "complex", "user": ann(issuer), "session": opaque("s1") }),
            &["ann", "ann-issuer", "ann-s1", "ann-app", "ann-other-app", "s1", "bob-s1"],
        ),
        (
            &|issuer| json!({ "format": "complex", "user": ann(issuer), "application": opaque("app") }),
            &["ann", "ann-issuer", "ann-s1", "ann-s2", "ann-app"],
        ),
        (&|_| session("s1"), &["ann-s1", "s1", "bob-s1"]),
        (
            &|_| json!({ "format": "complex", "session": opaque("s1"), "tenant": opaque("t") }),
            &["ann-s1", "s1", "bob-s1"],
        ),
        (
            &|_| json!({ "format": "complex", "session": opaque("s1"), "user": { "format": "account", "uri": "acct:a@b.example" } }),
            &["ann-s1", "s1", "bob-s1"],
        ),
        (&|_| json!({ "format": "complex", "application": opaque("app") }), &["ann-app", "app"]),
        (&|_| json!({ "user": { "format": "aliases", "identifiers": [opaque("bob")] } }), &["bob", "bob-s1"]),
        (&|_| opaque(&"x".repeat(512)), &[]),
        (&|_| json!({ "format": "email", "email": "nobody@example.com" }), &[]),
        (&|issuer| json!({ "format": "jwt_id", "iss": issuer, "jti": "t-2" }), &[]),
    ];
    for (subject, expected) in cases {
        let (names, outcome) = forgotten(subject).await;
        assert_eq!((&*names, outcome), (expected, EventOutcome::Applied), "{}", subject("issuer"));
    }
}

#[tokio::test]
async fn what_no_token_states_is_said_to_have_no_effect() {
    let subjects = [
        json!({ "format": "account", "uri": "acct:ann@example.com" }),
        json!({ "format": "saml_assertion_id", "issuer": "i", "assertion_id": "a" }),
        json!({ "format": "ip-addresses", "ip-addresses": ["10.29.37.75"] }),
        json!({ "format": "catalog_item", "catalog_id": "c" }),
        json!({ "format": 7, "id": "ann" }),
        json!({ "format": "opaque" }),
        json!({ "format": "opaque", "id": "" }),
        json!({ "format": "opaque", "id": ["ann"] }),
        json!({ "format": "opaque", "id": "x".repeat(513) }),
        // As JSON it would not fit into a record.
        json!({ "format": "opaque", "id": "\u{1}".repeat(100) }),
        json!({ "format": "iss_sub", "sub": "ann" }),
        json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "ann" }),
        json!({ "format": "jwt_id", "iss": "https://other.example", "jti": "t-1" }),
        json!({ "format": "aliases", "identifiers": [{ "format": "aliases", "identifiers": [opaque("ann")] }] }),
        json!({ "format": "aliases", "identifiers": opaque("ann") }),
        json!({ "format": "complex" }),
        json!({ "format": "complex", "device": opaque("ann") }),
        json!({ "format": "complex", "tenant": opaque("t") }),
        json!({ "format": "complex", "tenant": opaque("t"), "application": opaque("app") }),
        json!({ "format": "complex", "user": { "format": "complex", "user": opaque("ann") } }),
        json!({ "format": "complex", "user": "ann" }),
        json!({ "format": "complex", "session": { "format": "email", "email": "ann@example.com" } }),
        json!({}),
    ];
    for subject in subjects {
        let (names, outcome) = forgotten(&|_| subject.clone()).await;
        assert_eq!((names.len(), outcome), (0, EventOutcome::Unmatched), "{subject}");
    }
    for subject in [json!("ann"), json!(["ann"])] {
        let (names, outcome) = forgotten(&|_| subject.clone()).await;
        assert_eq!((names.len(), outcome), (0, EventOutcome::Unmatched), "{subject}");
    }
}

#[tokio::test]
async fn of_many_names_the_first_ones_count() {
    let names: Vec<_> = [opaque("ann")].into_iter().chain((0..100).map(|n| opaque(&n.to_string()))).collect();
    let (names, outcome) = forgotten(&|_| json!({ "format": "aliases", "identifiers": names })).await;
    assert_eq!((&*names, outcome), (&OF_ANN[..], EventOutcome::Applied));
}

/// What the transmitter calls a session or an application, tokens of others need not.
#[tokio::test]
async fn nothing_of_its_own_narrows_what_a_transmitter_says_about_tokens_of_another() {
    let world = World::with(|transmitter| transmitter.token_issuer("https://tokens.example")).await;
    for (name, facts) in tokens("https://tokens.example") {
        world.remembers(name, facts).await;
    }
    let ann = json!({ "format": "iss_sub", "iss": "https://tokens.example/", "sub": "ann" });
    let event = world.about(&json!({ "user": ann, "session": opaque("s9"), "application": opaque("app9") }));
    assert_eq!(world.push(event).await, TAKEN);
    assert!(OF_ANN.iter().all(|name| !world.knows(name)) && world.knows("bob"));
}

#[tokio::test]
async fn a_logout_means_the_session_of_the_user_or_all_of_them() {
    for (subject, expected) in [
        (json!({ "sub": "ann" }), &OF_ANN[..]),
        (
            json!({ "sub": "ann", "sid": "s1" }),
            &["ann", "ann-issuer", "ann-s1", "ann-app", "ann-other-app", "s1", "bob-s1"],
        ),
        (json!({ "sub": null, "sid": "s1" }), &["ann-s1", "s1", "bob-s1"]),
    ] {
        let world = World::new().await;
        let issuer = world.sandbox.issuer();
        for (name, facts) in tokens(&issuer) {
            world.remembers(name, facts).await;
        }
        let token = sign(&world.sandbox, "logout+jwt", &claims_of_logout(&world, &subject));
        assert_eq!(log_out(&world.signals, &token).await, LOGGED_OUT);
        let names: Vec<_> =
            tokens(&issuer).into_iter().map(|(name, _)| name).filter(|name| !world.knows(name)).collect();
        assert_eq!(names, expected, "{subject}");
    }
}

#[tokio::test]
async fn tokens_of_another_issuer_are_meant_if_the_transmitter_speaks_about_them() {
    let world = World::with(|transmitter| {
        transmitter.token_issuer("https://tokens.example").token_issuer("https://more.example")
    })
    .await;
    for (name, facts) in [
        ("one", facts().subject("ann").issuer("https://tokens.example")),
        ("more", facts().subject("ann").issuer("https://more.example")),
        ("another", facts().subject("ann").issuer(world.sandbox.issuer())),
    ] {
        world.remembers(name, facts).await;
    }
    let about = |issuer: &str| world.about(&json!({ "format": "iss_sub", "iss": issuer, "sub": "ann" }));
    assert_eq!(world.push(about(&world.sandbox.issuer())).await, TAKEN);
    assert_eq!(world.outcomes(), [(EventOutcome::Unmatched, 1)]);
    assert_eq!(world.push(about("https://more.example")).await, TAKEN);
    assert_eq!(["one", "more", "another"].map(|name| world.knows(name)), [true, false, true]);
    // Who names no issuer means that of any of them.
    assert_eq!(world.push(world.about(&opaque("ann"))).await, TAKEN);
    assert_eq!(["one", "another"].map(|name| world.knows(name)), [false, true]);
}
