//! What a caller is told: every row of the table, as HTTP and as gRPC, with challenges read by a parser.

use crate::support::requires;
use std::convert::Infallible;

use crate::support::*;
use http::header::HeaderName;
use http::{Method, Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::layer::IntrospectionLayerBuilder;
use tower_introspection::rejection::{Rejection, RejectionKind, RejectionReason, RejectionResponse};
use tower_introspection::source::{TokenHeader, token_source_fn};
use tower_introspection::{
    AccessToken, InactiveReason, IntrospectError, IntrospectionLayer, Policy, RequestView, Verdict,
};

struct Row {
    kind: RejectionKind,
    answer: Answer,
    authorization: Option<&'static str>,
    status: u16,
    error: Option<&'static str>,
    grpc: &'static str,
    says: &'static str,
}

/// Why the authority could not be asked, which is not for the caller.
const CAUSE: &str = "no route to 10.0.0.7";

fn table() -> Vec<Row> {
    use RejectionKind::*;
    let row = |kind, answer, authorization, status, error, grpc, says| Row {
        kind,
        answer,
        authorization,
        status,
        error,
        grpc,
        says,
    };
    let failed = |kind| Err(IntrospectError::new(kind).with_source(CAUSE));
    let has = |scopes| Ok(Verdict::Active(scoped(scopes)));
    let bearer = Some("Bearer abc");
    const NONE: &str = "an access token is required";
    const MALFORMED: &str = "the access token is malformed";
    const REVOKED: &str = "the access token was revoked";
    const ACR: &str = "the request requires another authentication level than the access token has";
    const SCOPE: &str = "the request requires more scope than the access token has";
    const DENIED: &str = "the access token does not allow this request";
    const UNAVAILABLE: &str = "the access token cannot be checked at the moment; try again";
    const OVERLOADED: &str = "too many access tokens are being checked; try again";
    vec![
        row(MissingToken, active(), None, 401, None, "16", NONE),
        row(InvalidRequest, active(), Some("Bearer a b"), 400, Some("invalid_request"), "16", MALFORMED),
        row(InvalidToken, inactive(InactiveReason::Revoked), bearer, 401, Some("invalid_token"), "16", REVOKED),
        row(
            InsufficientUserAuthentication,
            has("read"),
            bearer,
            401,
            Some("insufficient_user_authentication"),
            "16",
            ACR,
        ),
        row(InsufficientScope, has("other"), bearer, 403, Some("insufficient_scope"), "7", SCOPE),
        row(Denied, has("read denied"), bearer, 403, None, "7", DENIED),
        row(Unavailable, failed(IntrospectErrorKind::Connect), bearer, 503, None, "14", UNAVAILABLE),
        row(Overloaded, failed(IntrospectErrorKind::Overloaded), bearer, 503, None, "14", OVERLOADED),
    ]
}

type Builder = IntrospectionLayerBuilder<Authority>;

fn builder(row: &Row) -> Builder {
    let wants_login = row.kind == RejectionKind::InsufficientUserAuthentication;
    let policy = if wants_login { Policy::new().require_acr(["gold"]) } else { Policy::new() };
    IntrospectionLayer::builder(Authority::new(row.answer.clone()))
        .realm("orders")
        .policy(policy)
        .require_scope("read")
        .authorize(|token, _| !token.scopes().contains("denied"))
        .retry_after(millis(2_500))
}

async fn reject<R: RejectionResponse<String>>(
    builder: IntrospectionLayerBuilder<Authority, R>,
    row: &Row,
    content_type: Option<&str>,
) -> Response<String> {
    let mut request = Request::new(String::new());
    *request.method_mut() = Method::POST;
    if let Some(authorization) = row.authorization {
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
    }
    if let Some(content_type) = content_type {
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
    }
    let inner = service_fn(|_| async { panic!("the inner service ran") });
    let service = builder.build().unwrap().layer(inner);
    let response: Result<Response<String>, Infallible> = service.oneshot(request).await;
    response.unwrap()
}

#[tokio::test]
async fn every_kind_has_its_http_answer_and_its_challenge() {
    for row in table() {
        let response = reject(builder(&row), &row, None).await;
        assert_eq!(response.extensions().get(), Some(&row.kind));
        assert_eq!(response.status().as_u16(), row.status, "{:?}", row.kind);
        assert!(response.body().is_empty());
        if row.status == 503 {
            assert_eq!(response.headers()["retry-after"], "3", "2.5 seconds, rounded up");
            assert_eq!(response.headers().len(), 1);
            continue;
        }
        let challenge = challenge(&response.headers()["www-authenticate"]);
        assert_eq!(challenge.0, "Bearer");
        assert_eq!(parameter(&challenge, "realm"), Some("orders"));
        assert_eq!(parameter(&challenge, "error"), row.error, "{:?}", row.kind);
        assert_eq!(parameter(&challenge, "error_description"), row.error.map(|_| row.says));
        let wants_login = row.kind == RejectionKind::InsufficientUserAuthentication;
        let scope = (wants_login || row.kind == RejectionKind::InsufficientScope).then_some("read");
        assert_eq!(parameter(&challenge, "scope"), scope);
        assert_eq!(parameter(&challenge, "acr_values"), wants_login.then_some("gold"));
        assert_eq!(response.headers().len(), 1);
    }
}

/// All but `no_authority`, which takes `Authorities`: authorities.rs has it.
#[tokio::test]
async fn every_reason_is_told_to_layers_around_and_counted() {
    use RejectionKind::*;
    let layer = |answer| IntrospectionLayer::builder(Authority::new(answer));
    let is_inactive = |reason| layer(inactive(reason));
    let (good, bad, two) = ("Bearer abc", "Bearer a b", "Bearer abcd");
    let bound = AccessToken::builder().claim("cnf", "x").unwrap().build();
    let unavailable = || failure(IntrospectErrorKind::Timeout);
    for (name, kind, status, builder, authorization) in [
        ("missing_token", MissingToken, 401, layer(active()), ""),
        ("malformed", InvalidRequest, 400, layer(active()), bad),
        ("too_long", InvalidRequest, 400, layer(active()).max_token_length(3), two),
        ("repeated", InvalidRequest, 400, layer(active()).token_source(token_source_fn(|_| Some("abc".into()))), good),
        ("unknown", InvalidToken, 401, is_inactive(InactiveReason::Unknown), good),
        ("revoked", InvalidToken, 401, is_inactive(InactiveReason::Revoked), good),
        ("expired", InvalidToken, 401, is_inactive(InactiveReason::Expired), good),
        ("not_yet_valid", InvalidToken, 401, is_inactive(InactiveReason::NotYetValid), good),
        ("unclear", InvalidToken, 401, is_inactive(InactiveReason::Unclear), good),
        ("sender_constrained", InvalidToken, 401, layer(Ok(Verdict::Active(bound))), good),
        ("audience", InvalidToken, 401, layer(active()).require_audience("here"), good),
        ("issuer", InvalidToken, 401, layer(active()).require_issuer("them"), good),
        ("acr", InsufficientUserAuthentication, 401, layer(active()).require_acr(["gold"]), good),
        ("recent_login", InsufficientUserAuthentication, 401, layer(active()).require_recent_login(secs(300)), good),
        ("insufficient_scope", InsufficientScope, 403, layer(active()).require_scope("admin"), good),
        ("client", Denied, 403, layer(active()).require_client("another"), good),
        ("api_product", Denied, 403, layer(active()).require_api_product("another"), good),
        ("rule", Denied, 403, layer(active()).authorize(|_, _| false), good),
        ("unavailable", Unavailable, 503, layer(unavailable()), good),
        ("overloaded", Overloaded, 503, layer(failure(IntrospectErrorKind::Overloaded)), good),
    ] {
        let layer = builder.build().unwrap();
        let inner = service_fn(|_| async { panic!("the inner service ran") });
        let request = if authorization.is_empty() { Request::new(String::new()) } else { request(authorization) };
        let response: Result<Response<String>, Infallible> = layer.layer(inner).oneshot(request).await;
        let response = response.unwrap();
        let reason: RejectionReason = *response.extensions().get().unwrap();
        assert_eq!((reason.as_str(), response.status().as_u16()), (name, status));
        assert_eq!((reason.kind(), response.extensions().get()), (kind, Some(&kind)), "{name}");
        let stats = layer.stats();
        assert_eq!((stats.rejected_by_reason, stats.rejected_by_kind), (vec![(reason, 1)], vec![(kind, 1)]));
    }
}

#[tokio::test]
async fn an_endless_retry_after_is_a_large_number_and_no_overflow() {
    let row = table().pop().unwrap();
    let row = &row;
    let response = reject(builder(row).retry_after(std::time::Duration::MAX), row, None).await;
    assert_eq!(response.headers()["retry-after"], u64::MAX.to_string());
}

#[tokio::test]
async fn without_credentials_the_challenge_is_bare() {
    let row = &table()[0];
    let response = reject(builder(row), row, None).await;
    assert_eq!(challenge(&response.headers()["www-authenticate"]).1, [("realm".to_owned(), "orders".to_owned())]);
}

#[tokio::test]
async fn every_kind_has_its_grpc_answer_chosen_by_the_requests_content_type() {
    for (content_type, answered) in [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc+proto"),
        ("Application/GRPC; x=y", "application/grpc"),
        ("application/grpc-web", "application/grpc-web"),
        ("application/grpc-web+proto", "application/grpc-web+proto"),
        ("application/grpc-web-text", "application/grpc-web-text"),
        ("Application/gRPC-Web-Text+Proto", "application/grpc-web-text+proto"),
        ("application/grpc-web+the-callers-own", "application/grpc-web"),
        ("application/grpc-the-callers-own", "application/grpc"),
    ] {
        for row in table() {
            let response = reject(builder(&row), &row, Some(content_type)).await;
            assert_eq!(response.extensions().get(), Some(&row.kind));
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["content-type"], answered, "of {content_type}");
            assert_eq!(response.headers()["grpc-status"], row.grpc, "{:?}", row.kind);
            assert_eq!(response.headers()["grpc-message"], row.says, "there is nothing to escape in it");
            assert_eq!(response.headers().len(), 3);
            assert!(response.body().is_empty());
        }
    }
    let row = &table()[0];
    for content_type in ["application/json", "application/gr", "text/plain; x=application/grpc"] {
        assert_eq!(reject(builder(row), row, Some(content_type)).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_grpc_web_call_to_a_route_without_the_layer_around_gets_its_own_content_type() {
    let route = requires("read");
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::<String>::default()) });
    let mut call = Request::new(String::new());
    *call.method_mut() = Method::POST;
    call.headers_mut().insert("content-type", "application/grpc-web-text".parse().unwrap());
    let response = route.layer(inner).oneshot(call).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "13");
    assert_eq!(response.headers()["content-type"], "application/grpc-web-text");
}

/// A proxy that asks whether it may let a request in sends the request's own headers, and takes any 2xx for a yes.
#[tokio::test]
async fn no_content_type_turns_a_refusal_into_http_200_but_that_of_a_post() {
    let route = requires("read");
    let missing_layer =
        route.layer(service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::<String>::default()) }));
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let mut request = Request::new(String::new());
        *request.method_mut() = method.clone();
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let inner = service_fn(|_| async { panic!("the inner service ran") });
        let service = builder(&table()[0]).build().unwrap().layer(inner);
        let response: Result<Response<String>, Infallible> = service.oneshot(request.clone()).await;
        assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED, "{method}");
        let response = missing_layer.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{method}");
    }
}

#[tokio::test]
async fn problem_json_says_the_same_in_a_document_and_leaves_grpc_alone() {
    for row in table() {
        let response = reject(builder(&row).problem_json(), &row, None).await;
        assert_eq!(response.status().as_u16(), row.status);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers().contains_key("www-authenticate"), row.status != 503);
        let document: serde_json::Value = serde_json::from_str(response.body()).unwrap();
        let title = response.status().canonical_reason().unwrap();
        let kind = row.kind.as_str();
        let all = serde_json::json!({"title": title, "status": row.status, "detail": row.says, "kind": kind});
        assert_eq!(document, all, "fixed texts, and nothing of the cause");
        let response = reject(builder(&row).problem_json(), &row, Some("application/grpc")).await;
        assert_eq!(response.headers()["grpc-status"], row.grpc);
        assert!(response.body().is_empty());
    }
}

#[tokio::test]
async fn a_closure_renders_http_and_the_kind_travels_along() {
    for row in table() {
        let mine = builder(&row).rejection_response(|rejection: &Rejection, _: &RequestView| {
            Response::new(rejection.description().to_owned())
        });
        let response = reject(mine, &row, None).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.body().contains("access token"), "{}", response.body());
        assert_eq!(response.extensions().get(), Some(&row.kind));
        let mine = builder(&row).rejection_response(|rejection: &Rejection, _: &RequestView| {
            Response::new(rejection.description().to_owned())
        });
        let response = reject(mine, &row, Some("application/grpc")).await;
        assert_eq!(response.headers()["grpc-status"], row.grpc);
    }
}

#[tokio::test]
async fn a_renderer_of_ones_own_renders_both_protocols() {
    struct Mine;
    impl RejectionResponse<String> for Mine {
        fn http(&self, rejection: &Rejection, _: &RequestView) -> Response<String> {
            rejection.response("http".into())
        }
        fn grpc(&self, rejection: &Rejection, _: &RequestView) -> Response<String> {
            rejection.response("grpc".into())
        }
    }
    let row = &table()[0];
    assert_eq!(reject(builder(row).rejection_response(Mine), row, None).await.body(), "http");
    assert_eq!(reject(builder(row).rejection_response(Mine), row, Some("application/grpc")).await.body(), "grpc");
}

#[tokio::test]
async fn a_requirement_of_a_route_renders_as_the_layer_around_it_does() {
    let admin = || Policy::new().require_scope("admin");
    let builder = || IntrospectionLayer::builder(Authority::new(active()));
    let plain = builder().build().unwrap();
    let refused =
        plain.layer(plain.require(admin()).unwrap().layer(Idle)).oneshot(request("Bearer abc")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.body().is_empty());
    let problem = builder().problem_json().build().unwrap();
    let route = problem.require(admin()).unwrap();
    let refused = problem.layer(route.layer(Idle)).oneshot(request("Bearer abc")).await.unwrap();
    assert!(refused.body().contains("insufficient_scope"));
    let say_no = |rejection: &Rejection, _: &RequestView| rejection.response("no".to_owned());
    let mine = builder().rejection_response(say_no).build().unwrap();
    let refused = mine.layer(mine.require(admin()).unwrap().layer(Idle)).oneshot(request("Bearer abc")).await.unwrap();
    assert_eq!(refused.body(), "no");
}

#[tokio::test]
async fn a_requirement_of_a_route_answers_grpc_in_its_form_challenges_as_the_layer_and_is_counted_there() {
    let metadata = "https://api.example.com/.well-known/oauth-protected-resource";
    let outer = IntrospectionLayer::builder(Authority::new(active())).optional(true).realm("outer");
    let outer = outer.resource_metadata(metadata).build().unwrap();
    let service = outer.layer(outer.require(Policy::new().require_scope("admin")).unwrap().layer(Idle));

    let mut call = request("Bearer abc");
    *call.method_mut() = Method::POST;
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let response = service.clone().oneshot(call).await.unwrap();
    assert_eq!((response.status(), &response.headers()["grpc-status"]), (StatusCode::OK, &"7".parse().unwrap()));
    assert!(!response.headers().contains_key("www-authenticate"));

    for (asked, status) in [(request("Bearer abc"), 403), (Request::new(String::new()), 401)] {
        let response = service.clone().oneshot(asked).await.unwrap();
        assert_eq!(response.status(), status);
        let challenge = challenge(&response.headers()["www-authenticate"]);
        let [realm, scope, document] =
            ["realm", "scope", "resource_metadata"].map(|name| parameter(&challenge, name).unwrap_or_default());
        assert_eq!((realm, scope, document), ("outer", "admin", metadata));
    }

    let stats = outer.stats();
    assert_eq!((stats.accepted, stats.anonymous), (2, 1));
    assert_eq!(stats.rejected_by_kind, [(RejectionKind::MissingToken, 1), (RejectionKind::InsufficientScope, 2)]);
}

#[tokio::test]
async fn a_renderer_sees_the_request_without_what_may_be_its_token() {
    let builder = || {
        IntrospectionLayer::builder(Authority::new(Ok(Verdict::Inactive(InactiveReason::Revoked)))).rejection_response(
            |rejection: &Rejection, request: &RequestView| {
                rejection.response(format!("{:?}", request.parts_after_routing()))
            },
        )
    };
    let header = HeaderName::from_static("x-access-token");
    let (plain, two_places) = (builder(), builder().token_source(TokenHeader::new(header.clone())));
    for (layer, other) in [(plain, None), (two_places, Some(header))] {
        let layer = layer.build().unwrap();
        for authorization in [&["Bearer very-secret"][..], &["Bearer very-secret"; 2], &["Bearer=very-secret"], &[]] {
            let mut asked = Request::new(String::new());
            *asked.uri_mut() = "/orders".parse().unwrap();
            for value in authorization {
                asked.headers_mut().append("authorization", value.parse().unwrap());
            }
            if let Some(header) = &other {
                asked.headers_mut().insert(header, "very-secret".parse().unwrap());
            }
            let response = layer.layer(Idle).oneshot(asked).await.unwrap();
            assert!(response.body().contains("/orders"), "{authorization:?}: {}", response.body());
            assert!(!response.body().contains("very-secret"), "{authorization:?}: {}", response.body());
        }
    }
}

#[tokio::test]
async fn a_renderer_for_a_route_sees_no_token_either() {
    let show = |rejection: &Rejection, request: &RequestView| {
        rejection.response(format!("{:?}", request.parts_after_routing()))
    };
    let outer = IntrospectionLayer::builder(Authority::new(active())).optional(true).authorization_header(false);
    let outer = outer.token_source(TokenHeader::new(HeaderName::from_static("x-access-token")));
    let outer = outer.rejection_response(show).build().unwrap();
    let route = outer.require(Policy::new().require_scope("admin")).unwrap();
    for token in [None, Some("very-secret")] {
        let mut asked = request("Bearer very-secret");
        if let Some(token) = token {
            asked.headers_mut().insert("x-access-token", token.parse().unwrap());
        }
        let response = outer.layer(route.layer(Idle)).oneshot(asked).await.unwrap();
        assert!(response.body().contains("authorization") && !response.body().contains("very-secret"), "{response:?}");
    }
}

#[tokio::test]
async fn a_rejection_tells_what_a_renderer_needs_and_nothing_of_the_request() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let layer = IntrospectionLayer::builder(Authority::new(failure(IntrospectErrorKind::Credentials)))
        .rejection_response(move |rejection: &Rejection, _: &RequestView| {
            sender.send(rejection.clone()).unwrap();
            rejection.response(String::new())
        })
        .build()
        .unwrap();
    layer.layer(Idle).oneshot(request("Bearer very-secret")).await.unwrap();
    let rejection = receiver.try_recv().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::Unavailable);
    assert_eq!(
        rejection.cause().map(tower_introspection::IntrospectError::kind),
        Some(IntrospectErrorKind::Credentials)
    );
    assert_eq!(rejection.retry_after(), Some(secs(5)));
    assert_eq!(rejection.challenge(), None);
    assert_eq!(rejection.wanted_scopes(), None);
    assert!(!rejection.is_grpc());
    assert!(!format!("{rejection:?}").contains("very-secret"));
}
