//! Which URLs are safe to send something to, or to send somebody to.

use std::net::IpAddr;

use reqwest::Url;

use crate::build_error::BuildError;

/// What of a URL may be shown: a query can be secret.
pub(crate) fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(before, _)| before)
}

/// Whether the host is this machine itself: what goes there passes no network.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A URL that may stand in a challenge and in the document: absolute, without a fragment, and safe to follow. Parsing leaves
/// nothing in it that a quoted-string would have to escape.
pub(crate) fn absolute_url(setting: &'static str, text: &str) -> Result<Url, BuildError> {
    let url = Url::parse(text).map_err(|error| BuildError::new(setting, format!("{text:?} is not a URL: {error}")))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err(BuildError::new(setting, format!("{text:?} is not an https URL (http is for loopback alone)")));
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(BuildError::new(setting, format!("{text:?} holds a fragment, a user name or a password")));
    }
    if url.as_str().contains(['"', '\\']) {
        return Err(BuildError::new(setting, format!("{text:?} holds a quote or a backslash; percent-encode it")));
    }
    Ok(url)
}
