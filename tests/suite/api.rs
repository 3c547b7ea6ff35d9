//! The public types, as types.

use std::fmt::Debug;
use std::sync::Arc;

use crate::support::Authority;
use tower_introspection::*;

fn assert_send_sync_debug<T: Send + Sync + Debug + 'static>() {}
fn assert_clone<T: Clone>() {}
fn assert_send<T: Send>() {}

#[derive(Clone, Debug)]
struct Inner;

impl tower::Service<http::Request<()>> for Inner {
    type Response = http::Response<()>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<()>) -> Self::Future {
        std::future::ready(Ok(http::Response::new(())))
    }
}

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
    assert_send_sync_debug::<AuthorizationHeader>();
    assert_send_sync_debug::<BearerToken<'static>>();
    assert_send_sync_debug::<BuildError>();
    assert_send_sync_debug::<CacheHandle>();
    assert_send_sync_debug::<CacheStats>();
    assert_send_sync_debug::<Cached<Authority>>();
    assert_send_sync_debug::<CachedBuilder<Authority>>();
    assert_send_sync_debug::<ClientCredentials>();
    assert_send_sync_debug::<Credential>();
    assert_send_sync_debug::<DiscoveryError>();
    assert_send_sync_debug::<EmptyBody>();
    assert_send_sync_debug::<InactiveReason>();
    assert_send_sync_debug::<IntrospectError>();
    assert_send_sync_debug::<IntrospectErrorKind>();
    assert_send_sync_debug::<IntrospectFn<fn()>>();
    assert_send_sync_debug::<IntrospectionLayer<Authority>>();
    assert_send_sync_debug::<IntrospectionLayerBuilder<Authority>>();
    assert_send_sync_debug::<Introspection<Inner, Authority>>();
    assert_send_sync_debug::<MalformedToken>();
    assert_send_sync_debug::<Policy>();
    assert_send_sync_debug::<ProblemJson>();
    assert_send_sync_debug::<ProtectedResource>();
    assert_send_sync_debug::<ProtectedResourceBuilder>();
    assert_send_sync_debug::<Rejection>();
    assert_send_sync_debug::<RejectionKind>();
    assert_send_sync_debug::<RequireScope<Inner>>();
    assert_send_sync_debug::<RequireScopeLayer>();
    assert_send_sync_debug::<RequireScopeLayerBuilder>();
    assert_send_sync_debug::<Rfc7662>();
    assert_send_sync_debug::<Rfc7662Builder>();
    assert_send_sync_debug::<Rfc7662Discovery>();
    assert_send_sync_debug::<Scopes>();
    assert_send_sync_debug::<SystemClock>();
    assert_send_sync_debug::<Timestamp>();
    assert_send_sync_debug::<TokenCookie>();
    assert_send_sync_debug::<TokenHeader>();
    assert_send_sync_debug::<TokenQueryParameter>();
    assert_send_sync_debug::<TokenSourceFn<fn()>>();
    assert_send_sync_debug::<Verdict>();
    #[cfg(feature = "private-key-jwt")]
    assert_send_sync_debug::<PrivateKeyJwt>();
    #[cfg(feature = "sandbox")]
    assert_send_sync_debug::<sandbox::Sandbox>();
    #[cfg(feature = "test-util")]
    assert_send_sync_debug::<ManualClock>();
}

#[test]
fn the_future_of_a_response_can_move_between_threads() {
    assert_send::<ResponseFuture<Inner, (), EmptyBody>>();
}

#[test]
fn services_layers_and_caches_are_clone_whatever_they_ask() {
    struct NotClone;
    assert_clone::<Introspection<Inner, Apigee, NotClone>>();
    assert_clone::<IntrospectionLayer<Apigee, NotClone>>();
    assert_clone::<RequireScope<Inner, NotClone>>();
    assert_clone::<RequireScopeLayer<NotClone>>();
    assert_clone::<Cached<Apigee>>();
}

#[test]
fn traits_that_are_kept_behind_pointers_can_be() {
    let _: Arc<dyn TokenSource> = Arc::new(AuthorizationHeader);
    let _: Arc<dyn Clock> = Arc::new(SystemClock);
}

#[test]
fn errors_tell_their_kind_and_their_source() {
    let error = IntrospectError::new(IntrospectErrorKind::Connect).with_source("no route to host");
    assert_eq!(error.kind(), IntrospectErrorKind::Connect);
    assert_eq!(error.to_string(), "no connection to the authority");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no route to host");
    assert!(std::error::Error::source(&IntrospectError::new(IntrospectErrorKind::Timeout)).is_none());
}

#[test]
fn every_kind_and_reason_has_one_word_of_its_own() {
    use IntrospectErrorKind::*;
    let mut words = vec![];
    for kind in [Connect, Transport, Timeout, Credentials, RateLimited, Status, Answer, Overloaded, Abandoned] {
        words.push(kind.as_str());
    }
    assert_eq!(
        words,
        [
            "connect",
            "transport",
            "timeout",
            "credentials",
            "rate_limited",
            "status",
            "answer",
            "overloaded",
            "abandoned"
        ]
    );
    use InactiveReason::*;
    let words = [Unknown, Revoked, Expired, NotYetValid, Unclear].map(InactiveReason::as_str);
    assert_eq!(words, ["unknown", "revoked", "expired", "not_yet_valid", "unclear"]);
}
