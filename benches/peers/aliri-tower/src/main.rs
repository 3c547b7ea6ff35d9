//! `aliri_tower`: one layer that verifies JWTs, another that checks the scope. Issuer, audience and expiry are checked
//! too.

use std::process::ExitCode;

use aliri::{jwa, jwt};
use aliri_oauth2::scope::BasicClaimsWithScope;
use aliri_oauth2::{Authority as Verifier, ScopePolicy};
use aliri_tower::Oauth2Authorizer;
use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use peer_common::{AUDIENCE, App, Authority, Failure, PATH, SCOPE};
use tower_layer::Layer;

async fn guarded(authority: &Authority) -> Result<impl App + use<>, Failure> {
    let validator = jwt::CoreValidator::default()
        .check_expiration()
        .add_approved_algorithm(jwa::Algorithm::RS256)
        .add_approved_algorithm(jwa::Algorithm::ES256)
        .add_allowed_audience(jwt::Audience::from_static(AUDIENCE))
        .require_issuer(authority.issuer().to_owned().into());
    let verifier = Verifier::new_from_url(authority.jwks_url(), validator).await?;
    let authorizer = Oauth2Authorizer::new().with_claims::<BasicClaimsWithScope>().with_terse_error_handler::<Body>();
    let handler = get(async |_: Extension<BasicClaimsWithScope>| "all of them");
    let scope = authorizer.scope_layer(ScopePolicy::allow_one_from_static(SCOPE));
    Ok(authorizer.jwt_layer(verifier).layer(scope.layer(Router::new().route(PATH, handler))))
}

fn main() -> ExitCode {
    peer_common::run(guarded)
}
