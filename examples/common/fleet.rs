//! A fleet on Redis from the environment. For the examples that need the feature of it, and so no part of `common`.

use tower_introspection::fleet::{Fleet, FleetSecret};

use super::common::environment::{BadVariable, seconds, text};

/// The fleet on Redis, if `REDIS_URL` says where that is.
pub(crate) fn fleet() -> Result<Option<Fleet>, BadVariable> {
    let (name, strict) = (text("FLEET_NAME")?, seconds("STRICT", "at least 1")?);
    let secret = |variable| {
        let decoded = |text: String| FleetSecret::from_base64(&text).map_err(|error| BadVariable::new(variable, error));
        text(variable)?.map(decoded).transpose()
    };
    let (first, second) = (secret("FLEET_SECRET")?, secret("SECOND_FLEET_SECRET")?);
    let Some(address) = text("REDIS_URL")? else {
        return if name.is_none() && strict.is_none() && first.is_none() && second.is_none() {
            Ok(None)
        } else {
            Err(BadVariable::new("REDIS_URL", "not set, but another setting of a fleet is; set it to share on Redis"))
        };
    };
    let missing = "required with REDIS_URL, the same for all of the fleet; `openssl rand -base64 32` makes one";
    let first = first.ok_or_else(|| BadVariable::new("FLEET_SECRET", missing))?;
    let mut builder = Fleet::redis(address, name.as_deref().unwrap_or("example"), first);
    if let Some(second) = second {
        builder = builder.second_secret(second);
    }
    if let Some(lease) = strict {
        builder = builder.strict(lease);
    }
    builder.build().map(Some).map_err(|error| {
        let variable = match error.setting() {
            "name" => "FLEET_NAME",
            "second_secret" => "SECOND_FLEET_SECRET",
            "strict" => "STRICT",
            _ => "REDIS_URL",
        };
        BadVariable::new(variable, error)
    })
}
