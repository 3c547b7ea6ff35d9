//! Where what this service shows the authority comes from: it stays the same, is renewed, or is made for each question.

use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "private-key-jwt")]
use super::private_key_jwt::PrivateKeyJwt;
use super::renewal::{Obtained, Renewal};
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::error::IntrospectError;
use crate::http::credential::{Credential, Lease};
use crate::url::shown;

/// The credential in use, and where the next one comes from.
pub(crate) enum CredentialSource {
    Fixed(Credential),
    /// And who logs in, if that is known.
    Renewed(Renewal, String),
    /// A new assertion for every question.
    #[cfg(feature = "private-key-jwt")]
    Signed(Box<PrivateKeyJwt>),
}

impl CredentialSource {
    /// `login` says in logs where they come from: a URL, whose query may be secret, or a few words.
    pub(crate) fn renewed<F, Fut>(login: &str, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Obtained> + Send + 'static,
    {
        Self::Renewed(Renewal::new(shown(login).into_owned(), Box::new(move || Box::pin(provider()))), String::new())
    }

    /// The same, renewed by the login of `account`.
    pub(crate) fn of_account(self, account: String) -> Self {
        match self {
            Self::Renewed(renewal, _) => Self::Renewed(renewal, account),
            other => other,
        }
    }

    /// The user name or the client's identifier, empty where it is not known. No secret.
    pub(crate) fn account(&self) -> String {
        match self {
            Self::Fixed(credential) => credential.account().to_owned(),
            Self::Renewed(_, account) => account.clone(),
            #[cfg(feature = "private-key-jwt")]
            Self::Signed(key) => key.client_id().to_owned(),
        }
    }

    /// Refuses parameters that the message or these credentials send anyway: none may be there twice, RFC 6749 section
    /// 3.2.
    pub(crate) fn check_parameters(
        &self,
        setting: &'static str,
        parameters: &[(String, String)],
        own: &[&str],
    ) -> Result<(), BuildError> {
        let is_sent_anyway = |name: &str| {
            let by_credentials = match self {
                Self::Fixed(credential) => credential.form_parameters().any(|(sent, _)| sent == name),
                Self::Renewed(..) => false,
                #[cfg(feature = "private-key-jwt")]
                Self::Signed(_) => matches!(name, "client_assertion" | "client_assertion_type"),
            };
            by_credentials || own.contains(&name)
        };
        match parameters.iter().find(|(name, _)| is_sent_anyway(name)) {
            Some((name, _)) => Err(BuildError::new(setting, format!("`{name}` has a setting of its own"))),
            None => Ok(()),
        }
    }

    /// The credential to ask with.
    pub(crate) async fn current(&self, clock: &Arc<dyn Clock>) -> Result<Lease, IntrospectError> {
        match self {
            Self::Fixed(credential) => Ok(Lease { credential: credential.clone(), login: 0 }),
            Self::Renewed(renewal, _) => renewal.lease(clock).await,
            #[cfg(feature = "private-key-jwt")]
            Self::Signed(key) => Ok(Lease { credential: key.sign(clock.now())?, login: 0 }),
        }
    }

    /// Another credential than `refused`, if there can be one.
    pub(crate) async fn instead_of(
        &self,
        refused: &Lease,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Lease>, IntrospectError> {
        match self {
            Self::Renewed(renewal, _) if renewal.give_up(refused, clock.now()) => renewal.lease(clock).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Another credential than `doubted`, which the authority may have refused or not, if one can be had.
    pub(crate) async fn instead_in_doubt(&self, doubted: &Lease, clock: &Arc<dyn Clock>) -> Option<Lease> {
        match self {
            Self::Renewed(renewal, _) => renewal.instead_in_doubt(doubted, clock).await,
            _ => None,
        }
    }
}
