//! Several authorities behind one layer.

use std::convert::Infallible;
use tower_introspection::RequestView;

use crate::support::*;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_introspection::introspect::ChosenAuthority;
use tower_introspection::rejection::{RejectionKind, RejectionReason};
use tower_introspection::{AccessToken, Authorities, Cached, InactiveReason, Introspect, IntrospectionLayer, Verdict};

async fn answer(layer: &IntrospectionLayer<Authorities>, uri: &str) -> Response<String> {
    let inner = service_fn(|request: Request<String>| async move {
        let token = request.extensions().get::<AccessToken>().unwrap();
        Ok::<_, Infallible>(Response::new(token.client_id().unwrap().to_owned()))
    });
    let mut request = request("Bearer abc");
    *request.uri_mut() = uri.parse().unwrap();
    layer.layer(inner).oneshot(request).await.unwrap()
}

fn issued_to(client: &str) -> Answer {
    Ok(Verdict::Active(AccessToken::builder().client_id(client).build()))
}

#[tokio::test]
async fn each_request_asks_the_authority_it_chooses_and_no_authority_answers_for_another() {
    let (ours, theirs) = (Authority::new(issued_to("ours")), Authority::new(inactive(InactiveReason::Unknown)));
    let authorities = Authorities::by_host()
        .authority("A.Example", Cached::new(ours.clone()))
        .authority("b.example", Cached::new(theirs.clone()))
        .build()
        .unwrap();
    let layer = IntrospectionLayer::new(authorities);
    for _ in 0..3 {
        assert_eq!(answer(&layer, "https://A.example:8443/x").await.body(), "ours");
        let refused = answer(&layer, "https://b.example/x").await;
        assert_eq!(kind(&refused), Some(RejectionKind::InvalidToken));
    }
    assert_eq!((ours.questions(), theirs.questions()), (1, 1), "each has its cache");
    theirs.says(issued_to("theirs"));
    assert_eq!(answer(&layer, "https://a.example/x").await.body(), "ours");
}

#[tokio::test]
async fn a_dot_at_the_end_of_a_host_chooses_the_same_authority_as_none() {
    for named in ["a.example", "A.Example."] {
        let authorities = Authorities::by_host().authority(named, Authority::new(issued_to("a"))).build().unwrap();
        assert!(authorities.get("a.example").is_some(), "by the name it is chosen by");
        let layer = IntrospectionLayer::new(authorities);
        for uri in ["https://a.example/", "https://a.example./", "https://A.EXAMPLE.:443/", "https://a.example:443/"] {
            assert_eq!(answer(&layer, uri).await.body(), "a", "{uri} of {named}");
        }
        assert_eq!(answer(&layer, "https://a.example../").await.status(), 401, "of {named}");
    }
}

#[tokio::test]
async fn a_rule_and_the_handler_learn_which_authority_was_chosen() {
    let authorities = Authorities::by_host()
        .authority("A.Example", Cached::new(Authority::new(active())))
        .authority("b.example", Cached::new(Authority::new(active())))
        .build()
        .unwrap();
    let name = |request: &http::Extensions| request.get::<ChosenAuthority>().unwrap().name().to_owned();
    let of_a =
        move |_: &AccessToken, request: &RequestView| name(&request.parts_after_routing().extensions) == "a.example";
    let layer = IntrospectionLayer::builder(authorities).authorize(of_a).build().unwrap();
    let inner = service_fn(move |request: Request<String>| {
        let name = name(request.extensions());
        async { Ok::<_, Infallible>(Response::new(name)) }
    });
    for _miss_and_hit in 0..2 {
        for (uri, status, body) in [("https://a.Example/", 200, "a.example"), ("https://b.example/", 403, "")] {
            let mut request = request("Bearer abc");
            *request.uri_mut() = uri.parse().unwrap();
            let response = layer.layer(inner).oneshot(request).await.unwrap();
            assert_eq!((response.status().as_u16(), &**response.body()), (status, body), "{uri}");
        }
    }
}

#[tokio::test]
async fn a_request_that_chooses_no_authority_is_rejected_and_nobody_is_asked() {
    let authority = Authority::new(issued_to("a"));
    let authorities = Authorities::choose_by(|request| request.path().split('/').nth(1).map(Into::into))
        .authority("tenant", authority.clone())
        .build()
        .unwrap();
    let layer = IntrospectionLayer::new(authorities);
    for uri in ["/", "/other/x", "/TENANT/x", "*"] {
        let response = answer(&layer, uri).await;
        assert_eq!(response.status(), 401, "{uri}");
        assert_eq!(response.extensions().get(), Some(&RejectionReason::NoAuthority), "{uri}");
        assert_eq!(parameter(&challenge(&response.headers()["www-authenticate"]), "error"), Some("invalid_token"));
    }
    assert_eq!(authority.questions(), 0);
    assert_eq!(layer.stats().rejected_by_reason, [(RejectionReason::NoAuthority, 4)]);
    assert_eq!(answer(&layer, "/tenant/x").await.body(), "a");
}

#[tokio::test]
async fn a_request_without_a_token_comes_in_through_an_optional_layer_with_its_authority_if_it_chooses_one() {
    let authority = Authority::new(active());
    let authorities = Authorities::by_host().authority("a.example", authority.clone()).build().unwrap();
    let layer = IntrospectionLayer::builder(authorities).optional(true).build().unwrap();
    let inner = service_fn(|request: Request<String>| async move {
        assert!(request.extensions().get::<AccessToken>().is_none());
        let chosen = request.extensions().get::<ChosenAuthority>().map(|chosen| chosen.name().to_owned());
        Ok::<_, Infallible>(Response::new(format!("{chosen:?}")))
    });
    for (uri, chosen) in [("https://a.example/", r#"Some("a.example")"#), ("https://b.example/", "None")] {
        let mut request = Request::new(String::new());
        *request.uri_mut() = uri.parse().unwrap();
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        assert_eq!((kind(&response), &**response.body()), (None, chosen), "{uri}");
    }
    assert_eq!((layer.stats().anonymous, authority.questions()), (2, 0));
}

#[test]
fn no_authority_and_two_of_one_name_are_refused() {
    assert_eq!(Authorities::by_host().build().unwrap_err().setting(), "authority");
    let twice = || Authority::new(active());
    let error = Authorities::by_host().authority("a", twice()).authority("a", twice()).build().unwrap_err();
    assert!(error.to_string().contains("two of the name \"a\""), "{error}");
    let error = Authorities::by_host().authority("a", twice()).authority("A.", twice()).build().unwrap_err();
    assert!(error.to_string().contains("two of the name \"a\""), "{error}");
}

#[tokio::test]
async fn what_an_outer_layer_chose_does_not_stand_for_an_inner_one() {
    let one = || Cached::new(Authority::new(active()));
    let outer = Authorities::choose_by(|_| Some("staff".into())).authority("staff", one()).build().unwrap();
    let outer = IntrospectionLayer::builder(outer).optional(true).build().unwrap();
    let none = Authorities::choose_by(|_| None).authority("partners", one()).build().unwrap();
    let chosen = || {
        service_fn(|request: Request<String>| async move {
            let chosen = request.extensions().get::<ChosenAuthority>().map(|chosen| chosen.name().to_owned());
            Ok::<_, Infallible>(Response::new(chosen.unwrap_or_default()))
        })
    };
    let without_token = || Request::new(String::new());
    let answer = outer.layer(chosen()).oneshot(without_token()).await.unwrap();
    assert_eq!(answer.into_body(), "staff");
    let inner = IntrospectionLayer::builder(one()).optional(true).build().unwrap();
    for request in [without_token(), request("Bearer abc")] {
        let answer = outer.layer(inner.layer(chosen())).oneshot(request).await.unwrap();
        assert_eq!(answer.into_body(), "", "of the inner layer's one authority");
    }
    let inner = IntrospectionLayer::builder(none).optional(true).build().unwrap();
    let answer = outer.layer(inner.layer(chosen())).oneshot(without_token()).await.unwrap();
    assert_eq!(answer.into_body(), "", "of the inner layer's none");
}

#[tokio::test]
async fn clones_share_their_authorities_and_each_can_be_asked_by_name() {
    let authority = Authority::new(active());
    let authorities = Authorities::by_host().authority("A.example", Cached::new(authority.clone())).build().unwrap();
    let layer = IntrospectionLayer::new(authorities.clone());
    assert_eq!(answer(&layer, "https://a.example/").await.status(), 200);
    let asked = authorities.get("a.example").unwrap();
    assert!(asked.cached(&bearer("abc")).unwrap().is_active(), "remembered by the same cache");
    assert_eq!(authority.questions(), 1);
    assert!(authorities.get("b.example").is_none());
}

#[tokio::test]
async fn an_inner_layer_may_choose_by_what_an_outer_one_chose() {
    let one = || Cached::new(Authority::new(active()));
    let outer = IntrospectionLayer::new(Authorities::by_host().authority("a.example", one()).build().unwrap());
    let inner = Authorities::choose_by(|request| {
        let chosen = request.extension::<ChosenAuthority>()?;
        Some(format!("inner {}", chosen.name()).into())
    });
    let inner = IntrospectionLayer::new(inner.authority("inner a.example", one()).build().unwrap());
    let mut request = request("Bearer abc");
    *request.uri_mut() = "https://a.example/".parse().unwrap();
    let service = service_fn(|request: Request<String>| async move {
        let chosen = request.extensions().get::<ChosenAuthority>().unwrap();
        Ok::<_, Infallible>(Response::new(chosen.name().to_owned()))
    });
    let answer = outer.layer(inner.layer(service)).oneshot(request).await.unwrap();
    assert_eq!(answer.into_body(), "inner a.example");
}
