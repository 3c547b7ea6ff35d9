//! What those who judge a request see of it.

use std::fmt;

use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Uri};

/// A request as its caller sent it: what [rules](crate::Policy::authorize), [choices of an
/// authority](crate::Authorities::choose_by), [token sources](crate::source::TokenSource) and
/// [renderers of rejections](crate::rejection::RejectionResponse) see.
///
/// Routers that nest others take a prefix off the path before they call what is inside: below axum's
/// `nest("/{tenant}", ..)` a request for `/alice/orders` has the path `/orders`, and a rule that compared the first
/// segment with the token's tenant would compare another one. [`path`](Self::path) and [`uri`](Self::uri) are those the
/// caller sent, wherever the layer stands:
///
/// * With the feature `axum` the original that axum keeps (`axum::extract::OriginalUri`) is read. **Switch that feature
///   on wherever the layer stands in an axum `Router`**: without it a shortened path cannot be told from another one.
/// * Another router or middleware that changes the URI puts an [`OriginalUri`](crate::layer::OriginalUri) into the
///   request's extensions before it does so.
///
/// **Whoever sends a request on under another path, within the process, has to say so:** a rewrite between two routers,
/// or a request for another service that is made of the parts of this one, still holds the `OriginalUri` of axum, and a
/// rule would judge the old path. Remove axum's from the extensions, or set
/// [`layer::OriginalUri`](crate::layer::OriginalUri), which wins over it. And let rules allow what is below a prefix,
/// instead of denying it: then a path they do not expect is refused.
///
/// The path is not decoded: `%61` is not `a`, and `//` is not `/`. A router decodes the parameters it takes from a
/// path, so compare those with percent-encoding undone, or refuse a path that holds `%`.
///
/// ```
/// use tower_introspection::Policy;
///
/// // `/acme/orders` is for tokens of the tenant `acme`.
/// let policy = Policy::new().authorize(|token, request| {
///     // Do not compare the two with `==`: both can be absent, and `None == None` lets everybody in.
///     let tenant = request.path().split('/').nth(1);
///     tenant.is_some_and(|tenant| token.attribute("tenant") == Some(tenant))
/// });
/// ```
#[derive(Clone, Copy)]
pub struct RequestView<'r> {
    parts: &'r Parts,
}

/// The URI of a request before a router or a middleware changed it, for its extensions.
///
/// axum's routers need none with the feature `axum`. Of two the first counts, as the outermost one is set first: insert
/// it only if there is none yet.
///
/// ```
/// use tower_introspection::layer::OriginalUri;
///
/// fn without_prefix(mut request: http::Request<()>, prefix: &str) -> http::Request<()> {
///     let original = request.uri().clone();
///     request.extensions_mut().get_or_insert_with(|| OriginalUri(original));
///     if let Some(rest) = request.uri().path().strip_prefix(prefix).and_then(|rest| rest.parse().ok()) {
///         *request.uri_mut() = rest;
///     }
///     request
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalUri(pub Uri);

/// For tests of rules. The parts are those that reach the layer, so the path is that of an
/// [`OriginalUri`](crate::layer::OriginalUri), if there is one. What only the layer does is not done: no header is
/// marked sensitive.
///
/// ```
/// use tower_introspection::{AccessToken, RequestView};
///
/// fn own_tenant(token: &AccessToken, request: &RequestView) -> bool {
///     let tenant = request.path().split('/').nth(1);
///     tenant.is_some_and(|tenant| token.attribute("tenant") == Some(tenant))
/// }
///
/// let token = AccessToken::builder().attribute("tenant", "acme").build();
/// let (request, ()) = http::Request::get("/acme/orders").body(())?.into_parts();
/// assert!(own_tenant(&token, &RequestView::from(&request)));
/// # Ok::<(), http::Error>(())
/// ```
impl<'r> From<&'r Parts> for RequestView<'r> {
    fn from(parts: &'r Parts) -> Self {
        Self::new(parts)
    }
}

impl<'r> RequestView<'r> {
    pub(crate) fn new(parts: &'r Parts) -> Self {
        Self { parts }
    }

    /// The HTTP method. (It is `POST` for every gRPC call.)
    #[must_use]
    pub fn method(&self) -> &'r Method {
        &self.parts.method
    }

    /// The path that the caller sent, not decoded. Of a gRPC call it is `/package.Service/Method`.
    #[must_use]
    pub fn path(&self) -> &'r str {
        self.uri().path()
    }

    /// The query that the caller sent, not decoded. It may hold a token.
    #[must_use]
    pub fn query(&self) -> Option<&'r str> {
        self.uri().query()
    }

    /// The whole target that the caller sent. Over HTTP/1.1 it has a path and a query only; the host stands in the
    /// `Host` header.
    #[must_use]
    pub fn uri(&self) -> &'r Uri {
        original_uri(&self.parts.extensions).unwrap_or(&self.parts.uri)
    }

    /// All headers. Where a token may stand in one it is marked sensitive.
    #[must_use]
    pub fn headers(&self) -> &'r HeaderMap {
        &self.parts.headers
    }

    /// The header of this name, if its value is visible ASCII. `None` also if there are several: whoever reads the
    /// first and whoever reads the last would hold different things true of one request.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'r str> {
        let mut values = self.parts.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// A value that a layer outside of this one put into the request's extensions.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'r T> {
        self.parts.extensions.get()
    }

    /// The request as routers have made it up to this layer. **Its path may lack what nesting routers took off:** judge
    /// by [`path`](Self::path) instead. For what this view has no method for.
    #[must_use]
    pub fn parts_after_routing(&self) -> &'r Parts {
        self.parts
    }
}

/// Of two the explicit one counts: whoever sets it knows of changes that axum does not see.
fn original_uri(extensions: &Extensions) -> Option<&Uri> {
    extensions.get().map(|OriginalUri(uri)| uri).or_else(|| original_uri_of_axum(extensions))
}

#[cfg(feature = "axum")]
fn original_uri_of_axum(extensions: &Extensions) -> Option<&Uri> {
    extensions.get().map(|axum::extract::OriginalUri(uri)| uri)
}

#[cfg(not(feature = "axum"))]
fn original_uri_of_axum(_: &Extensions) -> Option<&Uri> {
    None
}

/// Changes the URI of a request, and the copies that were made of it before.
pub(crate) fn change_uris(request: &mut Parts, change: impl Fn(&mut Uri)) {
    change(&mut request.uri);
    if let Some(OriginalUri(uri)) = request.extensions.get_mut() {
        change(uri);
    }
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = request.extensions.get_mut() {
        change(uri);
    }
}

/// Without the query, which may hold a token, and without headers.
impl fmt::Debug for RequestView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("RequestView").field("method", self.method()).field("path", &self.path()).finish_non_exhaustive()
    }
}
