//! Mutual TLS against a server with a certificate authority of its own: RFC 8705 section 2.
#![cfg(any(feature = "rustls", feature = "native-tls"))]

use std::sync::{Arc, Mutex};

use crate::support::certificates::CertificateAuthority;
use crate::support::recorder::{Recorder, Seen};
use crate::support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tower_introspection::connection::Connection;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rfc7662::Rfc7662Builder;
use tower_introspection::{BuildError, Introspect, Rfc7662};

/// Answers every request of a client with a certificate of `authority`, and records what it sent.
async fn server(authority: &CertificateAuthority) -> (String, Arc<Mutex<String>>) {
    let (chain, key) = authority.certify("localhost").in_der();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(WebPkiClientVerifier::builder(authority.roots()).build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/introspect", listener.local_addr().unwrap().port());
    let seen = Arc::new(Mutex::new(String::new()));
    let recorded = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = vec![0; 4_096];
            let mut request = String::new();
            while !request.contains("token=") {
                let read = stream.read(&mut buffer).await.unwrap();
                assert_ne!(read, 0, "the client hung up in the middle of {request:?}");
                request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            *recorded.lock().unwrap() = request;
            let response = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"active\":true}";
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (url, seen)
}

async fn kind(builder: Rfc7662Builder) -> Option<IntrospectErrorKind> {
    builder.build().unwrap().introspect(Ask::new(&bearer("abc"))).await.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_client_with_the_right_certificate_is_let_in_and_says_who_it_is() {
    let authority = CertificateAuthority::new();
    let (url, seen) = server(&authority).await;
    let client = authority.certify("my-api").pem();
    let endpoint = Rfc7662::builder(&url)
        .connection(Connection::new().root_certificate(authority.pem()))
        .tls_client_auth("my-api", client);
    assert_eq!(kind(endpoint).await, None);
    let request = seen.lock().unwrap().clone();
    assert!(request.contains("client_id=my-api") && !request.contains("authorization"), "{request}");
}

#[tokio::test]
async fn a_discovered_server_says_where_clients_with_a_certificate_ask() {
    let found = async |aliases: &'static str| {
        let metadata = Recorder::start(move |_, seen: &Seen| {
            let host = format!("http://{}", seen.headers["host"].to_str().unwrap());
            let endpoint = r#""introspection_endpoint":"https://a.example/introspect""#;
            (200, format!(r#"{{"issuer":"{host}",{endpoint},"mtls_endpoint_aliases":{aliases}}}"#))
        })
        .await;
        Rfc7662::discover(metadata.url()).fetch().await.unwrap()
    };
    let alias = r#"{"introspection_endpoint":"https://mtls.example/introspect"}"#;
    let without = found(alias).await.client_secret("my-api", "secret").build().unwrap();
    assert_eq!(without.url(), Some("https://a.example/introspect"));
    let pem = CertificateAuthority::new().certify("my-api").pem();
    for (aliases, asked) in [
        (alias, Ok("https://mtls.example/introspect")),
        ("null", Ok("https://a.example/introspect")),
        ("7", Ok("https://a.example/introspect")),
        (r#"{"introspection_endpoint":"http://a.example/"}"#, Err("mtls_endpoint_aliases")),
    ] {
        let built = found(aliases).await.tls_client_auth("my-api", pem.clone()).build();
        let built = built.as_ref().map(|endpoint| endpoint.url().unwrap()).map_err(BuildError::setting);
        assert_eq!(built, asked, "{aliases}");
    }
}

#[tokio::test]
async fn a_certificate_is_shown_with_the_credentials_that_are_set_after_it_too() {
    let authority = CertificateAuthority::new();
    let (url, seen) = server(&authority).await;
    let client = authority.certify("my-api").pem();
    let endpoint = Rfc7662::builder(&url)
        .connection(Connection::new().root_certificate(authority.pem()))
        .tls_client_auth("my-api", client);
    assert_eq!(kind(endpoint.client_secret_basic("my-api", "secret")).await, None);
    let request = seen.lock().unwrap().clone();
    assert!(request.contains("authorization: Basic ") && !request.contains("client_id="), "{request}");
}

#[tokio::test]
async fn no_certificate_a_strangers_and_an_unknown_server_are_failures_to_connect() {
    let authority = CertificateAuthority::new();
    let (url, seen) = server(&authority).await;
    let stranger = CertificateAuthority::new().certify("my-api").pem();
    let trusting = || Rfc7662::builder(&url).connection(Connection::new().root_certificate(authority.pem()));
    for builder in [
        trusting().without_credentials(),
        trusting().tls_client_auth("my-api", stranger),
        Rfc7662::builder(&url).tls_client_auth("my-api", authority.certify("my-api").pem()),
    ] {
        let kind = kind(builder).await.expect("refused");
        assert!(matches!(kind, IntrospectErrorKind::Connect | IntrospectErrorKind::Transport), "{kind:?}");
    }
    assert_eq!(*seen.lock().unwrap(), "", "nothing was sent");
}
