//! Which tokens a subject means: RFC 9493, and the complex subjects of the Shared Signals Framework 1.0, section 3.
//!
//! What tells tokens apart has to hold of them. What only narrows that, such as one of several sessions, need not be
//! stated by a token: rather one too many is forgotten than one too few.

use serde_json::{Map, Value};

use crate::selection::Selection;

/// In bytes. No token states a longer one (a `sub` has 255, OpenID Connect Core 1.0 section 2), and what is told to a
/// fleet has to fit into a record.
const LONGEST_TEXT: usize = 512;

/// In how many ways one subject may be told. Of more names the first ones count.
const MOST_WAYS: usize = 32;

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

/// Whose tokens are meant.
pub(super) struct Scope<'s> {
    /// Who says so: sessions and applications have the names that it gives them.
    pub(super) transmitter: &'s str,
    pub(super) token_issuers: &'s [String],
}

/// One of several ways to tell the tokens that are meant.
struct Way {
    /// Whose subject it is, if that is stated.
    issuer: Option<String>,
    selection: Selection,
    /// Narrows it, among tokens of the transmitter itself.
    narrowing: Vec<Selection>,
}

impl Scope<'_> {
    /// One selection for each way to tell the tokens and each issuer of tokens, with that issuer.
    pub(super) fn selections(&self, subject: &Map<String, Value>) -> Result<Vec<(&str, Selection)>, Unmatched> {
        let ways = ways(subject);
        if ways.is_empty() {
            return Err(Unmatched::NotUnderstood);
        }
        let mut selections = Vec::new();
        for way in ways {
            for issuer in self.token_issuers {
                if way.issuer.as_deref().is_some_and(|stated| !is_same_issuer(stated, issuer)) {
                    continue;
                }
                let of_issuer = Selection::issuer(issuer).or_unstated();
                let mut selection = way.selection.clone().and(of_issuer);
                if issuer == self.transmitter {
                    // A token that states nothing of the kind may be meant.
                    let narrowing = way.narrowing.iter().cloned().map(Selection::or_unstated);
                    selection = narrowing.fold(selection, Selection::and);
                }
                selections.push((issuer.as_str(), selection));
            }
        }
        if selections.is_empty() { Err(Unmatched::OfAnotherIssuer) } else { Ok(selections) }
    }
}

/// Google's has a slash at its end in events, and none in tokens.
fn is_same_issuer(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn ways(subject: &Map<String, Value>) -> Vec<Way> {
    match format(subject) {
        Some(format) if format == "complex" => of_complex(subject),
        Some(format) if format == "aliases" => {
            let Some(Value::Array(aliases)) = subject.get("identifiers") else { return Vec::new() };
            // None of them is a list again, RFC 9493 section 3.2.8.
            aliases.iter().filter_map(Value::as_object).flat_map(of_simple).take(MOST_WAYS).collect()
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
    subject.get(member).and_then(Value::as_str).filter(|text| is_short(text))
}

/// Whether it is something, and fits into a record as JSON has it.
pub(super) fn is_short(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_TEXT && Value::from(text).to_string().len() <= LONGEST_TEXT + 2
}

fn of_anyone(selection: Selection) -> Way {
    Way { issuer: None, selection, narrowing: Vec::new() }
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
            .map(|(issuer, subject)| Way { issuer: Some(issuer.to_owned()), ..of_anyone(Selection::subject(subject)) }),
        "jwt_id" => text("iss")
            .zip(text("jti"))
            .and_then(|(issuer, id)| Some(Way { issuer: Some(issuer.to_owned()), ..of_anyone(claim("jti", id)?) })),
        "email" => text("email").map(|address| of_anyone(Selection::email(address))),
        "phone_number" | "phone" => {
            let Some(number) = text("phone_number").or_else(|| text("phone")) else { return Vec::new() };
            // As it is written, and as ITU-T E.164 has it, OpenID Connect Core 1.0 section 5.1.
            let bare: String = number.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
            let spellings = [Some(number), Some(&*bare).filter(|bare| *bare != number && !bare.is_empty())];
            let ways = spellings.into_iter().flatten().filter_map(|number| claim("phone_number", number));
            return ways.map(of_anyone).collect();
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
        let narrowing: Vec<_> = session.clone().into_iter().chain(application).collect();
        let narrow = |user: Way| Way { narrowing: narrowing.clone(), ..user };
        return users.into_iter().map(narrow).chain(session.map(of_anyone)).collect();
    }
    // A session is of one user, and an application is of many: with whatever else is named it would be too much.
    let names = |name: &&String| !matches!(name.as_str(), "format" | "subject_type" | "application");
    match (session, application) {
        (Some(session), application) => {
            vec![Way { narrowing: application.into_iter().collect(), ..of_anyone(session) }]
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
    let (user, session) = (text("sub").map(Selection::subject), text("sid").map(Selection::session));
    let user = user.map(|user| Way { narrowing: session.clone().into_iter().collect(), ..of_anyone(user) });
    // There are tokens that state a session and no user, or call the user something else.
    user.into_iter().chain(session.map(of_anyone)).collect()
}
