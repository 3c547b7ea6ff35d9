//! Which tokens a subject means: RFC 9493, and the complex subjects of the Shared Signals Framework 1.0, section 3.
//!
//! What tells tokens apart has to hold of them. What only narrows that, such as one of several sessions, need not be
//! stated by a token: rather one too many is forgotten than one too few.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::selection::Selection;

/// No token states a longer one, and what is told to a fleet has to fit into a record.
const LONGEST_TEXT: usize = 1_024;

/// How many names one subject may have.
const MOST_ALIASES: usize = 16;

/// Why no token can be told to be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmatched {
    Missing,
    /// Its form, or what it consists of, is not known here.
    NotUnderstood,
    /// It is a subject of an issuer whose tokens are not judged here.
    OfAnotherIssuer,
}

impl Unmatched {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "it names no subject",
            Self::NotUnderstood => "no claim of a token tells its subject",
            Self::OfAnotherIssuer => "its subject is of an issuer that is no `token_issuer`",
        }
    }
}

/// The tokens of the subject, but for those that were issued after a moment.
pub(super) struct Scope<'s> {
    /// Whose tokens are judged, each with the moment.
    pub(super) token_issuers: &'s [(String, Timestamp)],
}

/// One of several ways to tell the tokens that are meant.
struct Way {
    /// Whose subject it is, if that is stated.
    issuer: Option<String>,
    selection: Selection,
}

impl Scope<'_> {
    /// One selection for each way to tell the tokens and each issuer of tokens.
    pub(super) fn selections(&self, subject: Option<&Map<String, Value>>) -> Result<Vec<Selection>, Unmatched> {
        let ways = ways(subject.ok_or(Unmatched::Missing)?);
        if ways.is_empty() {
            return Err(Unmatched::NotUnderstood);
        }
        let of_issuer = |way: &Way| {
            let is_of = |issuer: &str| way.issuer.as_deref().is_none_or(|stated| stated == issuer);
            let issuers = self.token_issuers.iter().filter(|(issuer, _)| is_of(issuer));
            let narrowed = issuers.map(|(issuer, until)| {
                let of_issuer = Selection::issuer(issuer).or_unstated();
                way.selection.clone().and(of_issuer).and(Selection::issued_before(*until))
            });
            narrowed.collect::<Vec<_>>()
        };
        let selections: Vec<_> = ways.iter().flat_map(of_issuer).collect();
        if selections.is_empty() { Err(Unmatched::OfAnotherIssuer) } else { Ok(selections) }
    }
}

fn ways(subject: &Map<String, Value>) -> Vec<Way> {
    match format(subject) {
        Some(format) if format == "complex" => of_complex(subject),
        Some(format) if format == "aliases" => {
            let Some(Value::Array(aliases)) = subject.get("identifiers") else { return Vec::new() };
            if aliases.len() > MOST_ALIASES {
                return Vec::new();
            }
            // None of them is a list again, RFC 9493 section 3.2.8.
            aliases.iter().filter_map(Value::as_object).flat_map(of_simple).collect()
        }
        Some(_) => of_simple(subject),
        None if subject.contains_key("sub") || subject.contains_key("sid") => of_logout(subject),
        // As drafts had it.
        None => of_complex(subject),
    }
}

/// Drafts called it `subject_type`, and wrote `iss-sub`.
fn format(subject: &Map<String, Value>) -> Option<String> {
    let stated = subject.get("format").or_else(|| subject.get("subject_type"))?;
    Some(stated.as_str().unwrap_or_default().replace('-', "_"))
}

fn text<'s>(subject: &'s Map<String, Value>, member: &str) -> Option<&'s str> {
    subject.get(member).and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= LONGEST_TEXT)
}

fn of_anyone(selection: Selection) -> Way {
    Way { issuer: None, selection }
}

fn claim(name: &str, value: &str) -> Option<Selection> {
    Selection::claim(name, value).ok()
}

/// RFC 9493 section 3.2, and the formats that the framework adds.
fn of_simple(subject: &Map<String, Value>) -> Vec<Way> {
    let Some(format) = format(subject) else { return Vec::new() };
    let text = |member| text(subject, member);
    let way = match format.as_str() {
        // The second one is Google's, which has the two as a rule.
        "iss_sub" | "id_token_claims" => text("iss")
            .zip(text("sub"))
            .map(|(issuer, subject)| Way { issuer: Some(issuer.to_owned()), selection: Selection::subject(subject) }),
        "jwt_id" => text("iss")
            .zip(text("jti"))
            .and_then(|(issuer, id)| Some(Way { issuer: Some(issuer.to_owned()), selection: claim("jti", id)? })),
        "email" => text("email").map(|address| of_anyone(Selection::email(address))),
        "phone_number" | "phone" => {
            let number = text("phone_number").or_else(|| text("phone"));
            number.and_then(|number| claim("phone_number", number)).map(of_anyone)
        }
        "uri" => text("uri").map(|uri| of_anyone(Selection::subject(uri))),
        "did" => text("url").map(|url| of_anyone(Selection::subject(url))),
        // What the two have agreed on: as a rule the `sub` of a user, or the `sid` of a session.
        "opaque" => {
            let Some(id) = text("id") else { return Vec::new() };
            return vec![of_anyone(Selection::subject(id)), of_anyone(Selection::session(id))];
        }
        _ => None,
    };
    way.into_iter().collect()
}

/// All its members are about one and the same.
fn of_complex(subject: &Map<String, Value>) -> Vec<Way> {
    let member = |name: &str| subject.get(name).and_then(Value::as_object);
    let opaque = |member: Option<&Map<String, Value>>| {
        let member = member?;
        (format(member)? == "opaque").then(|| text(member, "id"))?.map(str::to_owned)
    };
    let session = opaque(member("session")).map(Selection::session);
    let application = opaque(member("application")).map(Selection::client);
    let users = member("user").map(ways_of_user).unwrap_or_default();
    if !users.is_empty() {
        // A token that names no session may be of this one.
        let narrow = |way: Way| {
            let narrowing = session.iter().chain(&application).cloned().map(Selection::or_unstated);
            Way { selection: narrowing.fold(way.selection, Selection::and), ..way }
        };
        return users.into_iter().map(narrow).collect();
    }
    // A session is of one user, and an application is of many: with whatever else is named it would be too much.
    let names = |name: &&String| !matches!(name.as_str(), "format" | "subject_type" | "application");
    match (session, application) {
        (Some(session), application) => {
            vec![of_anyone(application.into_iter().map(Selection::or_unstated).fold(session, Selection::and))]
        }
        (None, Some(application)) if subject.keys().find(names).is_none() => vec![of_anyone(application)],
        (None, _) => Vec::new(),
    }
}

/// Of a user an opaque identifier is no session.
fn ways_of_user(user: &Map<String, Value>) -> Vec<Way> {
    match format(user).as_deref() {
        Some("opaque") => text(user, "id").map(Selection::subject).map(of_anyone).into_iter().collect(),
        Some("complex") | None => Vec::new(),
        Some(_) => ways(user),
    }
}

/// A logout token's, OpenID Connect Back-Channel Logout 1.0 section 2.4.
fn of_logout(subject: &Map<String, Value>) -> Vec<Way> {
    let text = |member| text(subject, member);
    let selection = match (text("sub"), text("sid")) {
        (Some(subject), Some(session)) => Selection::subject(subject).and(Selection::session(session).or_unstated()),
        (Some(subject), None) => Selection::subject(subject),
        (None, Some(session)) => Selection::session(session),
        (None, None) => return Vec::new(),
    };
    vec![of_anyone(selection)]
}
