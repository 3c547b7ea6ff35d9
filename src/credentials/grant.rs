//! Access tokens for this service itself, from a token endpoint (RFC 6749).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use reqwest::Url;
use serde_json::Value;
use tower::BoxError;

use super::source::CredentialSource;
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::http::credential::Credential;
use crate::http::exchange::{Body, Call, Exchange, JSON, status_error};
use crate::http::link::Link;
use crate::json;

pub(crate) struct TokenEndpoint {
    url: String,
    exchange: Exchange,
    credentials: CredentialSource,
    clock: Arc<dyn Clock>,
}

/// What a token endpoint hands out.
pub(crate) struct Granted {
    pub(crate) credential: Credential,
    pub(crate) refresh_token: Option<String>,
}

/// The token endpoint itself said no, RFC 6749 section 5.2.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    error: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the token endpoint refused with HTTP status {} ({})", self.status.as_u16(), self.error)
    }
}

impl std::error::Error for Refused {}

/// The only words of an error answer that are repeated in a log line.
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

impl TokenEndpoint {
    /// # Errors
    /// What is wrong with `url` goes by `token_url`.
    pub(crate) fn new(url: &str, link: Link, credentials: CredentialSource) -> Result<Self, BuildError> {
        let setting = "token_url";
        let parsed = Url::parse(url).map_err(|error| BuildError::new(setting, format!("not a URL: {error}")));
        let exchange = parsed.and_then(|parsed| link.open(setting, &parsed)).map_err(BuildError::of_the_login)?;
        Ok(Self { url: url.to_owned(), exchange, credentials, clock: link.clock })
    }

    /// # Errors
    /// [`Refused`] if the endpoint said no; anything else is a failure to ask.
    pub(crate) async fn grant(&self, form: &[(&str, &str)]) -> Result<Granted, BoxError> {
        let call = Call { url: &self.url, body: Some(Body::Form(form)), accept: JSON };
        let lease = self.credentials.current(&self.clock).await?;
        let reply = self.exchange.send(call, &lease.credential).await?;
        let coding = reply.foreign_coding();
        match reply.status {
            StatusCode::OK => match coding {
                Some(coding) => Err(format!("the token endpoint's answer cannot be read: {coding}").into()),
                None => granted(&reply.body),
            },
            status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Refused { status, error: coding.unwrap_or_else(|| error_code(&reply.body).into()) }.into())
            }
            status => {
                let told = format!("the token endpoint answered with HTTP status {}", status.as_u16());
                Err(status_error(status).with_source(told).into())
            }
        }
    }
}

fn granted(body: &[u8]) -> Result<Granted, BoxError> {
    let answer = json::parse(body, &["access_token", "expires_in", "refresh_token"])
        .map_err(|fault| format!("the token endpoint's answer cannot be used: {fault}"))?;
    let text = |member: &str| answer.get(member).and_then(Value::as_str);
    let access_token = text("access_token").ok_or("the token endpoint's answer holds no `access_token`")?;
    let mut credential = Credential::bearer_given_as("access_token", access_token)?;
    if let Some(lifetime) = answer.get("expires_in").and_then(seconds) {
        credential = credential.expires_in(lifetime);
    }
    Ok(Granted { credential, refresh_token: text("refresh_token").map(str::to_owned) })
}

/// A number of seconds, or a string of digits, as some endpoints have it. Whatever else is no lifetime.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(digits) => f64::from(digits.trim().parse::<u32>().ok()?),
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn error_code(body: &[u8]) -> &'static str {
    let code = json::error_code(body);
    ERRORS.into_iter().find(|known| Some(*known) == code.as_deref()).unwrap_or("no error code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_is_read_in_the_forms_endpoints_send_it() {
        for (value, expected) in [
            (Value::from(1_799), Some(1_799)),
            (Value::from("1799"), Some(1_799)),
            (Value::from(0), Some(0)),
            (Value::from(-1), None),
            (Value::from(1e300), None),
            (Value::from("soon"), None),
            (Value::Null, None),
        ] {
            assert_eq!(seconds(&value), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn an_answer_without_a_usable_token_is_a_failure() {
        for body in ["", "[]", "{}", r#"{"access_token":1}"#, r#"{"access_token":""}"#, r#"{"access_token":"a b"}"#] {
            assert!(granted(body.as_bytes()).is_err(), "{body}");
        }
        let granted = granted(br#"{"access_token":"a","refresh_token":"r","expires_in":60}"#).unwrap();
        assert_eq!(granted.credential.lifetime(), Some(Duration::from_secs(60)));
        assert_eq!(granted.refresh_token.as_deref(), Some("r"));
    }

    #[test]
    fn no_word_of_the_endpoint_is_repeated_but_the_codes_of_the_standard() {
        assert_eq!(error_code(br#"{"error":"invalid_client"}"#), "invalid_client");
        for body in [&br#"{"error":"\u001b[31mhello"}"#[..], b"<html>", br#"{"error":{}}"#] {
            assert_eq!(error_code(body), "no error code");
        }
    }
}
