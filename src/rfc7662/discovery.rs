//! Finding the introspection endpoint of an issuer: RFC 8414, and OpenID Connect Discovery.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::Rfc7662Builder;
use crate::error::IntrospectError;
use crate::error::innermost;
use crate::http::connection::Connection;
use crate::http::credential::Credential;
use crate::http::exchange::{Question, status_error};
use crate::http::link::Link;
use crate::url::shown;

/// Finds the endpoint in the metadata of an issuer. Made by [`Rfc7662::discover`](crate::Rfc7662::discover).
///
/// The settings go over to the builder that [`fetch`](Self::fetch) returns.
#[derive(Clone)]
#[must_use]
pub struct Rfc7662Discovery {
    issuer: String,
    link: Link,
}

/// The members of RFC 8414 section 2 that are needed here.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    introspection_endpoint: Option<String>,
    introspection_endpoint_auth_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// RFC 8705 section 5. Of no concern to most clients, whatever it is.
    #[serde(default)]
    mtls_endpoint_aliases: Value,
}

impl Metadata {
    /// How clients authenticate at the introspection endpoint. Where that is not said, what the token endpoint takes is
    /// the best guess: they are the same clients.
    fn auth_methods(self) -> Option<Vec<String>> {
        self.introspection_endpoint_auth_methods_supported.or(self.token_endpoint_auth_methods_supported)
    }
}

impl Rfc7662Discovery {
    pub(crate) fn new(issuer: String) -> Self {
        Self { issuer, link: Link::default() }
    }

    /// How the issuer is reached, and later the endpoint, unless the builder is given another connection. Default:
    /// [`Connection::new`].
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// How long each of up to three exchanges may take, and later a question of the builder. Default: 3 seconds.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.link.request_timeout = timeout;
        self
    }

    /// Fetches the metadata: `/.well-known/oauth-authorization-server` with the issuer's path behind it (RFC 8414
    /// section 3), then `/.well-known/openid-configuration` behind the issuer's path (OpenID Connect Discovery section
    /// 4), then before it (RFC 8414 section 5). The first document that names an introspection endpoint serves.
    ///
    /// # Errors
    /// If the issuer is not an `https` URL (`http` works on loopback, and with
    /// [`dangerously_allow_plain_http`](Connection::dangerously_allow_plain_http)) or has a query or a fragment; if it
    /// cannot be reached, publishes no such document, or publishes one of another issuer (RFC 8414 section 3.3): the
    /// two must be the same to the letter, a slash at the end included; or if a setting cannot work, such as a timeout
    /// of zero.
    pub async fn fetch(self) -> Result<Rfc7662Builder, DiscoveryError> {
        let issuer = shown(&self.issuer).into_owned();
        let fail = |problem: String| DiscoveryError { issuer: issuer.clone(), problem, unreachable: false };
        let no_answer = |error: &IntrospectError| DiscoveryError {
            unreachable: error.is_outage(),
            ..fail(format!("{error}: {}", innermost(error)))
        };
        let url = Url::parse(&self.issuer).map_err(|error| fail(format!("not a URL: {error}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fail("an issuer has no query and no fragment".into()));
        }
        let exchange = self.link.open("issuer", &url).map_err(|error| fail(error.to_string()))?;
        let (mut tried, mut busy) = (Vec::new(), false);
        for url in well_known(&self.issuer, &url) {
            let question = Question { url: &url, form: None };
            let answer = exchange.send(question, &Credential::none()).await.map_err(|error| no_answer(&error))?;
            busy |= status_error(answer.status).is_outage();
            let outcome = match serde_json::from_slice::<Metadata>(&answer.body) {
                _ if answer.status != StatusCode::OK => format!("HTTP status {}", answer.status.as_u16()),
                Err(_) => answer.foreign_coding().unwrap_or_else(|| "not a metadata document".into()),
                Ok(metadata) if metadata.issuer != self.issuer => {
                    return Err(fail(format!(
                        "{url} is the metadata of another issuer, {:?}; give the issuer exactly as it is written there",
                        metadata.issuer
                    )));
                }
                Ok(mut metadata) => match metadata.introspection_endpoint.take() {
                    None => "no `introspection_endpoint`".into(),
                    Some(endpoint) => {
                        let mut builder = Rfc7662Builder::new(endpoint);
                        builder.mtls_url =
                            metadata.mtls_endpoint_aliases["introspection_endpoint"].as_str().map(Into::into);
                        builder.issuer = Some(self.issuer);
                        builder.auth_methods = metadata.auth_methods();
                        builder.link = self.link;
                        return Ok(builder);
                    }
                },
            };
            tried.push(format!("{url}: {outcome}"));
        }
        let problem = format!("no introspection endpoint found; {}", tried.join("; "));
        Err(DiscoveryError { unreachable: busy, ..fail(problem) })
    }
}

/// Where the metadata may stand. Without a path the last two are one place.
fn well_known(issuer: &str, url: &Url) -> Vec<String> {
    let path = url.path().trim_end_matches('/');
    let before = |name: &str| {
        let mut place = url.clone();
        place.set_path(&format!("/.well-known/{name}{path}"));
        String::from(place)
    };
    let mut places = vec![
        before("oauth-authorization-server"),
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')),
    ];
    if !path.is_empty() {
        places.push(before("openid-configuration"));
    }
    places
}

impl fmt::Debug for Rfc7662Discovery {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Rfc7662Discovery").field("issuer", &shown(&self.issuer)).finish_non_exhaustive()
    }
}

/// The introspection endpoint of an issuer was not found.
#[derive(Debug)]
pub struct DiscoveryError {
    issuer: String,
    problem: String,
    unreachable: bool,
}

impl DiscoveryError {
    /// Whether the server could not be reached, did not answer completely and in time, or said that it is busy (429,
    /// 502, 503, 504): it may answer another time. Otherwise somebody has to change something.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.unreachable
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "discovery of {}: {}", self.issuer, self.problem)
    }
}

impl Error for DiscoveryError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_in_all_well_known_forms() {
        let places = |issuer: &str| well_known(issuer, &Url::parse(issuer).unwrap());
        for issuer in ["https://a.example", "https://a.example/"] {
            assert_eq!(
                places(issuer),
                [
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration"
                ]
            );
        }
        // RFC 8414 section 3.1 and section 5.
        assert_eq!(
            places("https://example.com/issuer1"),
            [
                "https://example.com/.well-known/oauth-authorization-server/issuer1",
                "https://example.com/issuer1/.well-known/openid-configuration",
                "https://example.com/.well-known/openid-configuration/issuer1"
            ]
        );
    }
}
