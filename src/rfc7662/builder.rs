//! The settings of an RFC 7662 endpoint.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::endpoint::Rfc7662;
use super::first_question::FirstQuestion;
#[cfg(feature = "jwt")]
use super::signed::{MEDIA_TYPE, SignedAnswers};
use super::wire::Reading;
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::credentials::ClientCredentials;
#[cfg(feature = "private-key-jwt")]
use crate::credentials::PrivateKeyJwt;
use crate::credentials::source::CredentialSource;
use crate::discovery::{Discovery, DiscoveryError, Found, Wanted};
use crate::endpoint::Endpoint;
use crate::excerpt::excerpt;
use crate::http::connection::Connection;
use crate::http::credential::{Credential, check_client_id};
use crate::http::link::Link;
use crate::log_limit::LogLimit;
use crate::protection::{self, Authority, Limits, RateLimit};
use crate::target::Target;
use crate::url::shown;

/// Questions a minute.
const RATE_LIMIT: u32 = 60_000;

const TOKEN_TYPE_HINT: &str = "access_token";

/// Configures an [`Rfc7662`]. Made by [`Rfc7662::builder`] or by [`Rfc7662::discover`].
///
/// Of the methods that set credentials the last one called counts. A certificate stays: with
/// [`tls_client_auth`](Self::tls_client_auth) before another it is shown as well (RFC 8705 section 3).
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::Rfc7662;
///
/// let endpoint = Rfc7662::builder("https://auth.example.com/introspect")
///     .client_secret_post("my-api", "secret")
///     .parameter("resource", "https://api.example.com")
///     .request_timeout(Duration::from_secs(2))
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct Rfc7662Builder {
    place: Place,
    authentication: Option<Result<Authentication, BuildError>>,
    token_type_hint: String,
    send_token_type_hint: bool,
    parameters: Vec<(String, String)>,
    reading: Reading,
    #[cfg(feature = "jwt")]
    signed: Option<SignedAnswers>,
    link: Link,
    limits: Limits,
}

/// Where the endpoint is.
enum Place {
    At {
        found: Found,
        /// In whose metadata it was found.
        issuer: Option<String>,
    },
    /// Where the metadata of this issuer says, which nobody has read yet.
    IssuerSays(String),
}

/// How this service authenticates.
enum Authentication {
    By(CredentialSource),
    /// In the way that the server lists: in the header, or in the form.
    Secret(Credential, Credential),
}

/// The same, to be looked at as often as the endpoint is searched for.
pub(crate) enum Credentials {
    By(Arc<CredentialSource>),
    Secret(Credential, Credential),
}

impl Credentials {
    fn account(&self) -> String {
        match self {
            Self::By(source) => source.account(),
            Self::Secret(_, post) => post.account().to_owned(),
        }
    }

    /// What to send to a server that lists these methods.
    fn for_methods(&self, methods: Option<&[String]>) -> Result<Arc<CredentialSource>, BuildError> {
        let lists = |method: &str| methods.is_none_or(|methods| methods.iter().any(|listed| listed == method));
        match self {
            Self::By(source) => Ok(Arc::clone(source)),
            Self::Secret(basic, _) if lists("client_secret_basic") => {
                Ok(Arc::new(CredentialSource::Fixed(basic.clone())))
            }
            Self::Secret(_, post) if lists("client_secret_post") => Ok(Arc::new(CredentialSource::Fixed(post.clone()))),
            Self::Secret(..) => {
                let methods = format!("{:?}", methods.unwrap_or_default());
                let problem = format!("the server accepts no client secret, only {}", excerpt(&methods));
                Err(BuildError::new("client_secret", problem))
            }
        }
    }
}

/// How an endpoint is asked that was found in the metadata of `issuer`, or given.
pub(crate) fn reach(
    found: &Found,
    issuer: Option<&str>,
    credentials: &Credentials,
    parameters: &[(String, String)],
    link: &Link,
) -> Result<(Target, Url), BuildError> {
    // The URL of a discovered endpoint comes from the metadata; what can be wrong with it is named as there.
    let (url, url_setting) = match &found.mtls_url {
        Some(url) if link.identity.is_some() => (url, "mtls_endpoint_aliases"),
        _ if issuer.is_some() => (&found.url, "introspection_endpoint"),
        _ => (&found.url, "url"),
    };
    let parsed = Url::parse(url).map_err(|error| BuildError::new(url_setting, format!("not a URL: {error}")))?;
    let is_https = |issuer: &str| Url::parse(issuer).is_ok_and(|issuer| issuer.scheme() == "https");
    if issuer.is_some_and(is_https) && parsed.scheme() != "https" {
        return Err(BuildError::new(url_setting, "the issuer is https, and the endpoint it names is not"));
    }
    let credentials = credentials.for_methods(found.auth_methods.as_deref())?;
    check_parameters(&credentials, parameters)?;
    let exchange = link.open(url_setting, &parsed)?;
    Ok((Target { url: url.clone(), exchange, credentials }, parsed))
}

fn check_parameters(credentials: &CredentialSource, parameters: &[(String, String)]) -> Result<(), BuildError> {
    credentials.check_parameters("parameter", parameters, &["token", "token_type_hint"])
}

impl Rfc7662Builder {
    pub(crate) fn at_url(url: String) -> Self {
        Self::new(Place::At { found: Found { url, mtls_url: None, auth_methods: None }, issuer: None })
    }

    pub(crate) fn of_issuer(issuer: String) -> Self {
        Self::new(Place::IssuerSays(issuer))
    }

    #[cfg(test)]
    pub(crate) fn found_at(url: &str, issuer: &str) -> Self {
        let found = Found { url: url.to_owned(), mtls_url: None, auth_methods: None };
        Self::new(Place::At { found, issuer: Some(issuer.to_owned()) })
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            authentication: None,
            token_type_hint: TOKEN_TYPE_HINT.into(),
            send_token_type_hint: true,
            parameters: Vec::new(),
            reading: Reading::default(),
            #[cfg(feature = "jwt")]
            signed: None,
            link: Link::default(),
            limits: Limits::new(),
        }
    }

    /// Authenticates with the client's identifier and secret in the `Authorization` header, form-urlencoded as RFC 6749
    /// section 2.3.1 asks: give both as they are. Letters, digits and `*-._` stay, every other character is encoded.
    ///
    /// There are servers that do not decode them, Doorkeeper among them. A secret with another character is then
    /// refused with 401, whoever wrote it down correctly: use [`client_secret_post`](Self::client_secret_post), or
    /// [`Credential::basic`], which encodes nothing:
    ///
    /// ```
    /// use tower_introspection::Rfc7662;
    /// use tower_introspection::credentials::Credential;
    ///
    /// let endpoint = Rfc7662::builder("https://auth.example.com/introspect")
    ///     .credentials(|| async { Ok(Credential::basic("my-api", "s+cret/=")?) })
    ///     .build()?;
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    pub fn client_secret_basic(self, client_id: impl AsRef<str>, client_secret: impl AsRef<str>) -> Self {
        let client_id = client_id.as_ref();
        let credential = Credential::client_secret_basic(client_id, client_secret);
        self.client("client_secret_basic", client_id, credential)
    }

    /// Authenticates with the client's identifier and secret in the form.
    pub fn client_secret_post(self, client_id: impl AsRef<str>, client_secret: impl AsRef<str>) -> Self {
        let client_id = client_id.as_ref();
        let credential = Credential::client_secret_post(client_id, client_secret);
        self.client("client_secret_post", client_id, credential)
    }

    /// Authenticates with the client's identifier and secret in the way the discovered server lists
    /// (`introspection_endpoint_auth_methods_supported`, or else what it lists for its token endpoint): in the header
    /// if it lists `client_secret_basic` or nothing at all, in the form if it lists `client_secret_post`. If it lists
    /// neither, [`build`](Self::build) fails after a [`fetch`](Self::fetch), and each question without one. For an
    /// endpoint that is not discovered this is [`client_secret_basic`](Self::client_secret_basic).
    pub fn client_secret(mut self, client_id: impl AsRef<str>, client_secret: impl AsRef<str>) -> Self {
        let (client_id, client_secret) = (client_id.as_ref(), client_secret.as_ref());
        let authentication = Authentication::Secret(
            Credential::client_secret_basic(client_id, client_secret),
            Credential::client_secret_post(client_id, client_secret),
        );
        self.authentication = Some(check_client_id("client_secret", client_id).map(|()| authentication));
        self
    }

    /// Authenticates with a signed assertion (feature `private-key-jwt`). Whom it is meant for is set by
    /// [`PrivateKeyJwt::audience`]: look there if a server refuses it, Okta above all.
    #[cfg(feature = "private-key-jwt")]
    pub fn private_key_jwt(mut self, key: PrivateKeyJwt) -> Self {
        self.authentication = Some(Ok(Authentication::By(CredentialSource::Signed(Box::new(key)))));
        self
    }

    /// Authenticates with a certificate in the TLS handshake, RFC 8705 (`tls_client_auth` and
    /// `self_signed_tls_client_auth`): `pem` holds the certificate, the chain if there is one, and the private key
    /// (with the feature `native-tls` alone in PKCS #8). A discovered server is then asked at its
    /// `mtls_endpoint_aliases`, if it has some (RFC 8705 section 5).
    pub fn tls_client_auth(mut self, client_id: impl AsRef<str>, pem: impl Into<Vec<u8>>) -> Self {
        let client_id = client_id.as_ref();
        self.link.identity = Some(pem.into());
        self.client("tls_client_auth", client_id, Credential::form([("client_id", client_id)]))
    }

    /// Authenticates with a bearer token that never changes.
    pub fn bearer_token(mut self, token: impl AsRef<str>) -> Self {
        self.authentication = Some(
            Credential::bearer_given_as("bearer_token", token.as_ref())
                .map(|token| Authentication::By(CredentialSource::Fixed(token))),
        );
        self
    }

    /// Authenticates with a bearer token from the client credentials grant, kept and renewed early.
    pub fn client_credentials(mut self, login: ClientCredentials) -> Self {
        self.authentication = Some(login.into_credentials().map(Authentication::By));
        self
    }

    /// Authenticates with what `provider` hands out, as
    /// [`ApigeeBuilder::credentials`](crate::apigee::ApigeeBuilder::credentials) says.
    pub fn credentials<F, Fut>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credential, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.authentication =
            Some(Ok(Authentication::By(CredentialSource::renewed("the `credentials` hook", provider))));
        self
    }

    /// Does not authenticate: for endpoints that only a network guards, such as Hydra's admin port, and for an
    /// `http_client` that does it.
    pub fn without_credentials(mut self) -> Self {
        self.authentication = Some(Ok(Authentication::By(CredentialSource::Fixed(Credential::none()))));
        self
    }

    fn client(mut self, setting: &'static str, client_id: &str, credential: Credential) -> Self {
        let authentication = Authentication::By(CredentialSource::Fixed(credential));
        self.authentication = Some(check_client_id(setting, client_id).map(|()| authentication));
        self
    }

    /// Whether a token counts as inactive if the answer has no `token_type`. Default: `false`, since RFC 7662 section
    /// 2.2 makes the member optional. Look at what your server says of access tokens first.
    ///
    /// Some servers call every token active that they know, and state `token_type` for access tokens only. Without this
    /// setting the others are let in as well. As of the versions looked at:
    ///
    /// * oidc-provider: refresh tokens.
    /// * Spring Authorization Server: refresh and ID tokens, authorization codes, and device and user codes, these two
    ///   before anybody has consented.
    /// * Doorkeeper from 6.0 on: refresh tokens. Up to 5.9 they answer as their access token does, and nothing tells
    ///   them apart.
    ///
    /// It does not help with authentik, where a refresh token answers as an access token does.
    pub fn require_token_type(mut self, require: bool) -> Self {
        self.reading.require_token_type = require;
        self
    }

    /// What kind of token the server is told to look for first. Default: `access_token`. A hint keeps no other kind
    /// out: a server that finds nothing by it looks at all it has (RFC 7662 section 2.1). See
    /// [`require_token_type`](Self::require_token_type) for that.
    pub fn token_type_hint(mut self, hint: impl Into<String>) -> Self {
        self.token_type_hint = hint.into();
        self
    }

    /// Whether a [`token_type_hint`](Self::token_type_hint) is sent, which RFC 7662 section 2.1 makes optional.
    /// Default: `true`. Switch it off for servers that refuse one or find nothing with it, such as WSO2 Identity Server
    /// before the end of 2018.
    pub fn send_token_type_hint(mut self, send: bool) -> Self {
        self.send_token_type_hint = send;
        self
    }

    /// A further parameter of every question's form.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Takes only answers that the server has signed, RFC 9701 (feature `jwt`). Default: plain JSON.
    #[cfg(feature = "jwt")]
    pub fn signed_answers(mut self, signed: SignedAnswers) -> Self {
        self.signed = Some(signed);
        self
    }

    /// How the endpoint is reached. Default: [`Connection::new`].
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// How long a question may take in all: waiting for its turn and a place, credentials, connection, retries, and the
    /// last byte of the answer. Default: 3 seconds.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.link.request_timeout = timeout;
        self
    }

    /// The clock that judges expiry. Default: [`SystemClock`](crate::clock::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.link.clock = Arc::new(clock);
        self
    }

    /// How much the authority is asked, and when it is left alone. Default: [`Limits::new`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Fetches the metadata of the issuer now, so that a program which cannot do without the authority fails when it
    /// starts. What is found goes over to the builder that this returns. Without it the first question discovers; see
    /// [`Rfc7662::discover`]. A builder that was given a URL, or has fetched, is returned as it is.
    ///
    /// # Errors
    /// If the issuer is not an `https` URL (`http` works on loopback, and with
    /// [`dangerously_allow_plain_http`](Connection::dangerously_allow_plain_http)) or has a query or a fragment; if it
    /// cannot be reached, publishes no such document, or publishes one of another issuer (RFC 8414 section 3.3): the
    /// two must be the same to the letter, a slash at the end included; or if a setting of the connection cannot work,
    /// such as a timeout of zero, which the source of the error then names. The message tells what each place gave.
    pub async fn fetch(mut self) -> Result<Self, DiscoveryError> {
        if let Place::IssuerSays(issuer) = self.place {
            let (discovery, _) = Discovery::new(&issuer, Wanted::IntrospectionEndpoint, &self.link)
                .map_err(|error| DiscoveryError::of_a_setting(&issuer, error))?;
            let found = discovery.find().await?;
            self.place = Place::At { found, issuer: Some(issuer) };
        }
        Ok(self)
    }

    /// Whoever adds a setting decides here whether answers differ by it.
    fn noted_reading(&self) -> protection::Reading {
        let Self {
            place: _,
            authentication: _,
            token_type_hint,
            send_token_type_hint,
            parameters,
            reading: Reading { require_token_type },
            #[cfg(feature = "jwt")]
            signed,
            link: _,
            limits: _,
        } = self;
        let mut noted = protection::Reading::default();
        if *require_token_type {
            noted.note("require_token_type", &["true"]);
        }
        match (*send_token_type_hint, token_type_hint.as_str()) {
            (true, TOKEN_TYPE_HINT) => {}
            (true, hint) => noted.note("token_type_hint", &[hint]),
            (false, _) => noted.note("send_token_type_hint", &["false"]),
        }
        #[cfg(feature = "jwt")]
        if let Some(signed) = signed {
            signed.note(&mut noted);
        }
        // Of those of one name the order may mean something; of the names it does not, and it may come from a map.
        let mut parameters: Vec<_> = parameters.iter().collect();
        parameters.sort_by_key(|(name, _)| name.as_str());
        parameters.iter().for_each(|(name, value)| noted.note("parameter", &[name, value]));
        noted
    }

    /// Checks every setting. Asks nobody: with [`Rfc7662::discover`] what the metadata says is checked by the first
    /// question, unless it was [fetched](Self::fetch).
    ///
    /// # Errors
    /// Names the setting that cannot work:
    ///
    /// * a URL that is none, or has a fragment, a user name or a password; `http` to another machine without
    ///   [`dangerously_allow_plain_http`](Connection::dangerously_allow_plain_http), or of a discovered endpoint whose
    ///   issuer is `https`; `https` without the feature `rustls` or `native-tls` (or an `http_client`)
    /// * an issuer for which the same holds, or one with a query
    /// * no credentials, or some that cannot be sent: an empty client identifier, a bearer token with a line end, a
    ///   login with a setting that cannot work; a secret for a discovered server that lists no way to send it; a
    ///   certificate that cannot be read, or for `http`
    /// * a parameter that is set by another setting
    /// * zero for a timeout, `max_response_bytes`, `max_concurrent_requests`, `rate_limit`, `breaker_threshold` or
    ///   `breaker_pause`
    /// * a [`root_certificate`](Connection::root_certificate) that is none, and what an `http_client` does not go with
    /// * signed answers whose issuer or `jwks_url` is no `https` URL, or with credentials that do not say which client
    ///   asks
    pub fn build(self) -> Result<Rfc7662, BuildError> {
        let reading = self.noted_reading();
        let authentication = self.authentication.unwrap_or_else(|| {
            Err(BuildError::new(
                "credentials",
                "no credentials are set; call `client_secret_basic`, another of its kind, or `without_credentials`",
            ))
        })?;
        let credentials = match authentication {
            Authentication::By(source) => {
                #[cfg(feature = "private-key-jwt")]
                let source = match (source, &self.place) {
                    (
                        CredentialSource::Signed(key),
                        Place::IssuerSays(audience)
                        | Place::At { issuer: Some(audience), .. }
                        | Place::At { found: Found { url: audience, .. }, .. },
                    ) => CredentialSource::Signed(Box::new(key.or_audience(audience))),
                    (other, _) => other,
                };
                check_parameters(&source, &self.parameters)?;
                Credentials::By(Arc::new(source))
            }
            Authentication::Secret(basic, post) => {
                check_parameters(&CredentialSource::Fixed(basic.clone()), &self.parameters)?;
                Credentials::Secret(basic, post)
            }
        };
        let rate_limit = RateLimit::per_minute(RATE_LIMIT);
        // Of an issuer the name it was given by, whenever its endpoint is looked for: it may move while a process runs.
        let (Place::At { issuer: Some(url), .. } | Place::IssuerSays(url) | Place::At { found: Found { url, .. }, .. }) =
            &self.place;
        let authority = Authority { url: url.clone(), client: credentials.account(), reading };
        #[cfg(feature = "jwt")]
        let longest = self.link.connection.max_response_bytes;
        #[cfg(feature = "jwt")]
        let signed = self.signed.map(|signed| signed.open(credentials.account(), &self.link, longest)).transpose()?;
        let (place, endpoint) = match self.place {
            Place::At { found, issuer } => {
                let (target, url) = reach(&found, issuer.as_deref(), &credentials, &self.parameters, &self.link)?;
                (found.url, Endpoint::at(target, authority, &url, self.link, &self.limits, rate_limit)?)
            }
            Place::IssuerSays(issuer) => {
                let (discovery, url) = Discovery::new(&issuer, Wanted::IntrospectionEndpoint, &self.link)?;
                let (parameters, link) = (self.parameters.clone(), self.link.clone());
                let search = FirstQuestion { discovery, credentials, parameters, link };
                (issuer, Endpoint::sought(search, authority, &url, self.link, &self.limits, rate_limit)?)
            }
        };
        #[cfg(feature = "jwt")]
        let endpoint = if signed.is_some() { endpoint.accepting(MEDIA_TYPE) } else { endpoint };
        Ok(Rfc7662 {
            #[cfg(feature = "jwt")]
            signed,
            place,
            token_type_hint: self.send_token_type_hint.then_some(self.token_type_hint),
            parameters: self.parameters,
            reading: self.reading,
            endpoint,
            odd_verdicts: LogLimit::new(),
        })
    }
}

impl fmt::Debug for Rfc7662Builder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut shows = f.debug_struct("Rfc7662Builder");
        match &self.place {
            Place::At { found, .. } => shows.field("url", &shown(&found.url)),
            Place::IssuerSays(issuer) => shows.field("issuer", &shown(issuer)),
        };
        shows.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    use crate::introspect::Introspect;

    #[test]
    fn the_endpoint_of_an_https_issuer_is_https_however_the_scheme_is_written() {
        for issuer in ["https://as.example", "HTTPS://as.example", "hTTps://as.example"] {
            let found = Rfc7662Builder::found_at("http://127.0.0.1:1/x", issuer).client_secret("id", "s").build();
            let error = found.map(|_| ()).unwrap_err();
            assert_eq!(error.setting(), "introspection_endpoint", "{issuer}");
        }
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    fn authority(builder: Rfc7662Builder) -> (String, String) {
        let handle = Introspect::endpoint(&builder.build().unwrap()).unwrap();
        let Authority { url, client, reading: _ } = handle.authority().clone();
        (url, client)
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    #[test]
    fn an_endpoint_is_known_by_its_url_or_by_the_issuer_that_names_it_whenever_it_was_found() {
        for (builder, url) in [
            (Rfc7662::builder("https://as.example/introspect?tenant=a"), "https://as.example/introspect?tenant=a"),
            (Rfc7662::discover("https://as.example/realm"), "https://as.example/realm"),
            (Rfc7662Builder::found_at("https://as.example/x", "https://as.example/realm"), "https://as.example/realm"),
        ] {
            assert_eq!(authority(builder.client_secret("my-api", "hush")), (url.into(), "my-api".into()));
        }
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    #[test]
    fn a_client_is_known_by_its_identifier_however_it_authenticates_and_never_by_a_secret() {
        // Which header and form encode in different ways.
        const ID: &str = "https://api.example.com/a b+c%20d\u{e4}";
        let builder = || Rfc7662::builder("https://as.example/introspect");
        let login = || ClientCredentials::new("https://as.example/token", ID, "hush");
        let in_form = ClientCredentials::with_client_secret_post("https://as.example/token", ID, "hush");
        for builder in [
            builder().client_secret_basic(ID, "hush"),
            builder().client_secret_post(ID, "hush"),
            builder().client_secret(ID, "hush"),
            builder().client_credentials(login()),
            builder().client_credentials(in_form),
        ] {
            assert_eq!(authority(builder).1, ID);
        }
        let hook = || async { Ok(Credential::basic("my-api", "hush")?) };
        for builder in [builder().bearer_token("hush"), builder().without_credentials(), builder().credentials(hook)] {
            assert_eq!(authority(builder).1, "");
        }
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    fn reading(builder: Rfc7662Builder) -> String {
        let handle = Introspect::endpoint(&builder.build().unwrap()).unwrap();
        handle.authority().reading.as_str().to_owned()
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    #[test]
    fn each_setting_by_which_answers_differ_tells_them_apart() {
        type Set = fn(Rfc7662Builder) -> Rfc7662Builder;
        let settings: [(Set, &str); 9] = [
            (|builder| builder.require_token_type(true), "require_token_type 4 true\n"),
            (|builder| builder.token_type_hint("at"), "token_type_hint 2 at\n"),
            (|builder| builder.token_type_hint(""), "token_type_hint 0 \n"),
            (|builder| builder.send_token_type_hint(false), "send_token_type_hint 5 false\n"),
            // It is not sent.
            (|builder| builder.token_type_hint("at").send_token_type_hint(false), "send_token_type_hint 5 false\n"),
            (|builder| builder.parameter("resource", "x"), "parameter 8 resource 1 x\n"),
            (|builder| builder.parameter("b", "1").parameter("a", "2"), "parameter 1 a 1 2\nparameter 1 b 1 1\n"),
            (|builder| builder.parameter("a", "2").parameter("b", "1"), "parameter 1 a 1 2\nparameter 1 b 1 1\n"),
            (|builder| builder.parameter("a", "2").parameter("a", "1"), "parameter 1 a 1 2\nparameter 1 a 1 1\n"),
        ];
        for (set, expected) in settings {
            for builder in [
                Rfc7662::builder("https://as.example/introspect"),
                Rfc7662::discover("https://as.example"),
                Rfc7662Builder::found_at("https://as.example/x", "https://as.example"),
            ] {
                assert_eq!(reading(set(builder).without_credentials()), expected);
            }
        }
    }

    /// So that what a fleet shares stays the same from one release to the next.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    #[test]
    fn a_setting_by_which_answers_do_not_differ_or_that_is_as_by_default_tells_nothing_apart() {
        type Set = fn(Rfc7662Builder) -> Rfc7662Builder;
        let settings: [Set; 10] = [
            |builder| builder,
            |builder| builder.require_token_type(false).send_token_type_hint(true).token_type_hint("access_token"),
            |builder| builder.request_timeout(Duration::from_secs(1)),
            |builder| builder.limits(Limits::new().rate_limit(1, Duration::from_secs(1))),
            |builder| builder.connection(Connection::new().max_response_bytes(1)),
            |builder| builder.clock(crate::clock::SystemClock),
            // As whom it asks: that is the client.
            |builder| builder.client_secret_basic("my-api", "hush"),
            |builder| builder.client_secret_post("my-api", "hush"),
            |builder| builder.bearer_token("hush"),
            |builder| builder.client_credentials(ClientCredentials::new("https://as.example/token", "my-api", "hush")),
        ];
        for set in settings {
            assert_eq!(reading(set(Rfc7662::builder("https://as.example/introspect").without_credentials())), "");
        }
    }

    #[cfg(all(feature = "private-key-jwt", any(feature = "rustls", feature = "native-tls")))]
    #[test]
    fn a_client_that_signs_is_known_by_its_identifier() {
        let key = || PrivateKeyJwt::from_pem("my-api", include_str!("../../tests/keys/ec.pem")).unwrap();
        let builder = || Rfc7662::builder("https://as.example/introspect");
        let login = ClientCredentials::with_private_key_jwt("https://as.example/token", key());
        for builder in [builder().private_key_jwt(key()), builder().client_credentials(login)] {
            assert_eq!(authority(builder).1, "my-api");
        }
    }

    #[test]
    fn unless_it_is_told_otherwise_it_asks_60_000_questions_a_minute_at_most() {
        let limit = RateLimit::per_minute(RATE_LIMIT);
        assert_eq!((limit.requests, limit.per), (60_000, Duration::from_secs(60)));
    }
}
