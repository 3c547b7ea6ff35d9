//! How a builder reaches its server: the settings that all have in common, and what is its own.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};

use super::connection::Connection;
use super::exchange::Exchange;
use crate::build_error::BuildError;
use crate::clock::{Clock, SystemClock};
use crate::error::innermost;
use crate::excerpt::excerpt;
use crate::url::is_loopback;

#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) request_timeout: Duration,
    /// A certificate and its private key, for mutual TLS.
    pub(crate) identity: Option<Vec<u8>>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            request_timeout: Duration::from_secs(3),
            identity: None,
            clock: Arc::new(SystemClock),
        }
    }
}

impl Link {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

    /// Nobody waits for a login as for a question, and logins go further.
    pub(crate) fn for_login() -> Self {
        Self { request_timeout: Duration::from_secs(10), ..Self::default() }
    }

    /// Checks every setting; `url_setting` names the builder method that gave `url`.
    pub(crate) fn open(&self, url_setting: &'static str, url: &Url) -> Result<Exchange, BuildError> {
        let loopback = is_loopback(url);
        match url.scheme() {
            "https"
                if self.connection.http_client.is_none() && !cfg!(any(feature = "rustls", feature = "native-tls")) =>
            {
                return Err(BuildError::new(
                    url_setting,
                    "https needs the feature `rustls` or `native-tls`, or a client of your own (feature `http-client`)",
                ));
            }
            "https" => {}
            "http" if loopback || self.connection.dangerously_allow_plain_http => {}
            "http" => {
                return Err(BuildError::new(
                    url_setting,
                    "http can be read and changed on the way; use https, or call `dangerously_allow_plain_http(true)`",
                ));
            }
            other => {
                let problem = format!("the scheme is {:?}, not https", excerpt(other));
                return Err(BuildError::new(url_setting, problem));
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BuildError::new(url_setting, "it holds a user name or a password; set credentials instead"));
        }
        if url.fragment().is_some() {
            return Err(BuildError::new(url_setting, "it holds a fragment, which is never sent"));
        }
        if url.scheme() == "http" && self.identity.is_some() {
            return Err(BuildError::new("tls_client_auth", "a certificate is shown over https only"));
        }
        if self.request_timeout.is_zero() {
            return Err(BuildError::new("request_timeout", "zero leaves no time for an answer"));
        }
        if self.connection.max_response_bytes == 0 {
            return Err(BuildError::new("max_response_bytes", "zero leaves no room for an answer"));
        }
        if self.connection.connect_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(BuildError::new("connect_timeout", "zero leaves no time to connect"));
        }
        let client = match &self.connection.http_client {
            Some(client) => {
                self.check_no_client_settings()?;
                client.clone()
            }
            None => self.own_client(loopback)?,
        };
        Ok(Exchange::new(client, self.request_timeout, self.connection.max_response_bytes))
    }

    /// Settings that a client of the user's own would ignore are refused: none is stored and never read.
    fn check_no_client_settings(&self) -> Result<(), BuildError> {
        for (setting, is_set) in [
            ("connect_timeout", self.connection.connect_timeout.is_some()),
            ("root_certificate", !self.connection.root_certificates.is_empty()),
            ("tls_client_auth", self.identity.is_some()),
        ] {
            if is_set {
                return Err(BuildError::new(setting, "it has no effect on an `http_client` of your own; set it there"));
            }
        }
        Ok(())
    }

    fn own_client(&self, loopback: bool) -> Result<Client, BuildError> {
        // Cargo builds one reqwest for the whole application, which may switch on features of it that are not wanted
        // here. So whatever one of them would change is set, and not left to a default.
        let mut client = Client::builder()
            .connect_timeout(self.connection.connect_timeout.unwrap_or(Self::CONNECT_TIMEOUT))
            .redirect(reqwest::redirect::Policy::none())
            // A referer would carry the URL, and the URL may hold the token.
            .referer(false)
            // A question that times out ends its connection. Over HTTP/2 it would only end its stream, and a connection
            // that has stalled would be handed out again and again.
            .http1_only()
            // Attempts are counted here, and have a budget.
            .retry(reqwest::retry::never())
            // `max_response_bytes` is about what is read, which is not to grow by decoding.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            // The resolver of the system.
            .no_hickory_dns();
        if loopback {
            // A proxy cannot reach this machine's own loopback.
            client = client.no_proxy();
        }
        client = tls::configure(tls::backend(client), &self.connection.root_certificates, self.identity.as_deref())?;
        client.build().map_err(|error| {
            let setting = if self.identity.is_some() { "tls_client_auth" } else { "connection" };
            BuildError::new(setting, format!("no HTTP client can be made: {}", describe(error)))
        })
    }
}

/// The innermost reason, which is the one that helps: reqwest's own words are "builder error".
fn describe(error: reqwest::Error) -> String {
    innermost(&error.without_url()).to_string()
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod tls {
    use reqwest::{Certificate, ClientBuilder, Identity};

    use super::describe;
    use crate::build_error::BuildError;

    /// What the features of this crate say, whatever others are on in reqwest.
    #[cfg(feature = "native-tls")]
    pub(crate) fn backend(client: ClientBuilder) -> ClientBuilder {
        client.tls_backend_native()
    }

    #[cfg(not(feature = "native-tls"))]
    pub(crate) fn backend(client: ClientBuilder) -> ClientBuilder {
        client.tls_backend_rustls()
    }

    pub(crate) fn configure(
        mut client: ClientBuilder,
        root_certificates: &[Vec<u8>],
        identity: Option<&[u8]>,
    ) -> Result<ClientBuilder, BuildError> {
        for pem in root_certificates {
            let certificates = Certificate::from_pem_bundle(pem).unwrap_or_default();
            if certificates.is_empty() {
                return Err(BuildError::new("root_certificate", "it holds no certificate in PEM"));
            }
            client = client.tls_certs_merge(certificates);
        }
        if let Some(pem) = identity {
            let identity = identity_from(pem).map_err(|error| {
                BuildError::new(
                    "tls_client_auth",
                    format!("it does not hold a certificate and its private key in PEM: {}", describe(error)),
                )
            })?;
            client = with_identity(client, identity);
        }
        Ok(client)
    }

    #[cfg(feature = "rustls")]
    fn identity_from(pem: &[u8]) -> reqwest::Result<Identity> {
        Identity::from_pem(pem)
    }

    /// With both features reqwest would choose the other implementation, which cannot use this identity.
    #[cfg(feature = "rustls")]
    fn with_identity(client: ClientBuilder, identity: Identity) -> ClientBuilder {
        client.tls_backend_rustls().identity(identity)
    }

    #[cfg(not(feature = "rustls"))]
    fn identity_from(pem: &[u8]) -> reqwest::Result<Identity> {
        let (before, key, after) = key_of(pem);
        Identity::from_pkcs8_pem(&[before, after].concat(), key)
    }

    /// The private key, and what stands before and behind it: this implementation wants it by itself, in PKCS #8.
    #[cfg(not(feature = "rustls"))]
    fn key_of(pem: &[u8]) -> (&[u8], &[u8], &[u8]) {
        const BEGIN: &[u8] = b"-----BEGIN PRIVATE KEY-----";
        const END: &[u8] = b"-----END PRIVATE KEY-----";
        let position = |of: &[u8]| pem.windows(of.len()).position(|window| window == of);
        match (position(BEGIN), position(END)) {
            (Some(begin), Some(end)) if begin < end => {
                let (before, rest) = pem.split_at(begin);
                let (key, after) = rest.split_at(end - begin + END.len());
                (before, key, after)
            }
            _ => (pem, &[], &[]),
        }
    }

    #[cfg(not(feature = "rustls"))]
    fn with_identity(client: ClientBuilder, identity: Identity) -> ClientBuilder {
        client.identity(identity)
    }

    #[cfg(all(test, not(feature = "rustls")))]
    mod tests {
        use super::key_of;

        const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";

        #[test]
        fn the_key_is_found_wherever_it_stands() {
            for (before, after) in [("", ""), ("before\n", ""), ("", "\nafter"), ("before\n", "\nafter")] {
                let pem = format!("{before}{KEY}{after}");
                assert_eq!(key_of(pem.as_bytes()), (before.as_bytes(), KEY.as_bytes(), after.as_bytes()));
            }
        }

        #[test]
        fn without_a_whole_key_there_is_none() {
            let (begin, end) = KEY.split_at(30);
            for pem in ["", "text", begin, end, &format!("{end}{begin}"), &KEY[..KEY.len() - 1]] {
                assert_eq!(key_of(pem.as_bytes()), (pem.as_bytes(), &b""[..], &b""[..]), "{pem:?}");
            }
        }
    }
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
mod tls {
    use reqwest::ClientBuilder;

    use crate::build_error::BuildError;

    pub(crate) fn backend(client: ClientBuilder) -> ClientBuilder {
        client
    }

    pub(crate) fn configure(
        client: ClientBuilder,
        root_certificates: &[Vec<u8>],
        identity: Option<&[u8]>,
    ) -> Result<ClientBuilder, BuildError> {
        for (setting, is_set) in
            [("root_certificate", !root_certificates.is_empty()), ("tls_client_auth", identity.is_some())]
        {
            if is_set {
                return Err(BuildError::new(setting, "it needs the feature `rustls` or `native-tls`"));
            }
        }
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_has_more_time_than_a_question() {
        assert_eq!(Link::default().request_timeout, Duration::from_secs(3));
        assert_eq!(Link::for_login().request_timeout, Duration::from_secs(10));
    }

    #[test]
    fn unless_it_is_told_otherwise_it_connects_for_a_second() {
        assert_eq!(Link::CONNECT_TIMEOUT, Duration::from_secs(1));
    }

    #[test]
    fn a_url_with_a_user_name_or_a_password_is_refused_either_way() {
        for url in ["http://ann@127.0.0.1/", "http://:hush@127.0.0.1/"] {
            let error = Link::default().open("url", &Url::parse(url).unwrap()).err().unwrap();
            assert_eq!(error.setting(), "url");
            assert!(error.to_string().contains("user name"), "{error}");
        }
    }
}
