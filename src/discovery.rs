//! Finding what an issuer publishes the address of: RFC 8414, and OpenID Connect Discovery.

use std::error::Error;
use std::fmt;

use http::StatusCode;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use crate::build_error::BuildError;
use crate::error::{IntrospectError, IntrospectErrorKind, innermost};
use crate::excerpt::excerpt;
use crate::http::credential::Credential;
use crate::http::exchange::{Call, Exchange, JSON, Reply, status_error};
use crate::http::link::Link;
use crate::json;
use crate::url::shown;

/// What is looked for.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    IntrospectionEndpoint,
    /// The address of its key set.
    #[cfg(feature = "jwt")]
    Jwks,
    /// The same of a transmitter of security events, whose metadata may stand where Shared Signals has it.
    #[cfg(feature = "signals")]
    TransmitterJwks,
}

impl Wanted {
    /// The member of the metadata, RFC 8414 section 2.
    pub(crate) fn member(self) -> &'static str {
        match self {
            Self::IntrospectionEndpoint => "introspection_endpoint",
            #[cfg(feature = "jwt")]
            Self::Jwks => "jwks_uri",
            #[cfg(feature = "signals")]
            Self::TransmitterJwks => "jwks_uri",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::IntrospectionEndpoint => "introspection endpoint",
            #[cfg(feature = "jwt")]
            Self::Jwks => "key set",
            #[cfg(feature = "signals")]
            Self::TransmitterJwks => "key set",
        }
    }
}

/// The members of RFC 8414 section 2 that are needed here.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    introspection_endpoint: Option<String>,
    #[cfg(feature = "jwt")]
    jwks_uri: Option<String>,
    introspection_endpoint_auth_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// RFC 8705 section 5. Of no concern to most clients, whatever it is.
    #[serde(default)]
    mtls_endpoint_aliases: Value,
}

/// What the metadata says of what is looked for.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) url: String,
    /// Where the server wants clients with a certificate to ask.
    pub(crate) mtls_url: Option<String>,
    /// How clients authenticate at the introspection endpoint. Where that is not said, what the token endpoint takes is
    /// the best guess: they are the same clients.
    pub(crate) auth_methods: Option<Vec<String>>,
}

/// An issuer, and how its metadata is fetched.
pub(crate) struct Discovery {
    pub(crate) issuer: String,
    wanted: Wanted,
    places: Vec<String>,
    exchange: Exchange,
}

impl Discovery {
    /// # Errors
    /// If the issuer is no URL that serves, or for a setting of the connection.
    pub(crate) fn new(issuer: &str, wanted: Wanted, link: &Link) -> Result<(Self, Url), BuildError> {
        let fail = |problem: String| BuildError::new("issuer", problem);
        let url = Url::parse(issuer).map_err(|error| fail(format!("not a URL: {error}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fail("an issuer has no query and no fragment".into()));
        }
        let exchange = link.open("issuer", &url)?;
        let places = well_known(issuer, &url, wanted);
        Ok((Self { issuer: issuer.to_owned(), wanted, places, exchange }, url))
    }

    /// Looks at one place after the other, each within the request timeout.
    pub(crate) async fn find(&self) -> Result<Found, DiscoveryError> {
        let (mut tried, mut outage) = (Vec::new(), None);
        for url in &self.places {
            let outcome = match self.exchange.send(Call { url, body: None, accept: JSON }, &Credential::none()).await {
                Ok(reply) => match self.read(url, &reply)? {
                    Ok(found) => return Ok(found),
                    Err(outcome) => {
                        let error = status_error(reply.status);
                        outage = outage.or(error.is_outage().then_some(error));
                        outcome
                    }
                },
                Err(error) => {
                    let outcome = format!("{error}: {}", innermost(&error));
                    outage = outage.or(error.is_outage().then_some(error));
                    outcome
                }
            };
            tried.push(format!("{url}: {outcome}"));
        }
        let problem = format!("no {} found; {}", self.wanted.in_words(), tried.join("; "));
        Err(DiscoveryError { outage, ..self.fail(problem) })
    }

    /// What the answer of a place says, or why it says nothing.
    ///
    /// # Errors
    /// If it is about another issuer.
    fn read(&self, url: &str, reply: &Reply) -> Result<Result<Found, String>, DiscoveryError> {
        if reply.status != StatusCode::OK {
            return Ok(Err(format!("HTTP status {}", reply.status.as_u16())));
        }
        let members = match json::parse(&reply.body, &["issuer", self.wanted.member()]) {
            Ok(members) => members,
            Err(fault) => {
                let coding = reply.foreign_coding();
                return Ok(Err(coding.unwrap_or_else(|| format!("not a metadata document: {fault}"))));
            }
        };
        if !members.contains_key("issuer") {
            return Ok(Err("not a metadata document: it names no `issuer`".into()));
        }
        let Ok(metadata) = serde_json::from_value::<Metadata>(Value::Object(members)) else {
            return Ok(Err("not a metadata document: a member has another type than RFC 8414 section 2 says".into()));
        };
        if metadata.issuer != self.issuer {
            return Err(self.fail(format!(
                "{url} is the metadata of another issuer, {:?}; give the issuer exactly as it is written there",
                excerpt(&metadata.issuer)
            )));
        }
        let url = match self.wanted {
            Wanted::IntrospectionEndpoint => metadata.introspection_endpoint,
            #[cfg(feature = "jwt")]
            Wanted::Jwks => metadata.jwks_uri,
            #[cfg(feature = "signals")]
            Wanted::TransmitterJwks => metadata.jwks_uri,
        };
        let Some(url) = url else {
            return Ok(Err(format!("no `{}`", self.wanted.member())));
        };
        Ok(Ok(Found {
            url,
            mtls_url: metadata.mtls_endpoint_aliases["introspection_endpoint"].as_str().map(Into::into),
            auth_methods: metadata
                .introspection_endpoint_auth_methods_supported
                .or(metadata.token_endpoint_auth_methods_supported),
        }))
    }

    fn fail(&self, problem: String) -> DiscoveryError {
        DiscoveryError::new(&self.issuer, problem)
    }
}

/// Where the metadata may stand. Without a path the last two are one place.
fn well_known(issuer: &str, url: &Url, wanted: Wanted) -> Vec<String> {
    let path = url.path().trim_end_matches('/');
    let before = |name: &str| {
        let mut place = url.clone();
        place.set_path(&format!("/.well-known/{name}{path}"));
        String::from(place)
    };
    let mut places = match wanted {
        // Shared Signals Framework 1.0 section 7.2, and what the specification was called before.
        #[cfg(feature = "signals")]
        Wanted::TransmitterJwks => vec![before("ssf-configuration"), before("risc-configuration")],
        _ => Vec::new(),
    };
    places.push(before("oauth-authorization-server"));
    places.push(format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')));
    if !path.is_empty() {
        places.push(before("openid-configuration"));
    }
    places
}

/// What is asked or fetched of an issuer was not found: its introspection endpoint, or its key set.
///
/// If it is a setting that cannot work, or something that the metadata state, its source is the [`BuildError`].
#[derive(Debug)]
pub struct DiscoveryError {
    issuer: String,
    problem: String,
    /// The first failure that may be over another time.
    outage: Option<IntrospectError>,
    cause: Option<Box<BuildError>>,
}

impl DiscoveryError {
    fn new(issuer: &str, problem: String) -> Self {
        Self { issuer: shown(issuer).into_owned(), problem, outage: None, cause: None }
    }

    pub(crate) fn of_a_setting(issuer: &str, cause: BuildError) -> Self {
        let problem = format!("`{}` cannot work", cause.setting());
        Self { cause: Some(cause.into()), ..Self::new(issuer, problem) }
    }

    /// Whether a place to look at could not be reached, did not answer completely and in time, or said that the server
    /// is busy (429, 502, 503, 504): it may answer another time. Otherwise somebody has to change something.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.outage.is_some()
    }
}

impl From<DiscoveryError> for IntrospectError {
    fn from(error: DiscoveryError) -> Self {
        let cause = error.outage.clone().unwrap_or_else(|| Self::new(IntrospectErrorKind::Discovery));
        cause.of_discovery(error)
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "discovery of {}: {}", self.issuer, self.problem)
    }
}

impl Error for DiscoveryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_in_all_well_known_forms() {
        let places_of = |issuer: &str, wanted: Wanted| well_known(issuer, &Url::parse(issuer).unwrap(), wanted);
        let places = |issuer: &str| places_of(issuer, Wanted::IntrospectionEndpoint);
        for issuer in ["https://a.example", "https://a.example/"] {
            assert_eq!(
                places(issuer),
                [
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration"
                ]
            );
        }
        #[cfg(feature = "signals")]
        assert_eq!(
            places_of("https://a.example/issuer1", Wanted::TransmitterJwks)[..2],
            [
                "https://a.example/.well-known/ssf-configuration/issuer1",
                "https://a.example/.well-known/risc-configuration/issuer1"
            ]
        );
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
