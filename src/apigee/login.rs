//! The vendor's OAuth login for accounts that Basic authentication no longer works for.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tower::BoxError;

use crate::build_error::BuildError;
use crate::credentials::grant::{Granted, Refused, TokenEndpoint};
use crate::credentials::source::CredentialSource;
use crate::http::connection::Connection;
use crate::http::credential::Credential;
use crate::http::link::Link;
use crate::url::shown;

/// Logs the admin account in at Apigee's OAuth service, and asks with the access token it gets.
///
/// The password grant is used first; its refresh token from then on, until that is refused, which falls back to the
/// password. The token is renewed by the next question once it has no more than 30 seconds left (half its life, if it
/// lives less than a minute), and after the management API refused it, unless another refusal led to a login within the
/// last 30 seconds. One login is under way at a time.
///
/// ```
/// use tower_introspection::Apigee;
/// use tower_introspection::apigee::ApigeeLogin;
///
/// let login = ApigeeLogin::new("token-reader@example.com", "password").zone("acme");
/// let apigee = Apigee::builder("my-org").login(login).build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct ApigeeLogin {
    token_url: String,
    username: String,
    password: String,
    mfa_token: Option<MfaToken>,
    bad_zone: Option<String>,
    link: Link,
}

type MfaToken = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>> + Send + Sync>;

impl ApigeeLogin {
    /// Logs in at `https://login.apigee.com/oauth/token`.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            token_url: "https://login.apigee.com/oauth/token".into(),
            username: username.into(),
            password: password.into(),
            mfa_token: None,
            bad_zone: None,
            link: Link::for_login(),
        }
    }

    /// Logs in at the identity zone `zone`: `https://{zone}.login.apigee.com/oauth/token`.
    pub fn zone(mut self, zone: &str) -> Self {
        let is_label = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        // Anything else could end the host's name before `login.apigee.com`, and send the password elsewhere.
        self.bad_zone = (!is_label).then(|| zone.to_owned());
        self.token_url = format!("https://{zone}.login.apigee.com/oauth/token");
        self
    }

    /// Logs in at this address, whatever zone was named before.
    pub fn token_url(mut self, token_url: impl Into<String>) -> Self {
        self.bad_zone = None;
        self.token_url = token_url.into();
        self
    }

    /// Where the one-time code of the second factor comes from, for accounts that have one. Asked for each login by
    /// password; if it fails, so does the login, and the password is not sent. Its errors are logged, with what caused
    /// them: no secret may be in them. It takes part in the 30 seconds that a login has.
    ///
    /// ```
    /// use tower_introspection::apigee::ApigeeLogin;
    ///
    /// # async fn current_code() -> Result<String, std::io::Error> { Ok("123456".into()) }
    /// let login = ApigeeLogin::new("token-reader@example.com", "password")
    ///     .mfa_token(|| async { Ok(current_code().await?) });
    /// ```
    pub fn mfa_token<F, Fut>(mut self, current: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.mfa_token = Some(Box::new(move || Box::pin(current())));
        self
    }

    /// How the token endpoint is reached. Default: [`Connection::new`].
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// How long one exchange with the token endpoint may take. A login, of one or two, takes no more than 30 seconds.
    /// Default: 10 seconds.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.link.request_timeout = timeout;
        self
    }

    pub(crate) fn into_credentials(self) -> Result<CredentialSource, BuildError> {
        if let Some(zone) = self.bad_zone {
            let error = BuildError::new("zone", format!("{zone:?} is no zone's name: letters, digits and `-`"));
            return Err(error.of_the_login());
        }
        // A constant that the vendor publishes for its clients: it is no secret, and it is the same for everyone.
        let client = CredentialSource::Fixed(Credential::basic("edgecli", "edgeclisecret")?);
        let username = self.username.clone();
        let account = Arc::new(Account {
            endpoint: TokenEndpoint::new(&self.token_url, self.link, client)?,
            username: self.username,
            password: self.password,
            mfa_token: self.mfa_token,
            refresh_token: Mutex::default(),
        });
        let source = CredentialSource::renewed(&self.token_url, move || {
            let account = Arc::clone(&account);
            async move { account.log_in().await }
        });
        Ok(source.of_account(username))
    }
}

impl fmt::Debug for ApigeeLogin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("ApigeeLogin").field("token_url", &shown(&self.token_url)).finish_non_exhaustive()
    }
}

struct Account {
    endpoint: TokenEndpoint,
    username: String,
    password: String,
    mfa_token: Option<MfaToken>,
    refresh_token: Mutex<Option<String>>,
}

impl Account {
    async fn log_in(&self) -> Result<Credential, BoxError> {
        let refresh_token = self.refresh_token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let granted = match refresh_token {
            Some(refresh_token) => match self.refresh(&refresh_token).await {
                Err(error) if error.is::<Refused>() => self.with_password().await?,
                // Without a new refresh token the old one goes on serving, RFC 6749 section 6.
                other => other.map(|granted| Granted {
                    refresh_token: granted.refresh_token.or(Some(refresh_token)),
                    ..granted
                })?,
            },
            None => self.with_password().await?,
        };
        *self.refresh_token.lock().unwrap_or_else(PoisonError::into_inner) = granted.refresh_token;
        Ok(granted.credential)
    }

    async fn refresh(&self, refresh_token: &str) -> Result<Granted, BoxError> {
        self.endpoint.grant(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    async fn with_password(&self) -> Result<Granted, BoxError> {
        let mfa_token = match &self.mfa_token {
            Some(current) => Some(current().await?),
            None => None,
        };
        let mut form = vec![("grant_type", "password"), ("username", &self.username), ("password", &self.password)];
        if let Some(mfa_token) = &mfa_token {
            form.push(("mfa_token", mfa_token));
        }
        self.endpoint.grant(&form).await
    }
}
