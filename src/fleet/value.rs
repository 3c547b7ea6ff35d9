//! A verdict as the bytes that are sealed.
//!
//! Not as JSON, in which the claims of an answer and the facts of Apigee's share one object: a claim `api_products`
//! of another server would come back as the fact that policies go by. Neither is a deadline in it, nor what a cache
//! notes: each reader judges by its own settings.

use crate::introspect::{InactiveReason, Verdict};
use crate::token::AccessToken;

const INACTIVE: u8 = 0;
const ACTIVE: u8 = 1;

pub(crate) fn encode(verdict: &Verdict) -> Vec<u8> {
    match verdict {
        Verdict::Inactive(reason) => vec![INACTIVE, *reason as u8],
        Verdict::Active(token) => {
            let mut bytes = vec![ACTIVE];
            token.to_bytes(&mut bytes);
            bytes
        }
    }
}

/// `None` unless [`encode`] made it.
pub(crate) fn decode(bytes: &[u8]) -> Option<Verdict> {
    match bytes {
        [INACTIVE, reason] => InactiveReason::ALL.get(usize::from(*reason)).copied().map(Verdict::Inactive),
        [ACTIVE, token @ ..] => AccessToken::from_bytes(token).map(Verdict::Active),
        _ => None,
    }
}
