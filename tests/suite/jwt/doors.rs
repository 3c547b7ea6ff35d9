//! Each kind of JWT at each door: the one that it is for lets it in, and no other, though all are signed by one key and
//! name one issuer and whatever audience the door wants.

use serde_json::{Value, json};
use tower_introspection::jwt::{AccessTokenClaim, Hybrid};
use tower_introspection::rfc7662::SignedAnswers;
use tower_introspection::sandbox::Sandbox;
use tower_introspection::{Introspect, Verdict, introspect_fn};

use super::{AUDIENCE, ask, claims, judge, sign};

/// What a server signs, by the type of its header: an access token (RFC 9068), an answer of introspection (RFC 9701), a
/// security event (RFC 8417), a logout token (OpenID Connect Back-Channel Logout 1.0), a proof of possession (RFC
/// 9449), and an ID token or whatever else says nothing of itself.
const TYPES: [Option<&str>; 7] = [
    Some("at+jwt"),
    Some("token-introspection+jwt"),
    Some("secevent+jwt"),
    Some("logout+jwt"),
    Some("dpop+jwt"),
    Some("JWT"),
    None,
];

/// Whatever any door could want to see.
fn of_all_kinds(sandbox: &Sandbox) -> Value {
    let mut all = claims(sandbox);
    all["aud"] = json!([AUDIENCE, sandbox.client_id()]);
    all["nonce"] = json!("1");
    all["events"] = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    all["htm"] = json!("GET");
    all["htu"] = json!(AUDIENCE);
    all["token_introspection"] = json!({ "active": true, "sub": "mallory" });
    all
}

#[tokio::test]
async fn each_kind_has_its_own_door() {
    let sandbox = Sandbox::start().await.unwrap();
    let signed = SignedAnswers::discover(sandbox.issuer());
    let answers = sandbox.rfc7662().signed_answers(signed).build().unwrap();
    let access = judge(&sandbox).build().unwrap();
    let anything = introspect_fn(async |_| Ok(Verdict::Active(tower_introspection::AccessToken::builder().build())));
    let hybrid = Hybrid::new(judge(&sandbox).build().unwrap(), anything);
    let of_keycloak = AccessTokenClaim::is("typ", "Bearer");
    let relaxed = judge(&sandbox).dangerously_allow_type_jwt(of_keycloak).build().unwrap();
    for typ in TYPES {
        let all = of_all_kinds(&sandbox);
        let text = match typ {
            Some(typ) => sign(&sandbox, typ, &all),
            None => sandbox.sign(json!({}), &all).unwrap(),
        };
        // What is presented is any token; what is tried is the answer about it.
        sandbox.script_as("opaque", 200, "application/token-introspection+jwt", &*text);
        let let_in = [
            is_let_in(&access, &text).await,
            is_let_in(&hybrid, &text).await,
            is_let_in(&relaxed, &text).await,
            is_let_in(&answers, "opaque").await,
        ];
        let expected = match typ {
            Some("at+jwt") => [true, true, true, false],
            Some("token-introspection+jwt") => [false, false, false, true],
            _ => [false; 4],
        };
        assert_eq!(let_in, expected, "{typ:?}");
    }
}

async fn is_let_in(door: &impl Introspect, text: &str) -> bool {
    ask(door, text).await.is_ok()
}
