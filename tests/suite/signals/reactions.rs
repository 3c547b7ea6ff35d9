//! What is done about which event.

use serde_json::{Value, json};
use tower_introspection::cache::Selection;
use tower_introspection::signals::{EventKind, Reaction};

use super::*;

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

#[tokio::test]
async fn each_type_of_event_has_its_own_effect() {
    use EventOutcome::{Applied, NoAction, NotUnderstood};

    let bare = json!({});
    for (family, name, members, expected) in [
        (CAEP, "session-revoked", bare.clone(), Applied),
        (CAEP, "token-claims-change", json!({ "claims": { "role": "ro-admin" } }), Applied),
        (CAEP, "credential-change", json!({ "change_type": "create" }), NoAction),
        (CAEP, "credential-change", json!({ "change_type": "revoke" }), Applied),
        (CAEP, "credential-change", json!({ "change_type": "update" }), Applied),
        (CAEP, "credential-change", json!({ "change_type": "delete" }), Applied),
        (CAEP, "credential-change", bare.clone(), Applied),
        (CAEP, "assurance-level-change", json!({ "change_direction": "increase" }), NoAction),
        (CAEP, "assurance-level-change", json!({ "change_direction": "decrease" }), Applied),
        (CAEP, "assurance-level-change", bare.clone(), Applied),
        (CAEP, "device-compliance-change", json!({ "current_status": "not-compliant" }), Applied),
        (CAEP, "device-compliance-change", json!({ "current_status": "compliant" }), NoAction),
        (CAEP, "session-established", bare.clone(), NoAction),
        (CAEP, "session-presented", bare.clone(), NoAction),
        (CAEP, "risk-level-change", json!({ "current_level": "HIGH" }), Applied),
        (CAEP, "risk-level-change", json!({ "current_level": "LOW" }), NoAction),
        (CAEP, "risk-level-change", json!({ "current_level": "MEDIUM" }), NoAction),
        (RISC, "account-credential-change-required", bare.clone(), Applied),
        (RISC, "account-purged", bare.clone(), Applied),
        (RISC, "account-disabled", json!({ "reason": "hijacking" }), Applied),
        (RISC, "account-enabled", bare.clone(), NoAction),
        (RISC, "identifier-changed", json!({ "new-value": "ann@example.org" }), Applied),
        (RISC, "identifier-recycled", bare.clone(), Applied),
        (RISC, "credential-compromise", json!({ "credential_type": "password" }), Applied),
        (RISC, "opt-in", bare.clone(), NoAction),
        (RISC, "opt-out-initiated", bare.clone(), NoAction),
        (RISC, "opt-out-cancelled", bare.clone(), NoAction),
        (RISC, "opt-out-effective", bare.clone(), NoAction),
        (RISC, "recovery-activated", bare.clone(), NoAction),
        (RISC, "recovery-information-changed", bare.clone(), NoAction),
        (RISC, "sessions-revoked", bare.clone(), Applied),
        (RISC, "verification", bare.clone(), NoAction),
        ("https://schemas.openid.net/secevent/oauth/event-type/", "tokens-revoked", bare.clone(), Applied),
        ("https://schemas.openid.net/secevent/sse/event-type/", "verification", bare.clone(), NoAction),
        (SSF, "verification", json!({ "state": "x" }), NoAction),
        (SSF, "stream-updated", json!({ "status": "enabled" }), NoAction),
        (SSF, "stream-updated", json!({ "status": "asleep" }), NotUnderstood),
        // Of another family it is another event.
        (RISC, "session-revoked", bare.clone(), NotUnderstood),
        (CAEP, "account-disabled", bare.clone(), NotUnderstood),
        (CAEP, "logout", bare.clone(), NotUnderstood),
        (CAEP, "session_revoked", bare.clone(), NotUnderstood),
        ("urn:ietf:params:scim:event:", "create", bare.clone(), NotUnderstood),
    ] {
        let world = World::new().await;
        world.remembers("abc", facts().subject("ann")).await;
        let event = SandboxEvent::new(format!("{family}{name}")).about_user(world.sandbox.issuer(), "ann");
        let event =
            members.as_object().unwrap().iter().fold(event, |event, (name, value)| event.member(name, value).unwrap());
        assert_eq!(world.push(event).await, TAKEN, "{name}");
        assert_eq!(world.outcomes(), [(expected, 1)], "{name} {members}");
        assert_eq!(world.knows("abc"), expected != Applied, "{name} {members}");
    }
}

#[tokio::test]
async fn whoever_decides_sees_the_event_and_may_do_nothing_or_something_else() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let world = World::with(move |transmitter| {
        transmitter.on_event(move |event| {
            let (subject, reason) = (event.subject::<Value>(), event.member::<String>("reason"));
            let told = (event.kind(), event.event_type().to_owned(), event.id().to_owned(), subject, reason);
            noted.lock().unwrap().push(told);
            match event.kind() {
                EventKind::SessionRevoked => Reaction::Nothing,
                EventKind::Other => Reaction::Invalidate(vec![Selection::client("app"), Selection::subject("bob")]),
                _ => event.default_reaction(),
            }
        })
    })
    .await;
    for (name, facts) in
        [("ann", facts().subject("ann")), ("app", facts().client_id("app")), ("bob", facts().subject("bob"))]
    {
        world.remembers(name, facts).await;
    }
    let issuer = world.sandbox.issuer();
    assert_eq!(world.push(world.about(&user(&world.sandbox, "ann"))).await, TAKEN);
    assert!(world.knows("ann"));
    let own = SandboxEvent::new("urn:example:app-closed").claim("jti", "own").unwrap().member("reason", "why").unwrap();
    assert_eq!(world.push(own).await, TAKEN);
    assert_eq!(["ann", "app", "bob"].map(|name| world.knows(name)), [true, false, false]);
    assert_eq!(world.push(SandboxEvent::new(ACCOUNT_DISABLED).about_user(&issuer, "ann")).await, TAKEN);
    assert!(!world.knows("ann"));
    let own = (EventKind::Other, "urn:example:app-closed".to_owned(), "own".to_owned(), None, Some("why".to_owned()));
    assert_eq!(seen.lock().unwrap()[1], own);
    assert_eq!(seen.lock().unwrap()[0].3, Some(user(&world.sandbox, "ann")));
    assert_eq!(world.outcomes(), [(EventOutcome::Applied, 2), (EventOutcome::NoAction, 1)]);
}

#[tokio::test]
async fn where_one_panics_while_it_decides_the_default_is_done() {
    let world = World::with(|transmitter| {
        transmitter.on_event(|event| {
            assert!(event.kind() != EventKind::SessionRevoked, "as a test wants it");
            event.default_reaction()
        })
    })
    .await;
    world.remembers("abc", facts().subject("ann")).await;
    assert_eq!(world.push(world.about(&user(&world.sandbox, "ann"))).await, TAKEN);
    assert!(!world.knows("abc"));
}

#[tokio::test]
async fn a_token_of_events_that_is_about_too_much_is_refused() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("user0")).await;
    let names: Vec<_> = (0..40).map(|n| json!({ "format": "opaque", "id": format!("user{n}") })).collect();
    let subject = json!({ "format": "aliases", "identifiers": names });
    let events = json!({ SESSION_REVOKED: {}, ACCOUNT_DISABLED: {}, "urn:other": {} });
    let claims = claims_of_event(&world, &json!({ "sub_id": subject, "events": events }));
    assert_eq!(push(&world.signals, &sign(&world.sandbox, "secevent+jwt", &claims)).await, TAKEN);
    let events = json!({ SESSION_REVOKED: {}, ACCOUNT_DISABLED: {}, format!("{CAEP}token-claims-change"): {} });
    let claims = claims_of_event(&world, &json!({ "jti": "2", "sub_id": subject, "events": events }));
    let set = sign(&world.sandbox, "secevent+jwt", &claims);
    assert_eq!(push(&world.signals, &set).await, refused("invalid_request"));
}

#[tokio::test]
async fn of_several_events_in_one_token_each_has_its_effect() {
    let world = World::new().await;
    for (name, subject) in [("abc", "ann"), ("def", "bob")] {
        world.remembers(name, facts().subject(subject)).await;
    }
    let issuer = world.sandbox.issuer();
    let of = |user: &str| json!({ "subject": { "format": "iss_sub", "iss": issuer, "sub": user } });
    let events = json!({ SESSION_REVOKED: of("ann"), ACCOUNT_DISABLED: of("bob"), "urn:other": {} });
    let claims = claims_of_event(&world, &json!({ "sub_id": null, "events": events }));
    assert_eq!(push(&world.signals, &sign(&world.sandbox, "secevent+jwt", &claims)).await, TAKEN);
    assert!(!world.knows("abc") && !world.knows("def"));
    assert_eq!(world.outcomes(), [(EventOutcome::Applied, 2), (EventOutcome::NotUnderstood, 1)]);
}
