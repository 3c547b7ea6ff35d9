//! Finding the endpoint of an issuer: what each well-known place may give, and discovery by the first question.
#![cfg(feature = "test-util")]

use std::sync::Arc;

use crate::support::faulty::{Faulty, GOOD, Step, answer};
use crate::support::recorder::{Recorder, Seen};
use crate::support::*;
use tower_introspection::connection::Limits;
use tower_introspection::introspect::{Ask, IntrospectErrorKind};
use tower_introspection::rfc7662::Rfc7662Builder;
use tower_introspection::{Introspect, IntrospectError, Rfc7662};

/// What comes of `event` if a minute passes once the authority has read a request.
async fn a_minute_after_the_first_request<T>(authority: &Faulty, event: impl Future<Output = T>) -> T {
    let (outcome, ()) = tokio::join!(event, async {
        authority.asked(1).await;
        tokio::time::pause();
        tokio::time::advance(secs(60)).await;
        tokio::time::resume();
    });
    outcome
}

fn ok(body: &str) -> Vec<Step> {
    vec![answer("200 OK", "content-type: application/json\r\n", body)]
}

fn metadata(issuer: &str) -> Vec<Step> {
    ok(&format!(r#"{{"issuer":"{issuer}","introspection_endpoint":"{issuer}/introspect"}}"#))
}

fn status(status: &str) -> Vec<Step> {
    vec![answer(status, "", "")]
}

/// What a place gives that is no metadata, and how the error tells it.
fn faults() -> Vec<(Vec<Step>, &'static str)> {
    let large = format!("<html>{}", " ".repeat(96 * 1024));
    vec![
        (ok(&large), "larger than 65536 bytes (`max_response_bytes`)"),
        (ok("<html>"), "not a metadata document: it is not JSON: the fault is near line 1, "),
        (ok("{}"), "not a metadata document: it names no `issuer`"),
        (vec![Step::Reset], "the connection to the authority broke"),
        (
            vec![Step::Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into())],
            "the connection to the authority broke",
        ),
        (status("404 Not Found"), "HTTP status 404"),
        (status("503 Service Unavailable"), "HTTP status 503"),
        (ok(r#"{"issuer":1}"#), "not a metadata document: a member has another type"),
    ]
}

fn lazy(authority: &Faulty) -> Rfc7662Builder {
    Rfc7662::discover(authority.url()).client_secret("id", "s").request_timeout(secs(60))
}

async fn kind_of(endpoint: &Rfc7662) -> Result<bool, IntrospectErrorKind> {
    let verdict = endpoint.introspect(Ask::new(&bearer("abc"))).await;
    verdict.map(|verdict| verdict.is_active()).map_err(|error| error.kind())
}

#[tokio::test]
async fn whatever_the_first_place_gives_the_next_one_is_tried() {
    for (fault, _) in faults() {
        let authority = Faulty::start();
        authority.does_in_turn(vec![fault.clone(), metadata(&authority.url())]);
        let found = Rfc7662::discover(authority.url()).fetch().await;
        let endpoint = found.unwrap_or_else(|error| panic!("{fault:?}: {error}")).client_secret("id", "s");
        assert_eq!(endpoint.build().unwrap().url(), Some(format!("{}/introspect", authority.url()).as_str()));
    }
}

#[tokio::test]
async fn a_place_that_hangs_is_left_for_the_next_one() {
    let authority = Faulty::start();
    authority.does_in_turn(vec![vec![Step::Hang], metadata(&authority.url())]);
    let finding = Rfc7662::discover(authority.url()).request_timeout(secs(60)).fetch();
    let _found = a_minute_after_the_first_request(&authority, finding).await.unwrap();
}

#[tokio::test]
async fn an_error_tells_of_each_place_what_it_gave() {
    for (fault, told) in faults() {
        let authority = Faulty::start();
        authority.does_in_turn(vec![fault, status("410 Gone")]);
        let error = Rfc7662::discover(authority.url()).fetch().await.unwrap_err().to_string();
        let (first, second) = error.split_once("; ").and_then(|(_, places)| places.split_once("; ")).unwrap();
        assert!(first.contains("/.well-known/oauth-authorization-server: ") && first.contains(told), "{error}");
        assert!(second.ends_with("/.well-known/openid-configuration: HTTP status 410"), "{error}");
    }
}

#[tokio::test]
async fn a_service_starts_while_its_authority_is_down_and_discovers_when_it_is_up() {
    let mut authority = Faulty::start();
    authority.refuse().await;
    let endpoint = lazy(&authority).limits(Limits::new().max_retries(0)).build().unwrap();
    assert_eq!(endpoint.url(), None);
    let error = endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_outage()), (IntrospectErrorKind::Discovery, true));
    let told = format!("{error:?}");
    assert!(told.contains("oauth-authorization-server: no connection to the authority: "), "{told}");
    authority.listen();
    authority.does_in_turn(vec![metadata(&authority.url()), ok(GOOD)]);
    assert_eq!(kind_of(&endpoint).await, Ok(true));
    assert_eq!(endpoint.url(), Some(format!("{}/introspect", authority.url()).as_str()));
    assert_eq!(kind_of(&endpoint).await, Ok(true));
    assert_eq!(authority.requests(), 3, "what was found serves on");
}

#[tokio::test]
async fn a_discovery_is_retried_like_any_question() {
    let authority = Faulty::start();
    let busy = || status("503 Service Unavailable");
    authority.does_in_turn(vec![busy(), busy(), metadata(&authority.url()), ok(GOOD)]);
    assert_eq!(kind_of(&lazy(&authority).build().unwrap()).await, Ok(true));
    assert_eq!(authority.requests(), 4);
}

#[tokio::test]
async fn discoveries_that_fail_open_the_breaker() {
    let mut authority = Faulty::start();
    authority.refuse().await;
    let endpoint = lazy(&authority).limits(Limits::new().max_retries(0).breaker_threshold(2)).build().unwrap();
    let kinds = [kind_of(&endpoint).await, kind_of(&endpoint).await, kind_of(&endpoint).await];
    use IntrospectErrorKind::{CircuitOpen, Discovery};
    assert_eq!(kinds, [Err(Discovery), Err(Discovery), Err(CircuitOpen)]);
}

#[tokio::test]
async fn a_question_that_runs_out_of_time_tells_of_the_discovery_and_the_next_begins_with_another_place() {
    let authority = Faulty::start();
    authority.does_in_turn(vec![vec![Step::Hang], metadata(&authority.url()), ok(GOOD)]);
    let endpoint = lazy(&authority).build().unwrap();
    let token = bearer("abc");
    let error = a_minute_after_the_first_request(&authority, endpoint.introspect(Ask::new(&token))).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Discovery);
    assert!(format!("{error:?}").contains("60s passed (`request_timeout`)"), "{error:?}");
    assert_eq!(kind_of(&endpoint).await, Ok(true));
}

/// So many at once, each a question of its own.
async fn at_once(endpoint: &Arc<Rfc7662>, questions: usize) -> Vec<Result<bool, IntrospectError>> {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..questions {
        let endpoint = Arc::clone(endpoint);
        asking.spawn(
            async move { endpoint.introspect(Ask::new(&bearer("abc"))).await.map(|verdict| verdict.is_active()) },
        );
    }
    patiently(asking.join_all()).await
}

#[tokio::test]
async fn one_discovery_is_under_way_however_many_questions_wait_for_it() {
    let server = Recorder::start(|_, seen: &Seen| {
        let host = format!("http://{}", seen.headers["host"].to_str().unwrap());
        match seen.uri.as_str() {
            "/introspect" => (200, r#"{"active":true}"#.to_owned()),
            _ => (200, format!(r#"{{"issuer":"{host}","introspection_endpoint":"{host}/introspect"}}"#)),
        }
    })
    .await;
    let builder = Rfc7662::discover(server.url()).client_secret("id", "s").limits(Limits::new().max_wait(secs(60)));
    let endpoint = Arc::new(builder.request_timeout(secs(60)).build().unwrap());
    assert!(at_once(&endpoint, 50).await.into_iter().all(|answer| answer.unwrap()));
    let discoveries = server.requests().into_iter().filter(|seen| seen.uri != "/introspect").count();
    assert_eq!(discoveries, 1);
}

#[tokio::test]
async fn what_somebody_has_to_change_is_told_and_looked_at_again_after_a_pause_only() {
    let url = |document: &'static str| async move {
        Recorder::start(move |_, seen: &Seen| {
            let host = format!("http://{}", seen.headers["host"].to_str().unwrap());
            (200, document.replace("{issuer}", &host))
        })
        .await
    };
    for (document, places, told) in [
        (r#"{"issuer":"https://evil.example","introspection_endpoint":"{issuer}/x"}"#, 1, "another issuer"),
        (r#"{"issuer":"{issuer}"}"#, 2, "no `introspection_endpoint`"),
        (
            r#"{"issuer":"{issuer}","introspection_endpoint":"{issuer}/x","token_endpoint_auth_methods_supported":["none"]}"#,
            1,
            "the server accepts no client secret, only [\"none\"]",
        ),
        (
            r#"{"issuer":"{issuer}","introspection_endpoint":"http://auth.example.com/x"}"#,
            1,
            "`introspection_endpoint`: http can be read and changed",
        ),
        (r#"{"issuer":"{issuer}","introspection_endpoint":"x"}"#, 1, "`introspection_endpoint`: not a URL"),
    ] {
        let server = url(document).await;
        let clock = tower_introspection::clock::ManualClock::at(START);
        let builder = Rfc7662::discover(server.url())
            .client_secret("id", "s")
            .clock(clock.clone())
            .limits(Limits::new().max_wait(secs(60)));
        let endpoint = Arc::new(builder.request_timeout(secs(60)).build().unwrap());
        for answer in at_once(&endpoint, 20).await {
            let error = answer.unwrap_err();
            assert_eq!((error.kind(), error.is_outage()), (IntrospectErrorKind::Discovery, false), "{error:?}");
            assert!(format!("{error:?}").contains(told), "{error:?}");
        }
        assert_eq!(server.requests().len(), places, "{document}");
        clock.set(START + millis(9_999));
        assert!(at_once(&endpoint, 1).await.remove(0).is_err());
        assert_eq!(server.requests().len(), places, "{document}");
        clock.set(START + secs(10));
        assert!(at_once(&endpoint, 1).await.remove(0).is_err());
        assert_eq!(server.requests().len(), 2 * places, "{document}");
    }
}

#[tokio::test]
async fn the_first_question_authenticates_in_the_way_the_server_lists() {
    let server = Recorder::start(|_, seen: &Seen| {
        let host = format!("http://{}", seen.headers["host"].to_str().unwrap());
        match seen.uri.as_str() {
            "/introspect" => (200, r#"{"active":true}"#.to_owned()),
            _ => (
                200,
                format!(
                    r#"{{"issuer":"{host}","introspection_endpoint":"{host}/introspect","token_endpoint_auth_methods_supported":["client_secret_post"]}}"#
                ),
            ),
        }
    })
    .await;
    let endpoint = Rfc7662::discover(server.url()).client_secret("id", "s").build().unwrap();
    assert_eq!(kind_of(&endpoint).await, Ok(true));
    assert_eq!(server.requests().last().unwrap().parameter("client_secret").as_deref(), Some("s"));
}

#[tokio::test]
async fn what_can_be_checked_before_the_first_question_is_checked_by_build() {
    let refused = |builder: Rfc7662Builder| builder.build().map_err(|error| error.setting()).unwrap_err();
    let usable = |issuer: &str| Rfc7662::discover(issuer).client_secret("id", "s");
    let loopback = "http://127.0.0.1:1";
    usable(loopback).build().unwrap();
    for issuer in ["nonsense", "http://auth.example.com", "http://127.0.0.1:1/?a=b", "http://a:b@127.0.0.1:1"] {
        assert_eq!(refused(usable(issuer)), "issuer", "{issuer}");
    }
    assert_eq!(refused(Rfc7662::discover(loopback)), "credentials");
    assert_eq!(refused(Rfc7662::discover(loopback).client_secret("", "s")), "client_secret");
    assert_eq!(refused(usable(loopback).request_timeout(secs(0))), "request_timeout");
    assert_eq!(refused(usable(loopback).limits(Limits::new().breaker_threshold(0))), "breaker_threshold");
    assert_eq!(refused(usable(loopback).parameter("token", "x")), "parameter");
    assert_eq!(
        refused(Rfc7662::discover(loopback).client_secret_post("id", "s").parameter("client_id", "x")),
        "parameter"
    );
}

#[tokio::test]
async fn however_long_what_the_metadata_say_is_an_error_shows_the_beginning() {
    let long = "x".repeat(20_000);
    for (document, told) in [
        (r#"{"issuer":"{long}","introspection_endpoint":"{issuer}/x"}"#, "another issuer, \"xxx"),
        (
            r#"{"issuer":"{issuer}","introspection_endpoint":"{issuer}/x","token_endpoint_auth_methods_supported":["{long}","y"]}"#,
            "no client secret, only [\"xxx",
        ),
        (r#"{"issuer":"{issuer}","introspection_endpoint":"{long}:y"}"#, "the scheme is \"xxx"),
    ] {
        let document = document.replace("{long}", &long);
        let server = Recorder::start(move |_, seen: &Seen| {
            (200, document.replace("{issuer}", &format!("http://{}", seen.headers["host"].to_str().unwrap())))
        })
        .await;
        let endpoint = Rfc7662::discover(server.url()).client_secret("id", "s").build().unwrap();
        let shown = format!("{:?}", endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err());
        assert!(shown.contains(told) && shown.len() < 1_000, "{} characters: {shown:.1000}", shown.len());
    }
}
