//! What a request is for, behind proxies and routers.

use http::Method;
use tower::Layer;
use tower_introspection::rejection::{ProofFault, RejectionReason};

use super::*;

const OTHER_URI: (u16, Option<RejectionReason>) = (401, Some(RejectionReason::Proof(ProofFault::Uri)));

#[tokio::test]
async fn the_uri_is_that_of_the_public_origin_and_never_of_the_host_header() {
    let holder = Holder::new();
    for (origin, target, htu, expected) in [
        ("https://api.example.com", "/orders", "https://api.example.com/orders", IN),
        ("https://api.example.com", "/orders", "https://API.example.com:443/orders?x=1#y", IN),
        ("https://api.example.com", "/orders?x=1", "https://api.example.com/orders", IN),
        ("https://api.example.com", "/caf%c3%a9", "https://api.example.com/caf%C3%A9", IN),
        ("https://api.example.com", "/%7Eann", "https://api.example.com/~ann", IN),
        ("https://api.example.com", "/", "https://api.example.com", IN),
        ("https://api.example.com", "/orders", "https://evil.example/orders", OTHER_URI),
        ("https://api.example.com", "/orders", "http://api.example.com/orders", OTHER_URI),
        ("https://api.example.com", "/orders", "https://api.example.com:8443/orders", OTHER_URI),
        ("https://api.example.com", "/orders", "https://api.example.com/orders/", OTHER_URI),
        ("https://api.example.com", "//orders", "https://api.example.com/orders", OTHER_URI),
        ("https://api.example.com", "/a%2Fb", "https://api.example.com/a/b", OTHER_URI),
        // A proxy took `/v1` away.
        ("https://api.example.com/v1", "/orders", "https://api.example.com/v1/orders", IN),
        ("https://api.example.com/v1/", "/orders", "https://api.example.com/v1/orders", IN),
        ("https://api.example.com/v1", "/orders", "https://api.example.com/orders", OTHER_URI),
        // As it stands in HTTP/2, and where a proxy is asked: only the path counts.
        ("https://api.example.com", "https://api.example.com/orders", "https://api.example.com/orders", IN),
        ("https://api.example.com", "http://10.0.0.1:8080/orders", "https://api.example.com/orders", IN),
        ("https://api.example.com", "https://evil.example/orders", "https://evil.example/orders", OTHER_URI),
        ("https://[2001:db8::1]:8443", "/orders", "https://[2001:DB8:0:0::1]:8443/orders", IN),
        ("http://127.0.0.1:3000", "/orders", "http://127.0.0.1:3000/orders", IN),
    ] {
        let dpop = Dpop::builder(origin).clock(holder.clock.clone()).build().unwrap();
        let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(dpop).build().unwrap();
        let service = layer.layer(Counting::default());
        let proof = holder.proof_for(Method::GET, htu).sign().unwrap();
        let mut request = to(target, &format!("DPoP {}", holder.token), &proof);
        request.headers_mut().insert("host", "evil.example".parse().unwrap());
        request.headers_mut().insert("x-forwarded-prefix", "/v2".parse().unwrap());
        assert_eq!(outcome(&service, request).await, expected, "{origin} {target} {htu}");
    }
}

#[tokio::test]
async fn a_target_that_is_no_path_fits_no_proof() {
    let holder = Holder::new();
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let proof = holder.proof_for(Method::OPTIONS, "https://api.example.com/*").sign().unwrap();
    let mut request = to("*", &format!("DPoP {}", holder.token), &proof);
    *request.method_mut() = Method::OPTIONS;
    assert_eq!(outcome(&service, request).await, OTHER_URI);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn below_a_router_that_nests_the_path_is_the_one_that_the_caller_sent() {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    let holder = Holder::new();
    let layer = holder.layer(&holder.authority());
    let routes = Router::new().route("/orders", get(async || "orders")).layer(layer);
    let app = Router::new().nest("/shop", Router::new().nest("/v2", routes));
    for (htu, expected) in [
        ("https://api.example.com/shop/v2/orders", 200),
        ("https://api.example.com/orders", 401),
        ("https://api.example.com/v2/orders", 401),
    ] {
        let proof = holder.proof_for(Method::GET, htu).sign().unwrap();
        let request = to("/shop/v2/orders", &format!("DPoP {}", holder.token), &proof).map(Body::from);
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), expected, "{htu}");
    }
}
