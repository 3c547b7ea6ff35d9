//! How a server is reached, as the user says it.

use std::fmt;
use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;

/// How an authority, a token endpoint, or the metadata of an issuer is reached: given to the builder of whatever
/// connects, by its `connection`.
///
/// ```
/// use std::time::Duration;
/// use tower_introspection::Apigee;
/// use tower_introspection::connection::Connection;
///
/// // A private cloud, on its own network.
/// let connection = Connection::new().dangerously_allow_plain_http(true).connect_timeout(Duration::from_millis(300));
/// let apigee = Apigee::builder("my-org")
///     .base_url("http://apigee-ms.example.internal:8080/v1")
///     .connection(connection)
///     .basic_auth("token-reader@example.com", "password")
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
///
/// With serde the members have the names of the methods: `connect_timeout` in seconds, `max_response_bytes`,
/// `root_certificate` as the text of a PEM file, and `dangerously_allow_plain_http`.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Connection {
    #[serde(deserialize_with = "read::connect_timeout")]
    pub(crate) connect_timeout: Option<Duration>,
    #[serde(deserialize_with = "read::max_response_bytes")]
    pub(crate) max_response_bytes: usize,
    #[serde(rename = "root_certificate", deserialize_with = "read::root_certificate")]
    pub(crate) root_certificates: Vec<Vec<u8>>,
    #[serde(deserialize_with = "read::dangerously_allow_plain_http")]
    pub(crate) dangerously_allow_plain_http: bool,
    #[serde(skip)]
    pub(crate) http_client: Option<Client>,
}

mod read {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    use crate::settings::{named_settings, optional_seconds};

    named_settings! {
        connect_timeout: Option<Duration> = optional_seconds,
        max_response_bytes: usize = usize::deserialize,
        root_certificate: Vec<Vec<u8>> = one_text,
        dangerously_allow_plain_http: bool = bool::deserialize,
    }

    fn one_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        String::deserialize(deserializer).map(|pem| vec![pem.into_bytes()])
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            connect_timeout: None,
            max_response_bytes: 64 * 1024,
            root_certificates: Vec::new(),
            dangerously_allow_plain_http: false,
            http_client: None,
        }
    }
}

impl Connection {
    /// Starts with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait for a connection. Not beside an `http_client`. Default: 1 second.
    #[doc(alias = "timeout")]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// The largest answer read, in bytes; a larger one is a failure. Default: 65,536.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.max_response_bytes = bytes;
        self
    }

    /// Trusts this certificate authority too, besides the system's and those set before: one or more certificates in
    /// PEM. Needs the feature `rustls` or `native-tls`. Not beside an `http_client`.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// Whether `http://` to other machines is allowed. **Tokens and this service's credentials then travel in clear
    /// text.** Loopback needs no permission. Default: `false`.
    pub fn dangerously_allow_plain_http(mut self, allow: bool) -> Self {
        self.dangerously_allow_plain_http = allow;
        self
    }

    /// Sends through a client of your own, for its proxies, certificates or pools (feature `http-client`, which ties
    /// this setting to the major version of `reqwest`). This is then up to you, at that client's builder:
    ///
    /// * **Redirects**: `redirect(reqwest::redirect::Policy::none())` and `referer(false)`. A client that follows
    ///   redirects hands the token on before this crate can refuse the answer, and a referer carries the URL, which
    ///   holds the token with Apigee. An answer from another address than the one asked is refused; one that came back
    ///   to that address by way of another is not, since reqwest tells the last address only.
    /// * **Connections that stall**: over HTTP/2 (feature `http2` of reqwest, one of its defaults) a question that
    ///   times out leaves the connection in use, and every question after it times out too. Set `http1_only()`, or
    ///   `http2_keep_alive_interval` and `http2_keep_alive_timeout` that together are less than the `request_timeout`.
    /// * **Time**: `connect_timeout`. The `request_timeout` of the builder ends a question all the same.
    /// * **Coding**: `Accept-Encoding: identity` is sent. If the server compresses all the same and the client decodes
    ///   (features `gzip`, `brotli`, `zstd`, `deflate`), [`max_response_bytes`](Self::max_response_bytes) counts what
    ///   is decoded.
    /// * **Cookies, proxies, DNS, retries, default headers**: as the client was built.
    ///
    /// [`connect_timeout`](Self::connect_timeout), [`root_certificate`](Self::root_certificate) and a certificate of
    /// this service (`tls_client_auth`) are to be set at that client, too: one of them set here beside it makes `build`
    /// of the endpoint fail, or `fetch`.
    #[cfg(any(test, feature = "http-client"))]
    pub fn http_client(mut self, client: Client) -> Self {
        self.http_client = Some(client);
        self
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Connection")
            .field("connect_timeout", &self.connect_timeout)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("root_certificates", &self.root_certificates.len())
            .field("dangerously_allow_plain_http", &self.dangerously_allow_plain_http)
            // A client shows its default headers, which may be secret.
            .field("http_client", &self.http_client.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_it_is_told_otherwise_it_reads_64_kib_and_asks_for_tls() {
        let read: Connection = serde_json::from_str("{}").unwrap();
        for connection in [Connection::new(), read] {
            assert_eq!((connection.connect_timeout, connection.max_response_bytes), (None, 65_536));
            assert!(!connection.dangerously_allow_plain_http && connection.root_certificates.is_empty());
        }
    }

    #[test]
    fn a_file_says_what_the_methods_say() {
        let read: Connection = serde_json::from_str(
            r#"{"connect_timeout":0.25,"max_response_bytes":7,"root_certificate":"a","dangerously_allow_plain_http":true}"#,
        )
        .unwrap();
        let set = Connection::new()
            .connect_timeout(Duration::from_millis(250))
            .max_response_bytes(7)
            .root_certificate("a")
            .dangerously_allow_plain_http(true);
        assert_eq!(format!("{read:?}"), format!("{set:?}"));
        assert_eq!(read.root_certificates, [b"a"]);
        assert!(serde_json::from_str::<Connection>(r#"{"connect_timeout":null}"#).unwrap().connect_timeout.is_none());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (file, error) in [
            (
                r#"{"connect_timeout":"1s"}"#,
                "`connect_timeout`: invalid type: string \"1s\", expected a number of seconds",
            ),
            (
                r#"{"connect_timeout":-1}"#,
                "`connect_timeout`: invalid value: integer `-1`, expected a number of seconds",
            ),
            (
                r#"{"connect_timeout":-0.5}"#,
                "`connect_timeout`: invalid value: floating point `-0.5`, expected a number",
            ),
            (
                r#"{"connect_timeout":1e300}"#,
                "`connect_timeout`: invalid value: floating point `1e+300`, expected a number",
            ),
            (
                r#"{"max_response_bytes":1.5}"#,
                "`max_response_bytes`: invalid type: floating point `1.5`, expected usize",
            ),
            (r#"{"root_certificate":["a"]}"#, "`root_certificate`: invalid type: sequence, expected a string"),
            (r#"{"dangerously_allow_plain_http":1}"#, "`dangerously_allow_plain_http`: invalid type: integer `1`"),
            (
                r#"{"http_client":1}"#,
                "unknown field `http_client`, expected one of `connect_timeout`, `max_response_by",
            ),
        ] {
            let problem = serde_json::from_str::<Connection>(file).unwrap_err().to_string();
            assert!(problem.starts_with(error), "{file}: {problem}");
        }
    }
}
