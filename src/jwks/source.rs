//! Where keys come from, as a builder is told.

use std::sync::Arc;
use std::time::Duration;

use super::Keys;
use super::fetched::Fetched;
use super::place::{self, Place};
use crate::build_error::BuildError;
use crate::http::link::Link;
use crate::jose::KeySet;
use crate::protection::{Authority, EndpointHandle, Limits, Protection, Reading};

/// The least pause between two refreshes.
const LEAST: Duration = Duration::from_secs(1);

/// Where the keys of an issuer come from.
pub(crate) enum KeySource {
    Unsaid,
    Given(KeySet),
    At(Place),
}

impl KeySource {
    pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(300);

    /// The keys of `issuer`, and how their server fares. Of keys that were given nothing is ever asked.
    ///
    /// # Errors
    /// Names the setting that cannot work.
    pub(crate) fn open(
        self,
        issuer: &str,
        authority: Authority,
        link: Link,
        limits: &Limits,
        refresh_every: Duration,
    ) -> Result<(Keys, EndpointHandle), BuildError> {
        if refresh_every < LEAST {
            return Err(BuildError::new("refresh_keys_every", "less than a second asks the issuer without end"));
        }
        match self {
            Self::Unsaid => {
                Err(BuildError::new("keys", "there are none; call `keys` or `jwks_url`, or find them by `discover`"))
            }
            Self::Given(keys) => {
                limits.check()?;
                let rate_limit = place::rate_limit();
                let protection = Protection::new(limits, rate_limit, link.request_timeout, link.clock, "");
                Ok((Keys::Given(keys), EndpointHandle::new(Arc::new(protection), Arc::new(authority))))
            }
            Self::At(place) => {
                let endpoint = place.open(issuer, authority, link, limits)?;
                let handle = endpoint.handle();
                Ok((Keys::Fetched(Fetched::new(endpoint, refresh_every)), handle))
            }
        }
    }

    /// Notes where keys come from, or which they are: others make other verdicts.
    pub(crate) fn note(&self, noted: &mut Reading) {
        match self {
            Self::Given(keys) => {
                let mut thumbprints = keys.thumbprints();
                thumbprints.sort_unstable();
                thumbprints.iter().for_each(|thumbprint| noted.note("key", &[thumbprint]));
            }
            Self::At(Place::At(url)) => noted.note("jwks_url", &[url]),
            Self::At(_) | Self::Unsaid => {}
        }
    }
}
