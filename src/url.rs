//! Which URLs are safe to send something to, or to send somebody to.

use std::borrow::Cow;
use std::net::IpAddr;

use reqwest::Url;

use crate::build_error::BuildError;

/// What of a URL may be shown: a query can be secret, and so is what stands before the host.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    if !text.contains('@') {
        return before_query.into();
    }
    match Url::parse(text) {
        Ok(url) if url.has_host() && url.username().is_empty() && url.password().is_none() => before_query.into(),
        Ok(mut url) if url.has_host() => {
            // None of these fails for a URL that had a user.
            let _ = (url.set_username(""), url.set_password(None));
            url.set_query(None);
            url.set_fragment(None);
            String::from(url).into()
        }
        _ => "a text that is not a URL".into(),
    }
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
    use super::shown;

    #[test]
    fn of_a_url_is_shown_what_is_no_secret() {
        for (text, expected) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/realms/x@y?key=hush#hush", "https://a.example/realms/x@y"),
            ("https://user:hush@a.example/x?hush", "https://a.example/x"),
            ("https:user:hush@a.example", "https://a.example/"),
            ("https://user:hu@sh@a.example/", "https://a.example/"),
            ("a.example?hush", "a.example"),
            ("https://user:hu:sh/@", "a text that is not a URL"),
            ("user:hush@a.example", "a text that is not a URL"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
