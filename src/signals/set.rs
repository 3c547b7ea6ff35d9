//! Security event tokens, RFC 8417 with the rules of the Shared Signals Framework 1.0 section 4, and logout tokens,
//! OpenID Connect Back-Channel Logout 1.0 section 2.4: what is required of each, but for the signature. Pure functions
//! of what was sent, the settings and the time.

use http::HeaderValue;
use serde_json::{Map, Value};

use super::event::{EventKind, LOGOUT, SecurityEvent};
use super::refusal::{Code, LATER, NotTaken, refused};
use super::source::Source;
use super::subject::is_short;
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
const DECISIVE: [&str; 9] = ["iss", "aud", "iat", "exp", "jti", "sub", "sub_id", "sid", "nonce"];

/// Which kind of token is taken. The rules of the two are opposite, so none is both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// `typ` is `secevent+jwt`, without `sub` and `exp`.
    Event,
    /// `typ` is `logout+jwt`, or `JWT`, or nothing, with `exp` and without `nonce`.
    Logout,
}

/// The way it came.
pub(super) enum Way {
    Push {
        authorization: Option<HeaderValue>,
    },
    /// From the transmitter at this place, which calls it by this name.
    Poll {
        place: usize,
        id: String,
    },
    Logout,
}

impl Way {
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Push { .. } | Self::Poll { .. } => Form::Event,
            Self::Logout => Form::Logout,
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

    /// What tells it from others, if it is as it has to be from this transmitter.
    pub(super) fn judge(&self, form: Form, source: &Source, now: Timestamp) -> Result<Judged, NotTaken> {
        let invalid = |why| refused(Code::InvalidRequest, why);
        if !source.algorithms.contains(&self.jws.header().algorithm) {
            return Err(refused(Code::InvalidKey, Fault::Algorithm.as_str()));
        }
        let mut audiences = strings(self.members.get("aud"));
        if !audiences.any(|stated| source.audiences.iter().any(|audience| audience == stated)) {
            return Err(refused(Code::InvalidAudience, "`aud` names none of the audiences (`audience`)"));
        }
        let Ok(Some(issued_at)) = time(self.members.get("iat"), f64::floor) else {
            return Err(invalid("`iat` is missing, or is no time"));
        };
        if now + source.clock_skew < issued_at {
            // One of the clocks is wrong. As long as it is, what is revoked is not to get lost.
            return Err(NotTaken::TurnedAway("`iat` is further ahead than `clock_skew`", LATER));
        }
        let id = self.members.get("jti").and_then(Value::as_str);
        let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID) else {
            return Err(invalid("`jti` is missing, or is no text of up to 1,024 bytes"));
        };
        match form {
            Form::Event => self.judge_event(source, issued_at, now),
            Form::Logout => self.judge_logout(source, now),
        }?;
        Ok(Judged { id: id.to_owned(), issued_at })
    }

    fn judge_event(&self, source: &Source, issued_at: Timestamp, now: Timestamp) -> Result<(), NotTaken> {
        let invalid = |why| Err(refused(Code::InvalidRequest, why));
        if self.states("sub") || self.states("exp") {
            return invalid("it has `sub` or `exp`, as an event has not");
        }
        if issued_at + source.max_event_age < now {
            return invalid("`iat` is too long ago (`max_event_age`)");
        }
        let Some(Value::Object(events)) = self.members.get("events") else {
            return invalid("`events` is missing, or is no object");
        };
        if events.is_empty() || events.len() > MOST_EVENTS {
            return invalid("`events` holds none, or more than 16");
        }
        if !events.values().all(Value::is_object) {
            return invalid("an event is no object");
        }
        // The door for those has rules of its own.
        if events.contains_key(LOGOUT) {
            return invalid("it holds a logout, which is no event");
        }
        Ok(())
    }

    fn judge_logout(&self, source: &Source, now: Timestamp) -> Result<(), NotTaken> {
        let invalid = |why| Err(refused(Code::InvalidRequest, why));
        let Ok(Some(expires_at)) = time(self.members.get("exp"), f64::floor) else {
            return invalid("`exp` is missing, or is no time");
        };
        // A clock here that is ahead is to lose no logout, which comes once.
        if expires_at + source.clock_skew <= now {
            return invalid("it has expired");
        }
        if self.states("nonce") {
            return invalid("it has a `nonce`, as a logout token has not");
        }
        let text = |member| self.members.get(member).is_some_and(|value| value.as_str().is_some_and(is_short));
        if ["sub", "sid"].into_iter().any(|member| self.states(member) && !text(member)) {
            return invalid("`sub` or `sid` is no text of up to 512 bytes");
        }
        if !self.states("sub") && !self.states("sid") {
            return invalid("it has neither `sub` nor `sid`");
        }
        // Keycloak has members beside it that are no events.
        let events = self.members.get("events");
        if !events.and_then(|events| events.get(LOGOUT)).is_some_and(Value::is_object) {
            return invalid("`events` holds no logout, or one that is no object");
        }
        Ok(())
    }

    /// There are servers that write `null` for what they do not say.
    fn states(&self, member: &str) -> bool {
        self.members.get(member).is_some_and(|value| !value.is_null())
    }

    /// What has happened, of something that was judged and is signed.
    pub(super) fn events(&self, form: Form, source: &Source, judged: &Judged) -> Vec<SecurityEvent> {
        let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
        let event = |event_type: &str, members: &Value, subjects: [Option<Map<String, Value>>; 2]| SecurityEvent {
            kind: EventKind::named(event_type),
            event_type: event_type.to_owned(),
            issuer: source.issuer.clone(),
            id: judged.id.clone(),
            issued_at: judged.issued_at,
            subjects: subjects.into_iter().flatten().collect(),
            members: object(Some(members)).unwrap_or_default(),
        };
        let events = self.members.get("events").and_then(Value::as_object);
        match form {
            Form::Event => {
                let on_top = object(self.members.get("sub_id"));
                // Before the framework was final the subject stood in the event.
                let of = |(event_type, members): (&String, &Value)| {
                    event(event_type, members, [on_top.clone(), object(members.get("subject"))])
                };
                events.into_iter().flatten().map(of).collect()
            }
            Form::Logout => {
                let stated = ["sub", "sid"].into_iter().filter(|member| self.states(member));
                let subject = stated.filter_map(|name| Some((name.to_owned(), self.members.get(name)?.clone())));
                let members = events.and_then(|events| events.get(LOGOUT)).unwrap_or(&Value::Null);
                vec![event(LOGOUT, members, [Some(subject.collect()), None])]
            }
        }
    }
}

/// Something that is as it has to be, but for its signature.
pub(super) struct Judged {
    pub(super) id: String,
    pub(super) issued_at: Timestamp,
}

pub(super) fn code_of(fault: Fault) -> Code {
    match fault {
        Fault::Algorithm | Fault::NoSuchKey | Fault::KeyDoesNotFit | Fault::Signature => Code::InvalidKey,
        _ => Code::InvalidRequest,
    }
}
