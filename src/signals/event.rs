//! One thing that a transmitter says has happened.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::cache::Selection;
use crate::clock::Timestamp;

/// What a security event is about, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// `session-revoked`, CAEP 1.0 section 3.1.
    SessionRevoked,
    /// `token-claims-change`, CAEP 1.0 section 3.2.
    TokenClaimsChange,
    /// `credential-change`, CAEP 1.0 section 3.3.
    CredentialChange,
    /// `assurance-level-change`, CAEP 1.0 section 3.4.
    AssuranceLevelChange,
    /// `device-compliance-change`, CAEP 1.0 section 3.5.
    DeviceComplianceChange,
    /// `session-established`, CAEP 1.0 section 3.6.
    SessionEstablished,
    /// `session-presented`, CAEP 1.0 section 3.7.
    SessionPresented,
    /// `risk-level-change`, CAEP 1.0 section 3.8.
    RiskLevelChange,
    /// `account-credential-change-required`, RISC 1.0 section 2.1.
    AccountCredentialChangeRequired,
    /// `account-purged`, RISC 1.0 section 2.2.
    AccountPurged,
    /// `account-disabled`, RISC 1.0 section 2.3.
    AccountDisabled,
    /// `account-enabled`, RISC 1.0 section 2.4.
    AccountEnabled,
    /// `identifier-changed`, RISC 1.0 section 2.5.
    IdentifierChanged,
    /// `identifier-recycled`, RISC 1.0 section 2.6.
    IdentifierRecycled,
    /// `credential-compromise`, RISC 1.0 section 2.7.
    CredentialCompromise,
    /// `opt-in`, RISC 1.0 section 2.8.1.
    OptIn,
    /// `opt-out-initiated`, RISC 1.0 section 2.8.2.
    OptOutInitiated,
    /// `opt-out-cancelled`, RISC 1.0 section 2.8.3.
    OptOutCancelled,
    /// `opt-out-effective`, RISC 1.0 section 2.8.4.
    OptOutEffective,
    /// `recovery-activated`, RISC 1.0 section 2.9.
    RecoveryActivated,
    /// `recovery-information-changed`, RISC 1.0 section 2.10.
    RecoveryInformationChanged,
    /// `sessions-revoked`, RISC 1.0 section 2.11.
    SessionsRevoked,
    /// `tokens-revoked` of Google's Cross-Account Protection.
    TokensRevoked,
    /// `verification`, Shared Signals Framework 1.0 section 8.1.4.1: the stream works.
    Verification,
    /// `stream-updated`, Shared Signals Framework 1.0 section 8.1.5: the stream is enabled, paused or disabled.
    StreamUpdated,
    /// A logout token, OpenID Connect Back-Channel Logout 1.0 section 2.4.
    Logout,
    /// Any other.
    Other,
}

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";
/// As drafts had it.
const SSE: &str = "https://schemas.openid.net/secevent/sse/event-type/";
const OAUTH: &str = "https://schemas.openid.net/secevent/oauth/event-type/";

/// The member of `events` in a logout token, OpenID Connect Back-Channel Logout 1.0 section 2.4.
pub(super) const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl EventKind {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Self; 27] = [
        Self::SessionRevoked,
        Self::TokenClaimsChange,
        Self::CredentialChange,
        Self::AssuranceLevelChange,
        Self::DeviceComplianceChange,
        Self::SessionEstablished,
        Self::SessionPresented,
        Self::RiskLevelChange,
        Self::AccountCredentialChangeRequired,
        Self::AccountPurged,
        Self::AccountDisabled,
        Self::AccountEnabled,
        Self::IdentifierChanged,
        Self::IdentifierRecycled,
        Self::CredentialCompromise,
        Self::OptIn,
        Self::OptOutInitiated,
        Self::OptOutCancelled,
        Self::OptOutEffective,
        Self::RecoveryActivated,
        Self::RecoveryInformationChanged,
        Self::SessionsRevoked,
        Self::TokensRevoked,
        Self::Verification,
        Self::StreamUpdated,
        Self::Logout,
        Self::Other,
    ];

    /// One word for logs and metrics: the last part of the type, with underscores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SessionRevoked => "session_revoked",
            Self::TokenClaimsChange => "token_claims_change",
            Self::CredentialChange => "credential_change",
            Self::AssuranceLevelChange => "assurance_level_change",
            Self::DeviceComplianceChange => "device_compliance_change",
            Self::SessionEstablished => "session_established",
            Self::SessionPresented => "session_presented",
            Self::RiskLevelChange => "risk_level_change",
            Self::AccountCredentialChangeRequired => "account_credential_change_required",
            Self::AccountPurged => "account_purged",
            Self::AccountDisabled => "account_disabled",
            Self::AccountEnabled => "account_enabled",
            Self::IdentifierChanged => "identifier_changed",
            Self::IdentifierRecycled => "identifier_recycled",
            Self::CredentialCompromise => "credential_compromise",
            Self::OptIn => "opt_in",
            Self::OptOutInitiated => "opt_out_initiated",
            Self::OptOutCancelled => "opt_out_cancelled",
            Self::OptOutEffective => "opt_out_effective",
            Self::RecoveryActivated => "recovery_activated",
            Self::RecoveryInformationChanged => "recovery_information_changed",
            Self::SessionsRevoked => "sessions_revoked",
            Self::TokensRevoked => "tokens_revoked",
            Self::Verification => "verification",
            Self::StreamUpdated => "stream_updated",
            Self::Logout => "logout",
            Self::Other => "other",
        }
    }

    /// By the name of the type. The host and the folder tell families apart, whose events have names of their own, so
    /// `session-revoked` of RISC is none.
    pub(super) fn named(event_type: &str) -> Self {
        let of = |family: &[Self], name: &str| {
            let is_named = |kind: &&Self| kind.as_str().replace('_', "-") == name;
            family.iter().find(is_named).copied().unwrap_or(Self::Other)
        };
        if let Some(name) = event_type.strip_prefix(CAEP) {
            return of(&Self::ALL[..8], name);
        }
        if let Some(name) = event_type.strip_prefix(RISC) {
            // Before the framework had a family of its own.
            return match name {
                "verification" => Self::Verification,
                "stream-updated" => Self::StreamUpdated,
                name => of(&Self::ALL[8..22], name),
            };
        }
        if let Some(name) = event_type.strip_prefix(SSF).or_else(|| event_type.strip_prefix(SSE)) {
            return of(&[Self::Verification, Self::StreamUpdated], name);
        }
        if let Some(name) = event_type.strip_prefix(OAUTH) {
            return of(&[Self::TokensRevoked], name);
        }
        if event_type == LOGOUT { Self::Logout } else { Self::Other }
    }
}

/// A security event that is signed and as it has to be, for whoever [decides](super::Transmitter::on_event) what is
/// done about it. `Debug` shows its kind and no more: it is about a person.
#[derive(Clone)]
pub struct SecurityEvent {
    pub(super) kind: EventKind,
    pub(super) event_type: String,
    pub(super) issuer: String,
    pub(super) id: String,
    pub(super) issued_at: Timestamp,
    /// Where it may be stated, the first one first.
    pub(super) subjects: Vec<Map<String, Value>>,
    pub(super) members: Map<String, Value>,
}

impl SecurityEvent {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Its type: a URI, RFC 8417 section 2.2.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Who says so: the transmitter.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `jti` of the token that it came in, which is one of a kind to its issuer.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When that token was issued (`iat`). What happened, happened before.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// Whom or what it is about: a subject identifier, RFC 9493, or a complex subject, Shared Signals Framework 1.0
    /// section 3. Of a logout token the members `sub` and `sid`. `None` if it names none, or one of another type than
    /// `T`.
    #[must_use]
    pub fn subject<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(Value::Object(self.subjects.first()?.clone())).ok()
    }

    /// A member of the event, such as `reason` or `change_type`. `None` if it is not there, or of another type than
    /// `T`.
    #[must_use]
    pub fn member<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.members.get(name)?).ok()
    }

    /// What is done about it unless somebody decides otherwise:
    ///
    /// | event | |
    /// | --- | --- |
    /// | logout, `session-revoked`, `sessions-revoked`, `tokens-revoked` | [`Forget`](Reaction::Forget) |
    /// | `token-claims-change`, `identifier-changed`, `identifier-recycled` | `Forget` |
    /// | `account-disabled`, `account-purged`, `account-credential-change-required`, `credential-compromise` | `Forget` |
    /// | `credential-change` | `Forget`, unless `change_type` is `create` |
    /// | `assurance-level-change` | `Forget`, unless `change_direction` is `increase` |
    /// | `device-compliance-change` | `Forget`, unless `current_status` is `compliant` |
    /// | `risk-level-change` | `Forget`, unless `current_level` is `LOW` or `MEDIUM` |
    /// | everything else | [`Nothing`](Reaction::Nothing) |
    #[must_use]
    pub fn default_reaction(&self) -> Reaction {
        let unless = |name: &str, harmless: &[&str]| {
            let value = self.members.get(name).and_then(Value::as_str);
            if value.is_some_and(|value| harmless.contains(&value)) { Reaction::Nothing } else { Reaction::Forget }
        };
        match self.kind {
            EventKind::Logout
            | EventKind::SessionRevoked
            | EventKind::SessionsRevoked
            | EventKind::TokensRevoked
            | EventKind::TokenClaimsChange
            | EventKind::IdentifierChanged
            | EventKind::IdentifierRecycled
            | EventKind::AccountDisabled
            | EventKind::AccountPurged
            | EventKind::AccountCredentialChangeRequired
            | EventKind::CredentialCompromise => Reaction::Forget,
            EventKind::CredentialChange => unless("change_type", &["create"]),
            EventKind::AssuranceLevelChange => unless("change_direction", &["increase"]),
            EventKind::DeviceComplianceChange => unless("current_status", &["compliant"]),
            EventKind::RiskLevelChange => unless("current_level", &["LOW", "MEDIUM"]),
            EventKind::SessionEstablished
            | EventKind::SessionPresented
            | EventKind::AccountEnabled
            | EventKind::OptIn
            | EventKind::OptOutInitiated
            | EventKind::OptOutCancelled
            | EventKind::OptOutEffective
            | EventKind::RecoveryActivated
            | EventKind::RecoveryInformationChanged
            | EventKind::Verification
            | EventKind::StreamUpdated
            | EventKind::Other => Reaction::Nothing,
        }
    }
}

impl fmt::Debug for SecurityEvent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("SecurityEvent").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What is done about a security event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reaction {
    /// The tokens of its subject are forgotten that were issued until it was: the caches of its transmitter ask about
    /// them again, now and once more after 5 seconds, or refuse them where they are
    /// [judged alone](crate::Introspect::judges_alone).
    Forget,
    /// Nothing.
    Nothing,
    /// These tokens are forgotten, in the caches of its transmitter: up to 64 selections for all events of one token,
    /// which is refused with more. Add
    /// [`issued_before`](Selection::issued_before) to each, with the time of the event: otherwise one that comes again
    /// after a restart means tokens that were issued since.
    Invalidate(Vec<Selection>),
}
