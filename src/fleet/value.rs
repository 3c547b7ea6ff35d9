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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scopes;
    use crate::fleet::FleetSecret;
    use crate::fleet::engine::{Header, Name, Version};
    use crate::fleet::keys::Keyring;

    /// To change these numbers is to change the version of the format.
    #[test]
    fn an_inactive_answer_is_two_bytes_with_its_reason() {
        for (number, reason) in (0..).zip(InactiveReason::ALL) {
            let bytes = encode(&Verdict::Inactive(reason));
            assert_eq!(bytes, [0, number]);
            assert!(matches!(decode(&bytes), Some(Verdict::Inactive(read)) if read == reason));
        }
        let unclear = encode(&Verdict::Inactive(InactiveReason::Unclear));
        assert_eq!(unclear, [0, 4]);
        assert_eq!(encode(&Verdict::Inactive(InactiveReason::Unverified)), [0, 5]);
    }

    #[test]
    fn an_active_answer_has_its_facts() {
        let token = AccessToken::builder().scopes(Scopes::parse("read")).subject("ann").build();
        let Some(Verdict::Active(read)) = decode(&encode(&Verdict::Active(token))) else { panic!("not active") };
        assert_eq!((read.subject(), read.scopes().to_string()), (Some("ann"), "read".to_owned()));
    }

    #[test]
    fn no_other_bytes_are_a_verdict() {
        let active = encode(&Verdict::Active(AccessToken::builder().build()));
        let longer = [&active[..], &[0]].concat();
        let others: [&[u8]; 9] = [&[], &[0], &[1], &[2, 0], &[0, 6], &[0, 255], &[0, 0, 0], &active[1..], &longer];
        for other in others {
            assert!(decode(other).is_none(), "{other:?}");
        }
    }

    /// Invariant 3: it is not shared, and that is no error.
    #[test]
    fn facts_of_70_000_bytes_are_not_sealed() {
        let secret = FleetSecret::from_bytes((0..32).collect::<Vec<u8>>()).unwrap();
        let keyring = Keyring::new("shop", &secret, None).unwrap();
        let header = Header { key_id: 0, version: Version { epoch: 1, asked_at: 1 }, as_of: 1 };
        let sealed = |length: usize| {
            let token = AccessToken::builder().attribute("x", "y".repeat(length)).build();
            keyring.seal_value(&Name("name".into()), header, &encode(&Verdict::Active(token)))
        };
        assert!(sealed(60_000).is_some() && sealed(70_000).is_none());
    }
}
