//! The figures of layers and caches as a page to look at (feature `status-page`).

mod figures;
#[cfg(feature = "redis")]
mod fleet;
mod html;
#[cfg(feature = "signals")]
mod signals;

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::Service;

use self::figures::{Shown, json_of};
use self::html::{Place, http_date, write_glance, write_section};
use crate::cache::handle::CacheHandle;
use crate::clock::Timestamp;
use crate::layer::stats::LayerHandle;
use crate::random::random;
#[cfg(feature = "signals")]
use crate::signals::SignalsHandle;

/// Its placeholders are `{{nonce}}`, `{{at}}`, `{{since}}`, `{{glance}}` and `{{sections}}`.
const PAGE: &str = include_str!("page.html");

/// Shows what on-call looks for: whether the authority answers, its circuit breaker and its last failure; what requests
/// were rejected for (401, 403, 503); cache hit ratio, questions, how long they took, how old answers were when they
/// were used; of a fleet, whether its engine is reached, and what is shared. It is a service that answers GET and HEAD,
/// for a path of your choice, with one small page that loads nothing from elsewhere. The page redraws itself every two
/// seconds and says how old its figures are; without JavaScript it shows the same figures, and loads anew every ten.
///
/// A request whose `Accept` names `application/json` and not `text/html` gets the figures as JSON, durations in
/// seconds. Members may be added to it.
///
/// **Mount it behind your own protection**, or on an address that only operators reach. Nothing in it comes from a
/// request, and neither a token nor any fact of one is in it; but it tells whoever sees it how much the service is
/// used, whether its authority is down, and why: the [last failure](crate::stats::LastFailure) is in the words of the
/// log. Answering takes about as much as [`CacheHandle::stats`].
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_introspection::{Cached, IntrospectionLayer, StatusPage};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let cached = Cached::builder(introspector).name("partners").build()?;
/// let cache = cached.handle();
/// let layer = IntrospectionLayer::new(cached);
/// let page = StatusPage::new(cache).layer("orders", layer.handle());
/// let operators: Router = Router::new().route_service("/status", page);
/// let app: Router = Router::new().route("/", get(async || "hello")).route_layer(layer);
/// // Serve `app` to the world, and `operators` on an address of its own.
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct StatusPage {
    caches: Arc<Vec<CacheHandle>>,
    layers: Arc<Vec<(String, LayerHandle)>>,
    #[cfg(feature = "signals")]
    signals: Option<SignalsHandle>,
    made_at: Timestamp,
}

impl StatusPage {
    /// A page about this cache.
    pub fn new(cache: CacheHandle) -> Self {
        Self {
            caches: Arc::new(vec![cache]),
            layers: Arc::default(),
            #[cfg(feature = "signals")]
            signals: None,
            made_at: Timestamp::now(),
        }
    }

    /// Adds another cache. Give each a [name](crate::cache::CachedBuilder::name) of its own, which is what the page
    /// calls it.
    pub fn cache(mut self, cache: CacheHandle) -> Self {
        Arc::make_mut(&mut self.caches).push(cache);
        self
    }

    /// Adds what becomes of requests at this layer: how many were let in, and how many were rejected with which status
    /// and for what reason. `name` is what the page calls it. A rejected gRPC call counts with the HTTP status of its
    /// reason; a request that the layer let in and a [`RequireLayer`](crate::layer::RequireLayer) of it, or an
    /// extractor, refused counts as both.
    pub fn layer(mut self, name: impl Into<String>, layer: LayerHandle) -> Self {
        Arc::make_mut(&mut self.layers).push((name.into(), layer));
        self
    }

    /// Adds what was heard of security events: whether they arrive, when the last one came, and what became of them.
    #[cfg(feature = "signals")]
    pub fn signals(mut self, signals: SignalsHandle) -> Self {
        self.signals = Some(signals);
        self
    }

    /// One of each transmitter.
    #[cfg(feature = "signals")]
    fn transmitters(&self) -> Vec<Shown> {
        self.signals.as_ref().map(signals::transmitters).unwrap_or_default()
    }

    #[cfg(not(feature = "signals"))]
    fn transmitters(&self) -> Vec<Shown> {
        Vec::new()
    }

    fn layers(&self) -> impl Iterator<Item = Shown> {
        self.layers.iter().map(|(name, layer)| figures::layer(name, &layer.stats()))
    }

    fn caches(&self, now: Timestamp) -> impl Iterator<Item = Shown> {
        self.caches.iter().map(move |cache| figures::cache(cache, now))
    }

    fn html(&self, nonce: &str) -> String {
        let now = Timestamp::now();
        let (mut glance, mut sections) = (String::new(), String::new());
        // Writing to a string does not fail.
        for (at, layer) in self.layers().enumerate() {
            let _ = write_section(&mut sections, "Layer", Place("layers", at), &layer);
        }
        for (at, cache) in self.caches(now).enumerate() {
            let _ = write_glance(&mut glance, Place("caches", at), &cache);
            let _ = write_section(&mut sections, "Cache", Place("caches", at), &cache);
        }
        for (at, transmitter) in self.transmitters().iter().enumerate() {
            let _ = write_glance(&mut glance, Place("transmitters", at), transmitter);
            let _ = write_section(&mut sections, "Security events", Place("transmitters", at), transmitter);
        }
        let page = PAGE.replace("{{nonce}}", nonce).replace("{{at}}", &http_date(now));
        let page = page.replace("{{since}}", &http_date(self.made_at));
        // What configuration has a say in comes last, so that no placeholder is looked for in it.
        let (head, rest) = page.split_once("{{glance}}").unwrap_or((&page, ""));
        [head, &glance, &rest.replace("{{sections}}", &sections)].concat()
    }

    fn json(&self) -> String {
        let now = Timestamp::now();
        let layers: Vec<Value> = self.layers().map(json_of).collect();
        let caches: Vec<Value> = self.caches(now).map(json_of).collect();
        json!({
            "at_unix_millis": now.as_unix_millis(),
            "page_made_at_unix_millis": self.made_at.as_unix_millis(),
            "layers": layers,
            "caches": caches,
            "transmitters": self.transmitters().into_iter().map(json_of).collect::<Vec<_>>(),
        })
        .to_string()
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
        let layers: Vec<&str> = self.layers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("StatusPage").field("caches", &names).field("layers", &layers).finish_non_exhaustive()
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

/// New for each page.
fn nonce() -> String {
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_a_nonce_of_its_own() {
        let (one, other) = (nonce(), nonce());
        assert_ne!(one, other);
        assert_eq!((one.len(), one.bytes().all(|digit| digit.is_ascii_hexdigit())), (32, true));
    }
}
