//! What this service shows the authority to be allowed to ask.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use reqwest::RequestBuilder;

use crate::build_error::BuildError;

/// What this service shows the authority: the account it asks with, not anything of a caller.
///
/// Made for the `credentials` hook of an endpoint's builder. `Debug` shows no secret.
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::credentials::Credential;
///
/// let credential = Credential::bearer("an-access-token-of-the-admin-account")?.expires_in(Duration::from_secs(1_799));
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Credential {
    secret: Secret,
    lifetime: Option<Duration>,
}

#[derive(Clone)]
enum Secret {
    Nothing,
    Basic {
        /// Who this is; `username` is how that is sent.
        account: Arc<str>,
        username: Arc<str>,
        password: Arc<str>,
    },
    Bearer(Arc<str>),
    /// Parameters of the question's own form.
    Form(Arc<[(&'static str, Box<str>)]>),
}

impl Credential {
    /// HTTP Basic authentication, RFC 7617, with both parts as they are. OAuth wants them encoded first, which
    /// [`client_secret_basic`](crate::rfc7662::Rfc7662Builder::client_secret_basic) does.
    ///
    /// # Errors
    /// If `username` holds a colon, which the scheme cannot carry. The error names `username`.
    pub fn basic(username: impl AsRef<str>, password: impl AsRef<str>) -> Result<Self, BuildError> {
        Self::basic_given_as("username", username.as_ref(), password.as_ref())
    }

    /// `setting` is what the caller gave them by.
    pub(crate) fn basic_given_as(setting: &'static str, username: &str, password: &str) -> Result<Self, BuildError> {
        if username.contains(':') {
            return Err(BuildError::new(
                setting,
                "a user name cannot hold a colon; check that name and password are not swapped",
            ));
        }
        let username: Arc<str> = username.into();
        Ok(Self::new(Secret::Basic { account: Arc::clone(&username), username, password: password.into() }))
    }

    /// A bearer token for the account, RFC 6750.
    ///
    /// # Errors
    /// If `token` cannot stand in a header, such as one read from a file with its line end. The error names `token`.
    pub fn bearer(token: impl AsRef<str>) -> Result<Self, BuildError> {
        Self::bearer_given_as("token", token.as_ref())
    }

    /// `setting` is what the caller gave it by.
    pub(crate) fn bearer_given_as(setting: &'static str, token: &str) -> Result<Self, BuildError> {
        if token.is_empty() || token.contains(char::is_whitespace) || HeaderValue::from_str(token).is_err() {
            return Err(BuildError::new(
                setting,
                "it is empty or holds a character that cannot stand in a header; trim line ends",
            ));
        }
        Ok(Self::new(Secret::Bearer(token.into())))
    }

    /// No credential: whoever can reach the endpoint may ask.
    pub(crate) fn none() -> Self {
        Self::new(Secret::Nothing)
    }

    /// HTTP Basic authentication of an OAuth client, for a secret that changes. RFC 6749 section 2.3.1 has both parts
    /// form-urlencoded before the scheme encodes them again, so that an identifier may hold a colon: give both as they
    /// are.
    #[must_use]
    pub fn client_secret_basic(client_id: impl AsRef<str>, client_secret: impl AsRef<str>) -> Self {
        // A space is written `%20`: every form decoder reads it, while there are servers (Authlib) that take `+` for
        // itself.
        let encoded = |text: &str| {
            let form: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            form.replace('+', "%20").into()
        };
        let (client_id, client_secret) = (client_id.as_ref(), client_secret.as_ref());
        Self::new(Secret::Basic {
            account: client_id.into(),
            username: encoded(client_id),
            password: encoded(client_secret),
        })
    }

    /// An OAuth client's identifier and secret in the form of the question, for a secret that changes. Apigee's
    /// questions have no form.
    #[must_use]
    pub fn client_secret_post(client_id: impl AsRef<str>, client_secret: impl AsRef<str>) -> Self {
        Self::form([("client_id", client_id.as_ref()), ("client_secret", client_secret.as_ref())])
    }

    /// Credentials that travel in the form of the question.
    pub(crate) fn form<const N: usize>(parameters: [(&'static str, &str); N]) -> Self {
        Self::new(Secret::Form(parameters.into_iter().map(|(name, value)| (name, value.into())).collect()))
    }

    fn new(secret: Secret) -> Self {
        Self { secret, lifetime: None }
    }

    /// How long it is valid after it was handed out. The next question once it has no more than 30 seconds left (half
    /// its life, if it lives less than a minute) has it renewed. Less than a second counts as a second. Without this it
    /// is kept until the authority refuses it.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    pub(crate) fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.secret {
            Secret::Nothing | Secret::Form(_) => request,
            Secret::Basic { account: _, username, password } => request.basic_auth(username, Some(password)),
            Secret::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// The user name or the client's identifier, as it was given; empty if there is none.
    pub(crate) fn account(&self) -> &str {
        match &self.secret {
            Secret::Basic { account, .. } => account,
            Secret::Form(_) => {
                self.form_parameters().find(|(name, _)| *name == "client_id").map_or("", |(_, client_id)| client_id)
            }
            Secret::Nothing | Secret::Bearer(_) => "",
        }
    }

    /// What it adds to the form of a question.
    pub(crate) fn form_parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let parameters = match &self.secret {
            Secret::Form(parameters) => &parameters[..],
            _ => &[],
        };
        parameters.iter().map(|(name, value)| (*name, &**value))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.secret {
            Secret::Nothing => "Credential(Nothing)",
            Secret::Basic { .. } => "Credential(Basic)",
            Secret::Bearer(_) => "Credential(Bearer)",
            Secret::Form(_) => "Credential(Form)",
        })
    }
}

pub(crate) fn check_client_id(setting: &'static str, client_id: &str) -> Result<(), BuildError> {
    if client_id.is_empty() {
        return Err(BuildError::new(setting, "the client's identifier is empty"));
    }
    Ok(())
}

/// A credential handed out, and the login that obtained it.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) credential: Credential,
    pub(crate) login: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `Authorization` header it makes.
    fn header(credential: &Credential) -> String {
        let request = credential.authorize(reqwest::Client::new().get("http://127.0.0.1/")).build().unwrap();
        request.headers()["authorization"].to_str().unwrap().to_owned()
    }

    #[test]
    fn client_secret_basic_form_urlencodes_both_parts_before_base64() {
        // The two parts of "a:b+c/d%e&f g\u{e4}" and "s:+/%& \u{20ac}", encoded by hand from RFC 6749 appendix B.
        let credential = Credential::client_secret_basic("a:b+c/d%e&f g\u{e4}", "s:+/%& \u{20ac}");
        let expected = reqwest::Client::new()
            .get("http://127.0.0.1/")
            .basic_auth("a%3Ab%2Bc%2Fd%25e%26f%20g%C3%A4", Some("s%3A%2B%2F%25%26%20%E2%82%AC"))
            .build()
            .unwrap();
        assert_eq!(header(&credential), expected.headers()["authorization"].to_str().unwrap());
        // RFC 6749 section 2.3.1, the example.
        let example = Credential::client_secret_basic("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw");
        assert_eq!(header(&example), "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3");
    }

    #[test]
    fn letters_digits_and_four_marks_are_sent_as_they_are_and_nothing_else_unless_it_is_plain_basic() {
        let sent = |credential: Credential| match credential.secret {
            Secret::Basic { password, .. } => password,
            _ => panic!("it is Basic"),
        };
        let ascii: Vec<_> = (' '..='~').map(String::from).collect();
        let as_they_are = |encode: &dyn Fn(&str) -> Credential| -> String {
            ascii.iter().filter(|text| *sent(encode(text)) == ***text).map(String::as_str).collect()
        };
        assert_eq!(
            as_they_are(&|secret| Credential::client_secret_basic("a", secret)),
            "*-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
        );
        assert_eq!(as_they_are(&|secret| Credential::basic("a", secret).unwrap()), ascii.concat());
    }

    #[test]
    fn a_credential_that_cannot_be_sent_is_refused_by_the_name_its_caller_gave_it_and_none_is_shown() {
        assert_eq!(Credential::basic("a:b", "c").unwrap_err().setting(), "username");
        for bad in ["", "token\n", "to ken", "to\u{7f}ken"] {
            assert_eq!(Credential::bearer(bad).unwrap_err().setting(), "token", "{bad:?}");
        }
        for credential in [
            Credential::basic("ann", "hush").unwrap(),
            Credential::bearer("hush").unwrap(),
            Credential::form([("client_secret", "hush")]),
        ] {
            let shown = format!("{credential:?}");
            assert!(!shown.contains("hush") && !shown.contains("ann"), "{shown}");
        }
    }
}
