//! An [`AccessToken`] as the JSON object of claims that people who know OAuth expect, and back.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::builder::HAVE_A_SETTING;
use super::{AccessToken, AccessTokenBuilder};
use crate::clock::Timestamp;
use crate::token::Scopes;
use crate::token::claims::Claims;

impl Serialize for AccessToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        for name in FACTS {
            if let Some(value) = self.fact(name) {
                members.serialize_entry(name, &value)?;
            }
        }
        for (name, value) in self.0.claims().members() {
            if self.fact(&name).is_none() {
                members.serialize_entry(&name, &value)?;
            }
        }
        members.end()
    }
}

/// What has an accessor, by its name among the claims.
const FACTS: [&str; 15] = [
    "scope",
    "client_id",
    "username",
    "sub",
    "aud",
    "iss",
    "jti",
    "exp",
    "iat",
    "nbf",
    "app",
    "app_id",
    "api_products",
    "attributes",
    "grant_type",
];

impl AccessToken {
    /// One of the claims, be it a fact or a further one. What has an accessor is what that says.
    pub(super) fn any_claim(&self, name: &str) -> Option<Value> {
        self.fact(name).or_else(|| self.0.claims().members().remove(name))
    }

    /// One of [`FACTS`] as it is written, if it was stated.
    pub(super) fn fact(&self, name: &str) -> Option<Value> {
        let text = |text: Option<&str>| text.map(Value::from);
        // A number always has a form in JSON.
        let date = |moment: Option<Timestamp>| serde_json::to_value(moment?).ok();
        match name {
            "scope" => (!self.scopes().is_empty()).then(|| self.scopes().to_string().into()),
            "client_id" => text(self.client_id()),
            "username" => text(self.username()),
            "sub" => text(self.subject()),
            "aud" => match &*self.audience().collect::<Vec<_>>() {
                [] => None,
                [one] => Some((*one).into()),
                several => Some(several.into()),
            },
            "iss" => text(self.issuer()),
            "jti" => text(self.token_id()),
            "exp" => date(self.expires_at()),
            "iat" => date(self.issued_at()),
            "nbf" => date(self.not_before()),
            "app" => text(self.app()),
            "app_id" => text(self.app_id()),
            "api_products" => self.api_products().map(Iterator::collect),
            "attributes" => {
                let attributes: Map<_, _> =
                    self.attributes().map(|(name, value)| (name.to_owned(), value.into())).collect();
                (!attributes.is_empty()).then(|| attributes.into())
            }
            "grant_type" => text(self.grant_type()),
            _ => None,
        }
    }
}

/// Reads what [`Serialize`] writes, and the claims of RFC 7662 and RFC 7519 wherever they come from. Of those `null` is
/// nothing.
///
/// **This is no verdict.** `{}` is read as a token without facts, and an `active` that is missing as none that is
/// false. Whoever makes a verdict of an authority's answer looks at its `active` first.
///
/// What stands under a name of Apigee's facts becomes that fact, whoever states it, and
/// [`require_api_product`](crate::Policy::require_api_product) goes by it: `app`, `app_id` and `grant_type` if they are
/// strings, `api_products` if it is an array of strings, `attributes` if it is an object of strings. Take such members
/// out of what comes from others than your authority. Of another type they are further claims.
///
/// # Errors
/// What is no object, or holds a member twice; an `active` that is not `true`; a `scope` or `aud` that is neither a
/// string nor an array of strings; a `client_id`, `username`, `sub`, `iss` or `jti` that is no string; an `exp`, `iat`
/// or `nbf` that is no number; a further claim that is nested too deeply to be read back (about 125 levels). No text of
/// an error holds a value. A time is read to the nearest millisecond, and none is compared with a clock.
impl<'de> Deserialize<'de> for AccessToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = deserializer.deserialize_map(Members)?;
        Self::from_claims(members).map_err(de::Error::custom)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("a member is there twice"));
            }
        }
        Ok(members)
    }
}

impl AccessToken {
    fn from_claims(claims: Map<String, Value>) -> Result<Self, String> {
        let mut facts = Self::builder();
        for (name, value) in claims {
            if !(value.is_null() && HAVE_A_SETTING.contains(&name.as_str())) {
                facts = with_claim(facts, &name, value)?;
            }
        }
        Ok(facts.build())
    }

    /// All claims at once, as a type of your own: the object that [`Serialize`] gives. [`Scopes`] fits `scope`,
    /// [`Timestamp`] fits `exp`, `iat` and `nbf`.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_introspection::AccessToken;
    ///
    /// #[derive(Deserialize)]
    /// struct Claims {
    ///     sub: String,
    ///     tenant: u32,
    /// }
    ///
    /// let token = AccessToken::builder().subject("ann").claim("tenant", "7")?.build();
    /// let error = token.claims::<Claims>().err().expect("a text is no number");
    /// assert_eq!(error.to_string(), "`tenant` is a string, and something else is expected there");
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// If they are no `T`. The error names the claim and the type it has, never its value.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, ClaimsError> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => T::deserialize(Object { members: members.into_iter(), value: None }),
            _ => Err(de::Error::custom("no object")),
        }
    }
}

fn with_claim(facts: AccessTokenBuilder, name: &str, value: Value) -> Result<AccessTokenBuilder, String> {
    let wrong = |expected: &str| Err(format!("`{name}` is {}, not {expected}", type_of(&value)));
    type Setter = fn(AccessTokenBuilder, &str) -> AccessTokenBuilder;
    let text: Option<Setter> = match name {
        "client_id" => Some(|facts, text| facts.client_id(text)),
        "username" => Some(|facts, text| facts.username(text)),
        "sub" => Some(|facts, text| facts.subject(text)),
        "iss" => Some(|facts, text| facts.issuer(text)),
        "jti" => Some(|facts, text| facts.token_id(text)),
        _ => None,
    };
    if let Some(set) = text {
        return value.as_str().map_or_else(|| wrong("a string"), |text| Ok(set(facts, text)));
    }
    Ok(match name {
        "active" if value == Value::Bool(true) => facts,
        "active" => return Err("`active` is not `true`".into()),
        "scope" | "aud" => match (strings(&value), name) {
            (Some(scopes), "scope") => {
                facts.scopes(scopes.into_iter().flat_map(|list| list.split(' ')).collect::<Scopes>())
            }
            (Some(audience), _) => facts.audience(audience),
            (None, _) => return wrong("a string or an array of strings"),
        },
        "exp" | "iat" | "nbf" => {
            let Ok(time) = Timestamp::deserialize(&value) else { return wrong("a number of seconds") };
            match name {
                "exp" => facts.expires_at(time),
                "iat" => facts.issued_at(time),
                _ => facts.not_before(time),
            }
        }
        _ if !Claims::can_hold(&value) => return Err(format!("`{name}` is nested too deeply")),
        _ => with_vendor_claim(facts, name, value),
    })
}

/// What Apigee states, or any further claim.
fn with_vendor_claim(facts: AccessTokenBuilder, name: &str, value: Value) -> AccessTokenBuilder {
    match (name, &value) {
        ("app", Value::String(text)) => facts.app(text),
        ("app_id", Value::String(text)) => facts.app_id(text),
        ("grant_type", Value::String(text)) => facts.grant_type(text),
        ("api_products", Value::Array(_)) => match strings(&value) {
            Some(products) => facts.api_products(products),
            None => facts.claim_value(name, value),
        },
        ("attributes", Value::Object(members)) if members.values().all(Value::is_string) => {
            let attributes = members.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
            attributes.fold(facts, |facts, (name, value)| facts.attribute(name, value))
        }
        _ => facts.claim_value(name, value),
    }
}

/// A string, or an array of them and nothing else.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The claims of a token are not of the type they were asked for as. Made by [`AccessToken::claims`].
#[derive(Debug)]
pub struct ClaimsError(String);

impl fmt::Display for ClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ClaimsError {}

/// Texts that others make may hold a value, so none is kept.
impl de::Error for ClaimsError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self("the claims are refused by the type they are asked for as".into())
    }

    fn invalid_type(_: de::Unexpected, expected: &dyn de::Expected) -> Self {
        Self(format!("a claim is of another type than {expected}"))
    }

    fn invalid_value(_: de::Unexpected, expected: &dyn de::Expected) -> Self {
        Self(format!("a claim has another value than {expected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("`{field}` is missing"))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self(format!("`{field}` is not expected"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("a claim is none of {expected:?}"))
    }
}

/// The claims, on their way into a type. What goes wrong within one is told by its name.
struct Object {
    members: serde_json::map::IntoIter,
    value: Option<(String, Value)>,
}

impl<'de> Deserializer<'de> for Object {
    type Error = ClaimsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ClaimsError> {
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ClaimsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ClaimsError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Object {
    type Error = ClaimsError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ClaimsError> {
        self.value = self.members.next();
        let name = self.value.as_ref().map(|(name, _)| name.clone());
        name.map(|name| seed.deserialize(IntoDeserializer::<ClaimsError>::into_deserializer(name))).transpose()
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ClaimsError> {
        let (name, value) = self.value.take().unwrap_or_default();
        let kind = type_of(&value);
        seed.deserialize(value).map_err(|_| {
            ClaimsError(match kind {
                "an object" | "an array" => {
                    format!("something in `{name}`, which is {kind}, is not what is expected there")
                }
                _ => format!("`{name}` is {kind}, and something else is expected there"),
            })
        })
    }
}
