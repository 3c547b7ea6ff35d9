//! Tokens that are bound to a key of their holder, RFC 8705 and RFC 9449.

use crate::policy::Refusal;
use crate::request::RequestView;
use crate::token::AccessToken;

/// Stands in the extensions of a request whose caller has proved that it holds the key of this token. Only this crate
/// makes one, and only for the token that it was proved of: no other token, and no caller, comes in by it.
#[cfg(any(feature = "certificate-bound", feature = "dpop"))]
#[derive(Clone)]
pub(crate) struct Proven {
    /// The very one that the layer let in.
    pub(crate) token: AccessToken,
    /// The hash of the connection's certificate, if the token is bound to one.
    #[cfg(feature = "certificate-bound")]
    pub(crate) certificate: Option<[u8; 32]>,
    /// The proof, if it was one: it is used now, and comes in again only with this very request.
    #[cfg(feature = "dpop")]
    pub(crate) proof: Option<http::HeaderValue>,
}

/// Refuses a token that is bound to a key of its holder, unless the caller has proved that it holds the key. Whether it
/// does is found out by the layer, once for a request, and never by the cache: a proof is worth one request.
pub(super) fn verify_possession(token: &AccessToken, request: &RequestView) -> Result<(), Refusal> {
    if token.is_sender_constrained() { is_proven(token, request) } else { Ok(()) }
}

#[cold]
fn is_proven(token: &AccessToken, request: &RequestView) -> Result<(), Refusal> {
    #[cfg(any(feature = "certificate-bound", feature = "dpop"))]
    if request.extension::<Proven>().is_some_and(|proven| proven.token.is_the_same_as(token)) {
        return Ok(());
    }
    let _ = (token, request);
    Err(Refusal::SenderConstrained)
}

/// Tells the operator that it was one of these, and how it is bound.
pub(crate) fn tell_of_missing_proof(token: &AccessToken) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let confirmation: serde_json::Map<String, serde_json::Value> = token.claim("cnf").unwrap_or_default();
    let missing = if confirmation.contains_key("jkt") {
        "a DPoP proof"
    } else if confirmation.contains_key("x5t#S256") {
        "a client certificate"
    } else {
        "a proof of possession"
    };
    tracing::debug!(missing, "a sender-constrained token was presented as a plain bearer token");
}
