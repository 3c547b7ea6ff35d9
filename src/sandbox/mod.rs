//! An in-memory authority on loopback (feature `sandbox`): an Apigee management API and an OAuth authorization server.
//!
//! The management API answers the access-token operations as the vendor documents them: get, approve, revoke, update,
//! delete, and revocation by app or end user, behind Basic authentication, with the vendor's own 404. The authorization
//! server knows the same tokens: metadata, client credentials grant, introspection and revocation. It signs, too: JWTs
//! ([`issue_jwt`](Sandbox::issue_jwt)), and introspection answers for those who ask for signed ones (RFC 9701), with
//! keys that it publishes and rotates. Both can be told to fail ([`Fault`]) and count the questions they get, which
//! makes this an endpoint for your tests as it is for this crate's.
//!
//! ```
//! use tower_introspection::introspect::Ask;
//! use tower_introspection::sandbox::{Sandbox, SandboxToken};
//! use tower_introspection::{BearerToken, Cached, Introspect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::start().await?;
//! let text = sandbox.issue(SandboxToken::new().client_id("weather-app").scope("read"));
//! let token = BearerToken::parse(text.as_str())?;
//!
//! let introspector = Cached::new(sandbox.apigee().build()?);
//! assert!(introspector.introspect(Ask::new(&token)).await?.is_active());
//! assert!(introspector.introspect(Ask::new(&token)).await?.is_active());
//! assert_eq!(sandbox.calls(&text), 1);
//!
//! sandbox.revoke(&text);
//! introspector.handle().invalidate(&token);
//! assert!(!introspector.introspect(Ask::new(&token)).await?.is_active());
//! # Ok(()) }
//! ```

mod api;
mod claims;
mod fault;
mod introspection;
mod keys;
mod oauth;
#[cfg(feature = "dpop")]
mod proof;
mod reply;
mod server;
#[cfg(feature = "signals")]
mod signals;
mod state;
mod token;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::fault::Fault;
#[cfg(feature = "dpop")]
pub use self::proof::{ProofBuilder, ProofKey};
#[cfg(feature = "signals")]
pub use self::signals::SandboxEvent;
pub use self::token::SandboxToken;

use self::state::{Script, State};
use crate::apigee::ApigeeBuilder;
use crate::apigee::endpoint::Apigee;
use crate::build_error::BuildError;
use crate::clock::{Clock, SystemClock};
use crate::rfc7662::Rfc7662Builder;
use crate::rfc7662::endpoint::Rfc7662;

/// A running authority. It stops, and its connections close, when this is dropped.
pub struct Sandbox {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

// Revoking a token is worth a call without a look at what it returns.
#[allow(clippy::must_use_candidate)]
impl Sandbox {
    /// Starts one on a free port, with an organisation `demo` and an admin account.
    ///
    /// # Errors
    /// If no port of the loopback interface can be had, or no key be made.
    pub async fn start() -> io::Result<Self> {
        Self::start_with_clock(SystemClock).await
    }

    /// Like [`start`](Self::start), with `clock` for the time at which tokens are issued and expire.
    ///
    /// # Errors
    /// If no port of the loopback interface can be had, or no key be made.
    pub async fn start_with_clock(clock: impl Clock) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::new(Arc::new(clock), address).map_err(io::Error::other)?);
        let server = tokio::spawn(server::run(listener, Arc::clone(&state)));
        Ok(Self { address, state, server })
    }

    /// The organisation.
    #[must_use]
    pub fn org(&self) -> &'static str {
        state::ORG
    }

    /// The admin account's name.
    #[must_use]
    pub fn username(&self) -> &'static str {
        state::USERNAME
    }

    /// The admin account's password.
    #[must_use]
    pub fn password(&self) -> &'static str {
        state::PASSWORD
    }

    /// The base of the API, such as `http://127.0.0.1:41234/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The resource of one token.
    #[must_use]
    pub fn token_url(&self, token: &str) -> String {
        format!("{}/o/{}/oauth2/accesstokens/{token}", self.base_url(), self.org())
    }

    /// An [`Apigee`] that asks this sandbox; further settings can be added.
    pub fn apigee(&self) -> ApigeeBuilder {
        Apigee::builder(self.org()).base_url(self.base_url()).basic_auth(self.username(), self.password())
    }

    /// The issuer of the authorization server, such as `http://127.0.0.1:41234`. Its endpoints are `/introspect`,
    /// `/token`, `/revoke` and `/jwks`; its metadata is where RFC 8414 and OpenID Connect Discovery have it.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.state.issuer()
    }

    /// The client that may introspect and revoke, and get tokens by the client credentials grant. A token of its with
    /// the scope `introspection` may introspect too.
    #[must_use]
    pub fn client_id(&self) -> &'static str {
        state::CLIENT_ID
    }

    /// The client's secret.
    #[must_use]
    pub fn client_secret(&self) -> &'static str {
        state::CLIENT_SECRET
    }

    /// An [`Rfc7662`] that asks this sandbox; further settings can be added.
    pub fn rfc7662(&self) -> Rfc7662Builder {
        Rfc7662::builder(format!("{}/introspect", self.issuer()))
            .client_secret_basic(self.client_id(), self.client_secret())
    }

    /// Issues a token and returns it.
    #[must_use]
    pub fn issue(&self, token: SandboxToken) -> String {
        self.state.issue(token)
    }

    /// Issues a token as a JWT (RFC 9068), signed with ES256, and returns it. Like every other token it can be asked
    /// about, revoked and deleted.
    ///
    /// The claims are those of an introspection answer, and `sub` (the end user, or else the client), `aud`
    /// (`https://api.example.com` by default) and `jti`. [`claim`](SandboxToken::claim) sets them and any other; `()`
    /// leaves one out. [`header`](SandboxToken::header) does the same for the header. `iat` is a whole second, from
    /// which the lifetime counts.
    ///
    /// ```
    /// use tower_introspection::clock::Timestamp;
    /// use tower_introspection::sandbox::{Sandbox, SandboxToken};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sandbox = Sandbox::start().await?;
    /// let token = SandboxToken::new().end_user("ann").scope("read").claim("auth_time", Timestamp::now())?;
    /// let jwt = sandbox.issue_jwt(token.clone())?;
    /// assert_eq!(jwt.split('.').count(), 3);
    ///
    /// // What a resource server should not take:
    /// let of_another_kind = sandbox.issue_jwt(token.clone().header("typ", "secevent+jwt")?)?;
    /// let by_somebody_else = sandbox.issue_jwt(token.clone().claim("iss", "https://somebody.example")?)?;
    /// let for_ever = sandbox.issue_jwt(token.never_expires())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If the key cannot be made or does not sign, which takes a system without random numbers.
    pub fn issue_jwt(&self, token: SandboxToken) -> Result<String, BuildError> {
        self.state.issue_jwt(token)
    }

    /// Signs any JWT, of which the sandbox knows nothing afterwards: `alg` and `kid` are added to the header as for
    /// [`issue_jwt`](Self::issue_jwt). `header` and `claims` are objects in JSON.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use tower_introspection::sandbox::Sandbox;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sandbox = Sandbox::start().await?;
    /// let header = HashMap::from([("typ", "logout+jwt")]);
    /// let claims = HashMap::from([("iss", sandbox.issuer()), ("sub", "ann".into())]);
    /// let logout_token = sandbox.sign(header, claims)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If one of them is no object in JSON; and as for [`issue_jwt`](Self::issue_jwt).
    pub fn sign(&self, header: impl Serialize, claims: impl Serialize) -> Result<String, BuildError> {
        self.state.sign(header, claims)
    }

    /// The key set (RFC 7517 section 5) as `/jwks` has it, without a fault and without being counted: for those who
    /// take their keys from a file. A key for RS256 is in it once something has been signed with it.
    #[must_use]
    pub fn jwks(&self) -> String {
        self.state.jwks().to_string()
    }

    /// Signs with a new key from now on. The key that signed so far stays in the key set.
    ///
    /// # Errors
    /// As for [`issue_jwt`](Self::issue_jwt); it goes on with the old key then.
    pub fn rotate_key(&self) -> Result<(), BuildError> {
        self.state.rotate_key()
    }

    /// Takes every key out of the key set that signs no longer. What they have signed cannot be verified from now on.
    pub fn retire_old_keys(&self) {
        self.state.retire_old_keys();
    }

    /// Revokes a token. `false` if there is none of that name.
    pub fn revoke(&self, token: &str) -> bool {
        self.state.set_status(token, "revoked")
    }

    /// Approves a token, again if it was revoked. `false` if there is none of that name.
    pub fn approve(&self, token: &str) -> bool {
        self.state.set_status(token, "approved")
    }

    /// Deletes a token. `false` if there is none of that name.
    pub fn delete(&self, token: &str) -> bool {
        self.state.delete(token).is_some()
    }

    /// Answers questions about `token` with exactly this status and body from now on, as `application/json`.
    pub fn script(&self, token: &str, status: u16, body: impl Into<String>) {
        self.script_as(token, status, "application/json", body);
    }

    /// Like [`script`](Self::script), with this content type: of a signed answer `application/token-introspection+jwt`,
    /// with a body by [`sign`](Self::sign).
    pub fn script_as(&self, token: &str, status: u16, content_type: impl Into<String>, body: impl Into<String>) {
        self.state.script(token, Script { status, content_type: content_type.into(), body: body.into() });
    }

    /// Makes questions about tokens go wrong from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.state.set_fault(Some(fault));
    }

    /// Answers questions about tokens again. What hangs already goes on hanging.
    pub fn clear_fault(&self) {
        self.state.set_fault(None);
    }

    /// Makes questions for the key set go wrong from now on.
    pub fn set_jwks_fault(&self, fault: Fault) {
        self.state.set_jwks_fault(Some(fault));
    }

    /// Answers questions for the key set again. What hangs already goes on hanging.
    pub fn clear_jwks_fault(&self) {
        self.state.set_jwks_fault(None);
    }

    /// How many questions for the key set have arrived, faults included.
    #[must_use]
    pub fn jwks_calls(&self) -> u64 {
        self.state.jwks_calls()
    }

    /// Signs a security event, RFC 8417, for whom `aud` says: `https://api.example.com` by default. It waits for those
    /// who [poll](Self::poll_url), too.
    ///
    /// # Errors
    /// As for [`issue_jwt`](Self::issue_jwt).
    #[cfg(feature = "signals")]
    pub fn sign_event(&self, event: SandboxEvent) -> Result<String, BuildError> {
        self.state.sign_event(event)
    }

    /// Signs a logout token, OpenID Connect Back-Channel Logout 1.0 section 2.4: a user's, or of one session of it,
    /// for the client with this identifier. It expires after two minutes.
    ///
    /// # Errors
    /// As for [`issue_jwt`](Self::issue_jwt).
    #[cfg(feature = "signals")]
    pub fn sign_logout(&self, client: &str, user: &str, session: Option<&str>) -> Result<String, BuildError> {
        self.state.sign_logout(client, user, session)
    }

    /// Has events pushed to `url` from now on, with this value of `Authorization` if there is one.
    #[cfg(feature = "signals")]
    pub fn push_events_to(&self, url: impl Into<String>, authorization: Option<&str>) {
        let authorization = authorization.map(str::to_owned);
        self.state.listen(signals::Listener::Events { url: url.into(), authorization });
    }

    /// Has logout tokens for `client` sent to `url` from now on.
    #[cfg(feature = "signals")]
    pub fn push_logouts_to(&self, url: impl Into<String>, client: impl Into<String>) {
        self.state.listen(signals::Listener::Logouts { url: url.into(), client: client.into() });
    }

    /// Signs an event and pushes it. Returns the HTTP status that each listener answered with; 0 of one that cannot be
    /// reached.
    ///
    /// # Errors
    /// As for [`issue_jwt`](Self::issue_jwt).
    #[cfg(feature = "signals")]
    pub async fn send_event(&self, event: SandboxEvent) -> Result<Vec<u16>, BuildError> {
        self.state.send_event(event).await
    }

    /// Revokes all tokens of a user, and says so by an `account-disabled` event, as
    /// [`send_event`](Self::send_event) does. `POST /disable` with a parameter `user` does the same.
    ///
    /// # Errors
    /// As for [`issue_jwt`](Self::issue_jwt).
    #[cfg(feature = "signals")]
    pub async fn disable_account(&self, user: &str) -> Result<Vec<u16>, BuildError> {
        self.state.revoke_all("enduser", user);
        let event = SandboxEvent::new("https://schemas.openid.net/secevent/risc/event-type/account-disabled");
        self.state.send_event(event.about_user(self.issuer(), user)).await
    }

    /// Revokes all tokens of a user, and says so by logout tokens. `POST /logout` with a parameter `user` does the
    /// same.
    ///
    /// # Errors
    /// As for [`issue_jwt`](Self::issue_jwt).
    #[cfg(feature = "signals")]
    pub async fn log_out(&self, user: &str) -> Result<Vec<u16>, BuildError> {
        self.state.revoke_all("enduser", user);
        self.state.send_logout(user, None).await
    }

    /// Where events are polled, RFC 8936, with the [client's secret](Self::client_secret) as the bearer token. It
    /// answers at once.
    #[cfg(feature = "signals")]
    #[must_use]
    pub fn poll_url(&self) -> String {
        format!("{}/events", self.issuer())
    }

    /// How many polls have arrived, faults included.
    #[cfg(feature = "signals")]
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.state.polls()
    }

    /// Makes polls go wrong from now on.
    #[cfg(feature = "signals")]
    pub fn set_events_fault(&self, fault: Fault) {
        self.state.set_events_fault(Some(fault));
    }

    /// Answers polls again. What hangs already goes on hanging.
    #[cfg(feature = "signals")]
    pub fn clear_events_fault(&self) {
        self.state.set_events_fault(None);
    }

    /// How many questions about `token` have arrived, faults included.
    #[must_use]
    pub fn calls(&self, token: &str) -> u64 {
        self.state.calls(token)
    }

    /// How many questions about any token have arrived, faults included.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.state.total_calls()
    }

    /// How many connections have been accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Sandbox").field("address", &self.address).finish_non_exhaustive()
    }
}
