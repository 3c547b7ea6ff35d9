//! Tokens that are bound to a client certificate, RFC 8705: who comes in, and what the others are told.

mod forwarded;
#[cfg(feature = "axum")]
mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response};
use serde_json::{Value, json};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};
use tower_introspection::possession::{ClientCertificate, ClientCertificates, ForwardedCertificate};
use tower_introspection::rejection::{CertificateFault, RejectionKind, RejectionReason};
use tower_introspection::source::TokenHeader;
use tower_introspection::{AccessToken, Cached, IntrospectionLayer, Policy, RequestView, Scopes, Verdict};

use crate::support::*;

/// `openssl x509 -outform der | openssl dgst -sha256 -binary | base64`, and without `-binary`.
const PEM: &str = include_str!("../../keys/client_certificate.pem");
const OPENSSL_BASE64: &str = "DxDN3ZYsWEi67JaE0pFZx0a+h/WVqb1lJi/l/iAUGJ0=";
const OPENSSL_HEX: &str = "0f10cddd962c5848baec9684d29159c746be87f595a9bd65262fe5fe2014189d";

/// That of the certificate above.
const MINE: &str = "DxDN3ZYsWEi67JaE0pFZx0a-h_WVqb1lJi_l_iAUGJ0";
/// In RFC 8705 section 3.1. The RFC does not show the certificate. (It is not quite the base64url of 32 bytes: the bits
/// behind them are not zero.)
const OF_THE_RFC: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

fn der() -> Vec<u8> {
    let base64: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(base64).unwrap()
}

/// In the form of RFC 9440.
fn client_cert(der: &[u8]) -> String {
    format!(":{}:", BASE64_STANDARD.encode(der))
}

#[test]
fn a_thumbprint_is_what_openssl_makes_it() {
    let certificate = ClientCertificate::from_der(&der());
    assert_eq!(certificate.thumbprint(), MINE);
    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(BASE64_STANDARD.decode(OPENSSL_BASE64).unwrap()), MINE);
    assert_eq!(format!("{certificate:?}"), format!("ClientCertificate({MINE:?})"));
    assert_ne!(certificate, ClientCertificate::from_der(b"another"));
}

/// Says of every token that it is active, and bound as this says, if it says something.
fn authority(cnf: Option<&Value>) -> Authority {
    let mut token = AccessToken::builder().client_id("weather-app").scopes(Scopes::parse("read"));
    if let Some(cnf) = cnf {
        token = token.claim("cnf", cnf).unwrap();
    }
    Authority::new(Ok(Verdict::Active(token.build())))
}

fn bound_to(thumbprint: &str) -> Value {
    json!({ "x5t#S256": thumbprint })
}

/// Who opened the connection, as an acceptor would say.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    Proxy,
    Stranger,
}

fn is_proxy(request: &RequestView) -> bool {
    request.extension() == Some(&Peer::Proxy)
}

fn behind_proxy() -> Option<ClientCertificates> {
    Some(ClientCertificates::of_connections().or_from_proxy(ForwardedCertificate::ClientCert, is_proxy))
}

fn of_connections() -> Option<ClientCertificates> {
    Some(ClientCertificates::of_connections())
}

type Guard = IntrospectionLayer<Cached<Authority>>;

fn guard(certificates: Option<ClientCertificates>, cnf: Option<&Value>) -> Guard {
    let mut builder = IntrospectionLayer::builder(Cached::new(authority(cnf)));
    if let Some(certificates) = certificates {
        builder = builder.client_certificates(certificates);
    }
    builder.build().unwrap()
}

type App = BoxCloneService<Request<String>, Response<String>, Infallible>;

/// A service that counts.
fn counting(served: &Arc<AtomicUsize>) -> App {
    let served = Arc::clone(served);
    BoxCloneService::new(service_fn(move |_| {
        served.fetch_add(1, Ordering::Relaxed);
        async { Ok(Response::default()) }
    }))
}

/// Wherever a guard may stand, by a name.
fn stacks(make: &dyn Fn() -> Guard, served: &Arc<AtomicUsize>) -> Vec<(&'static str, App)> {
    let inner = || counting(served);
    let another = || {
        // For another token of the same request, which is a bearer token.
        IntrospectionLayer::builder(Cached::new(authority(None)))
            .authorization_header(false)
            .token_source(TokenHeader::new(HeaderName::from_static("x-gateway-token")))
            .build()
            .unwrap()
    };
    let optional = IntrospectionLayer::builder(Cached::new(authority(None)))
        .authorization_header(false)
        .token_source(TokenHeader::new(HeaderName::from_static("x-nowhere")))
        .optional(true)
        .build()
        .unwrap();
    let (alone, around) = (make(), make());
    let reads = around.require(Policy::new().require_scope("read")).unwrap();
    vec![
        ("alone", BoxCloneService::new(alone.layer(inner()))),
        ("within another guard", BoxCloneService::new(another().layer(make().layer(inner())))),
        ("within an optional guard", BoxCloneService::new(optional.layer(make().layer(inner())))),
        ("twice", BoxCloneService::new(make().layer(make().layer(inner())))),
        ("with a requirement below", BoxCloneService::new(around.layer(reads.layer(inner())))),
    ]
}

type Change = fn(&mut Parts);

fn asked(change: Change, is_grpc: bool) -> Request<String> {
    let (mut parts, body) = request("Bearer abc").into_parts();
    parts.headers.insert("x-gateway-token", "gateway".parse().unwrap());
    if is_grpc {
        parts.method = Method::POST;
        parts.headers.insert("content-type", "application/grpc".parse().unwrap());
    }
    change(&mut parts);
    Request::from_parts(parts, body)
}

fn with_mine(request: &mut Parts) {
    request.extensions.insert(ClientCertificate::from_der(&der()));
}

fn with_another(request: &mut Parts) {
    request.extensions.insert(ClientCertificate::from_der(b"another"));
}

fn from_proxy(request: &mut Parts) {
    request.extensions.insert(Peer::Proxy);
}

fn proxy_says(request: &mut Parts, value: &str) {
    request.extensions.insert(Peer::Proxy);
    request.headers.append("client-cert", value.parse().unwrap());
}

const NOTHING: Change = |_| {};

/// What is configured, how the token is bound, what else the request has; and why it is refused.
type Row = (&'static str, Option<ClientCertificates>, Value, Change, RejectionReason);

/// Each row breaks one rule.
fn refused() -> Vec<Row> {
    use CertificateFault::{Malformed, Missing, Other};
    let certificate = RejectionReason::Certificate;
    let unknown = RejectionReason::SenderConstrained;
    let mine = || bound_to(MINE);
    let from_stranger: Change = |request| {
        request.extensions.insert(Peer::Stranger);
        request.headers.append("client-cert", client_cert(&der()).parse().unwrap());
    };
    vec![
        ("there is no certificate", of_connections(), mine(), NOTHING, certificate(Missing)),
        ("the certificate is another", of_connections(), mine(), with_another, certificate(Other)),
        ("the token is another's", of_connections(), bound_to(OF_THE_RFC), with_mine, certificate(Other)),
        (
            "no header is looked at unless that was said",
            of_connections(),
            mine(),
            |request| proxy_says(request, &client_cert(&der())),
            certificate(Missing),
        ),
        ("the proxy says nothing", behind_proxy(), mine(), from_proxy, certificate(Missing)),
        (
            "the proxy names another",
            behind_proxy(),
            mine(),
            |request| proxy_says(request, &client_cert(b"0another")),
            certificate(Other),
        ),
        (
            "the header is malformed",
            behind_proxy(),
            mine(),
            |request| proxy_says(request, &BASE64_STANDARD.encode(der())),
            certificate(Malformed),
        ),
        ("the header is empty", behind_proxy(), mine(), |request| proxy_says(request, ""), certificate(Malformed)),
        (
            "the header is repeated",
            behind_proxy(),
            mine(),
            |request| {
                proxy_says(request, &client_cert(&der()));
                proxy_says(request, &client_cert(&der()));
            },
            certificate(Malformed),
        ),
        (
            "the header is of another form",
            behind_proxy(),
            mine(),
            |request| {
                request.extensions.insert(Peer::Proxy);
                request.headers.append("x-forwarded-client-cert", format!("Hash={OPENSSL_HEX}").parse().unwrap());
            },
            certificate(Missing),
        ),
        ("a stranger wrote the header", behind_proxy(), mine(), from_stranger, certificate(Missing)),
        (
            "nobody knows who wrote the header",
            behind_proxy(),
            mine(),
            |request| {
                proxy_says(request, &client_cert(&der()));
                request.extensions.remove::<Peer>();
            },
            certificate(Missing),
        ),
        (
            "the connection has another than the header",
            behind_proxy(),
            mine(),
            |request| {
                proxy_says(request, &client_cert(&der()));
                with_another(request);
            },
            certificate(Other),
        ),
        (
            "the connection has another, and the header is malformed",
            behind_proxy(),
            mine(),
            |request| {
                proxy_says(request, "x");
                with_another(request);
            },
            certificate(Other),
        ),
        ("this was not switched on", None, mine(), with_mine, unknown),
        (
            "the token is bound in an unknown way, too",
            of_connections(),
            json!({ "x5t#S256": MINE, "kid": "x" }),
            with_mine,
            unknown,
        ),
        (
            "the token is bound to a key, too",
            of_connections(),
            json!({ "x5t#S256": MINE, "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
            with_mine,
            unknown,
        ),
        ("it is bound by another name", of_connections(), json!({ "x5t": MINE }), with_mine, unknown),
        ("it is bound to nothing", of_connections(), json!({}), with_mine, unknown),
        ("its hash is in hexadecimal", of_connections(), bound_to(OPENSSL_HEX), with_mine, unknown),
        ("its hash is in plain base64", of_connections(), bound_to(OPENSSL_BASE64), with_mine, unknown),
        (
            "its hash has padding",
            of_connections(),
            bound_to("DxDN3ZYsWEi67JaE0pFZx0a-h_WVqb1lJi_l_iAUGJ0="),
            with_mine,
            unknown,
        ),
        ("its hash is too short", of_connections(), bound_to(&MINE[..42]), with_mine, unknown),
        ("its hash is no text", of_connections(), json!({ "x5t#S256": 7 }), with_mine, unknown),
    ]
}

/// What callers are told.
fn told(reason: RejectionReason) -> &'static str {
    match reason {
        RejectionReason::Certificate(CertificateFault::Missing) => {
            "the access token is bound to a client certificate, and there is none"
        }
        RejectionReason::Certificate(CertificateFault::Other) => {
            "the access token is bound to another client certificate"
        }
        RejectionReason::Certificate(CertificateFault::Malformed) => "the client certificate cannot be read",
        RejectionReason::SenderConstrained => "the access token is bound to a key and is no bearer token",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_rule_that_is_broken_keeps_the_request_out_wherever_the_guard_stands() {
    for (name, certificates, cnf, change, reason) in refused() {
        let served = Arc::default();
        for (place, app) in stacks(&|| guard(certificates.clone(), Some(&cnf)), &served) {
            // The second time the verdict comes from the cache.
            for turn in ["miss", "hit"] {
                let of = format!("{name}, {place}, {turn}");
                let response = app.clone().oneshot(asked(change, false)).await.unwrap();
                assert_eq!(response.status(), 401, "{of}");
                let says = told(reason);
                let challenge = format!(r#"Bearer realm="api", error="invalid_token", error_description="{says}""#);
                assert_eq!(response.headers()["www-authenticate"], challenge, "{of}");
                // The other guard has its token from elsewhere, and so keeps answers out of shared caches.
                let others = usize::from(response.headers().contains_key("cache-control"));
                assert_eq!(
                    (response.headers().len() - others, others == 1),
                    (1, place == "within another guard"),
                    "{of}"
                );
                assert_eq!(response.body(), "", "{of}");
                assert_eq!(kind(&response), Some(RejectionKind::InvalidToken), "{of}");
                assert_eq!(response.extensions().get(), Some(&reason), "{of}");

                let response = app.clone().oneshot(asked(change, true)).await.unwrap();
                let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
                assert_eq!((response.status().as_u16(), header("grpc-status")), (200, Some("16")), "{of}");
                assert_eq!(header("grpc-message"), Some(says), "{of}");
                assert_eq!(header("www-authenticate"), None, "{of}");
                assert_eq!(response.extensions().get(), Some(&reason), "{of}");
            }
        }
        assert_eq!(served.load(Ordering::Relaxed), 0, "{name}");
    }
}

#[tokio::test]
async fn who_has_the_certificate_comes_in_wherever_the_guard_stands() {
    let bound = Some(bound_to(MINE));
    let of_proxy: Change = |request| proxy_says(request, &client_cert(&der()));
    let rows: Vec<(&str, Option<ClientCertificates>, Option<Value>, Change)> = vec![
        ("of the connection", of_connections(), bound.clone(), with_mine),
        ("from the proxy", behind_proxy(), bound.clone(), of_proxy),
        ("of the connection, behind a proxy", behind_proxy(), bound.clone(), with_mine),
        ("of the connection, though the proxy names another", behind_proxy(), bound.clone(), |request| {
            proxy_says(request, &client_cert(b"0another"));
            with_mine(request);
        }),
        ("of the connection, though the header is repeated", behind_proxy(), bound, |request| {
            proxy_says(request, "x");
            proxy_says(request, "y");
            with_mine(request);
        }),
        ("a bearer token without a certificate", of_connections(), None, NOTHING),
        ("a bearer token with a certificate", of_connections(), None, with_mine),
        ("a bearer token with a malformed header", behind_proxy(), None, |request| proxy_says(request, "x")),
        ("a bearer token with what is not switched on", None, None, with_mine),
        ("a token that is bound to null", of_connections(), Some(Value::Null), NOTHING),
    ];
    for (name, certificates, cnf, change) in rows {
        let served = Arc::default();
        let stacks = stacks(&|| guard(certificates.clone(), cnf.as_ref()), &served);
        for (place, app) in &stacks {
            for is_grpc in [false, true, false] {
                let response = app.clone().oneshot(asked(change, is_grpc)).await.unwrap();
                assert_eq!((response.status().as_u16(), kind(&response)), (200, None), "{name}, {place}");
            }
        }
        assert_eq!(served.load(Ordering::Relaxed), 3 * stacks.len(), "{name}");
    }
}

/// The cache remembers what the authority said, and never that a certificate was the right one.
#[tokio::test]
async fn a_certificate_is_judged_on_every_hit() {
    let authority = authority(Some(&bound_to(MINE)));
    let layer = IntrospectionLayer::builder(Cached::new(authority.clone()))
        .client_certificates(ClientCertificates::of_connections())
        .build()
        .unwrap();
    let service = layer.layer(Idle);
    for (change, expected) in [(with_mine as Change, 200), (with_another, 401), (NOTHING, 401), (with_mine, 200)] {
        assert_eq!(service.clone().oneshot(asked(change, false)).await.unwrap().status(), expected);
    }
    assert_eq!(authority.questions(), 1);
    let missing = RejectionReason::Certificate(CertificateFault::Missing);
    let other = RejectionReason::Certificate(CertificateFault::Other);
    assert_eq!(layer.stats().accepted, 2);
    assert!([(missing, 1), (other, 1)].iter().all(|row| layer.stats().rejected_by_reason.contains(row)));
}

fn counted(judged: &Arc<AtomicUsize>) -> ClientCertificates {
    let judged = Arc::clone(judged);
    ClientCertificates::of_connections().or_from_proxy(ForwardedCertificate::ClientCert, move |_| {
        judged.fetch_add(1, Ordering::Relaxed);
        true
    })
}

#[tokio::test]
async fn possession_is_judged_once_a_request_however_many_layers_there_are() {
    let (judged, cnf) = (Arc::default(), bound_to(MINE));
    let outer = guard(Some(counted(&judged)), Some(&cnf));
    let reads = outer.require(Policy::new().require_scope("read")).unwrap();
    let again = outer.require(Policy::new().authorize(|_, _| true)).unwrap();
    // One that asks an authority of its own, one that is not told of certificates, and one with the same cache.
    let middle = guard(Some(counted(&judged)), Some(&cnf));
    let inner = guard(None, Some(&cnf));
    let service = outer.layer(reads.layer(middle.layer(inner.layer(outer.layer(again.layer(Idle))))));
    for turn in 1..=3 {
        let asked = asked(|request| proxy_says(request, &client_cert(&der())), false);
        assert_eq!(service.clone().oneshot(asked).await.unwrap().status(), 200);
        assert_eq!(judged.load(Ordering::Relaxed), turn);
    }
}

#[tokio::test]
async fn the_word_of_a_layer_around_is_for_tokens_of_the_same_certificate_only() {
    let served = Arc::default();
    let outer = guard(of_connections(), Some(&bound_to(MINE)));
    for (cnf, certificates, reason) in [
        (bound_to(OF_THE_RFC), None, RejectionReason::SenderConstrained),
        (bound_to(OF_THE_RFC), of_connections(), RejectionReason::Certificate(CertificateFault::Other)),
        (json!({ "x5t#S256": MINE, "kid": "x" }), None, RejectionReason::SenderConstrained),
        (json!({ "jkt": MINE }), None, RejectionReason::SenderConstrained),
    ] {
        let service = outer.layer(guard(certificates, Some(&cnf)).layer(counting(&served)));
        let response = service.oneshot(asked(with_mine, false)).await.unwrap();
        assert_eq!((response.status().as_u16(), response.extensions().get()), (401, Some(&reason)), "{cnf}");
    }
    assert_eq!(served.load(Ordering::Relaxed), 0);
}

/// What stands in the extensions may be from anybody within the process.
#[tokio::test]
async fn a_token_that_a_layer_around_put_there_does_not_come_in_below_a_requirement() {
    let served = Arc::default();
    let layer = guard(of_connections(), Some(&bound_to(MINE)));
    let reads = layer.require(Policy::new().require_scope("read")).unwrap();
    let refused = Some(&RejectionReason::SenderConstrained);
    let planted = || {
        let bound = AccessToken::builder().claim("cnf", bound_to(MINE)).unwrap();
        bound.scopes(Scopes::parse("read")).build()
    };
    // Without any layer that has judged it.
    let mut request = asked(with_mine, false);
    request.extensions_mut().insert(planted());
    let response = reads.layer(counting(&served)).oneshot(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.extensions().get()), (401, refused));
    // In the place of one that was judged.
    let below = reads.layer(counting(&served));
    let swapping = below.map_request(move |mut request: Request<String>| {
        request.extensions_mut().insert(planted());
        request
    });
    let response = layer.layer(swapping).oneshot(asked(with_mine, false)).await.unwrap();
    assert_eq!((response.status().as_u16(), response.extensions().get()), (401, refused));
    assert_eq!(served.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_optional_layer_lets_nobody_in_with_a_bound_token_and_without_its_certificate() {
    let layer = IntrospectionLayer::builder(Cached::new(authority(Some(&bound_to(MINE)))))
        .client_certificates(ClientCertificates::of_connections())
        .optional(true)
        .build()
        .unwrap();
    let service = layer.layer(Idle);
    for (change, expected) in [(with_mine as Change, 200), (with_another, 401), (NOTHING, 401)] {
        assert_eq!(service.clone().oneshot(asked(change, false)).await.unwrap().status(), expected);
    }
    let without_token = Request::new(String::new());
    assert_eq!(service.oneshot(without_token).await.unwrap().status(), 200);
    assert_eq!((layer.stats().accepted, layer.stats().anonymous), (1, 1));
}

#[tokio::test]
async fn a_bound_token_is_taken_out_of_the_request_if_that_was_said() {
    let layer = IntrospectionLayer::builder(Cached::new(authority(Some(&bound_to(MINE)))))
        .client_certificates(ClientCertificates::of_connections())
        .remove_token(true)
        .build()
        .unwrap();
    let reads = layer.require(Policy::new().require_scope("read")).unwrap();
    let inner = service_fn(async |request: Request<String>| {
        let token = request.extensions().get::<AccessToken>().unwrap();
        assert!(token.is_sender_constrained());
        Ok::<_, Infallible>(Response::new(request.headers().contains_key("authorization").to_string()))
    });
    let service = layer.layer(reads.layer(inner));
    for _ in 0..2 {
        let response = service.clone().oneshot(asked(with_mine, false)).await.unwrap();
        assert_eq!((response.status().as_u16(), response.body().as_str()), (200, "false"));
    }
}

#[tokio::test]
async fn where_bound_tokens_are_required_a_bearer_token_is_refused() {
    for is_below in [false, true] {
        let layer = |cnf: Option<Value>| {
            let mut builder = IntrospectionLayer::builder(Cached::new(authority(cnf.as_ref())))
                .client_certificates(ClientCertificates::of_connections());
            if !is_below {
                builder = builder.require_sender_constrained();
            }
            builder.build().unwrap()
        };
        let status = async |layer: Guard, change: Change| {
            let wants = if is_below {
                Policy::new().require_sender_constrained()
            } else {
                Policy::new().authorize(|_, _| true)
            };
            let service = layer.layer(layer.require(wants).unwrap().layer(Idle));
            let response = service.oneshot(asked(change, false)).await.unwrap();
            let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
            (response.status().as_u16(), challenge)
        };
        let says = |says: &str| {
            (401, Some(format!(r#"Bearer realm="api", error="invalid_token", error_description="{says}""#)))
        };
        assert_eq!(status(layer(Some(bound_to(MINE))), with_mine).await, (200, None));
        let not_bound = says("the access token is not bound to a key of its holder");
        assert_eq!(status(layer(None), with_mine).await, not_bound, "{is_below}");
        let other = says("the access token is bound to another client certificate");
        assert_eq!(status(layer(Some(bound_to(MINE))), with_another).await, other, "{is_below}");
    }
}

/// A token of the sandbox, as each introspector reads it.
#[cfg(feature = "sandbox")]
#[tokio::test]
async fn tokens_of_the_sandbox_are_bound_to_a_certificate() {
    use tower_introspection::sandbox::{Sandbox, SandboxToken};

    let sandbox = Sandbox::start().await.unwrap();
    let bound = |to: &str| sandbox.issue(SandboxToken::new().bound_to_certificate(to));
    let (mine, others) = (bound(MINE), bound(OF_THE_RFC));
    let status = async |token: &str, change: Change| {
        let status = async |layer: IntrospectionLayer<tower_introspection::introspect::AnyIntrospector>| {
            let mut request = asked(change, false);
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
            layer.layer(Idle).oneshot(request).await.unwrap().status().as_u16()
        };
        let layer = |introspector| {
            IntrospectionLayer::builder(introspector)
                .client_certificates(ClientCertificates::of_connections())
                .build()
                .unwrap()
        };
        use tower_introspection::introspect::AnyIntrospector;
        let of_rfc7662 = AnyIntrospector::new(Cached::new(sandbox.rfc7662().build().unwrap()));
        let of_apigee = AnyIntrospector::new(Cached::new(sandbox.apigee().build().unwrap()));
        (status(layer(of_rfc7662)).await, status(layer(of_apigee)).await)
    };
    assert_eq!(status(&mine, with_mine).await, (200, 200));
    assert_eq!(status(&mine, with_another).await, (401, 401));
    assert_eq!(status(&mine, NOTHING).await, (401, 401));
    assert_eq!(status(&others, with_mine).await, (401, 401));
    assert_eq!(status(&sandbox.issue(SandboxToken::new()), NOTHING).await, (200, 200));
}

/// With DPoP beside it: RFC 9449 section 7.1, and draft-dpop#63 for tokens that are bound in both ways.
#[cfg(all(feature = "dpop", feature = "sandbox"))]
mod with_dpop {
    use tower_introspection::possession::Dpop;
    use tower_introspection::sandbox::ProofKey;

    use super::*;

    fn layer(cnf: &Value, certificates: Option<ClientCertificates>) -> Guard {
        let mut builder = IntrospectionLayer::builder(Cached::new(authority(Some(cnf))))
            .dpop(Dpop::builder("https://api.example.com").build().unwrap());
        if let Some(certificates) = certificates {
            builder = builder.client_certificates(certificates);
        }
        builder.build().unwrap()
    }

    #[tokio::test]
    async fn a_token_that_is_bound_in_both_ways_needs_both() {
        let key = ProofKey::generate().unwrap();
        let cnf = json!({ "x5t#S256": MINE, "jkt": key.thumbprint() });
        let (missing, other) = (CertificateFault::Missing, CertificateFault::Other);
        for (name, certificates, change, with_proof, reason) in [
            ("both", of_connections(), with_mine as Change, true, None),
            ("no certificate", of_connections(), NOTHING, true, Some(RejectionReason::Certificate(missing))),
            ("another", of_connections(), with_another, true, Some(RejectionReason::Certificate(other))),
            ("not switched on", None, with_mine, true, Some(RejectionReason::SenderConstrained)),
            ("no proof", of_connections(), with_mine, false, Some(RejectionReason::SenderConstrained)),
        ] {
            let served = Arc::default();
            let make = || layer(&cnf, certificates.clone());
            for (place, app) in stacks(&make, &served) {
                for _ in 0..2 {
                    let mut request = asked(change, false);
                    if with_proof {
                        let proof = key.proof(Method::GET, "https://api.example.com/").token("abc").sign().unwrap();
                        request.headers_mut().insert("authorization", "DPoP abc".parse().unwrap());
                        request.headers_mut().insert("dpop", proof.parse().unwrap());
                    }
                    let response = app.clone().oneshot(request).await.unwrap();
                    assert_eq!(response.extensions().get(), reason.as_ref(), "{name}, {place}");
                }
            }
            let expected = if reason.is_none() { 10 } else { 0 };
            assert_eq!(served.load(Ordering::Relaxed), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn a_token_without_its_certificate_is_told_of_both_schemes() {
        let layer = layer(&bound_to(MINE), of_connections());
        let response = layer.layer(Idle).oneshot(asked(with_another, false)).await.unwrap();
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        let bearer = r#"Bearer realm="api", error="invalid_token", error_description="the access token is bound to another client certificate", DPoP realm="api", algs=""#;
        assert!(challenge.starts_with(bearer), "{challenge}");
        let response = layer.layer(Idle).oneshot(asked(with_mine, false)).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}
