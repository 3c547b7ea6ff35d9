//! Logins and discovery: each of their settings does something, over sockets.

#[cfg(feature = "http-client")]
use std::sync::Arc;

#[cfg(feature = "http-client")]
use super::names::Names;
use super::*;
use crate::support::recorder::Recorder;
use tower_introspection::apigee::ApigeeLogin;
use tower_introspection::connection::Connection;
use tower_introspection::credentials::ClientCredentials;
use tower_introspection::introspect::Ask;
use tower_introspection::{Apigee, Introspect, Rfc7662};

/// Whoever asks a server of its own before the authority is asked.
#[derive(Clone, Copy, Debug)]
enum Asking {
    ApigeeLogin,
    ClientCredentials,
    Discovery,
}

const ALL: [Asking; 3] = [Asking::ApigeeLogin, Asking::ClientCredentials, Asking::Discovery];

/// What comes of asking the server at this base with these settings: nothing, or an error that tells what.
macro_rules! outcome {
    ($asking:expr, $base:expr $(, $setting:ident($value:expr))* $(,)?) => {{
        let base: &str = &$base;
        let token_url = format!("{base}/token");
        match $asking {
            Asking::ApigeeLogin => {
                let login = ApigeeLogin::new("ann", "pass").token_url(token_url);
                log_in_to_apigee(login$(.$setting($value))*).await
            }
            Asking::ClientCredentials => {
                let login = ClientCredentials::new(token_url, "my-api", "secret");
                log_in_with_client_credentials(login$(.$setting($value))*).await
            }
            Asking::Discovery => {
                let discovery = Rfc7662::discover(base)$(.$setting($value))*;
                discovery.fetch().await.map(drop).map_err(|error| format!("{error:?}"))
            }
        }
    }};
}

async fn log_in_to_apigee(login: ApigeeLogin) -> Result<(), String> {
    let authority = Faulty::start();
    let apigee = Apigee::builder("o").base_url(authority.url()).login(login).request_timeout(secs(29));
    ask(apigee.build().map_err(|error| error.to_string())?).await
}

async fn log_in_with_client_credentials(login: ClientCredentials) -> Result<(), String> {
    let authority = Faulty::start();
    let endpoint = Rfc7662::builder(authority.url()).client_credentials(login).request_timeout(secs(29));
    ask(endpoint.build().map_err(|error| error.to_string())?).await
}

async fn ask(endpoint: impl Introspect) -> Result<(), String> {
    let answer = endpoint.introspect(Ask::new(&bearer("abc"))).await;
    answer.map(|verdict| assert!(verdict.is_active())).map_err(|error| format!("{error:?}"))
}

/// Serves as the answer of a token endpoint and as metadata.
fn document(base: &str) -> String {
    format!(r#"{{"access_token":"abc","issuer":"{base}","introspection_endpoint":"{base}/introspect"}}"#)
}

/// Answers everyone with a document of the name that it was asked by.
async fn server() -> Recorder {
    Recorder::start(|_, seen| (200, document(&format!("http://{}", seen.headers["host"].to_str().unwrap())))).await
}

#[tokio::test]
async fn request_timeout_ends_a_login_and_a_discovery_that_hang() {
    for asking in ALL {
        let server = Faulty::start();
        server.does(vec![Step::Hang]);
        let outcome = async { outcome!(asking, server.url(), request_timeout(secs(2))) };
        let error = skipping(server.asked(1), outcome).await.unwrap_err();
        assert!(error.contains(": 2s passed (`request_timeout`)"), "{asking:?}: {error}");
    }
}

/// As in `tls.rs`: a server that does not speak TLS is one to which no connection comes about.
#[tokio::test]
#[cfg(feature = "rustls")]
async fn connect_timeout_is_how_long_a_login_and_a_discovery_wait_for_a_connection_and_a_second_unless_it_is_set() {
    let issuer = tls::Issuer::new("the issuer");
    for asking in ALL {
        let server = Faulty::start();
        let base = format!("https://localhost:{}", server.port());
        macro_rules! error {
            ($($setting:ident($value:expr)),*) => {{
                let offered = server.connections();
                let outcome = async { outcome!(asking, base, $($setting($value)),*) };
                skipping(server.connected(offered), outcome).await.unwrap_err()
            }};
        }
        let error = error!(request_timeout(secs(2)), connection(issuer.trusted()));
        assert!(error.contains("within the `connect_timeout`"), "{asking:?}: {error}");
        let error = error!(request_timeout(secs(4)), connection(issuer.trusted().connect_timeout(secs(3))));
        assert!(error.contains("within the `connect_timeout`"), "{asking:?}: {error}");
        let error = error!(request_timeout(secs(2)), connection(issuer.trusted().connect_timeout(secs(3))));
        assert!(error.contains(": 2s passed (`request_timeout`)"), "{asking:?}: {error}");
        assert_eq!(server.requests(), 0, "{asking:?}");
    }
}

#[tokio::test]
async fn max_response_bytes_is_the_most_that_is_read_of_an_answer_to_a_login_and_to_a_discovery() {
    for asking in ALL {
        let server = server().await;
        assert_eq!(outcome!(asking, server.url()), Ok(()), "{asking:?}");
        let length = document(server.url()).len();
        assert_eq!(
            outcome!(asking, server.url(), connection(Connection::new().max_response_bytes(length))),
            Ok(()),
            "{asking:?}"
        );
        let error = outcome!(asking, server.url(), connection(Connection::new().max_response_bytes(14))).unwrap_err();
        assert!(error.contains("larger than 14 bytes (`max_response_bytes`)"), "{asking:?}: {error}");
    }
}

#[tokio::test]
async fn a_login_and_a_discovery_ask_for_an_answer_as_it_is_and_name_the_coding_of_another() {
    for asking in ALL {
        let server = server().await;
        assert_eq!(outcome!(asking, server.url()), Ok(()), "{asking:?}");
        for seen in server.requests() {
            assert_eq!(seen.headers["accept-encoding"], "identity", "{asking:?}");
        }
        let server = Faulty::start();
        for status in ["200 OK", "400 Bad Request"] {
            server.does(coded(status, "gzip"));
            let error = outcome!(asking, server.url()).unwrap_err();
            let coding = "its `Content-Encoding` is `gzip`, though `identity` was asked for";
            let named = if matches!(asking, Asking::Discovery) && status != "200 OK" { "status 400" } else { coding };
            assert!(error.contains(named), "{asking:?}, {status}: {error}");
        }
    }
}

#[tokio::test]
#[cfg(feature = "http-client")]
async fn logins_and_discovery_go_through_a_client_of_ones_own_and_over_plain_http_only_if_that_is_allowed() {
    let headers = [(http::HeaderName::from_static("x-mine"), http::HeaderValue::from_static("1"))];
    let client = reqwest::Client::builder().no_proxy().default_headers(headers.into_iter().collect());
    let client = client.dns_resolver(Arc::new(Names::found())).build().unwrap();
    for asking in ALL {
        let server = server().await;
        let base = server.url().replace("127.0.0.1", "login.invalid");
        let outcome = async |allow| {
            outcome!(
                asking,
                base,
                connection(Connection::new().http_client(client.clone()).dangerously_allow_plain_http(allow))
            )
        };
        let error = outcome(false).await.unwrap_err();
        assert!(error.contains("`dangerously_allow_plain_http(true)`"), "{asking:?}: {error}");
        assert!(server.requests().is_empty(), "{asking:?}");
        assert_eq!(outcome(true).await, Ok(()), "{asking:?}");
        assert_eq!(server.requests()[0].headers["x-mine"], "1", "{asking:?}");
    }
}

#[tokio::test]
#[cfg(feature = "rustls")]
async fn a_root_certificate_is_trusted_by_a_login_and_by_a_discovery() {
    let issuer = tls::Issuer::new("the issuer");
    for asking in ALL {
        let server = Faulty::start();
        server.speaks_tls(issuer.server("localhost", tls::NOW));
        let base = format!("https://localhost:{}", server.port());
        server.does(vec![answer("200 OK", "", &document(&base))]);
        assert!(outcome!(asking, base).is_err(), "{asking:?}");
        assert_eq!(server.requests(), 0, "{asking:?}: nothing goes out to a stranger");
        assert_eq!(outcome!(asking, base, connection(issuer.trusted())), Ok(()), "{asking:?}");
    }
}
