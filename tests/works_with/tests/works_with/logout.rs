//! Logout: all tokens of one user are forgotten at once.

use axum::{extract::State, http::StatusCode};
use tower_introspection::cache::Selection;
use tower_introspection::{AccessToken, CacheHandle};

/// The user of this token is logged out everywhere: ask again about every token that is theirs.
async fn logout(State(cache): State<CacheHandle>, token: AccessToken) -> StatusCode {
    // First revoke them at the authority, or the next question finds them active again.
    let Some(user) = token.subject() else { return StatusCode::FORBIDDEN };
    cache.invalidate(Selection::subject(user));
    StatusCode::NO_CONTENT
}

use axum::{Router, routing::get, routing::post};
use tower_introspection::sandbox::SandboxToken;
use tower_introspection::{Cached, IntrospectionLayer};

use crate::support::{answer, request, sandbox};

#[tokio::test]
async fn after_a_logout_every_token_of_the_user_is_asked_about_again_and_no_other() {
    let (sandbox, _) = sandbox().await;
    let cached = Cached::new(sandbox.rfc7662().build().unwrap());
    let app: Router = Router::new()
        .route("/orders", get(async || "orders"))
        .route("/logout", post(logout))
        .with_state(cached.handle())
        .layer(IntrospectionLayer::new(cached));
    let issue = |user: &str| sandbox.issue(SandboxToken::new().end_user(user));
    let (phone, laptop, other) = (issue("alice"), issue("alice"), issue("bob"));
    for token in [&phone, &laptop, &other, &phone, &laptop, &other] {
        assert_eq!(answer(&app, request(token)).await.status(), 200);
    }
    assert!(sandbox.revoke(&phone) && sandbox.revoke(&laptop));
    assert_eq!(answer(&app, request(&phone)).await.status(), 200, "still in the window");
    assert_eq!(answer(&app, request(&laptop).method("POST").uri("/logout")).await.status(), 204);
    assert_eq!(answer(&app, request(&phone)).await.status(), 401);
    assert_eq!(answer(&app, request(&laptop)).await.status(), 401);
    assert_eq!(answer(&app, request(&other)).await.status(), 200);
    assert_eq!(sandbox.calls(&other), 1, "nobody asked again");
}
