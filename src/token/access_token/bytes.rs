//! An [`AccessToken`] as bytes, exactly as it is: for processes that share it.
//!
//! One byte of flags; the times that there are, eight bytes each; the length of the scopes, eight bytes, and the
//! scopes; the texts, as they are packed in memory. Numbers are big-endian. What a cache notes, and whether the facts
//! are stale, is not in it.

use std::sync::Arc;

use super::{AccessToken, AccessTokenBuilder, Facts};
use crate::clock::Timestamp;
use crate::token::Scopes;

const SENDER_CONSTRAINED: u8 = 1;
const ISSUED_AT: u8 = 2;
const NOT_BEFORE: u8 = 4;
const EXPIRES_AT: u8 = 8;

impl AccessToken {
    pub(crate) fn to_bytes(&self, out: &mut Vec<u8>) {
        let times = [(ISSUED_AT, self.issued_at()), (NOT_BEFORE, self.not_before()), (EXPIRES_AT, self.expires_at())];
        let mut flags = if self.is_sender_constrained() { SENDER_CONSTRAINED } else { 0 };
        for (flag, _) in times.iter().filter(|(_, time)| time.is_some()) {
            flags |= flag;
        }
        out.push(flags);
        for time in times.into_iter().filter_map(|(_, time)| time) {
            out.extend(time.as_unix_millis().to_be_bytes());
        }
        let scopes = self.scopes().to_string();
        out.extend((scopes.len() as u64).to_be_bytes());
        out.extend(scopes.as_bytes());
        out.extend(&self.0.texts);
    }

    /// `None` unless [`to_bytes`](Self::to_bytes) made it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&flags, mut rest) = bytes.split_first()?;
        if flags > SENDER_CONSTRAINED | ISSUED_AT | NOT_BEFORE | EXPIRES_AT {
            return None;
        }
        let mut time_if = |flag: u8| -> Option<Option<Timestamp>> {
            if flags & flag == 0 {
                return Some(None);
            }
            let millis = i64::from_be_bytes(take(&mut rest)?);
            Some(Some(Timestamp::from_unix_millis(millis)))
        };
        let (issued_at, not_before, expires_at) = (time_if(ISSUED_AT)?, time_if(NOT_BEFORE)?, time_if(EXPIRES_AT)?);
        let length = usize::try_from(u64::from_be_bytes(take(&mut rest)?)).ok()?;
        let (listed, texts) = rest.split_at_checked(length)?;
        let listed = std::str::from_utf8(listed).ok()?;
        let sender_constrained = flags & SENDER_CONSTRAINED != 0;
        let (scopes, texts) = ([listed].into_iter().collect::<Scopes>(), texts.into());
        let is_listed = scopes.to_string() == listed;
        let facts = Facts { scopes, sender_constrained, issued_at, not_before, expires_at, texts, ..Facts::default() };
        let token = Self(Arc::new(facts));
        (is_listed && token.is_well_packed()).then_some(token)
    }

    /// What the accessors make of the texts is packed as these very texts again, so that nothing stands there which
    /// they pass over or take for something else. Of the claims the text may be another: a float that was read may be
    /// written with another last digit.
    fn is_well_packed(&self) -> bool {
        let claims = self.0.claims();
        let members = claims.members();
        let is_bound = members.get("cnf").is_some_and(|confirmation| !confirmation.is_null());
        let again = AccessTokenBuilder::with_texts_of(self).texts(claims.0);
        (claims.0.is_empty() || !members.is_empty()) && is_bound == self.0.sender_constrained && again == self.0.texts
    }
}

fn take(rest: &mut &[u8]) -> Option<[u8; 8]> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*number)
}
