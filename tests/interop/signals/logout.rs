//! `oidc-provider`: it tells of a logout, and the tokens of that session are refused right after.

use std::time::Duration;

use reqwest::Url;
use tower::{Layer, ServiceExt};
use tower_introspection::rejection::RejectionKind;
use tower_introspection::signals::{EventKind, EventOutcome, Signals, Transmitter};
use tower_introspection::{Cached, Introspect, IntrospectionLayer, Jwt};

use super::{listener, serve};
use crate::server::Server;
use crate::support::{Idle, kind, patiently, request};

const AUDIENCE: &str = "https://api.example.com";

/// Longer than the test takes.
const MAX_TTL: Duration = Duration::from_secs(3_600);

/// Where somebody is logged in, with a session of its own.
struct Browser<'s> {
    server: &'s Server,
    client: reqwest::Client,
    user: &'static str,
}

impl<'s> Browser<'s> {
    fn of(user: &'static str, server: &'s Server) -> Self {
        let client = reqwest::Client::builder().no_proxy().cookie_store(true).build().unwrap();
        Self { server, client, user }
    }

    async fn page(&self, request: reqwest::RequestBuilder) -> reqwest::Response {
        patiently(request.send()).await.unwrap()
    }

    /// An access token for this resource. The first time the user logs in.
    async fn token(&self, resource: &str) -> String {
        let text = |pointer: &str| self.server.text(pointer);
        let callback = format!("{}/callback", text("/issuer"));
        let parameters = [
            ("client_id", text("/login_app/client_id")),
            ("response_type", "code"),
            ("redirect_uri", &callback),
            ("scope", "openid read write"),
            ("resource", resource),
            ("login_hint", self.user),
        ];
        let url = Url::parse_with_params(text("/authorization_endpoint"), parameters).unwrap();
        let arrived = self.page(self.client.get(url)).await.url().clone();
        let code = arrived.query_pairs().find(|(name, _)| name == "code").unwrap_or_else(|| panic!("{arrived}"));
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code.1),
            ("redirect_uri", &callback),
            ("resource", resource),
        ];
        let answer = self.server.post("/login_app", text("/token_endpoint"), &form).await;
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn logs_out(&self) {
        let asked = self.page(self.client.get(self.server.text("/end_session_endpoint"))).await.text().await.unwrap();
        let value_of = |start: &str| asked.split(start).nth(1).unwrap().split('"').next().unwrap();
        let form = [("xsrf", value_of("name=\"xsrf\" value=\"")), ("logout", "yes")];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let confirmed = self.client.post(value_of("action=\"")).body(body);
        let confirmed = confirmed.header("content-type", "application/x-www-form-urlencoded");
        assert!(self.page(confirmed).await.status().is_success());
    }
}

/// Whether a guard lets the token in.
async fn lets_in(guard: &IntrospectionLayer<impl Introspect>, token: &str) -> bool {
    match kind(&guard.layer(Idle).oneshot(request(&format!("Bearer {token}"))).await.unwrap()) {
        None => true,
        Some(RejectionKind::InvalidToken) => false,
        Some(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_tokens_of_a_session_are_refused_right_after_its_logout_at_oidc_provider() {
    let listener = listener().await;
    let url = format!("http://{}/backchannel-logout", listener.local_addr().unwrap());
    let Some(server) = Server::oidc_provider_that_tells(&url).await else { return };
    let opaque = Cached::builder(server.basic()).max_ttl(MAX_TTL).build().unwrap();
    let jwt = Jwt::discover(server.text("/issuer")).audience(AUDIENCE).build().unwrap();
    let jwt = Cached::builder(jwt).max_ttl(MAX_TTL).build().unwrap();
    let transmitter = Transmitter::discover(server.text("/issuer"))
        .audience(server.text("/login_app/client_id"))
        .cache(opaque.handle())
        .cache(jwt.handle());
    let signals = Signals::builder().transmitter(transmitter).build().unwrap();
    serve(listener, &signals).await;
    let (opaque, jwt) = (IntrospectionLayer::new(opaque), IntrospectionLayer::new(jwt));

    // Ann has two sessions. The JWTs of this server do not say of which they are.
    let browsers = ["ann", "ann", "bob"].map(|user| Browser::of(user, &server));
    let mut tokens = Vec::new();
    for browser in &browsers {
        tokens.push((browser.token(AUDIENCE).await, browser.token(server.text("/jwt_resource")).await));
    }
    let let_in = async || {
        let mut let_in = Vec::new();
        for (by_question, judged_alone) in &tokens {
            let_in.push((lets_in(&opaque, by_question).await, lets_in(&jwt, judged_alone).await));
        }
        let_in
    };
    assert_eq!(let_in().await, [(true, true); 3]);
    browsers[0].logs_out().await;
    assert_eq!(let_in().await, [(false, false), (true, false), (true, true)]);

    let mut stats = signals.handle().stats();
    // One of the opaque tokens, and both JWTs.
    assert_eq!(stats.forgotten, 3);
    let heard = stats.transmitters.remove(0);
    assert_eq!((heard.events, heard.outcomes), (vec![(EventKind::Logout, 1)], vec![(EventOutcome::Applied, 1)]));
    // Whoever logs in again has access. A JWT would have to be of another second than the logout.
    assert!(lets_in(&opaque, &browsers[0].token(AUDIENCE).await).await);
}
