//! A client that proves that it holds a key, for tests.

use std::fmt;

use http::Method;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::build_error::BuildError;
use crate::clock::Timestamp;
use crate::jose::{SigningKey, encoded, sha256};
use crate::random::random;
use crate::token::AccessTokenBuilder;

/// A key of a client, which makes DPoP proofs with it (RFC 9449), for tests: ECDSA on P-256, new for each.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::Method;
/// use tower_introspection::sandbox::{ProofKey, Sandbox, SandboxToken};
///
/// let sandbox = Sandbox::start().await?;
/// let key = ProofKey::generate()?;
/// let token = sandbox.issue(SandboxToken::new().bound_to_key(key.thumbprint()));
/// let proof = key.proof(Method::GET, "https://api.example.com/orders").token(&token).sign()?;
/// let request = http::Request::get("/orders")
///     .header("authorization", format!("DPoP {token}"))
///     .header("dpop", proof)
///     .body(())?;
/// # Ok(()) }
/// ```
pub struct ProofKey(SigningKey);

impl ProofKey {
    /// A new key.
    ///
    /// # Errors
    /// If the system has no random bytes. The error names `key`.
    pub fn generate() -> Result<Self, BuildError> {
        SigningKey::generate_es256().map(Self).map_err(|_| unable("cannot be generated"))
    }

    /// What a token that is bound to it has in `cnf` as `jkt`: the thumbprint of RFC 7638.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let key = self.jwk();
        let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y"));
        encoded(&sha256(members.as_bytes()))
    }

    /// The public half, RFC 7517, as JSON: what a proof holds as `jwk`.
    #[must_use]
    pub fn public_jwk(&self) -> String {
        self.jwk().to_string()
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut key = self.0.public_jwk();
        if let Some(members) = key.as_object_mut() {
            // What a proof has no need of.
            members.retain(|name, _| !matches!(&**name, "alg" | "use"));
        }
        key
    }

    /// Starts a proof for a request with this method to this URI, which is made now and with a `jti` of its own.
    #[allow(clippy::needless_pass_by_value)] // methods are constants: `Method::GET` reads best
    pub fn proof(&self, method: Method, uri: impl Into<String>) -> ProofBuilder<'_> {
        let mut claims = Map::new();
        claims.insert("jti".into(), format!("{:016x}{:016x}", random(), random()).into());
        claims.insert("htm".into(), method.as_str().into());
        claims.insert("htu".into(), uri.into().into());
        claims.insert("iat".into(), (Timestamp::now().as_unix_millis() / 1_000).into());
        let mut header = Map::new();
        header.insert("typ".into(), "dpop+jwt".into());
        header.insert("alg".into(), self.0.algorithm().into());
        header.insert("jwk".into(), self.jwk());
        ProofBuilder { key: self, header, claims }
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("ProofKey").field("thumbprint", &self.thumbprint()).finish_non_exhaustive()
    }
}

/// A proof in the making. Made by [`ProofKey::proof`].
#[derive(Clone)]
#[must_use]
pub struct ProofBuilder<'k> {
    key: &'k ProofKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl ProofBuilder<'_> {
    /// The access token that goes with it: `ath` is its hash.
    pub fn token(mut self, token: &str) -> Self {
        self.claims.insert("ath".into(), encoded(&sha256(token.as_bytes())).into());
        self
    }

    /// The nonce that the service has handed out.
    pub fn nonce(mut self, nonce: impl Into<String>) -> Self {
        self.claims.insert("nonce".into(), nonce.into().into());
        self
    }

    /// When it is made, in whole seconds.
    pub fn issued_at(mut self, issued_at: Timestamp) -> Self {
        self.claims.insert("iat".into(), issued_at.as_unix_millis().div_euclid(1_000).into());
        self
    }

    /// Sets a claim; `()` leaves it out. For proofs that are not as they have to be.
    ///
    /// # Errors
    /// If the value has no form in JSON.
    pub fn claim(mut self, name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        set(&mut self.claims, name.into(), value)?;
        Ok(self)
    }

    /// Sets a member of the header; `()` leaves it out.
    ///
    /// # Errors
    /// If the value has no form in JSON.
    pub fn header(mut self, name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        set(&mut self.header, name.into(), value)?;
        Ok(self)
    }

    /// The proof: the value of the header `DPoP`.
    ///
    /// # Errors
    /// If it cannot be signed. The error names `key`.
    pub fn sign(self) -> Result<String, BuildError> {
        self.key.0.sign_compact(&self.header, &self.claims).map_err(|_| unable("does not sign"))
    }
}

impl fmt::Debug for ProofBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("ProofBuilder").field("key", self.key).finish_non_exhaustive()
    }
}

fn set(members: &mut Map<String, Value>, name: String, value: impl Serialize) -> Result<(), BuildError> {
    match AccessTokenBuilder::claim_as_json(&name, value)? {
        Value::Null => drop(members.remove(&name)),
        value => drop(members.insert(name, value)),
    }
    Ok(())
}

fn unable(what: &str) -> BuildError {
    BuildError::new("key", format!("the key of a client {what}"))
}
