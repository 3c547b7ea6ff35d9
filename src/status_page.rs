//! The figures of caches as a page to look at (feature `status-page`).

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::fmt::{self, Write};
use std::future::{Ready, ready};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use tower::Service;

use crate::cache::CacheHandle;
use crate::clock::{Clock, SystemClock};
use crate::histogram::Histogram;
use crate::introspect::BreakerState;

/// Its placeholders are `{{nonce}}`, `{{at}}` and `{{caches}}`.
const PAGE: &str = include_str!("status_page/page.html");

/// Shows the figures of one or more caches, and of the endpoints behind them: health, circuit breaker, hit ratio, questions,
/// how long they took, how old verdicts were when they were used, entries. It is a service that answers GET and HEAD, for a
/// path of your choice, with one small page that loads nothing from elsewhere. The page redraws itself every two seconds;
/// without JavaScript it shows the same figures, and loads anew every ten.
///
/// A request whose `Accept` names `application/json` and not `text/html` gets the figures as JSON, durations in seconds.
/// Members may be added to it.
///
/// **Mount it behind your own protection**, or on an address that only operators reach. It shows figures of operation, and
/// neither a token nor any fact of one; but it tells whoever sees it how much the service is used, and whether its authority
/// is down. Answering takes about as much as [`CacheHandle::stats`].
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_introspection::{Cached, IntrospectionLayer, StatusPage};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let cached = Cached::builder(introspector).name("partners").build()?;
/// let operators: Router = Router::new().route_service("/status", StatusPage::new(cached.handle()));
/// let app: Router = Router::new().route("/", get(async || "hello")).route_layer(IntrospectionLayer::new(cached));
/// // Serve `app` to the world, and `operators` on an address of its own.
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct StatusPage {
    caches: Arc<Vec<CacheHandle>>,
}

impl StatusPage {
    /// A page about this cache.
    pub fn new(cache: CacheHandle) -> Self {
        Self { caches: Arc::new(vec![cache]) }
    }

    /// Adds another cache. Give each a [name](crate::CachedBuilder::name) of its own, which is what the page calls it.
    pub fn cache(mut self, cache: CacheHandle) -> Self {
        Arc::make_mut(&mut self.caches).push(cache);
        self
    }

    fn html(&self, nonce: &str) -> String {
        let mut caches = String::new();
        for cache in &*self.caches {
            // Writing to a string does not fail.
            let _ = write_cache(&mut caches, cache);
        }
        // What configuration has a say in comes last, so that no placeholder is looked for in it.
        PAGE.replace("{{nonce}}", nonce).replace("{{at}}", &http_date()).replace("{{caches}}", &caches)
    }

    fn json(&self) -> String {
        let caches: Vec<Value> = self.caches.iter().map(json_of).collect();
        json!({ "at_unix_millis": SystemClock.now(), "caches": caches }).to_string()
    }

    fn answer(&self, method: &Method, headers: &HeaderMap) -> Response<String> {
        let mut response = Response::new(String::new());
        let is_html = !wants_json(headers);
        let nonce = nonce();
        let (content_type, policy) = if is_html {
            ("text/html; charset=utf-8", format!("style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "))
        } else {
            ("application/json", String::new())
        };
        let policy = format!(
            "default-src 'none'; {policy}connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let stated = response.headers_mut();
        stated.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        // Nothing but fixed text and hexadecimal digits is in it.
        if let Ok(policy) = HeaderValue::try_from(policy) {
            stated.insert(CONTENT_SECURITY_POLICY, policy);
        }
        for (name, value) in [
            (CACHE_CONTROL, "no-store"),
            (VARY, "accept"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ] {
            stated.insert(name, HeaderValue::from_static(value));
        }
        if method == Method::GET {
            *response.body_mut() = if is_html { self.html(&nonce) } else { self.json() };
        }
        response
    }
}

impl<B> Service<Request<B>> for StatusPage {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(match *request.method() {
            Method::GET | Method::HEAD => self.answer(request.method(), request.headers()),
            _ => {
                let mut response = Response::new(String::new());
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        }))
    }
}

impl fmt::Debug for StatusPage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = self.caches.iter().map(CacheHandle::name).collect();
        f.debug_struct("StatusPage").field("caches", &names).finish_non_exhaustive()
    }
}

/// Browsers ask for `text/html` among others, the page's own script for JSON alone.
fn wants_json(headers: &HeaderMap) -> bool {
    let names = |media_type: &str| {
        let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.to_ascii_lowercase().contains(media_type))
    };
    names("application/json") && !names("text/html")
}

/// A number that nobody can guess, new for each page: keyed hashes whose keys the operating system's generator seeds.
fn nonce() -> String {
    let half = |constant: u64| RandomState::new().hash_one(constant);
    format!("{:016x}{:016x}", half(0), half(1))
}

fn http_date() -> String {
    let millis = u64::try_from(SystemClock.now().as_unix_millis()).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(millis))
}

/// One figure, in the form in which it is shown.
enum Figure {
    Word(&'static str),
    Count(u64),
    Ratio(Option<f64>),
    /// How many there were of each kind.
    Kinds(Map<String, Value>),
}

struct Group {
    title: &'static str,
    /// What a figure is called on the page and in JSON.
    figures: Vec<(&'static str, &'static str, Figure)>,
}

/// All that there is to show of one cache.
struct Shown {
    name: String,
    health: &'static str,
    groups: [Group; 4],
    times: [(&'static str, &'static str, Histogram); 2],
}

fn shown(cache: &CacheHandle) -> Shown {
    use Figure::{Count, Kinds, Ratio, Word};

    let stats = cache.stats();
    let health = cache.health().as_str();
    let from_memory = stats.hits + stats.inactive_hits;
    let requests = from_memory + stats.misses + stats.coalesced + stats.overloaded;
    let kinds = stats.failures_by_kind.iter().map(|(kind, count)| (kind.as_str().to_owned(), json!(count)));
    let mut authority = vec![("Health", "health", Word(health))];
    let breaker = stats.endpoint.as_ref().map_or("none", |endpoint| match endpoint.breaker {
        BreakerState::Closed => "closed",
        BreakerState::HalfOpen => "half open",
        BreakerState::Open => "open",
    });
    authority.push(("Circuit breaker", "breaker", Word(breaker)));
    if let Some(endpoint) = stats.endpoint {
        authority.extend([
            ("Attempts", "attempts", Count(endpoint.attempts)),
            ("Retries among them", "retries", Count(endpoint.retries)),
            ("Turned away (rate_limit, max_concurrent_questions)", "turned_away", Count(endpoint.turned_away)),
            ("Waiting now", "waiting", Count(endpoint.waiting as u64)),
            ("Under way now", "under_way", Count(endpoint.under_way as u64)),
        ]);
    }
    let group = |title, figures| Group { title, figures };
    Shown {
        name: cache.name().to_owned(),
        health,
        groups: [
            group(
                "Requests",
                vec![
                    ("Hit ratio", "hit_ratio", Ratio(ratio(from_memory, requests))),
                    ("Hits", "hits", Count(stats.hits)),
                    ("Inactive hits", "inactive_hits", Count(stats.inactive_hits)),
                    ("Misses", "misses", Count(stats.misses)),
                    ("Coalesced", "coalesced", Count(stats.coalesced)),
                    ("Stale served", "stale_served", Count(stats.stale_served)),
                    ("Turned away (max_questions)", "overloaded", Count(stats.overloaded)),
                ],
            ),
            group(
                "Questions",
                vec![
                    ("Asked", "questions", Count(stats.questions)),
                    ("Answered: active", "active_answers", Count(stats.active_answers)),
                    ("Answered: inactive", "inactive_answers", Count(stats.inactive_answers)),
                    ("Failed", "failures", Count(stats.failures)),
                    ("Failures by kind", "failures_by_kind", Kinds(kinds.collect())),
                    ("Refreshes", "refreshes", Count(stats.refreshes)),
                    ("Refreshes that failed", "failed_refreshes", Count(stats.failed_refreshes)),
                    ("Under way now", "questions_under_way", Count(stats.questions_under_way as u64)),
                ],
            ),
            group("Authority", authority),
            group(
                "Memory",
                vec![
                    ("Entries", "entries", Count(stats.entries)),
                    ("Inactive entries", "inactive_entries", Count(stats.inactive_entries)),
                    ("Evictions", "evictions", Count(stats.evictions)),
                ],
            ),
        ],
        times: [
            ("Question latency", "question_latency_seconds", stats.question_latency),
            ("Verdict age", "verdict_age_seconds", stats.verdict_age),
        ],
    }
}

/// Rounded down to a thousandth, so that 100 % means all.
fn ratio(part: u64, all: u64) -> Option<f64> {
    let thousandths = part.saturating_mul(1_000).checked_div(all)?;
    u32::try_from(thousandths).ok().map(|thousandths| f64::from(thousandths) / 1_000.0)
}

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];

fn quantile(histogram: &Histogram, part: f64) -> Option<f64> {
    histogram.quantile(part).map(|duration| duration.as_secs_f64())
}

fn json_of(cache: &CacheHandle) -> Value {
    let Shown { name, health: _, groups, times } = shown(cache);
    let mut members = Map::new();
    members.insert("name".into(), name.into());
    for (_, key, figure) in groups.into_iter().flat_map(|group| group.figures) {
        let value = match figure {
            Figure::Word(word) => word.into(),
            Figure::Count(count) => count.into(),
            Figure::Ratio(ratio) => ratio.into(),
            Figure::Kinds(kinds) => kinds.into(),
        };
        members.insert(key.into(), value);
    }
    for (_, key, histogram) in times {
        let mut value = Map::new();
        value.insert("count".into(), histogram.count().into());
        for (name, part) in QUANTILES {
            value.insert(name.into(), quantile(&histogram, part).into());
        }
        let buckets: Vec<_> = histogram.buckets().map(|(bound, count)| (bound.as_secs_f64(), count)).collect();
        value.insert("buckets".into(), json!(buckets));
        members.insert(key.into(), value.into());
    }
    members.into()
}

/// One section of the page. Its script finds the cells by `data-figure`, and fills them by `data-format`.
fn write_cache(page: &mut String, cache: &CacheHandle) -> fmt::Result {
    let Shown { name, health, groups, times } = shown(cache);
    let name = Escaped(&name);
    write!(
        page,
        r#"<section data-name="{name}" aria-label="Cache {name}"><h2><bdi>{name}</bdi>{}</h2><div class="cards">"#,
        Cell("span", "health", &Figure::Word(health))
    )?;
    for Group { title, figures } in &groups {
        write!(page, "<div><table><caption>{title}</caption><tbody>")?;
        for (label, key, figure) in figures {
            write!(page, r#"<tr><th scope="row">{label}</th>{}</tr>"#, Cell("td", key, figure))?;
        }
        page.write_str("</tbody></table></div>")?;
    }
    page.write_str("<div><table><caption>Times</caption><thead><tr><td></td>")?;
    for (name, _) in QUANTILES {
        write!(page, r#"<th scope="col">{name}</th>"#)?;
    }
    page.write_str("</tr></thead><tbody>")?;
    for (label, key, histogram) in &times {
        write!(page, r#"<tr><th scope="row">{label}</th>"#)?;
        for (name, part) in QUANTILES {
            let seconds = quantile(histogram, part).map_or_else(|| NONE.to_owned(), in_seconds);
            write!(page, r#"<td data-figure="{key}.{name}" data-format="seconds">{seconds}</td>"#)?;
        }
        page.write_str("</tr>")?;
    }
    page.write_str("</tbody></table></div></div></section>")
}

/// What stands where there is nothing to measure yet.
const NONE: &str = "–";

/// An element with a figure in it, by which the page's script finds it.
struct Cell<'a>(&'static str, &'a str, &'a Figure);

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self(element, key, figure) = self;
        write!(f, r#"<{element} data-figure="{key}" data-format=""#)?;
        match figure {
            Figure::Word(word) => write!(f, r#"word" data-word="{word}">{word}"#)?,
            Figure::Count(number) => write!(f, r#"count">{}"#, Grouped(*number))?,
            Figure::Ratio(None) => write!(f, r#"ratio">{NONE}"#)?,
            Figure::Ratio(Some(ratio)) => write!(f, r#"ratio">{:.1}%"#, ratio * 100.0)?,
            Figure::Kinds(kinds) => {
                // The space between a number and its kind is one that no line is broken at.
                f.write_str(r#"kinds">"#)?;
                for (at, (kind, count)) in kinds.iter().enumerate() {
                    let separator = if at == 0 { "" } else { ", " };
                    write!(f, "{separator}{}&nbsp;{kind}", Grouped(count.as_u64().unwrap_or(0)))?;
                }
                f.write_str(if kinds.is_empty() { "none" } else { "" })?;
            }
        }
        write!(f, "</{element}>")
    }
}

/// A number with commas between its thousands.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A duration with three digits, as the page's script writes it.
fn in_seconds(seconds: f64) -> String {
    let (number, unit) = match seconds {
        _ if seconds < 1e-3 => (seconds * 1e6, "µs"),
        _ if seconds < 1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let decimals = match number {
        _ if number < 10.0 => 2,
        _ if number < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.decimals$}");
    let text = if decimals == 0 { &*text } else { text.trim_end_matches('0').trim_end_matches('.') };
    format!("{text} {unit}")
}

/// Text that means nothing to a browser, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let grouped = [0, 7, 999, 1_000, 12_345, 1_234_567].map(|number| Grouped(number).to_string());
        assert_eq!(grouped, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        let times = [0.0, 2e-6, 999e-6, 1e-3, 1.25e-3, 0.010_24, 0.1, 0.999_9, 1.0, 59.96, 180.0].map(in_seconds);
        let wanted =
            ["0 µs", "2 µs", "999 µs", "1 ms", "1.25 ms", "10.2 ms", "100 ms", "1000 ms", "1 s", "60 s", "180 s"];
        assert_eq!(times, wanted);
    }

    #[test]
    fn a_hit_ratio_of_one_means_all_and_none_that_nobody_asked() {
        assert_eq!(
            [(0, 0), (0, 7), (1, 2), (9_999, 10_000), (5, 5)].map(|(part, all)| ratio(part, all)),
            [None, Some(0.0), Some(0.5), Some(0.999), Some(1.0)]
        );
    }

    #[test]
    fn each_page_has_a_nonce_of_its_own() {
        let (one, other) = (nonce(), nonce());
        assert_ne!(one, other);
        assert_eq!((one.len(), one.bytes().all(|digit| digit.is_ascii_hexdigit())), (32, true));
    }
}
