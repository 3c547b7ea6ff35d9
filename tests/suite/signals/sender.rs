//! What whoever sends is asked for, and what it is answered: the HTTP of it.

use http::{Method, StatusCode};
use serde_json::json;

use super::*;

const AUTHORIZATION: &str = "Bearer a-secret-of-two";

async fn guarded() -> World {
    World::with(|transmitter| transmitter.push_authorization(AUTHORIZATION)).await
}

fn post(content_type: &str, body: impl Into<String>) -> Request<String> {
    Request::post("/").header("content-type", content_type).body(body.into()).unwrap()
}

#[tokio::test]
async fn a_push_without_the_agreed_authorization_is_refused_whoever_signed_it() {
    let world = guarded().await;
    world.remembers("abc", facts().subject("ann")).await;
    let set = world.sandbox.sign_event(world.about(&user(&world.sandbox, "ann"))).unwrap();
    let with = |values: &[&str]| {
        let mut request = post("application/secevent+jwt", &*set);
        for value in values {
            request.headers_mut().append("authorization", value.parse().unwrap());
        }
        request
    };
    let wrong: [&[&str]; 7] = [
        &[],
        &["Bearer a-secret-of-twO"],
        &["bearer a-secret-of-two"],
        &["Bearer a-secret-of-two "],
        &["a-secret-of-two"],
        &[AUTHORIZATION, AUTHORIZATION],
        &["Bearer x", AUTHORIZATION],
    ];
    for values in wrong {
        let answer = answer_of(&send(world.signals.push(), with(values)).await);
        assert_eq!(answer, refused("authentication_failed"), "{values:?}");
        assert!(world.knows("abc"));
    }
    assert_eq!(answer_of(&send(world.signals.push(), with(&[AUTHORIZATION])).await), TAKEN);
    assert!(!world.knows("abc"));
    // A logout has no such header.
    let token = sign(&world.sandbox, "logout+jwt", &claims_of_logout(&world, &json!({})));
    assert_eq!(log_out(&world.signals, &token).await, LOGGED_OUT);
    assert!(!format!("{:?}", world.signals).contains("a-secret"));
}

#[tokio::test]
async fn an_error_says_what_rfc_8935_and_rfc_6749_want_it_to() {
    let world = World::new().await;
    let response = send(world.signals.push(), post("application/secevent+jwt", "junk")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["content-language"], "en");
    let body: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(body["err"], "invalid_request");
    assert!(body["description"].as_str().unwrap().contains("three parts"));
    let response =
        send(world.signals.backchannel_logout(), post("application/x-www-form-urlencoded", "logout_token=junk")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(body["error"], "invalid_request");
    assert!(body["error_description"].is_string());
    let set = world.sandbox.sign_event(world.about(&user(&world.sandbox, "ann"))).unwrap();
    let response = send(world.signals.push(), post("application/secevent+jwt", set)).await;
    assert!(response.body().is_empty());
}

#[tokio::test]
async fn other_methods_types_and_forms_are_refused() {
    let world = World::new().await;
    for service in [world.signals.push(), world.signals.backchannel_logout()] {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::HEAD] {
            let request = Request::builder().method(method).body(String::new()).unwrap();
            let response = send(service.clone(), request).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()["allow"], "POST");
        }
        for content_type in ["application/json", "text/plain", "application/jwt", "application/secevent+jwtx", ""] {
            let response = send(service.clone(), post(content_type, "x")).await;
            assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        }
    }
    let set = world.sandbox.sign_event(world.about(&user(&world.sandbox, "ann"))).unwrap();
    for content_type in ["application/secevent+jwt; charset=utf-8", "Application/SecEvent+JWT"] {
        assert_eq!(answer_of(&send(world.signals.push(), post(content_type, &*set)).await), TAKEN);
    }
    let token = sign(&world.sandbox, "logout+jwt", &claims_of_logout(&world, &json!({})));
    let form = "application/x-www-form-urlencoded";
    for (body, expected) in [
        (String::new(), 400),
        ("token=x".to_owned(), 400),
        (format!("logout_token={token}&logout_token={token}"), 400),
        (format!("logout_token={token}&more=1"), 200),
    ] {
        let response = send(world.signals.backchannel_logout(), post(form, body)).await;
        assert_eq!(response.status().as_u16(), expected);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_breaks_off_is_refused() {
    let world = World::new().await;
    let response = send(world.signals.push(), post("application/secevent+jwt", "x".repeat(69 * 1_024))).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let broken = axum::body::Body::from_stream(tokio_stream::once(Err::<String, _>(std::io::Error::other("broken"))));
    let request = Request::post("/").header("content-type", "application/secevent+jwt").body(broken).unwrap();
    assert_eq!(world.signals.push().oneshot(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_waited_for_ten_seconds() {
    let keys = KeySet::from_json(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
    let cache = Cached::new(Tokens::default()).handle();
    let transmitter = Transmitter::new("https://a.example").keys(keys.unwrap()).audience("a").cache(cache);
    let signals = Signals::builder().transmitter(transmitter).build().unwrap();
    let never = axum::body::Body::from_stream(tokio_stream::pending::<Result<String, std::io::Error>>());
    let request = Request::post("/").header("content-type", "application/secevent+jwt").body(never).unwrap();
    let answer = tokio::spawn(signals.push().oneshot(request));
    tokio::time::sleep(std::time::Duration::from_millis(9_990)).await;
    assert!(!answer.is_finished());
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
}

#[test]
fn the_public_types_can_be_shared_and_show_no_secret() {
    fn is_shared<T: Send + Sync + std::fmt::Debug + 'static>() {}
    use tower_introspection::signals::*;
    is_shared::<Signals>();
    is_shared::<SignalsBuilder>();
    is_shared::<SignalsHandle>();
    is_shared::<SignalsService>();
    is_shared::<Transmitter>();
    is_shared::<Poll>();
    is_shared::<SecurityEvent>();
    let poll = Poll::new("https://user:hush@a.example/?key=hush").bearer_token("hush");
    assert!(!format!("{poll:?}").contains("hush"));
    let transmitter = Transmitter::new("https://a.example").push_authorization("hush").poll(poll);
    assert!(!format!("{transmitter:?}").contains("hush"));
}
