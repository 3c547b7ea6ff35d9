//! A bearer token for this service, by the client credentials grant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::grant::TokenEndpoint;
#[cfg(feature = "private-key-jwt")]
use super::private_key_jwt::PrivateKeyJwt;
use super::source::CredentialSource;
use crate::build_error::BuildError;
use crate::http::connection::Connection;
use crate::http::credential::{Credential, check_client_id};
use crate::http::link::Link;
use crate::url::shown;

/// Obtains a bearer token for this service by the client credentials grant, RFC 6749 section 4.4, to ask an
/// introspection endpoint with.
///
/// The token is kept, and renewed by the next question once it has no more than 30 seconds left (half its life, if it
/// lives less than a minute), and after the endpoint refused it, unless another refusal led to a login within the last
/// 30 seconds. One login is under way at a time; it is never made for a single question.
///
/// ```
/// use tower_introspection::Rfc7662;
/// use tower_introspection::credentials::ClientCredentials;
///
/// let login = ClientCredentials::new("https://auth.example.com/token", "my-api", "secret").scope("introspect");
/// let endpoint = Rfc7662::builder("https://auth.example.com/introspect").client_credentials(login).build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[must_use]
pub struct ClientCredentials {
    token_url: String,
    client: Client,
    scope: Option<String>,
    parameters: Vec<(String, String)>,
    link: Link,
}

enum Client {
    Secret {
        client_id: String,
        client_secret: String,
        /// And not in the `Authorization` header.
        in_form: bool,
    },
    #[cfg(feature = "private-key-jwt")]
    PrivateKey(PrivateKeyJwt),
}

impl ClientCredentials {
    /// Logs in at `token_url` with `client_secret_basic`, encoded as
    /// [`Rfc7662Builder::client_secret_basic`](crate::rfc7662::Rfc7662Builder::client_secret_basic) says.
    pub fn new(token_url: impl Into<String>, client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
        let client =
            Client::Secret { client_id: client_id.into(), client_secret: client_secret.into(), in_form: false };
        Self::with_client(token_url.into(), client)
    }

    /// Logs in at `token_url` with `client_secret_post`: the client's identifier and secret stand in the form and not
    /// in the `Authorization` header, for servers that want it so or that do not decode the header.
    pub fn with_client_secret_post(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        let client = Client::Secret { client_id: client_id.into(), client_secret: client_secret.into(), in_form: true };
        Self::with_client(token_url.into(), client)
    }

    /// Logs in at `token_url` with `private_key_jwt` (feature `private-key-jwt`).
    #[cfg(feature = "private-key-jwt")]
    pub fn with_private_key_jwt(token_url: impl Into<String>, key: PrivateKeyJwt) -> Self {
        Self::with_client(token_url.into(), Client::PrivateKey(key))
    }

    fn with_client(token_url: String, client: Client) -> Self {
        Self { token_url, client, scope: None, parameters: Vec::new(), link: Link::for_login() }
    }

    /// A scope to ask for, or several with spaces between. Called several times, it asks for all of them. Default: none
    /// is asked for, and the server chooses.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        let scope = scope.into();
        self.scope = Some(match self.scope {
            Some(scopes) => format!("{scopes} {scope}"),
            None => scope,
        });
        self
    }

    /// A further parameter of the form, such as `audience` or `resource`.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// How the token endpoint is reached. Default: [`Connection::new`].
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// How long a login may take, which is one exchange with the token endpoint. More than 30 seconds counts as 30.
    /// Default: 10 seconds.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.link.request_timeout = timeout;
        self
    }

    pub(crate) fn into_credentials(self) -> Result<CredentialSource, BuildError> {
        let credentials = match self.client {
            Client::Secret { client_id, client_secret, in_form } => {
                check_client_id("client_id", &client_id).map_err(BuildError::of_the_login)?;
                CredentialSource::Fixed(if in_form {
                    Credential::client_secret_post(client_id, client_secret)
                } else {
                    Credential::client_secret_basic(client_id, client_secret)
                })
            }
            #[cfg(feature = "private-key-jwt")]
            Client::PrivateKey(key) => CredentialSource::Signed(Box::new(key.or_audience(&self.token_url))),
        };
        credentials
            .check_parameters("parameter", &self.parameters, &["grant_type", "scope"])
            .map_err(BuildError::of_the_login)?;
        let account = credentials.account();
        let endpoint = TokenEndpoint::new(&self.token_url, self.link, credentials)?;
        let scope = self.scope.map(|scope| ("scope".to_owned(), scope));
        let parameters: Vec<_> = scope.into_iter().chain(self.parameters).collect();
        let login = Arc::new((endpoint, parameters));
        let source = CredentialSource::renewed(&self.token_url, move || {
            let login = Arc::clone(&login);
            async move {
                let (endpoint, parameters) = &*login;
                let mut form = vec![("grant_type", "client_credentials")];
                form.extend(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                Ok(endpoint.grant(&form).await?.credential)
            }
        });
        Ok(source.of_account(account))
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("token_url", &shown(&self.token_url)).finish_non_exhaustive()
    }
}
