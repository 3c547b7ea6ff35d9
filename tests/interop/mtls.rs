//! Tokens that are bound to a client certificate, RFC 8705, issued by `oidc-provider`. The certificates are OpenSSL's.

use std::path::Path;

use http::HeaderName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::process::Command;
use tower_introspection::possession::{ClientCertificate, ClientCertificates, ForwardedCertificate};
use tower_introspection::rejection::{CertificateFault, RejectionReason};

use crate::server::{is_installed, which};
use crate::*;

/// A certificate of a key that nobody keeps, in PEM and in DER.
struct Certificate {
    pem: String,
    der: Vec<u8>,
}

async fn openssl(arguments: &[&str], input: &str) -> Vec<u8> {
    use tokio::io::AsyncWriteExt;

    let mut command = Command::new("openssl");
    command.args(arguments).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = patiently(child.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

impl Certificate {
    async fn new(name: &str) -> Self {
        let subject = format!("/CN={name}");
        let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", &subject];
        let pem = String::from_utf8(openssl(&new, "").await).unwrap();
        let der = openssl(&["x509", "-outform", "der"], &pem).await;
        Self { pem, der }
    }

    fn escaped(&self) -> String {
        utf8_percent_encode(&self.pem, NON_ALPHANUMERIC).to_string()
    }

    /// Has the server bind a token to it.
    async fn token(&self, server: &Server) -> String {
        let answer = client()
            .post(server.text("/token_endpoint"))
            .basic_auth(server.text("/mtls_app/client_id"), Some(server.text("/mtls_app/client_secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-ssl-client-cert", self.escaped())
            .body("grant_type=client_credentials&scope=read")
            .send();
        let answer: Value = patiently(answer).await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

#[tokio::test]
async fn a_token_that_oidc_provider_has_bound_comes_in_with_its_certificate_and_with_no_other() {
    let Some(server) = Server::oidc_provider().await else { return };
    let program = which("openssl");
    if !is_installed("OpenSSL", &program, Path::new(&program)) {
        return;
    }
    let (mine, other) = (Certificate::new("mine").await, Certificate::new("other").await);
    let token = mine.token(&server).await;
    let facts = active(&server.basic(), &token).await;
    let stated: Value = facts.claim("cnf").unwrap();
    let own = |certificate: &Certificate| ClientCertificate::from_der(&certificate.der);
    assert_eq!(stated, serde_json::json!({ "x5t#S256": own(&mine).thumbprint() }));

    let header = HeaderName::from_static("x-ssl-client-cert");
    let layer = IntrospectionLayer::builder(Cached::new(server.basic()))
        .client_certificates(
            ClientCertificates::of_connections().or_from_proxy(ForwardedCertificate::EscapedPem(header), |_| true),
        )
        .require_audience("https://api.example.com")
        .require_sender_constrained()
        .build()
        .unwrap();
    let reason = async |token: &str, certificate: Option<&Certificate>, is_forwarded: bool| {
        let mut request = request(&format!("Bearer {token}"));
        match certificate {
            Some(certificate) if is_forwarded => {
                request.headers_mut().insert("x-ssl-client-cert", certificate.escaped().parse().unwrap());
            }
            Some(certificate) => {
                request.extensions_mut().insert(own(certificate));
            }
            None => {}
        }
        layer.layer(Idle).oneshot(request).await.unwrap().extensions().get::<RejectionReason>().copied()
    };
    let refused = |fault| Some(RejectionReason::Certificate(fault));
    for is_forwarded in [false, true] {
        assert_eq!(reason(&token, Some(&mine), is_forwarded).await, None);
        assert_eq!(reason(&token, Some(&other), is_forwarded).await, refused(CertificateFault::Other));
        assert_eq!(reason(&token, None, is_forwarded).await, refused(CertificateFault::Missing));
        let of_other = other.token(&server).await;
        assert_eq!(reason(&of_other, Some(&mine), is_forwarded).await, refused(CertificateFault::Other));
        assert_eq!(reason(&of_other, Some(&other), is_forwarded).await, None);
    }
    let bearer = server.issue().await;
    assert_eq!(reason(&bearer, Some(&mine), false).await, Some(RejectionReason::NotSenderConstrained));
    // And a layer that was not told of certificates refuses it.
    assert_eq!(through(server.basic(), &token).await, Some(RejectionKind::InvalidToken));
}
