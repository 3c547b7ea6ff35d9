//! Client authentication with a signed assertion (feature `private-key-jwt`).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::build_error::BuildError;
use crate::clock::Timestamp;
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::http::credential::Credential;
use crate::jose::SigningKey;
use crate::random::random;

/// How long an assertion is valid. It is used at once.
const LIFETIME: Duration = Duration::from_secs(60);
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Authenticates this service by a JWT signed with its private key: `private_key_jwt`, RFC 7523 section 2.2.
///
/// An RSA key signs with RS256, a P-256 key with ES256. A new assertion is made for every question, valid for 60
/// seconds, with a `jti` of its own, since servers refuse one they have seen before.
///
/// ```no_run
/// use tower_introspection::Rfc7662;
/// use tower_introspection::credentials::PrivateKeyJwt;
///
/// let key = PrivateKeyJwt::from_pem("my-api", std::fs::read("my-api.pem")?)?.key_id("2026-01");
/// let endpoint = Rfc7662::builder("https://auth.example.com/introspect").private_key_jwt(key).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct PrivateKeyJwt {
    client_id: String,
    key: SigningKey,
    key_id: Option<String>,
    audience: Option<String>,
    /// Random once, counted up from there: unique, which is all that `jti` asks for.
    run: u64,
    serial: AtomicU64,
}

/// RFC 7515 section 4.1.
#[derive(Serialize)]
struct Header<'h> {
    typ: &'static str,
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'h str>,
}

#[derive(Serialize)]
struct Claims<'c> {
    iss: &'c str,
    sub: &'c str,
    aud: &'c str,
    jti: String,
    iat: i64,
    exp: i64,
}

impl PrivateKeyJwt {
    /// Reads a private key in PEM, the first if there are several: RSA of at least 2,048 bits (PKCS #1 or #8), or P-256
    /// (PKCS #8, or SEC 1 as `openssl ecparam -genkey` writes it).
    ///
    /// # Errors
    /// If it is no such key; the error names `pem`. (`openssl pkcs8 -topk8 -nocrypt` turns other forms of PEM into
    /// PKCS #8.)
    pub fn from_pem(client_id: impl Into<String>, pem: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        let Some(key) = SigningKey::from_pem(pem.as_ref()) else {
            return Err(BuildError::new(
                "pem",
                "it is not an RSA key of at least 2,048 bits, nor a P-256 key in PKCS #8 or SEC 1",
            ));
        };
        let run = random();
        let serial = AtomicU64::new(0);
        Ok(Self { client_id: client_id.into(), key, key_id: None, audience: None, run, serial })
    }

    /// Names the key in the assertion's header (`kid`), for clients that have registered several.
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Whom the assertion is meant for (`aud`). Default: the issuer for a discovered endpoint, otherwise the endpoint's
    /// URL; with [`ClientCredentials`](crate::credentials::ClientCredentials) the token URL.
    ///
    /// Okta takes only the whole URL of the introspection endpoint, so set that if the endpoint is discovered:
    ///
    /// ```no_run
    /// use tower_introspection::Rfc7662;
    /// use tower_introspection::credentials::PrivateKeyJwt;
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = "https://example.okta.com/oauth2/default";
    /// let key = PrivateKeyJwt::from_pem("my-api", std::fs::read("my-api.pem")?)?;
    /// let key = key.audience(format!("{issuer}/v1/introspect"));
    /// let endpoint = Rfc7662::discover(issuer).fetch().await?.private_key_jwt(key).build()?;
    /// # Ok(()) }
    /// ```
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn or_audience(mut self, default: &str) -> Self {
        self.audience.get_or_insert_with(|| default.to_owned());
        self
    }

    pub(crate) fn sign(&self, now: Timestamp) -> Result<Credential, IntrospectError> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let claims = Claims {
            iss: &self.client_id,
            sub: &self.client_id,
            aud: self.audience.as_deref().unwrap_or_default(),
            jti: format!("{:016x}-{serial:x}", self.run),
            iat: now.as_unix_millis() / 1_000,
            exp: (now + LIFETIME).as_unix_millis() / 1_000,
        };
        let header = Header { typ: "JWT", alg: self.key.algorithm(), kid: self.key_id.as_deref() };
        let signed = self.key.sign_compact(&header, &claims);
        let assertion =
            signed.map_err(|error| IntrospectError::new(IntrospectErrorKind::Credentials).with_source(error))?;
        Ok(Credential::form([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)]))
    }
}

impl fmt::Debug for PrivateKeyJwt {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("PrivateKeyJwt")
            .field("client_id", &self.client_id)
            .field("algorithm", &format_args!("{}", self.key.algorithm()))
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
