//! What a token tells of the login behind it, RFC 9470 section 6. It stays among the claims.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::AccessToken;
use crate::clock::Timestamp;
use crate::token::claims::Text;

/// As far as it is told, and can be read.
#[derive(Default)]
pub(crate) struct Login<'t> {
    pub(crate) acr: Option<Cow<'t, str>>,
    pub(crate) auth_time: Option<Timestamp>,
}

/// The members, found in one look at all claims.
#[derive(Default, Deserialize)]
struct Members<'t> {
    #[serde(borrow)]
    acr: Option<&'t RawValue>,
    #[serde(borrow)]
    auth_time: Option<&'t RawValue>,
}

impl AccessToken {
    /// In which way the user logged in, the authentication context class reference: `acr`, RFC 9470 section 6. `None`
    /// if it is no text. It is one of the further [claims](Self::claim) too, and so is the next.
    #[must_use]
    pub fn acr(&self) -> Option<Cow<'_, str>> {
        self.login().acr
    }

    /// When the user logged in: `auth_time`, RFC 9470 section 6. `None` if it is no number.
    #[must_use]
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.login().auth_time
    }

    pub(crate) fn login(&self) -> Login<'_> {
        let Members { acr, auth_time } = serde_json::from_str(self.0.claims().0).unwrap_or_default();
        Login {
            acr: acr.and_then(|acr| serde_json::from_str(acr.get()).ok()).map(|Text(acr)| acr),
            auth_time: auth_time.and_then(|time| serde_json::from_str(time.get()).ok()),
        }
    }
}
