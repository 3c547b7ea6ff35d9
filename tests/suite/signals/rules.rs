//! Each rule for an event and for a logout token, broken alone.

use serde_json::{Value, json};
use tower_introspection::sandbox::Sandbox;

use super::*;

#[tokio::test]
async fn an_event_that_breaks_one_rule_has_no_effect_and_says_which() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    let now = seconds(world.clock.now());
    let (user, week) = (user(&world.sandbox, "ann"), 7 * 24 * 3_600);
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("urn:{n}"), json!({}))).collect();
    for (changes, code) in [
        (json!({ "iss": null }), "invalid_issuer"),
        (json!({ "iss": format!("{}/", world.sandbox.issuer()) }), "invalid_issuer"),
        (json!({ "iss": [world.sandbox.issuer()] }), "invalid_issuer"),
        (json!({ "aud": null }), "invalid_audience"),
        (json!({ "aud": "https://api.example.com/" }), "invalid_audience"),
        (json!({ "aud": [] }), "invalid_audience"),
        (json!({ "iat": null }), "invalid_request"),
        (json!({ "iat": "now" }), "invalid_request"),
        (json!({ "iat": now - week - 1 }), "invalid_request"),
        (json!({ "jti": null }), "invalid_request"),
        (json!({ "jti": "" }), "invalid_request"),
        (json!({ "jti": 7 }), "invalid_request"),
        (json!({ "jti": "x".repeat(1_025) }), "invalid_request"),
        (json!({ "sub": "" }), "invalid_request"),
        (json!({ "sub": "ann" }), "invalid_request"),
        (json!({ "exp": now + 60 }), "invalid_request"),
        (json!({ "events": null }), "invalid_request"),
        (json!({ "events": {} }), "invalid_request"),
        (json!({ "events": [SESSION_REVOKED] }), "invalid_request"),
        (json!({ "events": { SESSION_REVOKED: null } }), "invalid_request"),
        (json!({ "events": { SESSION_REVOKED: [] } }), "invalid_request"),
        (json!({ "events": many }), "invalid_request"),
        (
            json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {}, SESSION_REVOKED: {} } }),
            "invalid_request",
        ),
    ] {
        let set = sign(&world.sandbox, "secevent+jwt", &claims_of_event(&world, &changes));
        assert_eq!(push(&world.signals, &set).await, refused(code), "{changes}");
        assert!(world.knows("abc"), "{changes}");
    }
    for typ in ["JWT", "at+jwt", "logout+jwt", "dpop+jwt", "application/logout+jwt", ""] {
        let set = sign(&world.sandbox, typ, &claims_of_event(&world, &json!({})));
        assert_eq!(push(&world.signals, &set).await, refused("invalid_request"), "{typ}");
    }
    let untyped = world.sandbox.sign(json!({}), claims_of_event(&world, &json!({}))).unwrap();
    assert_eq!(push(&world.signals, &untyped).await, refused("invalid_request"));
    // One of the clocks is wrong, and the event is not to get lost for it.
    let ahead = sign(&world.sandbox, "secevent+jwt", &claims_of_event(&world, &json!({ "iat": now + 61 })));
    assert_eq!(push(&world.signals, &ahead).await, (503, None));
    assert!(world.knows("abc"));
    // At its bounds each rule lets it in.
    for (n, changes) in [
        json!({ "iat": now + 60 }),
        json!({ "iat": now - week }),
        json!({ "aud": ["https://other.example", AUDIENCE] }),
        json!({ "jti": "x".repeat(1_024) }),
        json!({ "sub_id": null, "events": { SESSION_REVOKED: { "subject": user } } }),
        json!({ "unknown": { "a": [1] }, "txn": "8675309", "toe": now - 5 }),
    ]
    .iter()
    .enumerate()
    {
        let id = changes.get("jti").cloned().unwrap_or(json!(n.to_string()));
        let mut claims = claims_of_event(&world, changes);
        claims["jti"] = id;
        for typ in ["secevent+jwt", "application/secevent+jwt", "SecEvent+JWT"] {
            assert_eq!(push(&world.signals, &sign(&world.sandbox, typ, &claims)).await, TAKEN, "{changes}");
        }
    }
    assert!(!world.knows("abc"));
}

#[tokio::test]
async fn a_logout_token_that_breaks_one_rule_has_no_effect() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann").claim("sid", "s").unwrap()).await;
    let now = seconds(world.clock.now());
    const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
    for changes in [
        json!({ "iss": null }),
        json!({ "iss": "https://somebody.example" }),
        json!({ "aud": null }),
        json!({ "aud": "another-client" }),
        json!({ "iat": null }),
        json!({ "exp": null }),
        json!({ "exp": now - 60 }),
        json!({ "exp": "later" }),
        json!({ "jti": null }),
        json!({ "nonce": "n" }),
        json!({ "nonce": false }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": ["ann"] }),
        json!({ "sid": 7 }),
        json!({ "sub": "x".repeat(513) }),
        json!({ "events": null }),
        json!({ "events": {} }),
        json!({ "events": LOGOUT }),
        json!({ "events": [LOGOUT] }),
        json!({ "events": { SESSION_REVOKED: {} } }),
        // As outline/outline#13438 took it: `typeof null` is `object`.
        json!({ "events": { LOGOUT: null } }),
        json!({ "events": { LOGOUT: [] } }),
        json!({ "events": { LOGOUT: "" } }),
    ] {
        let token = sign(&world.sandbox, "logout+jwt", &claims_of_logout(&world, &changes));
        assert_eq!(log_out(&world.signals, &token).await, refused("invalid_request"), "{changes}");
        assert!(world.knows("abc"), "{changes}");
    }
    for typ in ["at+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt"] {
        let token = sign(&world.sandbox, typ, &claims_of_logout(&world, &json!({})));
        assert_eq!(log_out(&world.signals, &token).await, refused("invalid_request"), "{typ}");
    }
    for (n, changes) in [
        json!({}),
        json!({ "exp": now - 59, "iat": now - 30 }),
        json!({ "sub": null, "sid": "s" }),
        json!({ "aud": [CLIENT, "another"] }),
        // Keycloak's.
        json!({ "typ": "Logout", "events": { LOGOUT: {}, "revoke_offline_access": true } }),
    ]
    .iter()
    .enumerate()
    {
        world.remembers("abc", facts().subject("ann").claim("sid", "s").unwrap()).await;
        let mut claims = claims_of_logout(&world, changes);
        claims["jti"] = json!(n.to_string());
        let header = [json!({ "typ": "logout+jwt" }), json!({ "typ": "JWT" }), json!({})][n % 3].clone();
        let token = world.sandbox.sign(header, claims).unwrap();
        assert_eq!(log_out(&world.signals, &token).await, LOGGED_OUT, "{changes}");
        assert!(!world.knows("abc"), "{changes}");
    }
}

/// There are servers that write `null` for what they do not say.
#[tokio::test]
async fn what_is_null_is_not_said() {
    let world = World::new().await;
    let nulls = |mut claims: Value, names: &[&str]| {
        names.iter().for_each(|name| claims[*name] = Value::Null);
        claims
    };
    let in_the_event = json!({ "events": { SESSION_REVOKED: { "subject": user(&world.sandbox, "ann") } } });
    for (n, on_top) in
        [json!(null), json!("ann"), json!({ "format": "account", "uri": "acct:a@b.example" })].iter().enumerate()
    {
        world.remembers("abc", facts().subject("ann")).await;
        let mut claims = nulls(claims_of_event(&world, &in_the_event), &["sub", "exp"]);
        (claims["sub_id"], claims["jti"]) = (on_top.clone(), json!(n.to_string()));
        assert_eq!(push(&world.signals, &sign(&world.sandbox, "secevent+jwt", &claims)).await, TAKEN);
        assert!(!world.knows("abc"), "{on_top}");
    }
    world.remembers("abc", facts().subject("ann")).await;
    let claims = nulls(claims_of_logout(&world, &json!({})), &["sid", "nonce"]);
    assert_eq!(log_out(&world.signals, &sign(&world.sandbox, "logout+jwt", &claims)).await, LOGGED_OUT);
    assert!(!world.knows("abc"));
}

#[tokio::test]
async fn a_signature_of_anybody_else_is_refused_whatever_the_header_says() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    let other = Sandbox::start().await.unwrap();
    let claims = claims_of_event(&world, &json!({}));
    let good = sign(&world.sandbox, "secevent+jwt", &claims);
    let kid = serde_json::from_str::<Value>(&world.sandbox.jwks()).unwrap()["keys"][0]["kid"].clone();
    let (signed, _) = good.rsplit_once('.').unwrap();
    let of_another = sign(&world.sandbox, "secevent+jwt", &claims_of_event(&world, &json!({ "jti": "2" })));
    let (_, forged) = of_another.rsplit_once('.').unwrap();
    for (set, code) in [
        (sign(&other, "secevent+jwt", &claims), "invalid_key"),
        (other.sign(json!({ "typ": "secevent+jwt", "kid": kid }), &claims).unwrap(), "invalid_key"),
        (format!("{signed}.{forged}"), "invalid_key"),
        (format!("{signed}."), "invalid_key"),
        (world.sandbox.sign(json!({ "typ": "secevent+jwt", "alg": "none" }), &claims).unwrap(), "invalid_key"),
        (world.sandbox.sign(json!({ "typ": "secevent+jwt", "alg": "HS256" }), &claims).unwrap(), "invalid_key"),
        (world.sandbox.sign(json!({ "typ": "secevent+jwt", "crit": ["b64"] }), &claims).unwrap(), "invalid_request"),
        (format!(" {good}"), "invalid_request"),
        (format!("{good}\n"), "invalid_request"),
        (format!("{good}.x.y"), "invalid_request"),
        (String::new(), "invalid_request"),
        ("x".repeat(65 * 1_024), "invalid_request"),
    ] {
        assert_eq!(push(&world.signals, &set).await, refused(code), "{set:.200}");
        assert!(world.knows("abc"));
    }
    assert_eq!(push(&world.signals, &good).await, TAKEN);
    assert!(!world.knows("abc"));
}

#[tokio::test]
async fn an_algorithm_that_was_not_allowed_is_refused() {
    use tower_introspection::jwt::Algorithm;

    let world = World::with(|transmitter| transmitter.algorithms([Algorithm::Rs256])).await;
    let event = world.about(&user(&world.sandbox, "ann"));
    assert_eq!(world.push(event).await, refused("invalid_key"));
}

#[tokio::test]
async fn each_setting_that_cannot_work_is_named() {
    use std::time::Duration;

    use tower_introspection::signals::Poll;

    let world = World::new().await;
    let (sandbox, cache) = (&world.sandbox, world.cached.handle());
    type Change = fn(Transmitter) -> Transmitter;
    let changes: [(&str, Change); 10] = [
        ("audience", |transmitter| transmitter.audience("")),
        ("algorithms", |transmitter| transmitter.algorithms([])),
        ("clock_skew", |transmitter| transmitter.clock_skew(Duration::from_secs(301))),
        ("max_event_age", |transmitter| transmitter.max_event_age(Duration::ZERO)),
        ("silent_after", |transmitter| transmitter.silent_after(Duration::ZERO)),
        ("refresh_keys_every", |transmitter| transmitter.refresh_keys_every(Duration::ZERO)),
        ("push_authorization", |transmitter| transmitter.push_authorization("Bearer a\n")),
        ("poll", |transmitter| transmitter.poll(Poll::new("http://poll.example"))),
        ("interval", |transmitter| transmitter.poll(Poll::new("https://poll.example").interval(Duration::ZERO))),
        ("bearer_token", |transmitter| transmitter.poll(Poll::new("https://poll.example").bearer_token("a b"))),
    ];
    for (setting, change) in changes {
        let transmitter = change(transmitter(sandbox).cache(cache.clone()));
        let error = Signals::builder().transmitter(transmitter).build().unwrap_err();
        assert_eq!(error.setting(), setting, "{error}");
    }
    let bare = |issuer: &str| Transmitter::new(issuer).keys(KeySet::from_json(sandbox.jwks()).unwrap());
    for (setting, transmitter) in [
        ("issuer", bare("").audience("a").cache(cache.clone())),
        ("audience", bare("https://a.example").cache(cache.clone())),
        ("cache", bare("https://a.example").audience("a")),
        ("keys", Transmitter::new("https://a.example").audience("a").cache(cache.clone())),
        ("issuer", Transmitter::discover("http://a.example").audience("a").cache(cache.clone())),
    ] {
        let error = Signals::builder().transmitter(transmitter).build().unwrap_err();
        assert_eq!(error.setting(), setting, "{error}");
    }
    let twice = || transmitter(sandbox).cache(cache.clone());
    let error = Signals::builder().transmitter(twice()).transmitter(twice()).build().unwrap_err();
    assert_eq!(error.setting(), "issuer", "{error}");
    assert_eq!(Signals::builder().build().unwrap_err().setting(), "transmitter");
}

#[test]
fn whoever_polls_or_watches_needs_a_runtime_and_whoever_does_neither_needs_none() {
    use std::time::Duration;

    use tower_introspection::signals::Poll;

    let keys =
        || KeySet::from_json(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
    let cache = Cached::new(Tokens::default()).handle();
    let transmitter = || Transmitter::new("https://a.example").keys(keys().unwrap()).audience("a").cache(cache.clone());
    assert!(Signals::builder().transmitter(transmitter()).build().is_ok());
    for (setting, transmitter) in [
        ("poll", transmitter().poll(Poll::new("https://a.example/poll"))),
        ("silent_after", transmitter().silent_after(Duration::from_secs(60))),
    ] {
        let error = Signals::builder().transmitter(transmitter).build().unwrap_err();
        assert!(error.setting() == setting && error.to_string().contains("runtime"), "{error}");
    }
}
