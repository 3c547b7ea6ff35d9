//! The `WWW-Authenticate` value, RFC 6750 section 3.

#[cfg(feature = "dpop")]
use std::fmt;
#[cfg(feature = "dpop")]
use std::sync::Arc;

use http::HeaderValue;
#[cfg(feature = "dpop")]
use http::header::AUTHORIZATION;

use crate::build_error::BuildError;
#[cfg(feature = "dpop")]
use crate::policy::Proven;
#[cfg(feature = "dpop")]
use crate::request::RequestView;
#[cfg(feature = "dpop")]
use crate::source;
use crate::url::absolute_url;

/// What every challenge of one layer has in common.
#[derive(Debug)]
pub(crate) struct Challenge {
    /// As a quoted-string, quotes included.
    realm: String,
    resource_metadata: Option<String>,
}

impl Default for Challenge {
    fn default() -> Self {
        Self { realm: r#""api""#.into(), resource_metadata: None }
    }
}

impl Challenge {
    /// # Errors
    /// If `realm` holds what a quoted-string cannot carry in plain sight, or `resource_metadata` is not an absolute
    /// URL.
    pub(crate) fn new(realm: Option<&str>, resource_metadata: Option<&str>) -> Result<Self, BuildError> {
        let mut challenge = Self::default();
        if let Some(realm) = realm {
            challenge.realm = quoted(realm)?;
        }
        if let Some(url) = resource_metadata {
            let url = absolute_url("resource_metadata", url)?;
            challenge.resource_metadata = Some(url.into());
        }
        Ok(challenge)
    }

    /// Whether clients are told where to learn about this resource.
    pub(super) fn names_metadata(&self) -> bool {
        self.resource_metadata.is_some()
    }

    /// For a service that takes DPoP, RFC 9449 section 7.1.
    #[cfg(feature = "dpop")]
    pub(super) fn render_with_dpop<const N: usize>(
        &self,
        dpop: &DpopChallenge,
        schemes: Schemes,
        parameters: [(&str, Option<&str>); N],
    ) -> Option<HeaderValue> {
        let mut value = String::with_capacity(512);
        let document = ("resource_metadata", self.resource_metadata.as_deref());
        let algorithms = ("algs", Some(&*dpop.algorithms));
        match schemes {
            Schemes::Dpop => {
                let all = parameters.into_iter().chain([algorithms, document]);
                self.push(&mut value, "DPoP", all);
            }
            Schemes::Both => {
                self.push(&mut value, "Bearer", parameters.into_iter().chain([document]));
                value.push_str(", ");
                self.push(&mut value, "DPoP", [algorithms, document].into_iter());
            }
        }
        HeaderValue::try_from(value).ok()
    }

    /// `None` only if a parameter held a control character, which the fixed texts and the checked settings do not.
    pub(super) fn render<const N: usize>(&self, parameters: [(&str, Option<&str>); N]) -> Option<HeaderValue> {
        // Room for all of most challenges, or it would grow several times.
        let mut value = String::with_capacity(256);
        let document = ("resource_metadata", self.resource_metadata.as_deref());
        self.push(&mut value, "Bearer", parameters.into_iter().chain([document]));
        HeaderValue::try_from(value).ok()
    }

    fn push<'p>(&self, value: &mut String, scheme: &str, parameters: impl Iterator<Item = (&'p str, Option<&'p str>)>) {
        for part in [scheme, " realm=", &self.realm] {
            value.push_str(part);
        }
        for (name, parameter) in parameters {
            if let Some(parameter) = parameter {
                for part in [", ", name, "=\"", parameter, "\""] {
                    value.push_str(part);
                }
            }
        }
    }
}

/// What challenges of a service hold that takes DPoP.
#[cfg(feature = "dpop")]
#[derive(Clone)]
pub(crate) struct DpopChallenge {
    /// Separated by spaces.
    pub(crate) algorithms: Arc<str>,
    /// Whether a bearer token can come in at all.
    pub(crate) accepts_bearer: bool,
    /// The one to hand out, where there are nonces.
    pub(crate) nonce: Arc<dyn Fn() -> Option<HeaderValue> + Send + Sync>,
}

#[cfg(feature = "dpop")]
impl fmt::Debug for DpopChallenge {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("DpopChallenge").field("accepts_bearer", &self.accepts_bearer).finish_non_exhaustive()
    }
}

/// Which schemes a challenge names.
#[cfg(feature = "dpop")]
#[derive(Clone, Copy)]
pub(super) enum Schemes {
    Dpop,
    /// What went wrong, under `Bearer`, and that the other one would do as well.
    Both,
}

/// Whether the token of this request came with a proof. A layer that takes tokens out leaves word that one was there.
#[cfg(feature = "dpop")]
pub(super) fn is_of_dpop(request: &RequestView) -> bool {
    let was_proven = request.extension::<Proven>().is_some_and(|proven| proven.proof.is_some());
    was_proven || request.headers().get(AUTHORIZATION).is_some_and(|value| source::is_dpop(value.as_bytes()))
}

fn quoted(realm: &str) -> Result<String, BuildError> {
    if let Some(bad) = realm.chars().find(|c| !matches!(c, ' '..='~')) {
        return Err(BuildError::new(
            "realm",
            format!("it holds {bad:?}; only visible ASCII characters and spaces can stand in a challenge"),
        ));
    }
    let escaped = realm.replace('\\', r"\\").replace('"', "\\\"");
    Ok(format!("\"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_separated_by_commas_and_the_realm_is_quoted() {
        let challenge = Challenge::new(Some(r#"a "b" \c"#), None).unwrap();
        assert_eq!(challenge.render([("scope", None)]).unwrap(), r#"Bearer realm="a \"b\" \\c""#);
        assert_eq!(
            Challenge::default().render([("error", Some("x")), ("scope", None), ("max_age", Some("5"))]).unwrap(),
            r#"Bearer realm="api", error="x", max_age="5""#
        );
    }

    #[test]
    fn a_realm_that_could_break_the_header_is_refused() {
        for bad in ["a\nb", "a\r\nSet-Cookie: x", "\u{e4}", "\u{7f}", "\t"] {
            assert_eq!(Challenge::new(Some(bad), None).unwrap_err().setting(), "realm", "{bad:?}");
        }
    }
}
