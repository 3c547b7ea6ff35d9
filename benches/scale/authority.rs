//! An authority whose answers have the shape of the vendor's, and no sockets.

use std::time::Duration;

use serde_json::{Value, json};
use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::Ask;
use tower_introspection::sandbox::Sandbox;
use tower_introspection::{AccessToken, BearerToken, Introspect, IntrospectError, Scopes, Verdict};

use crate::support::token_name;

/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
const APPS: usize = 100;
const TENANTS: usize = 1_000;

/// Which members an answer has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Those of the vendor's example, and those that recorded answers have beside: identifiers, scopes, two products
    /// and three attributes.
    Full,
    /// Those of the vendor's example: no scopes, no products, no attributes.
    Example,
}

#[derive(Clone, Copy)]
pub struct Authority {
    shape: Shape,
    issued_at: i64,
}

impl Authority {
    pub fn new(shape: Shape) -> Self {
        Self { shape, issued_at: Timestamp::now().as_unix_millis() }
    }

    fn expires_at(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.issued_at) + LIFETIME
    }

    /// What [`answer`](Self::answer) says, as the `Apigee` introspector reads it.
    pub fn facts(&self, n: usize) -> AccessToken {
        let facts = AccessToken::builder()
            .client_id(client_id(n))
            .app(app(n))
            .grant_type("client_credentials")
            .issued_at(Timestamp::from_unix_millis(self.issued_at))
            .expires_at(self.expires_at());
        let facts = facts.claim("createdBy", "defaultUser").unwrap().claim("lastModifiedBy", "defaultUser").unwrap();
        let facts = facts.claim("createdAt", self.issued_at).unwrap().claim("lastModifiedAt", self.issued_at).unwrap();
        let facts = facts.claim("refreshCount", 0).unwrap();
        match self.shape {
            Shape::Example => facts.build(),
            Shape::Full => facts
                .app_id(app_id(n))
                .scopes(Scopes::parse("READ ADMIN WRITE"))
                .api_products(["weather-v2", "maps-premium"])
                .attribute("tier", "gold")
                .attribute("tenant", tenant(n))
                .attribute("region", "eu-central-1")
                .build(),
        }
    }

    /// The vendor's answer about the `n`th token.
    fn answer(&self, n: usize) -> Value {
        let mut answer = json!({
            "app": app(n), "attributes": [], "clientId": client_id(n), "createdAt": self.issued_at,
            "createdBy": "defaultUser", "expiresAt": self.expires_at().as_unix_millis(),
            "grantType": "client_credentials", "issuedAt": self.issued_at, "lastModifiedAt": self.issued_at,
            "lastModifiedBy": "defaultUser", "refreshCount": 0, "refreshToken": "Nn5Pt2eO", "scope": "",
            "status": "approved", "token": token_name('t', n), "tokenType": "BearerToken",
        });
        if self.shape == Shape::Full {
            answer["appId"] = app_id(n).into();
            answer["apiProducts"] = json!(["weather-v2", "maps-premium"]);
            answer["attributes"] = json!([
                {"name": "tier", "value": "gold"},
                {"name": "tenant", "value": tenant(n)},
                {"name": "region", "value": "eu-central-1"},
            ]);
            answer["scope"] = "READ ADMIN WRITE".into();
        }
        answer
    }

    /// Whether the real introspector makes the same facts of the answer, asked once over a socket.
    pub async fn is_like_the_real_one(&self) -> bool {
        let sandbox = Sandbox::start().await.unwrap();
        let (n, name) = (7, token_name('t', 7));
        sandbox.script(&name, 200, self.answer(n).to_string());
        let apigee = sandbox.apigee().build().unwrap();
        let verdict = apigee.introspect(Ask::new(&BearerToken::parse(name).unwrap())).await.unwrap();
        let Verdict::Active(read) = verdict else { return false };
        serde_json::to_value(read).unwrap() == serde_json::to_value(self.facts(n)).unwrap()
    }
}

impl Introspect for Authority {
    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        let token = ask.token();
        let text = token.expose();
        Ok(Verdict::Active(self.facts(text[text.len() - 8..].parse().unwrap())))
    }
}

fn client_id(n: usize) -> String {
    format!("fGytmxA5UDajPMdOA5E3bebiBOBP{:04}", n % APPS)
}

fn app(n: usize) -> String {
    format!("weather-app-{:02}", n % APPS)
}

fn app_id(n: usize) -> String {
    format!("4d9a6ee2-5b4d-4b1c-9c33-0a6f2b7c{:04}", n % APPS)
}

fn tenant(n: usize) -> String {
    format!("tenant-{:03}", n % TENANTS)
}
