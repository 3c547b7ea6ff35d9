//! Every row of the table of rejections, in the bytes that a client reads, as HTTP and as gRPC.

use crate::support::*;
use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{AccessToken, InactiveReason, IntrospectionLayer, Scopes, Verdict};

/// Good for everything the route below requires.
fn good() -> tower_introspection::token::AccessTokenBuilder {
    AccessToken::builder()
        .scopes(Scopes::parse("read"))
        .audience(["https://api.example"])
        .issuer("https://auth.example")
        .claim("acr", "gold")
        .and_then(|token| token.claim("auth_time", Timestamp::now()))
        .unwrap()
}

fn says(token: tower_introspection::token::AccessTokenBuilder) -> Answer {
    Ok(Verdict::Active(token.build()))
}

struct Row {
    case: &'static str,
    headers: &'static str,
    answer: Answer,
    http: String,
    grpc: &'static str,
    says: &'static str,
}

const TOKEN: &str = "authorization: Bearer abc\r\n";

/// What is left out of `http` is the same for all.
fn table() -> Vec<Row> {
    let row = |case, headers, answer, (http, says): (&str, _), grpc| {
        let http = http.to_owned();
        Row { case, headers, answer, http, grpc, says }
    };
    let invalid = |case, answer, description: &'static str| {
        let challenge = format!("Bearer realm=\"api\", error=\"invalid_token\", error_description=\"{description}\"");
        let http = format!("401 Unauthorized\r\nwww-authenticate: {challenge}\r\n");
        row(case, TOKEN, answer, (&http, description), "16")
    };
    const MISSING: (&str, &str) =
        ("401 Unauthorized\r\nwww-authenticate: Bearer realm=\"api\"\r\n", "an access token is required");
    const MALFORMED: (&str, &str) = (
        "400 Bad Request\r\nwww-authenticate: Bearer realm=\"api\", error=\"invalid_request\", error_description=\"the access token is malformed\"\r\n",
        "the access token is malformed",
    );
    const TOO_LONG: (&str, &str) = (
        "400 Bad Request\r\nwww-authenticate: Bearer realm=\"api\", error=\"invalid_request\", error_description=\"the access token is too long\"\r\n",
        "the access token is too long",
    );
    const REPEATED: (&str, &str) = (
        "400 Bad Request\r\nwww-authenticate: Bearer realm=\"api\", error=\"invalid_request\", error_description=\"the request presents more than one access token, or more than one Authorization header\"\r\n",
        "the request presents more than one access token, or more than one Authorization header",
    );
    const ACR: (&str, &str) = (
        "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"api\", error=\"insufficient_user_authentication\", error_description=\"the request requires another authentication level than the access token has\", scope=\"read\", acr_values=\"gold silver\", max_age=\"300\"\r\n",
        "the request requires another authentication level than the access token has",
    );
    const LOGIN: (&str, &str) = (
        "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"api\", error=\"insufficient_user_authentication\", error_description=\"the request requires a more recent login than the access token has\", scope=\"read\", acr_values=\"gold silver\", max_age=\"300\"\r\n",
        "the request requires a more recent login than the access token has",
    );
    const SCOPE: (&str, &str) = (
        "403 Forbidden\r\nwww-authenticate: Bearer realm=\"api\", error=\"insufficient_scope\", error_description=\"the request requires more scope than the access token has\", scope=\"read\"\r\n",
        "the request requires more scope than the access token has",
    );
    const DENIED: (&str, &str) =
        ("403 Forbidden\r\nwww-authenticate: Bearer realm=\"api\"\r\n", "the access token does not allow this request");
    const UNAVAILABLE: (&str, &str) = (
        "503 Service Unavailable\r\nretry-after: 5\r\n",
        "the access token cannot be checked at the moment; try again",
    );
    const OVERLOADED: (&str, &str) = (UNAVAILABLE.0, "too many access tokens are being checked; try again");
    let bound = good().claim("cnf", serde_json::json!({"jkt": "x"})).unwrap();
    vec![
        row("no token", "", active(), MISSING, "16"),
        row("another scheme", "authorization: Basic abc\r\n", active(), MISSING, "16"),
        row("malformed", "authorization: Bearer a b\r\n", active(), MALFORMED, "16"),
        row("oversized", "authorization: Bearer abcdefghijk\r\n", active(), TOO_LONG, "16"),
        row("repeated", "authorization: Bearer a\r\nauthorization: Bearer a\r\n", active(), REPEATED, "16"),
        invalid("unknown", inactive(InactiveReason::Unknown), "the access token is unknown"),
        invalid("revoked", inactive(InactiveReason::Revoked), "the access token was revoked"),
        invalid("expired", inactive(InactiveReason::Expired), "the access token expired"),
        invalid("early", inactive(InactiveReason::NotYetValid), "the access token is not valid yet"),
        invalid("unclear", inactive(InactiveReason::Unclear), "the access token is not active"),
        invalid("audience", says(good().audience(["x"])), "the access token is meant for another service"),
        invalid("issuer", says(good().issuer("x")), "the access token is from another issuer"),
        invalid("key-bound", says(bound), "the access token is bound to a key and is no bearer token"),
        row("acr", TOKEN, says(good().claim("acr", "bronze").unwrap()), ACR, "16"),
        row("login", TOKEN, says(good().claim("auth_time", 0).unwrap()), LOGIN, "16"),
        row("scope", TOKEN, says(good().scopes(Scopes::default())), SCOPE, "7"),
        row("rule", TOKEN, says(good().client_id("banned")), DENIED, "7"),
        row("outage", TOKEN, failure(IntrospectErrorKind::Connect), UNAVAILABLE, "14"),
        row("our credentials", TOKEN, failure(IntrospectErrorKind::Credentials), UNAVAILABLE, "14"),
        row("overload", TOKEN, failure(IntrospectErrorKind::Overloaded), OVERLOADED, "14"),
    ]
}

/// The response to a request with this method and these headers, as it stands on the wire, without the date.
async fn bytes(answer: &Answer, method: &str, headers: &str) -> String {
    let layer = IntrospectionLayer::builder(Authority::new(answer.clone()))
        .require_scope("read")
        .require_audience("https://api.example")
        .require_issuer("https://auth.example")
        .require_acr(["gold", "silver"])
        .require_recent_login(secs(300))
        .authorize(|token, _| token.client_id() != Some("banned"))
        .max_token_length(10)
        .build()
        .unwrap();
    let app = Router::new().route("/", get(async || "welcome")).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut socket = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let request = format!("{method} / HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    patiently(socket.read_to_string(&mut response)).await.unwrap();
    server.abort();
    response.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

#[tokio::test]
async fn every_row_is_answered_over_http_to_the_byte() {
    for row in table() {
        let expected = format!("HTTP/1.1 {}content-length: 0\r\nconnection: close\r\n\r\n", row.http);
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines[1..].sort();
            lines
        };
        assert_eq!(sorted(&bytes(&row.answer, "GET", row.headers).await), sorted(&expected), "{}", row.case);
    }
    let welcome = bytes(&says(good()), "GET", TOKEN).await;
    assert!(welcome.starts_with("HTTP/1.1 200 OK\r\n") && welcome.ends_with("\r\n\r\nwelcome"), "{welcome}");
}

#[tokio::test]
async fn every_row_is_answered_over_grpc_with_trailers_only() {
    for row in table() {
        let response = bytes(&row.answer, "POST", &format!("content-type: application/grpc\r\n{}", row.headers)).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{}: {response}", row.case);
        assert!(response.contains(&format!("\r\ngrpc-status: {}\r\n", row.grpc)), "{}: {response}", row.case);
        assert!(response.contains("\r\ncontent-type: application/grpc\r\n"), "{response}");
        let message = response.lines().find_map(|line| line.strip_prefix("grpc-message: ")).unwrap_or_default();
        let message = percent_encoding::percent_decode_str(message).decode_utf8().unwrap();
        assert_eq!(message, row.says, "{}: {response}", row.case);
        assert!(!response.contains("www-authenticate") && response.ends_with("\r\n\r\n"), "{response}");
    }
}
