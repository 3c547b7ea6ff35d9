//! Answers that the endpoint signs, RFC 9701 (feature `jwt`).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::build_error::BuildError;
use crate::clock::Timestamp;
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::facts::{strings, time};
use crate::http::link::Link;
use crate::jose::{Algorithm, Fault, Jws, KeySet};
use crate::json;
use crate::jwks::{KeySource, Keys, Place};
use crate::protection::{Authority, Limits, Reading};
use crate::url::shown;

/// What is asked for, and the only thing that is read then.
pub(crate) const MEDIA_TYPE: &str = "application/token-introspection+jwt";

const TYPE: &str = "token-introspection+jwt";

/// How far the clocks of the server and of this process may be apart.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// Has an [`Rfc7662`](crate::Rfc7662) take only answers that its server has signed, RFC 9701. Given to
/// [`signed_answers`](super::Rfc7662Builder::signed_answers).
///
/// ```
/// use tower_introspection::Rfc7662;
/// use tower_introspection::rfc7662::SignedAnswers;
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = "https://auth.example.com";
/// let endpoint = Rfc7662::discover(issuer)
///     .client_secret("my-api", "secret")
///     .signed_answers(SignedAnswers::discover(issuer))
///     .build()?;
/// # Ok(()) }
/// ```
///
/// The server is asked for `application/token-introspection+jwt`. An answer has to be of that type, and `typ` of its
/// header `token-introspection+jwt`; to be signed by a key of the issuer; and to state the issuer as `iss`, this client
/// as `aud`, and when it was signed (`iat`): after the question left, but for a minute by which the clocks may be
/// apart. Of it the member `token_introspection` is read, and nothing else. Whatever is not so is a failure of the
/// server (503, [`Answer`](crate::introspect::IntrospectErrorKind::Answer)) and never a verdict: plain JSON, an
/// encrypted answer, and verdicts with another status than 200 among it.
///
/// **RFC 9701 does not bind an answer to the token that was asked about.** Whoever can change what the server sends can
/// put the answer about one token in the place of that about another for a minute. TLS keeps others from it, and a
/// [`Hybrid`](crate::jwt::Hybrid) compares both.
///
/// Keys are fetched with the endpoint's [`connection`](super::Rfc7662Builder::connection) and `request_timeout`, and
/// [kept](crate::Jwt#the-keys) as those of [`Jwt`](crate::Jwt) are.
#[must_use]
pub struct SignedAnswers {
    issuer: String,
    client_id: Option<String>,
    algorithms: Vec<Algorithm>,
    keys: KeySource,
}

impl SignedAnswers {
    /// Signed by the keys that the metadata of `issuer` names (`jwks_uri`).
    pub fn discover(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            client_id: None,
            algorithms: Algorithm::ALL.to_vec(),
            keys: KeySource::At(Place::IssuerSays),
        }
    }

    /// Signed by `issuer` with one of these keys, which stay as they are.
    pub fn with_keys(issuer: impl Into<String>, keys: KeySet) -> Self {
        Self { keys: KeySource::Given(keys), ..Self::discover(issuer) }
    }

    /// Where the issuer publishes its keys, if its metadata does not say.
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.keys = KeySource::At(Place::At(url.into()));
        self
    }

    /// Whom answers are meant for (`aud`). Default: the client's identifier that the endpoint's credentials have.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// How an answer may be signed. Default: all of [`Algorithm`].
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Notes what answers differ by.
    pub(super) fn note(&self, noted: &mut Reading) {
        noted.note("signed_answers", &[&self.issuer, self.client_id.as_deref().unwrap_or_default()]);
        let mut algorithms: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        algorithms.sort_unstable();
        algorithms.iter().for_each(|algorithm| noted.note("algorithm", &[algorithm]));
        self.keys.note(noted);
    }

    /// # Errors
    /// Names the setting that cannot work.
    pub(super) fn open(self, account: String, link: &Link, longest: usize) -> Result<Opener, BuildError> {
        let client_id = self.client_id.unwrap_or(account);
        if client_id.is_empty() {
            let problem = "the credentials do not say which client asks; call `SignedAnswers::client_id`";
            return Err(BuildError::new("signed_answers", problem));
        }
        if self.algorithms.is_empty() {
            return Err(BuildError::new("algorithms", "none is allowed, so every answer would be refused"));
        }
        let authority = Authority { url: format!("{}#keys", self.issuer), ..Authority::default() };
        let (keys, _) =
            self.keys.open(&self.issuer, authority, link.clone(), &Limits::new(), KeySource::REFRESH_EVERY)?;
        Ok(Opener { issuer: self.issuer, client_id, algorithms: self.algorithms, longest, keys })
    }
}

/// Reads signed answers.
pub(super) struct Opener {
    issuer: String,
    client_id: String,
    algorithms: Vec<Algorithm>,
    longest: usize,
    keys: Keys,
}

/// RFC 9701 section 5.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    token_introspection: &'a RawValue,
}

impl Opener {
    /// The answer that was signed, as JSON.
    ///
    /// # Errors
    /// If it was not signed by this server, now, and for this client.
    pub(super) async fn open(
        &self,
        signed: &str,
        departed_at: Timestamp,
        now: Timestamp,
    ) -> Result<String, IntrospectError> {
        let jws = Jws::parse(signed, self.longest, &self.algorithms).map_err(of_fault)?;
        let header = jws.header();
        if !header.is_of_type(TYPE) {
            return Err(unusable("`typ` of its header is not `token-introspection+jwt`"));
        }
        // It was signed for this question, so its key may be newer than the keys at hand.
        let keys = self.keys.find(header.kid.as_deref(), None, |keys| keys.may_verify(&jws)).await.map_err(no_keys)?;
        keys.ok_or(Fault::NoSuchKey).and_then(|keys| keys.verify(&jws).map(drop)).map_err(of_fault)?;
        let members = json::parse(jws.payload(), &["iss", "aud", "iat"]).map_err(|_| unusable("it cannot be read"))?;
        if members.get("iss").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(unusable("its `iss` is not the issuer, to the letter"));
        }
        if !strings(members.get("aud")).any(|stated| stated == self.client_id) {
            return Err(unusable("its `aud` is not this client"));
        }
        let Ok(Some(signed_at)) = time(members.get("iat"), f64::floor) else {
            return Err(unusable("its `iat` is missing, or is no time"));
        };
        if signed_at + CLOCKS_APART < departed_at || now + CLOCKS_APART < signed_at {
            return Err(unusable("its `iat` says that it was not signed for this question, or a clock is wrong"));
        }
        if !members.get("token_introspection").is_some_and(Value::is_object) {
            return Err(unusable("it holds no object `token_introspection`"));
        }
        // As it stands there: what was damaged in it is for whoever reads it to know.
        let Members { token_introspection } =
            serde_json::from_slice(jws.payload()).map_err(|_| unusable("it cannot be read"))?;
        Ok(token_introspection.get().to_owned())
    }
}

/// It says nothing of the endpoint that was asked, which is not to be left alone for it, nor asked again.
fn no_keys(error: IntrospectError) -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::Answer).with_source(error).of_fault("keys")
}

fn of_fault(fault: Fault) -> IntrospectError {
    unusable(fault.as_str())
}

/// `why` is one of few.
pub(super) fn unusable(why: &'static str) -> IntrospectError {
    let text = format!("the answer is not signed as `signed_answers` wants it: {why}");
    IntrospectError::new(IntrospectErrorKind::Answer).with_source(text).of_fault(why)
}

impl fmt::Debug for SignedAnswers {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("SignedAnswers").field("issuer", &shown(&self.issuer)).finish_non_exhaustive()
    }
}
