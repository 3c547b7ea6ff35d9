//! The `WWW-Authenticate` value, RFC 6750 section 3.

use http::HeaderValue;

use crate::build_error::BuildError;
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

    /// `None` only if a parameter held a control character, which the fixed texts and the checked settings do not.
    pub(super) fn render<const N: usize>(&self, parameters: [(&str, Option<&str>); N]) -> Option<HeaderValue> {
        // Room for all of most challenges, or it would grow several times.
        let mut value = String::with_capacity(256);
        value.push_str("Bearer realm=");
        value.push_str(&self.realm);
        let document = ("resource_metadata", self.resource_metadata.as_deref());
        for (name, parameter) in parameters.into_iter().chain([document]) {
            if let Some(parameter) = parameter {
                for part in [", ", name, "=\"", parameter, "\""] {
                    value.push_str(part);
                }
            }
        }
        HeaderValue::try_from(value).ok()
    }
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
