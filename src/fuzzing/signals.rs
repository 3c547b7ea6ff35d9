//! What an authority tells of, and what is to be forgotten for it.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::selection::{Rule, Selection};
use crate::signals::{meant_by, read_answer};
use crate::token::{AccessToken, StatedClaims};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

/// Reads the claims of an event, of a logout token, and the answer to a poll.
pub fn signals(bytes: &[u8]) {
    for is_logout in [false, true] {
        if let Some(meant) = meant_by(bytes, is_logout, NOW) {
            meant.iter().for_each(check);
            check_claims(bytes, is_logout);
        }
    }
    if let Ok(events) = read_answer(bytes, 20) {
        assert!(events.len() <= 20);
    }
}

/// It means somebody, and nobody of another issuer, and other processes can be told.
fn check(selection: &Selection) {
    let rule = selection.rule(|_| Vec::new());
    let silent = AccessToken::builder();
    let holds = |rule: &Rule, token: AccessToken| rule.holds(&StatedClaims::of(&token));
    assert!(!rule.is_all() && !holds(&rule, silent.clone().build()), "it is about everybody");
    assert!(!holds(&rule, silent.clone().subject("\u{0}nobody").claim_value("sid", Value::Null).build()));
    assert!(!holds(&rule, silent.issuer("https://c.example").build()), "it is about another issuer");
    let bytes = serde_json::to_vec(&rule).expect("it has a form in JSON");
    assert!(bytes.len() < 3_500, "it does not fit into a record");
}

/// What was accepted is what it has to be, as another reader has it.
fn check_claims(bytes: &[u8], is_logout: bool) {
    // Half a character in a member that nobody looks at is read here only.
    let Ok(stated) = serde_json::from_slice::<Value>(bytes) else { return };
    let is_said = |name: &str| stated.get(name).is_some_and(|value| !value.is_null());
    assert!(stated["iss"] == "https://a.example" && stated["jti"].is_string() && stated["iat"].is_number());
    assert!(stated["aud"] == "us" || stated["aud"].as_array().is_some_and(|all| all.contains(&"us".into())));
    if is_logout {
        assert!(is_said("exp") && !is_said("nonce") && (is_said("sub") || is_said("sid")));
    } else {
        assert!(!is_said("exp") && !is_said("sub"));
    }
}
