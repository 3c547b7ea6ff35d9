//! Why an authority could not be asked.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

/// The authority could not be asked, or gave an answer that cannot be trusted.
///
/// This never says anything about a token. It is cheap to clone, since one failure reaches everyone who waited for it.
/// Its text and its sources hold neither a token nor a credential, as far as this crate makes them.
#[derive(Clone)]
pub struct IntrospectError {
    kind: IntrospectErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    /// The connection could not be made, or broke before the answer began: nothing was said.
    before_answer: bool,
    is_reported: bool,
    /// There was an answer, and it was larger than is read.
    is_too_large: bool,
    /// Of discovery, or a login: the server asked could not be reached, or is busy. Nobody has to change anything.
    may_pass: bool,
    /// A word of this crate's own for what is wrong with the answer.
    fault: &'static str,
}

/// What a line in the log tells of. Neither what a caller can bring about nor what passes by itself may hide what
/// somebody has to mend.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sort {
    kind: IntrospectErrorKind,
    /// Or a login that fails would hide that its token is refused.
    status: Option<StatusCode>,
    fault: &'static str,
    is_outage: bool,
}

/// What kept the authority from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntrospectErrorKind {
    /// No connection to the authority could be made.
    Connect,
    /// The connection broke before the answer was complete.
    Transport,
    /// The answer did not come in time.
    Timeout,
    /// The authority refused *this service's* credentials, or they could not be obtained. An operator has to act,
    /// unless it is an [outage](IntrospectError::is_outage) of the server that hands them out.
    Credentials,
    /// The endpoint, or a key set, is to be found in the metadata of its issuer (see
    /// [`Rfc7662::discover`](crate::Rfc7662::discover)), and was not. The cause says what each well-known place gave.
    Discovery,
    /// The authority asks for fewer questions (HTTP 429).
    RateLimited,
    /// The authority answered with an HTTP status that says nothing about the token.
    Status,
    /// The answer is too large, is not what the protocol asks for, or speaks of another token.
    Answer,
    /// Too many questions are under way or waiting already; the authority was not asked. Or the key of a JWT is not
    /// known, and keys were looked for a moment ago.
    Overloaded,
    /// The authority failed again and again a moment ago, or asked for a pause; it was not asked.
    CircuitOpen,
    /// The question was given up: its introspector panicked, its runtime went away, or it was invalidated again and
    /// again.
    Abandoned,
}

impl IntrospectErrorKind {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Self; 11] = [
        Self::Connect,
        Self::Transport,
        Self::Timeout,
        Self::Credentials,
        Self::Discovery,
        Self::RateLimited,
        Self::Status,
        Self::Answer,
        Self::Overloaded,
        Self::CircuitOpen,
        Self::Abandoned,
    ];

    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Credentials => "credentials",
            Self::Discovery => "discovery",
            Self::RateLimited => "rate_limited",
            Self::Status => "status",
            Self::Answer => "answer",
            Self::Overloaded => "overloaded",
            Self::CircuitOpen => "circuit_open",
            Self::Abandoned => "abandoned",
        }
    }
}

impl IntrospectError {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: IntrospectErrorKind) -> Self {
        Self {
            kind,
            source: None,
            status: None,
            retry_after: None,
            before_answer: false,
            is_reported: false,
            is_too_large: false,
            may_pass: false,
            fault: "",
        }
    }

    /// This error with its cause. The cause is logged: it must not hold a token. (`reqwest::Error` prints the URL; call
    /// its `without_url` first.)
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// This error with how long the authority wants to be left alone. Callers are told to come back then.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Zero is no delay at all.
    pub(crate) fn retry_after_at_most(mut self, longest: Duration) -> Self {
        self.retry_after = self.retry_after.map(|delay| delay.min(longest)).filter(|delay| !delay.is_zero());
        self
    }

    /// This error with the HTTP status that the authority answered with.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    pub(crate) fn too_large(mut self) -> Self {
        self.is_too_large = true;
        self.of_fault("too large")
    }

    #[cfg(feature = "signals")]
    pub(crate) fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// `fault` is one of few.
    pub(crate) fn of_fault(mut self, fault: &'static str) -> Self {
        self.fault = fault;
        self
    }

    /// Failures of one sort may be told of by one line.
    pub(crate) fn sort(&self) -> Sort {
        Sort { kind: self.kind, status: self.status, fault: self.fault, is_outage: self.is_outage() }
    }

    /// The endpoint was not discovered, because of this failure to ask the issuer. It counts as that one does.
    pub(crate) fn of_discovery(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let may_pass = self.is_outage();
        Self { kind: IntrospectErrorKind::Discovery, may_pass, ..self }.with_source(source)
    }

    /// This error of a login, whose server could not be asked.
    pub(crate) fn that_may_pass(self) -> Self {
        Self { may_pass: true, ..self }
    }

    pub(crate) fn before_answer(mut self) -> Self {
        self.before_answer = true;
        self
    }

    pub(crate) fn reported(mut self) -> Self {
        self.is_reported = true;
        self
    }

    /// Whether it stands in the log already: one failure may reject thousands of requests.
    pub(crate) fn is_reported(&self) -> bool {
        self.is_reported
    }

    /// What kept the authority from answering.
    #[must_use]
    pub fn kind(&self) -> IntrospectErrorKind {
        self.kind
    }

    /// Whether the authority refused this service's own credentials, or they could not be obtained.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        self.kind == IntrospectErrorKind::Credentials
    }

    /// Whether the answer did not come in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind == IntrospectErrorKind::Timeout
    }

    /// How long the authority wants to be left alone, or is.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The HTTP status, if it is what makes this a failure. An RFC 7662 server that answers 400 with `invalid_client`
    /// or `unauthorized_client` refuses this service: that is 401 here.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Whether a server is down or busy, so that the same question may be answered another time and nobody has to
    /// change a setting:
    ///
    /// * The authority could not be reached, broke off, did not answer in time, or answered with HTTP 429, 502, 503 or
    ///   504; or it was not asked because it failed so a moment ago
    ///   ([`CircuitOpen`](IntrospectErrorKind::CircuitOpen)).
    /// * The same holds of the issuer whose metadata were looked for
    ///   ([`Discovery`](IntrospectErrorKind::Discovery)), or of the token endpoint where this service logs in
    ///   ([`Credentials`](IntrospectErrorKind::Credentials)), of which any 5xx counts. A `credentials` hook tells it by
    ///   failing with an `IntrospectError` that is an outage.
    ///
    /// A host name with a typing error, or a certificate that is not trusted, looks like an outage. A 500 of the
    /// authority does not: the token may have caused it. An overload ([`is_overloaded`](Self::is_overloaded)) is none.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self.kind {
            IntrospectErrorKind::Connect
            | IntrospectErrorKind::Transport
            | IntrospectErrorKind::Timeout
            | IntrospectErrorKind::RateLimited
            | IntrospectErrorKind::CircuitOpen => true,
            IntrospectErrorKind::Discovery | IntrospectErrorKind::Credentials if self.may_pass => true,
            IntrospectErrorKind::Discovery => false,
            _ => self.is_gateway_failure(),
        }
    }

    /// Whether it says that the authority is down or wants to be left alone. A login that fails says nothing of it;
    /// other failures may be the doing of whoever sent the token.
    pub(crate) fn is_outage_of_the_authority(&self) -> bool {
        self.is_outage() && !(self.kind == IntrospectErrorKind::Credentials && self.may_pass)
    }

    /// Whether a login failed with this because its server is down or busy. No caller's token can make it answer 500.
    pub(crate) fn is_outage_of_a_login(&self) -> bool {
        self.is_outage() || self.status.is_some_and(|status| status.is_server_error())
    }

    /// Whether asking again at once may help, and can do no harm. A pause that the authority asks for is not an "at
    /// once".
    pub(crate) fn is_worth_another_attempt(&self) -> bool {
        self.before_answer || (self.is_gateway_failure() && self.retry_after.is_none())
    }

    fn is_gateway_failure(&self) -> bool {
        matches!(
            self.status,
            Some(StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
        )
    }

    /// Whether the holder of the token may have brought it about: by an answer that cannot be read, say, or by a token
    /// that makes the authority stumble.
    pub(crate) fn may_be_the_holders_doing(&self) -> bool {
        use IntrospectErrorKind::{Abandoned, Answer, Status};
        matches!(self.kind, Status | Answer | Abandoned) && !self.is_outage()
    }

    pub(crate) fn was_not_asked(&self) -> bool {
        matches!(self.kind, IntrospectErrorKind::Overloaded | IntrospectErrorKind::CircuitOpen)
    }

    /// Whether the authority was asked in vain, or not asked because it would be: an older answer may serve meanwhile,
    /// if that is wanted. Not if it was this side that had no room for the question; nor
    /// for an answer that is too large, which the holder of the token may have brought about.
    pub(crate) fn is_failure_of_the_authority(&self) -> bool {
        !self.is_too_large && !matches!(self.kind, IntrospectErrorKind::Overloaded | IntrospectErrorKind::Abandoned)
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
            IntrospectErrorKind::Credentials => "this service's own credentials were refused, or could not be obtained",
            IntrospectErrorKind::Discovery => "what the issuer publishes was not discovered",
            IntrospectErrorKind::RateLimited => "the authority asks for fewer questions",
            IntrospectErrorKind::Status => "the authority answered with an unexpected status",
            IntrospectErrorKind::Answer => "the authority's answer cannot be used",
            IntrospectErrorKind::Overloaded => "too many questions are under way",
            IntrospectErrorKind::CircuitOpen => "the authority failed a moment ago and is not asked for a while",
            IntrospectErrorKind::Abandoned => "the question was given up",
        })
    }
}

impl fmt::Debug for IntrospectError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut shown = f.debug_struct("IntrospectError");
        shown.field("kind", &self.kind);
        if let Some(status) = self.status {
            shown.field("status", &status.as_u16());
        }
        if let Some(delay) = self.retry_after {
            shown.field("retry_after", &delay);
        }
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

/// The last cause, which says most.
pub(crate) fn innermost(error: &dyn Error) -> &dyn Error {
    error.source().map_or(error, innermost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_what_may_be_answered_another_time_though_nobody_changes_anything() {
        use IntrospectErrorKind::{CircuitOpen, Connect, RateLimited, Status, Timeout, Transport};
        for kind in IntrospectErrorKind::ALL {
            let is_outage = matches!(kind, Connect | Transport | Timeout | RateLimited | CircuitOpen);
            assert_eq!(IntrospectError::new(kind).is_outage(), is_outage, "{kind}");
        }
        for (status, is_outage) in [(502, true), (503, true), (504, true), (500, false), (501, false), (404, false)] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(IntrospectError::new(Status).with_status(status).is_outage(), is_outage, "{status}");
        }
    }

    #[test]
    fn what_the_log_prints_has_the_status_and_the_pause_that_was_asked_for() {
        let error = IntrospectError::new(IntrospectErrorKind::RateLimited)
            .with_status(StatusCode::TOO_MANY_REQUESTS)
            .with_retry_after(Duration::from_secs(7))
            .with_source("too many");
        let shown = "IntrospectError { kind: RateLimited, status: 429, retry_after: 7s, cause: too many }";
        assert_eq!(format!("{error:?}"), shown);
        let other = IntrospectError::new(IntrospectErrorKind::Abandoned);
        assert_eq!(format!("{other:?}"), "IntrospectError { kind: Abandoned }");
    }
}
