//! What is said of each token, and the selections that are about it or not.

use tower_introspection::AccessToken;
use tower_introspection::cache::Selection;

use super::world::TOKENS;
use crate::model::common::{Facts, name_of, timestamp};
use crate::support::bearer;

/// What is invalidated.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    Token(usize),
    All,
    /// Each of these is about every second token.
    Client(usize),
    App(usize),
    Subject(usize),
    Issuer(usize),
    Session(usize),
    Claim(usize),
    IssuedBefore(i64),
    /// One token, if it is of this client.
    TokenOfClient(usize, usize),
    SubjectAndIssuer(usize),
}

/// One of them, mostly about that token.
pub(super) fn scope(chance: usize, token: usize, now: i64) -> Scope {
    let half = token % 2;
    match chance % 16 {
        0..5 => Scope::Token(token),
        5 => Scope::All,
        6 => Scope::Client(half),
        7 => Scope::App(half),
        8 => Scope::Subject(half),
        9 => Scope::Issuer(half),
        10 => Scope::Session(half),
        11 => Scope::Claim(half),
        12 => Scope::IssuedBefore(now),
        13 => Scope::TokenOfClient(token, half),
        14 => Scope::TokenOfClient(token, 1 - half),
        _ => Scope::SubjectAndIssuer(half),
    }
}

impl Scope {
    /// Whether it is about an active answer on that token, issued then.
    pub(super) fn is_about_active(self, token: usize, issued_at: i64) -> bool {
        match self {
            Self::Token(one) => one == token,
            Self::All => true,
            Self::Client(half)
            | Self::App(half)
            | Self::Subject(half)
            | Self::Issuer(half)
            | Self::Session(half)
            | Self::Claim(half)
            | Self::SubjectAndIssuer(half) => half == token % 2,
            Self::IssuedBefore(moment) => issued_at < moment,
            Self::TokenOfClient(one, client) => one == token && client == token % 2,
        }
    }

    /// Whether it is about an answer that the token is not active.
    pub(super) fn is_about_inactive(self, token: usize) -> bool {
        match self {
            Self::Token(one) => one == token,
            Self::All => true,
            _ => false,
        }
    }

    pub(super) fn selection(self) -> Selection {
        match self {
            Self::Token(token) => Selection::token(&bearer(&name_of(token))),
            Self::All => Selection::all(),
            Self::Client(half) => Selection::client(format!("client-{half}")),
            Self::App(half) => Selection::app(format!("app-{half}")),
            Self::Subject(half) => Selection::subject(format!("subject-{half}")),
            Self::Issuer(half) => Selection::issuer(format!("issuer-{half}")),
            Self::Session(half) => Selection::session(format!("session-{half}")),
            Self::Claim(half) => Selection::claim("half", half).unwrap(),
            Self::IssuedBefore(moment) => Selection::issued_before(timestamp(moment)),
            Self::TokenOfClient(token, client) => Self::Token(token).selection().and(Self::Client(client).selection()),
            Self::SubjectAndIssuer(half) => Self::Subject(half).selection().and(Self::Issuer(half).selection()),
        }
    }
}

/// What the authority says of an active token in answer to that question.
pub(super) fn facts_of(token: usize, question: usize, facts: Facts, issued_at: i64) -> AccessToken {
    assert!(token < TOKENS);
    let half = token % 2;
    let builder = AccessToken::builder()
        .client_id(format!("client-{half}"))
        .app(format!("app-{half}"))
        .subject(format!("subject-{half}"))
        .issuer(format!("issuer-{half}"))
        .issued_at(timestamp(issued_at))
        .claim("sid", format!("session-{half}"))
        .and_then(|builder| builder.claim("half", half))
        .and_then(|builder| builder.claim("question", question))
        .unwrap();
    match facts.expires_at {
        Some(expires_at) => builder.expires_at(timestamp(expires_at)).build(),
        None => builder.build(),
    }
}
