//! Security event tokens, RFC 8417 with the rules of the Shared Signals Framework 1.0 section 4, and logout tokens,
//! OpenID Connect Back-Channel Logout 1.0 section 2.4: what is required of each, but for the signature. Pure functions
//! of what was sent, the settings and the time.

use serde_json::{Map, Value};

use super::event::{EventKind, LOGOUT, SecurityEvent};
use super::refusal::{Code, NotTaken, refused};
use super::transmitter::Source;
use crate::clock::Timestamp;
use crate::facts::{strings, time};
use crate::jose::{Algorithm, Fault, Jws};
use crate::json;

/// In bytes.
pub(super) const LONGEST: usize = 64 * 1024;

const LONGEST_ID: usize = 1_024;

/// One is what the framework wants.
const MOST_EVENTS: usize = 16;

/// What was damaged in one of these refuses it.
const DECISIVE: [&str; 12] =
    ["iss", "aud", "iat", "exp", "jti", "sub", "sub_id", "sid", "events", "nonce", "txn", "toe"];

/// Which kind of token is taken. The rules of the two are opposite, so none is both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `typ` is `secevent+jwt`, without `sub` and `exp`.
    Event,
    /// `typ` is `logout+jwt`, or `JWT`, or nothing, with `exp` and without `nonce`.
    Logout,
}

impl Form {
    /// What a token of this form is remembered by.
    pub(super) fn id(self, jti: &str) -> String {
        match self {
            Self::Event => format!("event {jti}"),
            Self::Logout => format!("logout {jti}"),
        }
    }
}

/// Something that states what happened. Nothing in it is true before its signature is verified.
pub(super) struct Stated<'t> {
    pub(super) jws: Jws<'t>,
    members: Map<String, Value>,
}

impl<'t> Stated<'t> {
    /// Reads `text`.
    pub(super) fn read(text: &'t str, form: Form) -> Result<Self, NotTaken> {
        let jws =
            Jws::parse(text, LONGEST, &Algorithm::ALL).map_err(|fault| refused(code_of(fault), fault.as_str()))?;
        let header = jws.header();
        let is_fitting = match form {
            Form::Event => header.is_of_type("secevent+jwt"),
            Form::Logout => header.typ.is_none() || header.is_of_type("logout+jwt") || header.is_of_type("jwt"),
        };
        if !is_fitting {
            return Err(refused(
                Code::InvalidRequest,
                match form {
                    Form::Event => "`typ` of its header is not `secevent+jwt`",
                    Form::Logout => "`typ` of its header is that of something else than a logout token",
                },
            ));
        }
        let members = json::parse(jws.payload(), &DECISIVE);
        let members = members.map_err(|_| refused(Code::InvalidRequest, "its claims cannot be read"))?;
        Ok(Self { jws, members })
    }

    /// Who says so.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.members.get("iss").and_then(Value::as_str)
    }

    /// What it says, if it is as it has to be from this transmitter.
    pub(super) fn judge(&self, form: Form, source: &Source, now: Timestamp) -> Result<Judged, NotTaken> {
        let invalid = |why| refused(Code::InvalidRequest, why);
        if !source.algorithms.contains(&self.jws.header().algorithm) {
            return Err(refused(Code::InvalidKey, Fault::Algorithm.as_str()));
        }
        let audiences = strings(self.members.get("aud"));
        if !audiences.iter().any(|stated| source.audiences.iter().any(|audience| audience == stated)) {
            return Err(refused(Code::InvalidAudience, "`aud` names none of the audiences (`audience`)"));
        }
        let Ok(Some(issued_at)) = time(self.members.get("iat"), f64::floor) else {
            return Err(invalid("`iat` is missing, or is no time"));
        };
        if now + source.clock_skew < issued_at {
            return Err(invalid("`iat` is in the future"));
        }
        let id = self.members.get("jti").and_then(Value::as_str);
        let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID) else {
            return Err(invalid("`jti` is missing, or is no text of up to 1,024 bytes"));
        };
        let stated = |member: &str| self.members.get(member).is_some();
        match form {
            Form::Event => {
                if stated("sub") || stated("exp") {
                    return Err(invalid("it has `sub` or `exp`, as an event has not"));
                }
                if issued_at + source.max_event_age < now {
                    return Err(invalid("`iat` is too long ago (`max_event_age`)"));
                }
            }
            Form::Logout => {
                let Ok(Some(expires_at)) = time(self.members.get("exp"), f64::floor) else {
                    return Err(invalid("`exp` is missing, or is no time"));
                };
                if expires_at <= now {
                    return Err(invalid("it has expired"));
                }
                if stated("nonce") {
                    return Err(invalid("it has a `nonce`, as a logout token has not"));
                }
            }
        }
        let events = self.events(form, source, id, issued_at)?;
        Ok(Judged { id: id.to_owned(), issued_at, events })
    }

    fn events(
        &self,
        form: Form,
        source: &Source,
        id: &str,
        issued_at: Timestamp,
    ) -> Result<Vec<SecurityEvent>, NotTaken> {
        let invalid = |why| refused(Code::InvalidRequest, why);
        let Some(Value::Object(events)) = self.members.get("events") else {
            return Err(invalid("`events` is missing, or is no object"));
        };
        if events.is_empty() || events.len() > MOST_EVENTS {
            return Err(invalid("`events` holds none, or more than 16"));
        }
        let event = |event_type: &str, members: &Value, subject: Option<Map<String, Value>>| SecurityEvent {
            kind: EventKind::named(event_type),
            event_type: event_type.to_owned(),
            issuer: source.issuer.clone(),
            id: id.to_owned(),
            issued_at,
            subject,
            members: members.as_object().cloned().unwrap_or_default(),
        };
        match form {
            Form::Event => {
                let on_top = self.members.get("sub_id");
                let of = |(event_type, members): (&String, &Value)| {
                    // Before the framework was final it stood in the event.
                    let subject = on_top.or_else(|| members.get("subject")).and_then(Value::as_object).cloned();
                    event(event_type, members, subject)
                };
                if !events.values().all(Value::is_object) {
                    return Err(invalid("an event is no object"));
                }
                // The door for those has rules of its own.
                if events.contains_key(LOGOUT) {
                    return Err(invalid("it holds a logout, which is no event"));
                }
                Ok(events.iter().map(of).collect())
            }
            Form::Logout => {
                // Keycloak has members beside it that are no events.
                let Some(members) = events.get(LOGOUT).filter(|members| members.is_object()) else {
                    return Err(invalid("`events` holds no logout, or one that is no object"));
                };
                let text = |member: &str| match self.members.get(member) {
                    None => Ok(None),
                    Some(Value::String(text)) if !text.is_empty() => {
                        Ok(Some((member.to_owned(), text.as_str().into())))
                    }
                    Some(_) => Err(invalid("`sub` or `sid` is no text")),
                };
                let subject: Map<String, Value> = [text("sub")?, text("sid")?].into_iter().flatten().collect();
                if subject.is_empty() {
                    return Err(invalid("it has neither `sub` nor `sid`"));
                }
                Ok(vec![event(LOGOUT, members, Some(subject))])
            }
        }
    }
}

/// What is said, by whoever the signature is of.
pub(super) struct Judged {
    pub(super) id: String,
    pub(super) issued_at: Timestamp,
    pub(super) events: Vec<SecurityEvent>,
}

pub(super) fn code_of(fault: Fault) -> Code {
    match fault {
        Fault::Algorithm | Fault::NoSuchKey | Fault::KeyDoesNotFit | Fault::Signature => Code::InvalidKey,
        _ => Code::InvalidRequest,
    }
}
