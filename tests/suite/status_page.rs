//! The status page: what it shows with and without a browser, and what it never shows.
#![cfg(feature = "status-page")]

use crate::support::*;
use http::{HeaderMap, Method, Request, Response};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_introspection::clock::Timestamp;
use tower_introspection::connection::Limits;
use tower_introspection::introspect::{Ask, IntrospectErrorKind};
use tower_introspection::{
    AccessToken, Apigee, Cached, InactiveReason, Introspect, IntrospectionLayer, StatusPage, Verdict,
};

/// Stands in every token and fact of this file, so that one search finds them all.
const SECRET: &str = "hush";

async fn answer(page: &StatusPage, method: Method, accept: &[&str]) -> Response<String> {
    let mut request = Request::builder().method(method).uri("/status");
    for accept in accept {
        request = request.header("accept", *accept);
    }
    page.clone().oneshot(request.body(()).unwrap()).await.unwrap()
}

async fn html(page: &StatusPage) -> String {
    answer(page, Method::GET, &["text/html,application/xhtml+xml,*/*;q=0.8"]).await.into_body()
}

async fn figures(page: &StatusPage) -> Value {
    let body = answer(page, Method::GET, &["application/json"]).await.into_body();
    let mut body: Value = serde_json::from_str(&body).unwrap();
    body["caches"].take()
}

/// What stands in the cells of this figure, one for each cache.
fn cells<'h>(html: &'h str, figure: &str) -> Vec<&'h str> {
    let attribute = format!(r#" data-figure="{figure}""#);
    let after = html.split(&*attribute).skip(1);
    after.map(|cell| cell.split_once('>').unwrap().1.split_once('<').unwrap().0).collect()
}

/// Two hits, one inactive hit, three misses of which one fails.
async fn used(name: &str) -> (Cached<Authority>, Authority) {
    let token = AccessToken::builder()
        .client_id(format!("{SECRET}-client"))
        .subject(format!("{SECRET}-subject"))
        .attribute("app", format!("{SECRET}-app"))
        .build();
    let authority = Authority::new(Ok(Verdict::Active(token)));
    let cached = Cached::builder(authority.clone()).name(name).build().unwrap();
    let ask = async |token: &str| known_or_asked(&cached, &format!("{SECRET}-{token}")).await;
    for _ in 0..3 {
        assert!(ask("good").await.unwrap().is_active());
    }
    authority.says(inactive(InactiveReason::Revoked));
    for _ in 0..2 {
        assert!(!ask("bad").await.unwrap().is_active());
    }
    authority.says(Err(tower_introspection::IntrospectError::new(IntrospectErrorKind::Timeout).with_source(SECRET)));
    ask("unlucky").await.unwrap_err();
    (cached, authority)
}

#[tokio::test]
async fn the_figures_are_in_the_page_itself() {
    let (cached, _authority) = used("partners").await;
    let html = html(&StatusPage::new(cached.handle())).await;
    for (figure, shown) in [
        ("health", "healthy"),
        ("breaker", "none"),
        ("hit_ratio", "50.0%"),
        ("hits", "2"),
        ("inactive_hits", "1"),
        ("misses", "3"),
        ("coalesced", "0"),
        ("stale_served", "0"),
        ("overloaded", "0"),
        ("questions", "3"),
        ("active_answers", "1"),
        ("inactive_answers", "1"),
        ("inactive_by_reason", "1&nbsp;revoked"),
        ("failures", "1"),
        ("failures_by_kind", "1&nbsp;timeout"),
        ("refreshes", "0"),
        ("failed_refreshes", "0"),
        ("questions_under_way", "0"),
        ("entries", "1"),
        ("inactive_entries", "1"),
        ("evictions", "0"),
    ] {
        assert_eq!(cells(&html, figure), [shown], "{figure}");
    }
    for histogram in ["question_latency_seconds", "verdict_age_seconds"] {
        for quantile in ["p50", "p99", "max"] {
            let cell = cells(&html, &format!("{histogram}.{quantile}"));
            assert!(cell.len() == 1 && cell[0].ends_with('s'), "{cell:?}");
        }
    }
    assert!(html.contains("<bdi>partners</bdi>"), "{html}");
    assert!(!html.contains("{{"), "a placeholder is left over: {html}");
}

#[tokio::test]
async fn a_cache_nobody_has_used_has_no_ratio_and_no_times() {
    let cached = Cached::new(Authority::new(active()));
    let page = StatusPage::new(cached.handle());
    let html = html(&page).await;
    for figure in ["hit_ratio", "question_latency_seconds.p99", "verdict_age_seconds.max"] {
        assert_eq!(cells(&html, figure), ["–"], "{figure}");
    }
    assert_eq!(cells(&html, "failures_by_kind"), ["none"]);
    let figures = figures(&page).await;
    assert_eq!(figures[0]["hit_ratio"], Value::Null);
    assert_eq!(figures[0]["question_latency_seconds"]["p99"], Value::Null);
}

#[tokio::test]
async fn whoever_accepts_json_and_no_page_gets_the_same_figures_as_json() {
    let (cached, _authority) = used("partners").await;
    let (page, stats) = (StatusPage::new(cached.handle()), cached.handle().stats());
    let figures = figures(&page).await;
    let cache = &figures[0];
    for (figure, value) in [
        ("name", json!("partners")),
        ("health", json!("healthy")),
        ("breaker", json!("none")),
        ("hit_ratio", json!(0.5)),
        ("hits", json!(stats.hits)),
        ("inactive_hits", json!(stats.inactive_hits)),
        ("misses", json!(stats.misses)),
        ("questions", json!(stats.questions)),
        ("failures", json!(1)),
        ("failures_by_kind", json!({"timeout": 1})),
        ("entries", json!(1)),
        ("inactive_entries", json!(1)),
    ] {
        assert_eq!(cache[figure], value, "{figure}");
    }
    let latency = &cache["question_latency_seconds"];
    assert_eq!(latency["count"], 3);
    assert_eq!(latency["p99"].as_f64(), stats.question_latency.quantile(0.99).map(|latency| latency.as_secs_f64()));
    let buckets: Vec<(f64, u64)> = serde_json::from_value(latency["buckets"].clone()).unwrap();
    let counted: Vec<_> = stats.question_latency.buckets().map(|(bound, n)| (bound.as_secs_f64(), n)).collect();
    assert_eq!(buckets, counted);

    for (accept, content_type) in [
        (&["application/json"][..], "application/json"),
        (&["Application/JSON;q=0.9"], "application/json"),
        (&["application/json", "*/*"], "application/json"),
        (&["text/html, application/json"], "text/html; charset=utf-8"),
        (&["application/json", "text/html"], "text/html; charset=utf-8"),
        (&["*/*"], "text/html; charset=utf-8"),
        (&[], "text/html; charset=utf-8"),
    ] {
        assert_eq!(answer(&page, Method::GET, accept).await.headers()["content-type"], content_type, "{accept:?}");
    }
}

#[cfg(feature = "sandbox")]
#[tokio::test]
async fn every_figure_in_the_page_is_in_the_json_and_says_the_same_of_the_endpoint() {
    use tower_introspection::sandbox::{Fault, Sandbox};

    let sandbox = Sandbox::start().await.unwrap();
    sandbox.set_fault(Fault::Status(503));
    let endpoint = sandbox
        .apigee()
        .limits(Limits::new().max_retries(1).breaker_threshold(5).breaker_pause(secs(600)))
        .build()
        .unwrap();
    let cached = Cached::new(endpoint);
    for token in ["one", "two", "three", "four", "five", "six"] {
        cached.introspect(Ask::new(&bearer(token))).await.unwrap_err();
    }
    let page = StatusPage::new(cached.handle());
    let (html, figures) = (html(&page).await, figures(&page).await);
    for (figure, shown, value) in [
        ("health", "failing", json!("failing")),
        ("breaker", "open", json!("open")),
        ("attempts", "10", json!(10)),
        ("retries", "5", json!(5)),
        ("turned_away", "0", json!(0)),
        ("waiting", "0", json!(0)),
        ("under_way", "0", json!(0)),
        ("failures_by_kind", "5&nbsp;status, 1&nbsp;circuit open", json!({"status": 5, "circuit_open": 1})),
    ] {
        assert_eq!((cells(&html, figure), &figures[0][figure]), (vec![shown], &value), "{figure}");
    }
    let named = html.split("data-figure=\"").skip(1).filter_map(|rest| rest.split_once('"').map(|(name, _)| name));
    for figure in named {
        let pointer = format!("/0/{}", figure.replace('.', "/"));
        assert!(figures.pointer(&pointer).is_some(), "{figure} is not in {figures}");
    }
}

#[tokio::test]
async fn several_caches_are_shown_in_the_order_given() {
    let (one, _first) = used("one").await;
    let other = Cached::builder(Authority::new(active())).name("other").build().unwrap();
    let page = StatusPage::new(one.handle()).cache(other.handle());
    let html = html(&page).await;
    assert_eq!(cells(&html, "hits"), ["2", "0"]);
    assert!(html.find("<bdi>one</bdi>").unwrap() < html.find("<bdi>other</bdi>").unwrap());
    let figures = figures(&page).await;
    assert_eq!((&figures[0]["name"], &figures[1]["name"]), (&json!("one"), &json!("other")));
    assert_eq!(format!("{page:?}"), r#"StatusPage { caches: ["one", "other"], layers: [], .. }"#);
}

#[tokio::test]
async fn it_answers_get_and_head_and_nothing_else() {
    let page = StatusPage::new(Cached::new(Authority::new(active())).handle());
    for accept in ["text/html", "application/json"] {
        let (got, headed) = (answer(&page, Method::GET, &[accept]).await, answer(&page, Method::HEAD, &[accept]).await);
        assert_eq!((got.status().as_u16(), headed.status().as_u16()), (200, 200));
        assert!(!got.body().is_empty() && headed.body().is_empty());
        let names = |headers: &HeaderMap| headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(got.headers()), names(headed.headers()));
        assert_eq!(got.headers()["content-type"], headed.headers()["content-type"]);
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::from_bytes(b"GETS").unwrap()] {
        let refused = answer(&page, method.clone(), &[]).await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
        assert_eq!(refused.body(), "", "{method}");
    }
}

#[tokio::test]
async fn nothing_but_its_own_style_and_script_may_run_in_it() {
    let page = StatusPage::new(Cached::new(Authority::new(active())).handle());
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let response = answer(&page, Method::GET, &["text/html"]).await;
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let nonce = policy.split_once("'nonce-").unwrap().1.split_once('\'').unwrap().0.to_owned();
        let wanted = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        assert_eq!(policy, wanted);
        let html = response.body();
        assert_eq!(html.matches(&format!(r#"nonce="{nonce}""#)).count(), 2);
        assert_eq!((html.matches("<style").count(), html.matches("<script").count()), (1, 1));
        // No asset from elsewhere, and nothing that the policy would stop.
        for asset in ["src=", "href=", "url(", "@import", "style=", "onload=", "onclick="] {
            assert!(!html.contains(asset), "{asset}");
        }
        assert!(html.len() < 18_000, "{} bytes", html.len());
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
    for accept in ["text/html", "application/json"] {
        let response = answer(&page, Method::GET, &[accept]).await;
        let headers = response.headers();
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'; "));
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("vary", "accept"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn the_name_of_a_cache_is_text_whatever_is_in_it() {
    let name = r#"<script>alert('1')</script>" onload="x & {{nonce}} {{sections}}"#;
    let cached = Cached::builder(Authority::new(active())).name(name).build().unwrap();
    let page = StatusPage::new(cached.handle());
    let html = html(&page).await;
    let escaped = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x &amp; {{nonce}} {{sections}}";
    // In the line at the top, in two attributes of the section, and in its title.
    assert_eq!(html.matches(escaped).count(), 4, "{html}");
    assert_eq!(html.matches("<script").count(), 1, "its own alone");
    assert_eq!(figures(&page).await[0]["name"], name);
}

#[tokio::test]
async fn neither_a_token_nor_a_fact_of_one_nor_a_cause_is_in_it() {
    let (cached, _authority) = used("partners").await;
    let page = StatusPage::new(cached.handle());
    for accept in ["text/html", "application/json"] {
        let response = answer(&page, Method::GET, &[accept]).await;
        assert!(!response.body().contains(SECRET) && !format!("{response:?}").contains(SECRET), "{response:?}");
    }
    assert!(!format!("{page:?}").contains(SECRET));
}

#[tokio::test]
async fn rejections_are_counted_by_status_and_reason_the_most_frequent_first() {
    let authority = Authority::new(inactive(InactiveReason::Revoked));
    let cached = Cached::new(authority.clone());
    let page = StatusPage::new(cached.handle());
    let layer = IntrospectionLayer::builder(cached).require_scope("read").build().unwrap();
    let page = page.layer("orders & <returns>", layer.handle());
    let other = IntrospectionLayer::builder(authority.clone()).problem_json().build().unwrap();
    let page = page.layer("other", other.handle());
    let service = layer.layer(Idle);
    let send = async |authorization: &str| {
        let response = service.clone().oneshot(request(authorization)).await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(send("Basic eA==").await, 401);
    for token in ["Bearer bad", "Bearer worse"] {
        assert_eq!(send(token).await, 401);
    }
    assert_eq!(send("Bearer ?").await, 400);
    authority.says(Ok(Verdict::Active(scoped("write"))));
    assert_eq!(send("Bearer small").await, 403);
    authority.says(failure(IntrospectErrorKind::Timeout));
    assert_eq!(send("Bearer unlucky").await, 503);
    authority.says(active());
    for _ in 0..2 {
        assert_eq!(send("Bearer good").await, 200);
    }

    let html = html(&page).await;
    let body = answer(&page, Method::GET, &["application/json"]).await.into_body();
    let json: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&json["layers"][0]["name"], &json["layers"][1]["name"]),
        (&json!("orders & <returns>"), &json!("other"))
    );
    assert!(html.contains("Layer <bdi>orders &amp; &lt;returns&gt;</bdi>"), "{html}");
    for (figure, shown, value) in [
        ("accepted", "2", json!(2)),
        ("anonymous", "0", json!(0)),
        ("rejected_400", "1", json!(1)),
        ("rejected_400_by_reason", "1&nbsp;malformed", json!({"malformed": 1})),
        ("rejected_401", "3", json!(3)),
        ("rejected_401_by_reason", "2&nbsp;revoked, 1&nbsp;missing token", json!({"revoked": 2, "missing_token": 1})),
        ("rejected_403", "1", json!(1)),
        ("rejected_403_by_reason", "1&nbsp;insufficient scope", json!({"insufficient_scope": 1})),
        ("rejected_503", "1", json!(1)),
        ("rejected_503_by_reason", "1&nbsp;unavailable", json!({"unavailable": 1})),
    ] {
        let unused = if figure.ends_with("reason") { "none" } else { "0" };
        assert_eq!((cells(&html, figure), &json["layers"][0][figure]), (vec![shown, unused], &value), "{figure}");
    }
    assert_eq!(
        format!("{page:?}"),
        r#"StatusPage { caches: ["default"], layers: ["orders & <returns>", "other"], .. }"#
    );
}

#[tokio::test]
async fn the_last_failure_is_told_with_its_time_and_text_and_holds_no_token_though_its_url_did() {
    let (_socket, address) = refusing();
    let apigee = Apigee::builder("o").base_url(format!("http://{address}/v1")).basic_auth("hush-user", "hush-password");
    let cached = Cached::new(apigee.limits(Limits::new().max_retries(0)).build().unwrap());
    let page = StatusPage::new(cached.handle());
    assert_eq!(
        (cells(&html(&page).await, "last_stranger_failure"), &figures(&page).await[0]["last_stranger_failure"]),
        (vec!["none"], &Value::Null)
    );
    let before = Timestamp::now().as_unix_millis();
    cached.introspect(Ask::new(&bearer("hush-token"))).await.unwrap_err();
    let (html, failure) = (html(&page).await, figures(&page).await[0]["last_stranger_failure"].take());
    assert_eq!(failure["kind"], "connect");
    assert!(failure["text"].as_str().unwrap().starts_with("no connection to the authority: "), "{failure}");
    let at = failure["at_unix_millis"].as_i64().unwrap();
    assert!((before..=Timestamp::now().as_unix_millis()).contains(&at), "{failure}");
    let shown = cells(&html, "last_stranger_failure")[0];
    assert!(shown.contains(" s ago, ") && shown.contains(" GMT: connect: no connection to the authority: "), "{shown}");
    assert!(!html.contains(SECRET) && !failure.to_string().contains(SECRET), "{html} {failure}");
}

#[tokio::test]
async fn the_text_of_a_failure_is_text_whatever_is_in_it() {
    let endpoint = Apigee::builder("o").base_url("http://127.0.0.1:1/v1");
    let endpoint = endpoint.credentials(|| async { Err("<script>alert('1')</script> & \" \n".into()) });
    let cached = Cached::new(endpoint.build().unwrap());
    cached.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    let html = html(&StatusPage::new(cached.handle())).await;
    assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;"), "{html}");
    assert_eq!(html.matches("<script").count(), 1, "its own alone");
}

#[tokio::test]
async fn reading_the_page_asks_nothing_and_changes_no_figure() {
    let (cached, authority) = used("partners").await;
    let page = StatusPage::new(cached.handle());
    let before = (authority.questions(), figures(&page).await);
    html(&page).await;
    assert_eq!((authority.questions(), figures(&page).await), before);
}

#[tokio::test]
async fn the_moments_of_the_page_are_told_in_milliseconds() {
    let cached = Cached::new(Authority::new(active()));
    let before = Timestamp::now().as_unix_millis();
    let page = StatusPage::new(cached.handle());
    let body = answer(&page, Method::GET, &["application/json"]).await.into_body();
    let body: Value = serde_json::from_str(&body).unwrap();
    for moment in ["at_unix_millis", "page_made_at_unix_millis"] {
        let at = body[moment].as_i64().unwrap_or_default();
        assert!((before..=Timestamp::now().as_unix_millis()).contains(&at), "{moment}: {at}");
    }
}

#[cfg(all(feature = "sandbox", feature = "signals"))]
#[tokio::test]
async fn what_was_heard_of_security_events_is_shown_for_each_transmitter() {
    use tower_introspection::sandbox::{Sandbox, SandboxEvent};
    use tower_introspection::signals::{Signals, Transmitter};

    let (cached, _) = used("main").await;
    let sandbox = Sandbox::start().await.unwrap();
    let listens = Transmitter::discover(sandbox.issuer()).audience("https://api.example.com").cache(cached.handle());
    let signals = Signals::builder().transmitter(listens).build().unwrap();
    let page = StatusPage::new(cached.handle()).signals(signals.handle());
    let transmitter = async || {
        let answer = answer(&page, Method::GET, &["application/json"]).await;
        serde_json::from_str::<Value>(answer.body()).unwrap()["transmitters"][0].clone()
    };
    assert_eq!(transmitter().await.get("last_event_seconds"), Some(&Value::Null));
    let disabled = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
    let set = sandbox.sign_event(SandboxEvent::new(disabled).about_user(sandbox.issuer(), "ann")).unwrap();
    let request = Request::post("/").header("content-type", "application/secevent+jwt").body(set).unwrap();
    assert_eq!(signals.push().oneshot(request).await.unwrap().status(), 202);
    let shown = transmitter().await;
    assert_eq!((&shown["name"], &shown["health"]), (&json!(sandbox.issuer()), &json!("healthy")));
    assert!(shown["last_event_seconds"].is_number() && shown["last_heard_seconds"].is_number());
    assert_eq!((&shown["outcomes"], &shown["events"]), (&json!({"applied": 1}), &json!({"account_disabled": 1})));
    let html = html(&page).await;
    assert_eq!(cells(&html, "events"), ["1&nbsp;account disabled"]);
    assert!(html.contains("Last event heard, ago") && html.contains("Security events"));
}

#[cfg(all(feature = "redis", feature = "test-util"))]
#[tokio::test(start_paused = true)]
async fn a_cache_in_a_fleet_shows_what_becomes_of_it() {
    use tower_introspection::fleet::{Fleet, FleetSecret, MemoryEngine};

    let engine = MemoryEngine::new();
    let secret = FleetSecret::from_bytes(format!("{SECRET} {SECRET} {SECRET} {SECRET} {SECRET} {SECRET} {SECRET}"));
    let fleet = Fleet::in_memory(&engine, "orders.v2", secret.unwrap()).strict(secs(5)).build().unwrap();
    let cached = Cached::builder(Authority::new(active())).fleet(&fleet).build().unwrap();
    let alone = Cached::new(Authority::new(active()));
    let page = StatusPage::new(cached.handle()).cache(alone.handle());
    let shows = async |figure: &str, shown: &str, value: Value| {
        let (html, figures) = (html(&page).await, figures(&page).await);
        assert_eq!((cells(&html, figure), &figures[0][figure]), (vec![shown], &value), "{figure}");
        assert_eq!(figures[1].get(figure), None, "the other cache is in no fleet");
        assert!(!html.contains(SECRET) && !figures.to_string().contains(SECRET), "{html} {figures}");
    };
    shows("fleet_engine", "away", json!("away")).await;
    shows("fleet_last_read_seconds", "–", Value::Null).await;
    until(|| fleet.is_reachable()).await;
    assert!(known_or_asked(&cached, &format!("{SECRET}-token")).await.unwrap().is_active());
    tokio::time::sleep(secs(3)).await;
    for (figure, shown, value) in [
        ("fleet_engine", "reachable", json!("reachable")),
        ("fleet_name", "orders.v2", json!("orders.v2")),
        ("fleet_processes", "1", json!(1)),
        ("fleet_mismatches", "0", json!(0)),
        ("fleet_lease", "held", json!("held")),
        ("fleet_hits", "0", json!(0)),
        ("fleet_misses", "1", json!(1)),
        ("fleet_stored", "1", json!(1)),
        ("fleet_engine_failures_by_kind", "none", json!({})),
        ("fleet_unreadable_by_reason", "none", json!({})),
        ("fleet_rate_limit", "the fleet's", json!("the fleet's")),
    ] {
        shows(figure, shown, value).await;
    }
    engine.append_junk();
    tokio::time::sleep(secs(1)).await;
    shows("fleet_gaps", "1", json!(1)).await;
    shows("fleet_unreadable_by_reason", "1&nbsp;other version", json!({"other_version": 1})).await;
    engine.cut_off(true);
    tokio::time::sleep(secs(10)).await;
    shows("fleet_engine", "away", json!("away")).await;
    shows("fleet_lease", "lost", json!("lost")).await;
    let (html, figures) = (html(&page).await, figures(&page).await);
    assert!(cells(&html, "fleet_engine_failures_by_kind")[0].ends_with("&nbsp;connection"), "{html}");
    let fleet =
        html.split("data-figure=\"fleet_").skip(1).filter_map(|rest| rest.split_once('"').map(|(name, _)| name));
    for figure in fleet {
        assert!(figures[0].get(format!("fleet_{figure}")).is_some(), "{figure} is not in {figures}");
    }
    assert!(cached.handle().health().is_ready() && cached.handle().stats().fleet.is_some());
    assert_eq!(alone.handle().stats().fleet, None);
}
