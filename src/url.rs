//! Which URLs are safe to send something to, or to send somebody to.

use std::borrow::Cow;
use std::net::IpAddr;

use reqwest::Url;

use crate::build_error::BuildError;

/// What of a URL may be shown: a query can be secret, and so can be whatever looks like a password.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    let after_scheme = before_query.split_once("://").map_or(before_query, |(_, rest)| rest);
    let may_hold_a_password = text.contains('@') || text.contains("%40");
    match Url::parse(text) {
        Ok(url) if may_hold_a_password && url.has_host() => url.origin().ascii_serialization().into(),
        Ok(_) if !may_hold_a_password => before_query.into(),
        Err(_) if !may_hold_a_password && !after_scheme.contains(':') => before_query.into(),
        _ => "(not shown)".into(),
    }
}

/// Whether the host is this machine itself: what goes there passes no network.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A URL that may stand in a challenge and in the document: absolute, without a fragment, and safe to follow. Parsing
/// leaves nothing in it that a quoted-string would have to escape.
pub(crate) fn absolute_url(setting: &'static str, text: &str) -> Result<Url, BuildError> {
    let shown = shown(text);
    let url = Url::parse(text).map_err(|error| BuildError::new(setting, format!("{shown:?} is not a URL: {error}")))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err(BuildError::new(setting, format!("{shown:?} is not an https URL (http is for loopback alone)")));
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(BuildError::new(setting, format!("{shown:?} holds a fragment, a user name or a password")));
    }
    if url.as_str().contains(['"', '\\']) {
        return Err(BuildError::new(setting, format!("{shown:?} holds a quote or a backslash; percent-encode it")));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::{absolute_url, shown};

    #[test]
    fn of_a_url_is_shown_what_is_no_secret() {
        for (text, expected) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example:8443/x?key=hush#hush", "https://a.example:8443/x"),
            ("https://[::1]:8443/x", "https://[::1]:8443/x"),
            ("https://a.example/realms/x@y?hush", "https://a.example"),
            ("https://user:hush@a.example:8443/x?hush", "https://a.example:8443"),
            ("https:user:hush@a.example", "https://a.example"),
            ("https://user:hu@sh@a.example/", "https://a.example"),
            // What the parser takes for a host, an empty port and a path.
            ("https://user:/hush@a.example/", "https://user"),
            ("https://id/x:hush@a.example", "https://id"),
            ("https:\\\\user:hush@a.example", "https://a.example"),
            ("a.example?hush", "a.example"),
            ("https://user:hush%40a.example", "(not shown)"),
            ("https://user:hush", "(not shown)"),
            ("https://user:hu:sh/@", "(not shown)"),
            ("user:hush@a.example", "(not shown)"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_url_to_follow_holds_no_fragment_no_user_name_and_no_password() {
        for text in [
            "https://a.example/x#y",
            "https://user@a.example/x",
            "https://:hush@a.example/x",
            "https://user:hush@a.example/x",
        ] {
            assert!(absolute_url("resource", text).is_err(), "{text}");
        }
        assert!(absolute_url("resource", "https://a.example:8443/x?y").is_ok());
    }
}
