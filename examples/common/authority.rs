//! An RFC 7662 server from the environment.

use tower_introspection::Rfc7662;

use super::environment::{BadVariable, text};

/// The real endpoint, if `INTROSPECTION_URL` or `ISSUER` says where it is.
pub(crate) async fn endpoint() -> Result<Option<Rfc7662>, BadVariable> {
    let (place, builder) = match (text("INTROSPECTION_URL")?, text("ISSUER")?) {
        (Some(url), None) => {
            let (id, secret) = client("INTROSPECTION_URL")?;
            ("INTROSPECTION_URL", Rfc7662::builder(url).client_secret_basic(&id, &secret))
        }
        (None, Some(issuer)) => {
            let (id, secret) = client("ISSUER")?;
            let found = Rfc7662::discover(issuer).fetch().await.map_err(|error| BadVariable::new("ISSUER", error))?;
            ("ISSUER", found.client_secret(&id, &secret))
        }
        (Some(_), Some(_)) => {
            return Err(BadVariable::new("ISSUER", "set, but so is INTROSPECTION_URL; unset one of the two"));
        }
        (None, None) if text("CLIENT_ID")?.or(text("CLIENT_SECRET")?).is_none() => return Ok(None),
        (None, None) => {
            return Err(BadVariable::new(
                "INTROSPECTION_URL",
                "neither it nor ISSUER is set, but CLIENT_ID or CLIENT_SECRET is; set one of them to ask a real server",
            ));
        }
    };
    builder.build().map(Some).map_err(|error| match error.setting() {
        "client_secret" | "client_secret_basic" => BadVariable::new("CLIENT_SECRET", error),
        _ => BadVariable::new(place, error),
    })
}

/// Identifier and secret of the client that asks the server at `place`.
fn client(place: &str) -> Result<(String, String), BadVariable> {
    let required = |name| text(name)?.ok_or_else(|| BadVariable::new(name, format_args!("required with {place}")));
    Ok((required("CLIENT_ID")?, required("CLIENT_SECRET")?))
}
