//! Where the keys of an issuer come from (feature `jwt`): they are given, or fetched from where it publishes them, RFC
//! 7517 section 5.
//!
//! ```text
//! a token's header
//!    │  the keys at hand; who comes first waits until they are fetched
//!    ▼
//! a key fits ───────▶ the signature is verified, nobody waits
//!    │  none does: they are fetched again, once in half a minute
//!    ▼
//! a key fits ───────▶ the signature is verified
//!    │  none does
//!    ▼
//! the token is not the issuer's
//! ```
//!
//! Keys that were fetched are fetched again on a timer, so that one which was removed goes. A failure never drops keys.

mod allowance;
mod fetched;
mod place;
mod source;

use crate::clock::Timestamp;
use crate::error::IntrospectError;
use crate::jose::KeySet;

use self::fetched::Fetched;
pub(crate) use self::place::Place;
pub(crate) use self::source::KeySource;

/// The keys of one issuer. No other's token is ever judged by them.
pub(crate) enum Keys {
    Given(KeySet),
    Fetched(Fetched),
}

impl Keys {
    /// A key set in which something `fits` a token that names `kid` and says that it was issued at `issued_at`: the one
    /// at hand, which is waited for the first time, or a newer one. `None` if the issuer has no such key.
    ///
    /// # Errors
    /// If keys cannot be fetched, or may not be looked for yet.
    pub(crate) async fn find(
        &self,
        kid: Option<&str>,
        issued_at: Option<Timestamp>,
        fits: impl Fn(&KeySet) -> bool,
    ) -> Result<Option<KeySet>, IntrospectError> {
        match self {
            Self::Given(keys) => Ok(Some(keys.clone()).filter(fits)),
            Self::Fetched(fetched) => fetched.find(kid, issued_at, fits).await,
        }
    }
}
