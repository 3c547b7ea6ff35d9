//! The status page, and a script of another origin, in a browser: Chromium, without a window, on loopback.
//!
//! Where there is none these tests say so and test nothing, unless `BROWSER=required` is set, as it is in CI: then what
//! is missing is a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "status-page")]

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use support::*;
use tokio::process::Command;
use tower::{Layer, ServiceExt};
use tower_introspection::connection::Limits;
use tower_introspection::introspect::{Ask, IntrospectErrorKind};
use tower_introspection::{Cached, InactiveReason, Introspect, StatusPage};

/// Chromium, by whatever name it goes. `None` if it is not installed and need not be.
fn browser() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names
        .iter()
        .find_map(|name| std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.exists()));
    if found.is_none() {
        let required = std::env::var("BROWSER").is_ok_and(|value| value == "required");
        assert!(!required, "Chromium is not installed; run `apt-get install -y chromium`");
        // Past the capture of the test runner, which shows nothing of tests that pass.
        std::io::stderr().write_all(b"SKIPPED: Chromium is not installed (apt-get install -y chromium)\n").unwrap();
    }
    found
}

const NO_SCRIPT: &str = r#"{"profile": {"default_content_setting_values": {"javascript": 2}}}"#;

struct Seen {
    /// The document after eight seconds of the browser's own time, which it does not wait for.
    dom: String,
    /// What the page's script wrote to the console, and what the browser did there.
    console: Vec<String>,
}

async fn look(browser: &PathBuf, url: &str) -> Seen {
    look_with(browser, url, "{}").await
}

/// With these preferences of its user.
async fn look_with(browser: &PathBuf, url: &str, preferences: &str) -> Seen {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::SeqCst);
    let home = std::env::temp_dir().join(format!("status-page-{}-{run}", std::process::id()));
    std::fs::create_dir_all(home.join("Default")).unwrap();
    std::fs::write(home.join("Default/Preferences"), preferences).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--no-proxy-server", "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.display()))
        .arg(url)
        .env("HOME", &home)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(secs(180), output).await.expect("the browser ends").unwrap();
    let _ = std::fs::remove_dir_all(&home);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    let console = log.lines().filter(|line| line.contains("CONSOLE")).map(Into::into).collect();
    Seen { dom: String::from_utf8(output.stdout).unwrap(), console }
}

/// A page with figures in it, [served](serve) with `json` in place of its own answers.
struct Served {
    url: String,
    cached: Cached<Authority>,
    polls: Arc<AtomicUsize>,
}

impl Served {
    async fn start<F>(json: impl Fn(Cached<Authority>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<Response>> + Send,
    {
        let authority = Authority::new(active());
        // A browser takes its time, and no entry is to end meanwhile.
        let cached = Cached::builder(authority.clone()).max_ttl(secs(3_600)).inactive_ttl(secs(3_600));
        let cached = cached.name("<partners> & friends").build().unwrap();
        for token in ["good", "good", "good"] {
            known_or_asked(&cached, token).await.unwrap();
        }
        authority.says(inactive(InactiveReason::Unknown));
        known_or_asked(&cached, "bad").await.unwrap();
        authority.says(failure(IntrospectErrorKind::Timeout));
        known_or_asked(&cached, "unlucky").await.unwrap_err();
        authority.says(active());

        let used = cached.clone();
        let (url, polls) = serve(StatusPage::new(cached.handle()), move || json(used.clone())).await;
        Self { url, cached, polls }
    }

    async fn html(&self) -> String {
        let request = Request::builder().header("accept", "text/html").body(()).unwrap();
        StatusPage::new(self.cached.handle()).oneshot(request).await.unwrap().into_body()
    }
}

/// Serves this page, and counts what its script asks; `json` may answer in place of the page, from the second time on.
async fn serve<F>(page: StatusPage, json: impl Fn() -> F + Send + Sync + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = Option<Response>> + Send,
{
    let polls = Arc::new(AtomicUsize::new(0));
    let (json, polled) = (Arc::new(json), Arc::clone(&polls));
    let app = Router::new().fallback(move |request: Request<Body>| {
        let (json, page) = (Arc::clone(&json), page.clone());
        let is_poll = request.headers()["accept"] == "application/json";
        let is_first = is_poll && polled.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_poll
                && !is_first
                && let Some(answer) = json().await
            {
                return answer;
            }
            page.oneshot(request).await.into_response()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/status", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, polls)
}

/// Each figure and what stands in its element.
fn figures(html: &str) -> Vec<(&str, &str)> {
    let elements = html.split("data-figure=\"").skip(1);
    let figures = elements.map(|element| {
        let name = element.split('"').next().unwrap();
        (name, element.split_once('>').unwrap().1.split_once('<').unwrap().0)
    });
    figures.collect()
}

/// The value of this attribute in each chart.
fn charts<'d>(dom: &'d str, attribute: &str) -> Vec<&'d str> {
    let attribute = format!(" {attribute}=\"");
    let charts = dom.split("<svg").skip(1);
    charts.filter_map(|svg| svg.split_once(&*attribute)?.1.split_once('"').map(|(value, _)| value)).collect()
}

/// How many seconds old the figures are, as the script tells.
fn age(dom: &str) -> u64 {
    let age = dom.split_once("<span id=\"age\"").unwrap().1.split_once('>').unwrap().1.split_once(" s ago<").unwrap().0;
    age.trim_start_matches(", ").parse().unwrap()
}

fn trouble(dom: &str) -> &str {
    dom.split_once("<p id=\"trouble\"").unwrap().1.split_once("</p>").unwrap().0
}

#[tokio::test]
async fn the_script_draws_every_chart_and_breaks_no_rule() {
    let Some(browser) = browser() else { return };
    let served = Served::start(|cached| async move {
        static TOKENS: AtomicUsize = AtomicUsize::new(0);
        known_or_asked(&cached, "good").await.unwrap();
        known_or_asked(&cached, &format!("new-{}", TOKENS.fetch_add(1, Ordering::SeqCst))).await.unwrap();
        None
    })
    .await;
    let Seen { dom, console } = look(&browser, &served.url).await;
    assert_eq!(console, [""; 0], "an error, or something that its policy forbids");
    assert!(served.polls.load(Ordering::SeqCst) >= 3, "it goes on asking");
    assert!(trouble(&dom).starts_with(" role=\"status\" hidden"), "{}", trouble(&dom));
    assert!(age(&dom) <= 2, "{} s", age(&dom));

    let drawn = charts(&dom, "data-points");
    // All but the circuit breaker, which an introspector of one's own does not have.
    assert_eq!(drawn.len(), 5, "{dom}");
    for points in drawn {
        assert!(points.parse::<usize>().unwrap() >= 1, "{points} in {dom}");
    }
    let labels = charts(&dom, "aria-label");
    assert!(
        labels[0].starts_with("Cache hit ratio in the last 5 minutes: now 50.0%, between 50.0% and "),
        "{labels:?}"
    );
    assert!(labels[4].starts_with("Active tokens cached in the last 5 minutes: now "), "{labels:?}");
    let lines: Vec<_> = dom.split("<path d=\"M").skip(1).collect();
    assert_eq!(lines.len(), 5, "{dom}");
    assert!(lines.iter().all(|line| line.split('"').next().unwrap().contains('L')), "lines, not points: {lines:?}");
}

#[cfg(all(feature = "sandbox", feature = "test-util"))]
#[tokio::test]
async fn the_script_draws_the_circuit_breaker_of_an_endpoint_as_it_opens() {
    use tower_introspection::clock::ManualClock;
    use tower_introspection::sandbox::{Fault, Sandbox};

    let Some(browser) = browser() else { return };
    let clock = ManualClock::new();
    let sandbox = Arc::new(Sandbox::start().await.unwrap());
    let endpoint = sandbox
        .apigee()
        .clock(clock.clone())
        .limits(Limits::new().max_retries(0).breaker_threshold(1).breaker_pause(secs(7)));
    let cached = Cached::new(endpoint.build().unwrap());
    let page = StatusPage::new(cached.handle());
    // Closed when the script first asks, then open, and half open from then on.
    let looks = Arc::new(AtomicUsize::new(0));
    let (url, _) = serve(page, move || {
        let (sandbox, cached, clock) = (Arc::clone(&sandbox), cached.clone(), clock.clone());
        let is_second = looks.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_second {
                sandbox.set_fault(Fault::Status(503));
                cached.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
            } else {
                clock.advance(secs(7));
            }
            None
        }
    })
    .await;
    let Seen { dom, console } = look(&browser, &url).await;
    assert_eq!(console, [""; 0]);
    assert_eq!(charts(&dom, "data-points").len(), 6, "{dom}");
    let chart = dom.split("<figure>").skip(1).find(|figure| figure.contains("Circuit breaker")).unwrap();
    let label = "Circuit breaker in the last 5 minutes: now half open, between closed and open";
    assert_eq!(charts(chart, "aria-label"), [label]);
    assert!(chart.contains("Circuit breaker<strong>half open</strong>"), "{chart}");
    assert!(chart.contains("<span>open</span><span>closed</span>"), "{chart}");
    // Steps, from the bottom to the top and back to the middle.
    let line = chart.split_once("<path d=\"").unwrap().1.split('"').next().unwrap();
    assert!(line.starts_with('M') && line.contains(" 98.0h1H"), "{line}");
    let steps: Vec<_> = line.split('V').skip(1).filter_map(|step| step.split('H').next()).collect();
    assert!(steps.starts_with(&["2.0", "50.0"]), "{line}");
}

#[tokio::test]
async fn the_script_writes_figures_as_the_server_does() {
    let Some(browser) = browser() else { return };
    let served = Served::start(|_| async { None }).await;
    let Seen { dom, console } = look(&browser, &served.url).await;
    assert_eq!(console, [""; 0]);
    assert!(served.polls.load(Ordering::SeqCst) >= 1);
    assert_eq!(figures(&dom), figures(&served.html().await));
    assert!(dom.contains("<bdi>&lt;partners&gt; &amp; friends</bdi>"), "{dom}");
}

#[tokio::test]
async fn without_script_the_figures_are_there() {
    let Some(browser) = browser() else { return };
    let served = Served::start(|_| async { None }).await;
    let Seen { dom, console } = look_with(&browser, &served.url, NO_SCRIPT).await;
    assert_eq!(console, [""; 0]);
    assert_eq!(served.polls.load(Ordering::SeqCst), 0, "no script ran");
    assert_eq!(charts(&dom, "role"), [""; 0]);
    assert_eq!(figures(&dom), figures(&served.html().await));
    assert!(figures(&dom).contains(&("hit_ratio", "40.0%")), "{dom}");
    assert!(dom.contains("<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>"), "it loads itself anew");
}

/// Written into the outer page once the script of each inner one has drawn: what runs out of which of them.
const MEASURE: &str = r"
const wrong = [];
for (const frame of document.querySelectorAll('iframe')) {
  const page = frame.contentDocument, at = `${frame.width}: `;
  const inner = frame.contentWindow.innerWidth, root = page.documentElement;
  if (inner !== +frame.width || !page.querySelector('svg path[d]')) wrong.push(at + 'it was not drawn');
  if (root.scrollWidth > inner) wrong.push(at + `the page is ${root.scrollWidth} wide`);
  for (const element of page.querySelectorAll('body *')) {
    const box = element.closest('.cards > *, li')?.getBoundingClientRect() ?? { left: 0, right: inner };
    const { left, right, width } = element.getBoundingClientRect();
    const runs_out = right > box.right + .5 || left < box.left - .5 || right > inner + .5 || left < -.5;
    if (width && runs_out) wrong.push(at + element.tagName + ' ' + element.textContent.slice(0, 60));
  }
}
document.body.textContent = 'measured: ' + (wrong.join('; ') || 'nothing runs out');
";

#[cfg(feature = "sandbox")]
#[tokio::test]
async fn nothing_runs_out_of_the_page_or_out_of_its_card_on_a_screen_of_any_width() {
    use tower_introspection::IntrospectionLayer;
    use tower_introspection::sandbox::{Fault, Sandbox};

    let Some(browser) = browser() else { return };
    // An outage has the longest texts.
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.set_fault(Fault::Reset);
    let long = "a-name-that-nobody-would-choose".repeat(5);
    let cached = Cached::builder(sandbox.apigee().limits(Limits::new().max_retries(0)).build().unwrap()).name(&long);
    #[cfg(feature = "redis")]
    let cached = {
        use tower_introspection::fleet::{Fleet, FleetSecret, MemoryEngine};

        let secret = FleetSecret::from_bytes(b"a secret of thirty-two bytes, no less").unwrap();
        cached.fleet(&Fleet::in_memory(&MemoryEngine::new(), &long[..64], secret).build().unwrap())
    };
    let cached = cached.build().unwrap();
    let page = StatusPage::new(cached.handle());
    let layer = IntrospectionLayer::builder(cached.clone()).require_scope("read").build().unwrap();
    let page = page.layer(&long, layer.handle());
    for authorization in ["Bearer abc", "Bearer ?", &format!("Bearer {}", "a".repeat(5_000)), "Basic eA=="] {
        layer.layer(Idle).oneshot(request(authorization)).await.unwrap();
    }
    let widths = [320, 360, 768, 1_000, 1_100, 1_200, 1_280, 1_440, 1_920];
    let frames = widths.map(|width| format!("<iframe src=/status width={width} height=900></iframe>")).concat();
    let outer = format!("{frames}<script>setTimeout(() => {{ {MEASURE} }}, 6000)</script>");
    let app = Router::new().fallback(move |request: Request<Body>| {
        let (page, outer) = (page.clone(), outer.clone());
        async move {
            if request.uri().path() == "/" {
                return axum::response::Html(outer).into_response();
            }
            let mut response = page.oneshot(request).await.into_response();
            // It may stand in no frame, which is how widths are made here.
            response.headers_mut().remove("content-security-policy");
            response
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let Seen { dom, console } = look(&browser, &url).await;
    assert_eq!(console, [""; 0]);
    let measured = dom.split_once("measured: ").unwrap_or_else(|| panic!("nothing was measured: {dom}")).1;
    assert!(measured.starts_with("nothing runs out"), "{measured}");
}

#[tokio::test]
async fn it_says_when_the_service_does_not_answer() {
    let Some(browser) = browser() else { return };
    let refusing = |_| async { Some(StatusCode::SERVICE_UNAVAILABLE.into_response()) };
    let login = |_| async { Some("<html>Who are you?</html>".into_response()) };
    let breaking = |_| async {
        let parts: [Result<&str, std::io::Error>; 2] = [Ok("{"), Err(std::io::ErrorKind::ConnectionReset.into())];
        Some(Body::from_stream(tokio_stream::iter(parts)).into_response())
    };
    for (served, said) in [
        (Served::start(refusing).await, "The service answers with status 503."),
        (Served::start(login).await, "The service answers with something else."),
        (Served::start(breaking).await, "The service cannot be reached."),
    ] {
        let Seen { dom, .. } = look(&browser, &served.url).await;
        let trouble = trouble(&dom);
        assert_eq!(trouble, format!(" role=\"status\">{said} The figures are of the time above."));
        assert_eq!(figures(&dom), figures(&served.html().await), "what was known stays");
        assert!(age(&dom) >= 4, "and says how old it is: {} s", age(&dom));
    }
}

#[tokio::test]
async fn these_tests_would_see_what_the_console_says() {
    let Some(browser) = browser() else { return };
    let forbidden = "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\"><script>alert(1)</script>";
    for page in ["<script>console.error('an error')</script>", "<script>nothing.at.all</script>", forbidden] {
        let app = Router::new().fallback(move || async move { axum::response::Html(page) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let Seen { console, .. } = look(&browser, &url).await;
        assert_eq!(console.len(), 1, "{page}: {console:?}");
    }
}

/// A page of one origin, and a guarded service of another, as the documentation has it set up.
#[tokio::test]
async fn a_script_of_another_origin_calls_with_a_token_and_reads_a_refusal_and_the_document_about_the_resource() {
    use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
    use tower_http::cors::{AllowOrigin, CorsLayer};
    use tower_introspection::{IntrospectionLayer, ProtectedResource};

    let Some(browser) = browser() else { return };
    let bind = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pages, services) = (bind().await, bind().await);
    let page_origin = format!("http://{}", pages.local_addr().unwrap());
    let service_origin = format!("http://{}", services.local_addr().unwrap());

    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::exact(page_origin.parse().unwrap()))
        .allow_methods([http::Method::GET, http::Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER]);
    let metadata = ProtectedResource::builder(&service_origin).authorization_server("https://auth.example.com");
    let metadata = metadata.build().unwrap();
    let guard = IntrospectionLayer::new(Authority::new(active()));
    let app = Router::new()
        .route("/orders", axum::routing::post(async || "ordered"))
        .layer(tower::ServiceBuilder::new().layer(cors).layer(guard))
        .route_service(metadata.path(), metadata.clone());
    tokio::spawn(async move { axum::serve(services, app).await });

    let script = format!(
        r#"(async () => {{
            const call = async (headers) => {{
                headers["content-type"] = "application/json";
                const answer = await fetch("{service_origin}/orders", {{ method: "POST", headers, body: "{{}}" }});
                return [answer.status, await answer.text(), answer.headers.get("www-authenticate")];
            }};
            const asking = {{ headers: {{ "mcp-protocol-version": "2025-06-18" }} }};
            const metadata = await (await fetch("{service_origin}{}", asking)).json();
            const seen = [await call({{ authorization: "Bearer abc" }}), await call({{}}), metadata.authorization_servers];
            document.body.textContent = JSON.stringify(seen);
        }})()"#,
        metadata.path()
    );
    let page = Router::new().fallback(move || async move {
        axum::response::Html(format!(
            "<title>A shop</title><link rel=icon href=\"data:,\"><body><script>{script}</script>"
        ))
    });
    tokio::spawn(async move { axum::serve(pages, page).await });
    let Seen { dom, console } = look(&browser, &page_origin).await;
    let ordered = r#"[200,"ordered",null]"#;
    let refused = r#"[401,"","Bearer realm=\"api\""]"#;
    let expected = format!(r#"[{ordered},{refused},["https://auth.example.com"]]"#);
    assert!(dom.contains(&format!("<body>{expected}</body>")), "{dom}");
    // That a status is no success is told there, and nothing else.
    assert!(console.iter().all(|line| line.contains("status of 401")), "{console:?}");
}
