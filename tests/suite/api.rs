//! The public types, as types.

use std::fmt::Debug;
use std::sync::Arc;

use crate::support::{Authority, Idle};
use tower_introspection::apigee::*;
use tower_introspection::cache::*;
use tower_introspection::clock::*;
use tower_introspection::credentials::*;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::*;
use tower_introspection::layer::*;
use tower_introspection::rejection::*;
use tower_introspection::resource::*;
use tower_introspection::rfc7662::*;
use tower_introspection::source::*;
use tower_introspection::stats::*;
use tower_introspection::token::*;
use tower_introspection::*;

fn assert_send_sync_debug<T: Send + Sync + Debug + 'static>() {}
fn assert_send_debug<T: Send + Debug + 'static>() {}
fn assert_clone<T: Clone>() {}

#[test]
fn every_public_type_is_send_sync_and_debug() {
    assert_send_sync_debug::<AccessToken>();
    assert_send_sync_debug::<AccessTokenBuilder>();
    assert_send_sync_debug::<AnyIntrospector>();
    assert_send_sync_debug::<Apigee>();
    assert_send_sync_debug::<ApigeeBuilder>();
    assert_send_sync_debug::<ApigeeLogin>();
    assert_send_sync_debug::<Authorities>();
    assert_send_sync_debug::<AuthoritiesBuilder>();
    assert_send_sync_debug::<ChosenAuthority>();
    assert_send_sync_debug::<BearerToken<'static>>();
    assert_send_sync_debug::<BreakerState>();
    assert_send_sync_debug::<BuildError>();
    assert_send_sync_debug::<CacheHandle>();
    assert_send_sync_debug::<CacheStats>();
    assert_send_sync_debug::<Cached<Authority>>();
    assert_send_sync_debug::<CachedBuilder<Authority>>();
    assert_send_sync_debug::<ClientCredentials>();
    assert_send_sync_debug::<Credential>();
    assert_send_sync_debug::<DiscoveryError>();
    assert_send_sync_debug::<EmptyBody>();
    assert_send_sync_debug::<EndpointHandle>();
    assert_send_sync_debug::<EndpointStats>();
    assert_send_sync_debug::<Health>();
    assert_send_sync_debug::<Histogram>();
    assert_send_sync_debug::<InactiveReason>();
    assert_send_sync_debug::<IntrospectError>();
    assert_send_sync_debug::<IntrospectErrorKind>();
    assert_send_sync_debug::<IntrospectFn<fn()>>();
    assert_send_sync_debug::<IntrospectionLayer<Authority>>();
    assert_send_sync_debug::<IntrospectionLayerBuilder<Authority>>();
    assert_send_sync_debug::<Introspection<Idle, Authority>>();
    assert_send_sync_debug::<LayerHandle>();
    assert_send_sync_debug::<LayerStats>();
    assert_send_sync_debug::<LastFailure>();
    assert_send_sync_debug::<MalformedToken>();
    assert_send_sync_debug::<Policy>();
    assert_send_sync_debug::<ProblemJson>();
    assert_send_sync_debug::<ProtectedResource>();
    assert_send_sync_debug::<ProtectedResourceBuilder>();
    assert_send_sync_debug::<Rejection>();
    assert_send_sync_debug::<RejectionKind>();
    assert_send_sync_debug::<RejectionReason>();
    assert_send_sync_debug::<Ask<'static>>();
    assert_send_sync_debug::<OriginalUri>();
    assert_send_sync_debug::<RequestView<'static>>();
    assert_send_sync_debug::<Require<Idle>>();
    assert_send_sync_debug::<RequireLayer>();
    assert_send_sync_debug::<Rfc7662>();
    assert_send_sync_debug::<Rfc7662Builder>();
    assert_send_sync_debug::<Scopes>();
    assert_send_sync_debug::<SystemClock>();
    assert_send_sync_debug::<Timestamp>();
    assert_send_sync_debug::<TokenCookie>();
    assert_send_sync_debug::<TokenHeader>();
    assert_send_sync_debug::<TokenQueryParameter>();
    assert_send_sync_debug::<TokenSourceFn<fn()>>();
    assert_send_sync_debug::<Verdict>();
    #[cfg(feature = "dpop")]
    {
        use tower_introspection::possession;
        assert_send_sync_debug::<possession::Dpop>();
        assert_send_sync_debug::<possession::DpopBuilder>();
        assert_send_sync_debug::<possession::NonceSecret>();
        assert_send_sync_debug::<tower_introspection::introspect::ProofMemory>();
        #[cfg(feature = "sandbox")]
        assert_send_sync_debug::<sandbox::ProofKey>();
        #[cfg(feature = "sandbox")]
        assert_send_sync_debug::<sandbox::ProofBuilder<'static>>();
    }
    #[cfg(feature = "certificate-bound")]
    {
        use tower_introspection::possession;
        assert_send_sync_debug::<possession::ClientCertificate>();
        assert_send_sync_debug::<possession::ClientCertificates>();
        assert_send_sync_debug::<possession::ForwardedCertificate>();
    }
    #[cfg(feature = "jwt")]
    {
        use tower_introspection::{Jwt, jwt};
        assert_send_sync_debug::<Jwt>();
        assert_send_sync_debug::<jwt::JwtBuilder>();
        assert_send_sync_debug::<jwt::KeySet>();
        assert_send_sync_debug::<jwt::Hybrid<Authority>>();
        assert_send_sync_debug::<jwt::ByIssuer>();
        assert_send_sync_debug::<jwt::ByIssuerBuilder>();
        assert_send_sync_debug::<jwt::AccessTokenClaim>();
    }
    #[cfg(feature = "redis")]
    {
        use tower_introspection::fleet;
        assert_send_sync_debug::<fleet::Fleet>();
        assert_send_sync_debug::<fleet::FleetBuilder>();
        assert_send_sync_debug::<fleet::FleetSecret>();
        assert_send_sync_debug::<fleet::FleetStats>();
        assert_send_sync_debug::<fleet::MemoryEngine>();
    }
    assert_send_sync_debug::<tower_introspection::rejection::ProofFault>();
    assert_send_sync_debug::<tower_introspection::rejection::CertificateFault>();
    #[cfg(feature = "private-key-jwt")]
    assert_send_sync_debug::<PrivateKeyJwt>();
    #[cfg(feature = "sandbox")]
    assert_send_sync_debug::<sandbox::Sandbox>();
    #[cfg(feature = "sandbox")]
    assert_send_sync_debug::<sandbox::SandboxToken>();
    #[cfg(feature = "sandbox")]
    assert_send_sync_debug::<sandbox::Fault>();
    #[cfg(feature = "status-page")]
    assert_send_sync_debug::<StatusPage>();
    #[cfg(feature = "test-util")]
    assert_send_sync_debug::<ManualClock>();
    #[cfg(feature = "axum")]
    assert_send_sync_debug::<tower_introspection::extract::AccessTokenRejection>();
    // It holds a future, which is polled in one place at a time.
    assert_send_debug::<<Introspection<Idle, Authority> as tower::Service<http::Request<()>>>::Future>();
}

#[test]
fn services_layers_and_caches_are_clone_whatever_they_ask() {
    struct NotClone;
    assert_clone::<Introspection<Idle, Apigee, NotClone>>();
    assert_clone::<IntrospectionLayer<Apigee, NotClone>>();
    assert_clone::<Require<Idle, NotClone>>();
    assert_clone::<RequireLayer<NotClone>>();
    assert_clone::<Cached<Apigee>>();
}

#[test]
fn traits_that_are_kept_behind_pointers_can_be() {
    let _: (Arc<dyn RejectionResponse<()>>, Arc<dyn RejectionResponse<String>>) =
        (Arc::new(EmptyBody::new()), Arc::new(ProblemJson::new()));
    let _: Arc<dyn TokenSource> = Arc::new(TokenQueryParameter::new());
    let _: Arc<dyn Clock> = Arc::new(SystemClock);
}

#[test]
fn errors_tell_their_kind_and_their_source() {
    let error = IntrospectError::new(IntrospectErrorKind::Connect).with_source("no route to host");
    assert_eq!(error.kind(), IntrospectErrorKind::Connect);
    assert_eq!(error.to_string(), "no connection to the authority");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no route to host");
    assert!(std::error::Error::source(&IntrospectError::new(IntrospectErrorKind::Timeout)).is_none());
    let error = IntrospectError::new(IntrospectErrorKind::Status).with_status(http::StatusCode::IM_A_TEAPOT);
    assert_eq!(error.status(), Some(http::StatusCode::IM_A_TEAPOT));
    for kind in crate::support::ERROR_KINDS {
        let error = IntrospectError::new(kind);
        assert_eq!(error.is_timeout(), kind == IntrospectErrorKind::Timeout, "{kind:?}");
        assert_eq!(error.is_overloaded(), kind == IntrospectErrorKind::Overloaded, "{kind:?}");
        assert_eq!(error.is_credentials(), kind == IntrospectErrorKind::Credentials, "{kind:?}");
        assert_eq!(kind.to_string(), kind.as_str());
    }
}

#[test]
fn every_kind_and_reason_has_one_word_of_its_own() {
    let words = crate::support::ERROR_KINDS.map(IntrospectErrorKind::as_str);
    assert_eq!(
        words,
        [
            "connect",
            "transport",
            "timeout",
            "credentials",
            "discovery",
            "rate_limited",
            "status",
            "answer",
            "overloaded",
            "circuit_open",
            "abandoned"
        ]
    );
    use InactiveReason::*;
    let words = [Unknown, Revoked, Expired, NotYetValid, Unclear].map(InactiveReason::as_str);
    assert_eq!(words, ["unknown", "revoked", "expired", "not_yet_valid", "unclear"]);
}

#[test]
fn states_and_healths_have_one_word_each() {
    let states = [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open].map(BreakerState::as_str);
    assert_eq!(states, ["closed", "half_open", "open"]);
    let healths = [Health::Healthy, Health::Recovering, Health::Failing].map(Health::as_str);
    assert_eq!(healths, ["healthy", "recovering", "failing"]);
}

#[test]
fn debug_says_what_it_is_and_what_can_be_shown() {
    let shows = |value: &dyn Debug, parts: &[&str]| {
        let shown = format!("{value:?}");
        assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
    };
    let apigee = || Apigee::builder("my-org").base_url("http://127.0.0.1/v1").basic_auth("ann", "hush");
    shows(&apigee(), &["ApigeeBuilder", "my-org"]);
    shows(&apigee().build().unwrap(), &["Apigee", "/o/my-org/oauth2/accesstokens"]);
    shows(&apigee().build().unwrap().endpoint().unwrap(), &["EndpointHandle", "attempts: 0", "Closed"]);
    shows(&ApigeeLogin::new("ann", "hush"), &["ApigeeLogin"]);
    shows(&ClientCredentials::new("https://auth.example.com/token", "api", "hush"), &["ClientCredentials"]);
    shows(&AnyIntrospector::new(Authority::new(crate::support::active())), &["AnyIntrospector"]);
    let authorities = || Authorities::by_host().authority("a.example.com", Authority::new(crate::support::active()));
    shows(&authorities(), &["AuthoritiesBuilder", "a.example.com"]);
    shows(&authorities().build().unwrap(), &["Authorities", "a.example.com"]);
    shows(&introspect_fn(|_| async { crate::support::active() }), &["IntrospectFn"]);
    let rfc7662 = || Rfc7662::builder("http://127.0.0.1/introspect").client_secret_basic("api", "hush");
    shows(&rfc7662(), &["Rfc7662Builder", "http://127.0.0.1/introspect"]);
    shows(&rfc7662().build().unwrap(), &["Rfc7662", "http://127.0.0.1/introspect"]);
    shows(&Rfc7662::discover("https://auth.example.com"), &["Rfc7662Builder", "https://auth.example.com"]);
    let cached =
        || Cached::builder(Authority::new(crate::support::active())).max_ttl(std::time::Duration::from_secs(7));
    shows(&cached(), &["CachedBuilder", "7s", "100000"]);
    shows(&cached().build().unwrap(), &["Cached", "max_ttl: 7s"]);
    shows(&cached().build().unwrap().handle(), &["CacheHandle", "misses: 0"]);
    shows(&cached().build().unwrap().handle().stats().verdict_age, &["Histogram", "count: 0"]);
    shows(&AccessToken::builder().app("weather"), &["AccessTokenBuilder", "weather"]);
    shows(&Scopes::parse("read write"), &["read", "write"]);
    shows(&Credential::basic("ann", "hush").unwrap(), &["Credential(Basic)"]);
}

#[test]
fn a_cache_has_the_name_it_was_given() {
    let authority = || Authority::new(crate::support::active());
    assert_eq!(Cached::new(authority()).handle().name(), "default");
    assert_eq!(Cached::builder(authority()).name("apigee").build().unwrap().handle().name(), "apigee");
}

#[tokio::test]
async fn what_forgets_its_type_forwards_all_of_it() {
    let cached = Cached::new(
        Apigee::builder("my-org").base_url("http://127.0.0.1/v1").basic_auth("ann", "hush").build().unwrap(),
    );
    assert!(cached.endpoint().is_some());
    assert!(AnyIntrospector::new(Arc::new(cached)).endpoint().is_some());
    let cached = Cached::new(Authority::new(crate::support::active()));
    assert!(cached.endpoint().is_none());
    let any = AnyIntrospector::new(cached);
    assert!(any.cached(&crate::support::bearer("abc")).is_none());
    any.introspect(Ask::new(&crate::support::bearer("abc"))).await.unwrap();
    assert!(any.cached(&crate::support::bearer("abc")).unwrap().is_active());
}

#[tokio::test]
async fn tokens_that_find_no_room_are_counted_as_evicted() {
    let cached = Cached::builder(Authority::new(crate::support::active())).max_capacity(2).build().unwrap();
    for n in 0..20 {
        cached.introspect(Ask::new(&crate::support::bearer(&format!("token-{n}")))).await.unwrap();
    }
    let stats = cached.handle().stats();
    assert_eq!((stats.entries, stats.evictions), (2, 18));
}
