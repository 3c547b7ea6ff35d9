//! Why an authority could not be asked.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The authority could not be asked, or gave an answer that cannot be trusted.
///
/// This never says anything about a token. It is cheap to clone, since one failure reaches everyone who waited for it. Its
/// text and its sources hold neither a token nor a credential, as far as this crate makes them.
#[derive(Clone)]
pub struct IntrospectError {
    kind: IntrospectErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What kept the authority from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntrospectErrorKind {
    /// No connection to the authority could be made.
    Connect,
    /// The connection broke before the answer was complete.
    Transport,
    /// The answer did not come in time.
    Timeout,
    /// The authority refused *this service's* credentials, or they could not be obtained. An operator has to act.
    Credentials,
    /// The authority asks for fewer questions (HTTP 429).
    RateLimited,
    /// The authority answered with an HTTP status that says nothing about the token.
    Status,
    /// The answer is too large, is not what the protocol asks for, or speaks of another token.
    Answer,
    /// Too many questions are under way already; the authority was not asked.
    Overloaded,
    /// The question was given up: its introspector panicked, its runtime went away, or it was invalidated again and again.
    Abandoned,
}

impl IntrospectErrorKind {
    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Credentials => "credentials",
            Self::RateLimited => "rate_limited",
            Self::Status => "status",
            Self::Answer => "answer",
            Self::Overloaded => "overloaded",
            Self::Abandoned => "abandoned",
        }
    }
}

impl IntrospectError {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: IntrospectErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// The same error with its cause. The cause is logged: it must not hold a token. (`reqwest::Error` prints the URL; call
    /// its `without_url` first.)
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What kept the authority from answering.
    #[must_use]
    pub fn kind(&self) -> IntrospectErrorKind {
        self.kind
    }

    /// Whether the authority refused this service's own credentials.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        self.kind == IntrospectErrorKind::Credentials
    }

    /// Whether the answer did not come in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind == IntrospectErrorKind::Timeout
    }

    /// Whether the authority was not asked because too many questions are under way.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.kind == IntrospectErrorKind::Overloaded
    }
}

impl fmt::Display for IntrospectError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.kind {
            IntrospectErrorKind::Connect => "no connection to the authority",
            IntrospectErrorKind::Transport => "the connection to the authority broke",
            IntrospectErrorKind::Timeout => "the authority did not answer in time",
            IntrospectErrorKind::Credentials => "the authority refused this service's own credentials",
            IntrospectErrorKind::RateLimited => "the authority asks for fewer questions",
            IntrospectErrorKind::Status => "the authority answered with an unexpected status",
            IntrospectErrorKind::Answer => "the authority's answer cannot be used",
            IntrospectErrorKind::Overloaded => "too many questions are under way",
            IntrospectErrorKind::Abandoned => "the question was given up",
        })
    }
}

impl fmt::Debug for IntrospectError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut shown = f.debug_struct("IntrospectError");
        shown.field("kind", &self.kind);
        // The whole chain: the first source of a failed connection says next to nothing, the last one says why.
        let mut causes = Vec::new();
        let mut next = self.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        if !causes.is_empty() {
            shown.field("cause", &format_args!("{}", causes.join(": ")));
        }
        shown.finish()
    }
}

impl Error for IntrospectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}
