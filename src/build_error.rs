//! The one error of every builder.

use std::borrow::Cow;
use std::fmt;

/// A builder was given a setting that cannot work.
///
/// The message names the setting and says what to do about it; [`setting`](Self::setting) is the name of the method
/// alone, of the builder or of a value that it was given ([`Connection`](crate::connection::Connection),
/// [`Limits`](crate::connection::Limits), [`CacheSettings`](crate::cache::CacheSettings)).
#[derive(Debug)]
pub struct BuildError {
    setting: &'static str,
    problem: Cow<'static, str>,
}

impl BuildError {
    pub(crate) fn new(setting: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { setting, problem: problem.into() }
    }

    /// The same error of a login, which is given to a builder that has methods of the same names.
    pub(crate) fn of_the_login(self) -> Self {
        Self { problem: format!("of the login: {}", self.problem).into(), ..self }
    }

    /// The method whose value was refused. What a builder starts with goes by the name of that parameter
    /// (`org`, `url`, `issuer`, `resource`), and so does what another constructor takes (`username` of
    /// [`Credential::basic`](crate::credentials::Credential::basic), `token_url` and `client_id` of
    /// [`ClientCredentials`](crate::credentials::ClientCredentials)); what a discovered server stated goes by its name
    /// there (`introspection_endpoint`). `credentials` says that there are none. Of a setting of a login the message
    /// says that it is the login's.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "`{}`: {}", self.setting, self.problem)
    }
}

impl std::error::Error for BuildError {}
