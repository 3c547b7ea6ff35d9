//! The document about a protected resource, RFC 9728.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE,
    HeaderValue,
};
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tower::Service;

use crate::build_error::BuildError;
use crate::token::is_scope_token;
use crate::url::absolute_url;

/// Serves the metadata of a protected resource, RFC 9728, from configuration: which authorization servers issue tokens
/// for it, and with which scopes. It is a service that answers GET, HEAD and OPTIONS, for the route
/// [`path`](Self::path).
///
/// Scripts of any origin may read it: it sends `Access-Control-Allow-Origin: *` and answers a browser's preflight,
/// since clients in browsers ask for it with headers of their own (those of the Model Context Protocol name its
/// version). The document is for everyone who has no token yet, and a script cannot read it with `*` if it sent cookies
/// along. A CORS layer around this service puts its own headers in place of these. A script can read the 401 that names
/// the document if a CORS layer around the guarded routes exposes `WWW-Authenticate`.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_introspection::{IntrospectionLayer, ProtectedResource};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let metadata = ProtectedResource::builder("https://api.example.com/orders")
///     .authorization_server("https://auth.example.com")
///     .scope("orders.read")
///     .build()?;
/// assert_eq!(metadata.url(), "https://api.example.com/.well-known/oauth-protected-resource/orders");
///
/// let guard = IntrospectionLayer::builder(introspector)
///     .resource_metadata(metadata.url())
///     .require_audience(metadata.resource())
///     .require_scope("orders.read")
///     .build()?;
/// let app: Router = Router::new()
///     .route("/orders", get(async || "all of them"))
///     .route_layer(guard)
///     // Added below the guard: the document is for those who have no token yet.
///     .route_service(metadata.path(), metadata.clone());
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct ProtectedResource(Arc<Document>);

struct Document {
    resource: String,
    url: String,
    path: String,
    body: String,
}

impl ProtectedResource {
    /// Starts with the resource's own identifier: the absolute URL under which clients know it, RFC 9728 section 1.2.
    pub fn builder(resource: impl Into<String>) -> ProtectedResourceBuilder {
        ProtectedResourceBuilder {
            resource: resource.into(),
            authorization_servers: Vec::new(),
            scopes: Vec::new(),
            bearer_methods: Vec::new(),
            further: Map::new(),
            error: None,
        }
    }

    /// The resource's own identifier, as it was given: the audience to
    /// [require](crate::layer::IntrospectionLayerBuilder::require_audience) of tokens.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.0.resource
    }

    /// Where clients look for the document: `/.well-known/oauth-protected-resource` between the resource's host and its
    /// path, RFC 9728 section 3.1. Give it to
    /// [`resource_metadata`](crate::layer::IntrospectionLayerBuilder::resource_metadata).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The path of [`url`](Self::url), to mount this service at.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The document, as JSON.
    #[must_use]
    pub fn document(&self) -> &str {
        &self.0.body
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

impl<B> Service<Request<B>> for ProtectedResource {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = Response::new(String::new());
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        match *request.method() {
            Method::GET => {
                headers.insert(CONTENT_TYPE, JSON);
                *response.body_mut() = self.0.body.clone();
            }
            Method::HEAD => {
                headers.insert(CONTENT_TYPE, JSON);
            }
            // A browser's preflight, or anybody's question.
            Method::OPTIONS => {
                headers.insert(ALLOW, METHODS);
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            _ => {
                headers.insert(ALLOW, METHODS);
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
        }
        ready(Ok(response))
    }
}

impl fmt::Debug for ProtectedResource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("ProtectedResource").field("url", &self.0.url).finish_non_exhaustive()
    }
}

/// Configures a [`ProtectedResource`]. Made by [`ProtectedResource::builder`].
#[derive(Debug)]
#[must_use]
pub struct ProtectedResourceBuilder {
    resource: String,
    authorization_servers: Vec<String>,
    scopes: Vec<String>,
    bearer_methods: Vec<String>,
    further: Map<String, Value>,
    error: Option<BuildError>,
}

impl ProtectedResourceBuilder {
    /// The issuer of an authorization server whose tokens are accepted. At least one is required.
    pub fn authorization_server(mut self, issuer: impl Into<String>) -> Self {
        self.authorization_servers.push(issuer.into());
        self
    }

    /// A scope that requests to this resource use.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// A way of presenting a token that is accepted: `header`, `body` or `query`. Default: `header` alone. The layer
    /// reads no form bodies: name `body` only if something in front of it does.
    pub fn bearer_method(mut self, method: impl Into<String>) -> Self {
        self.bearer_methods.push(method.into());
        self
    }

    /// A further member of the document, such as `resource_name` or `resource_documentation`.
    pub fn member(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => {
                self.further.insert(name, value);
            }
            Err(_) => {
                self.error = Some(BuildError::new("member", format!("the value of {name:?} has no form in JSON")));
            }
        }
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// If the resource or an authorization server is not an absolute `https` URL (`http` on loopback), there is no
    /// authorization server, or a scope or bearer method is none.
    pub fn build(self) -> Result<ProtectedResource, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let resource = absolute_url("resource", &self.resource)?;
        if self.authorization_servers.is_empty() {
            return Err(BuildError::new("authorization_server", "none is named, so clients could not get a token"));
        }
        for issuer in &self.authorization_servers {
            absolute_url("authorization_server", issuer)?;
        }
        if let Some(bad) = self.scopes.iter().find(|scope| !is_scope_token(scope)) {
            return Err(BuildError::new("scope", format!("{bad:?} is not one scope")));
        }
        let bearer_methods = if self.bearer_methods.is_empty() { vec!["header".into()] } else { self.bearer_methods };
        if let Some(bad) = bearer_methods.iter().find(|method| !["header", "body", "query"].contains(&method.as_str()))
        {
            return Err(BuildError::new("bearer_method", format!("{bad:?} is not `header`, `body` or `query`")));
        }
        let mut document = self.further;
        document.insert("resource".into(), json!(self.resource));
        document.insert("authorization_servers".into(), json!(self.authorization_servers));
        document.insert("bearer_methods_supported".into(), json!(bearer_methods));
        if !self.scopes.is_empty() {
            document.insert("scopes_supported".into(), json!(self.scopes));
        }
        let mut url = resource.clone();
        // A slash that only ends the host goes, RFC 9728 section 3.1; every other one stays.
        let path = if resource.path() == "/" { "" } else { resource.path() };
        url.set_path(&format!("/.well-known/oauth-protected-resource{path}"));
        let path = url.path().to_owned();
        let body = Value::Object(document).to_string();
        Ok(ProtectedResource(Arc::new(Document { resource: self.resource, url: url.into(), path, body })))
    }
}
