//! Where an issuer publishes its keys: at an address that was given, or the one that its metadata names.

use std::sync::Arc;

use reqwest::Url;

use crate::build_error::BuildError;
use crate::credentials::source::CredentialSource;
use crate::discovery::{Discovery, DiscoveryError, Wanted};
use crate::endpoint::Endpoint;
use crate::error::IntrospectError;
use crate::excerpt::excerpt;
use crate::http::credential::Credential;
use crate::http::link::Link;
use crate::protection::{Authority, Limits, RateLimit};
use crate::target::{Search, Searching, Target};
use crate::url::shown;

/// Fetches a minute.
const RATE_LIMIT: u32 = 60;

pub(crate) enum Place {
    /// `jwks_url`.
    At(String),
    /// Where the issuer's metadata says.
    IssuerSays,
    /// The same of a transmitter of security events.
    #[cfg(feature = "signals")]
    TransmitterSays,
}

impl Place {
    /// The endpoint that keys of `issuer` are fetched from.
    ///
    /// # Errors
    /// Names the setting that cannot work.
    pub(crate) fn open(
        &self,
        issuer: &str,
        authority: Authority,
        link: Link,
        limits: &Limits,
    ) -> Result<Endpoint, BuildError> {
        match self {
            Self::At(url) => {
                let target = target("jwks_url", url, &link)?;
                let url = Url::parse(url).map_err(|error| not_a_url("jwks_url", &error))?;
                Endpoint::at(target, authority, &url, link, limits, rate_limit())
            }
            Self::IssuerSays => discovered(issuer, Wanted::Jwks, authority, link, limits),
            #[cfg(feature = "signals")]
            Self::TransmitterSays => discovered(issuer, Wanted::TransmitterJwks, authority, link, limits),
        }
    }
}

fn discovered(
    issuer: &str,
    wanted: Wanted,
    authority: Authority,
    link: Link,
    limits: &Limits,
) -> Result<Endpoint, BuildError> {
    let (discovery, url) = Discovery::new(issuer, wanted, &link)?;
    let search = FirstFetch { discovery, link: link.clone() };
    Endpoint::sought(search, authority, &url, link, limits, rate_limit())
}

/// For who sets none.
pub(super) fn rate_limit() -> RateLimit {
    RateLimit::per_minute(RATE_LIMIT)
}

fn target(setting: &'static str, url: &str, link: &Link) -> Result<Target, BuildError> {
    let parsed = Url::parse(url).map_err(|error| not_a_url(setting, &error))?;
    let exchange = link.open(setting, &parsed)?;
    let credentials = Arc::new(CredentialSource::Fixed(Credential::none()));
    Ok(Target { url: url.to_owned(), exchange, credentials })
}

fn not_a_url(setting: &'static str, error: &impl std::fmt::Display) -> BuildError {
    BuildError::new(setting, format!("not a URL: {error}"))
}

/// Finds the address for the first fetch.
struct FirstFetch {
    discovery: Discovery,
    link: Link,
}

impl FirstFetch {
    /// What can be wrong with the address is named as the metadata name it.
    fn target(&self, url: &str) -> Result<Target, BuildError> {
        let is_https = |url: &str| Url::parse(url).is_ok_and(|url| url.scheme() == "https");
        if is_https(&self.discovery.issuer) && !is_https(url) {
            return Err(BuildError::new("jwks_uri", "the issuer is https, and the key set it names is not"));
        }
        target("jwks_uri", url, &self.link)
    }

    async fn find(&self) -> Result<Target, IntrospectError> {
        let found = self.discovery.find().await?;
        let issuer = &self.discovery.issuer;
        let target = self.target(&found.url).map_err(|error| DiscoveryError::of_a_setting(issuer, error))?;
        tracing::info!(issuer = %shown(issuer), jwks = %excerpt(&shown(&target.url)), "the issuer's key set was discovered");
        Ok(target)
    }
}

impl Search for FirstFetch {
    fn search(&self) -> Searching<'_> {
        Box::pin(self.find())
    }
}
