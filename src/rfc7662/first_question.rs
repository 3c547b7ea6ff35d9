//! Finding the endpoint of an issuer for the first question.

use super::builder::{Credentials, reach};
use crate::discovery::{Discovery, DiscoveryError};
use crate::excerpt::excerpt;
use crate::http::link::Link;
use crate::target::{Search, Searching};
use crate::url::shown;

/// A search that the first question starts.
pub(crate) struct FirstQuestion {
    pub(crate) discovery: Discovery,
    pub(crate) credentials: Credentials,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) link: Link,
}

impl Search for FirstQuestion {
    fn search(&self) -> Searching<'_> {
        Box::pin(async move {
            let found = self.discovery.find().await?;
            let issuer = &self.discovery.issuer;
            let reached = reach(&found, Some(issuer), &self.credentials, &self.parameters, &self.link);
            let (target, _) = reached.map_err(|error| DiscoveryError::of_a_setting(issuer, error))?;
            tracing::info!(issuer = %shown(issuer), endpoint = %excerpt(&shown(&target.url)), "the introspection endpoint was discovered");
            Ok(target)
        })
    }
}
