//! How an authority is reached, and how it is spared: the settings shared by all builders that connect.
//!
//! [`Connection`] is about the way to a server, [`Limits`] about how much it is asked. Both are plain values, so one
//! can serve several builders, and both can be read from a file with serde: durations are seconds, with a fraction or
//! without; what is left out keeps its default; a name that is none is an error, which lists those there are.
//!
//! ```
//! use serde::Deserialize;
//! use tower_introspection::connection::{Connection, Limits};
//! use tower_introspection::{Apigee, Cached};
//! use tower_introspection::cache::CacheSettings;
//!
//! #[derive(Deserialize)]
//! struct Introspection {
//!     connection: Connection,
//!     limits: Limits,
//!     cache: CacheSettings,
//! }
//!
//! let file = r#"{
//!     "connection": { "connect_timeout": 0.5 },
//!     "limits": { "rate_limit": { "requests": 3000, "per": 60 }, "max_retries": 1 },
//!     "cache": { "max_ttl": 30 }
//! }"#;
//! let settings: Introspection = serde_json::from_str(file)?;
//! let apigee = Apigee::builder("my-org")
//!     .basic_auth("token-reader@example.com", "password")
//!     .connection(settings.connection)
//!     .limits(settings.limits)
//!     .build()?;
//! let cached = Cached::builder(apigee).settings(settings.cache).build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the HTTP client does
//!
//! Unless it is given another one (feature `http-client`), a builder makes one of its own, which does the same whatever
//! features the rest of the application switches on in `reqwest`:
//!
//! * It speaks HTTP/1.1 alone. A question that times out ends its connection, so that one that has stalled is not used
//!   again.
//! * It asks for `Accept-Encoding: identity` and decodes nothing, so that
//!   [`max_response_bytes`](Connection::max_response_bytes) counts what is read.
//! * It follows no redirect, sends no referer, keeps no cookie, and sends nothing twice by itself.
//! * It asks the system's resolver, and uses rustls, or the system's TLS with the feature `native-tls`.
//! * It heeds `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, but for a server on loopback. If the application
//!   switches on the feature `system-proxy` of `reqwest`, the proxies in the settings of macOS and Windows count as
//!   well.
//!
//! A server that sends interim responses (1xx) without end can keep a question a little longer than its
//! `request_timeout`: they are read as fast as they come, tens of megabytes in one go, and for so long, a fraction of a
//! second, the thread does nothing else.

pub use crate::http::connection::Connection;
pub use crate::protection::Limits;
