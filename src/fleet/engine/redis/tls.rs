//! TLS to the engine.
//!
//! The client library could do it, but it takes rustls' process-wide provider of cryptography, and where none is
//! installed rustls chooses the one that is compiled in, and panics if there is none or more than one. A library cannot
//! know which, since Cargo builds one rustls for the whole program. So the stream is made here: with the process-wide
//! provider if the program installed one, and else with aws-lc-rs, which this crate brings. Nothing is installed.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::build_error::BuildError;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[cfg(feature = "rustls")]
pub(super) use with_rustls::Tls;

#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
pub(super) use with_native_tls::Tls;

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
pub(super) use without::Tls;

#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn unusable(pem: &dyn std::fmt::Display) -> BuildError {
    BuildError::new("root_certificate", format!("not one or more certificates in PEM: {pem}"))
}

#[cfg(feature = "rustls")]
mod with_rustls {
    use std::sync::Arc;

    use rustls_platform_verifier::Verifier;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::ClientConfig;
    use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

    use super::{BuildError, Stream, TcpStream, io, unusable};

    #[derive(Clone)]
    pub(in super::super) struct Tls(TlsConnector);

    impl Tls {
        /// Trusts these certificate authorities, besides those of the system.
        ///
        /// # Errors
        /// If they cannot be read, or the system's cannot.
        pub(in super::super) fn new(root_certificates: &[Vec<u8>]) -> Result<Self, BuildError> {
            let mut roots = Vec::new();
            for pem in root_certificates {
                let before = roots.len();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.push(certificate.map_err(|error| unusable(&error))?);
                }
                if roots.len() == before {
                    return Err(unusable(&"there is none"));
                }
            }
            let provider = CryptoProvider::get_default().cloned();
            let provider = provider.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
            let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
            let verifier = verifier.map_err(|error| unusable(&error))?;
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(|error| BuildError::new("address", format!("TLS cannot be used: {error}")))?;
            // What is dangerous is to choose a verifier: this one verifies as that of the system does.
            let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
            Ok(Self(TlsConnector::from(Arc::new(config))))
        }

        pub(in super::super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            Ok(Box::new(self.0.connect(name, stream).await?))
        }
    }
}

#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
mod with_native_tls {
    use tokio_native_tls::TlsConnector;
    use tokio_native_tls::native_tls::{self, Certificate};

    use super::{BuildError, Stream, TcpStream, io, unusable};

    #[derive(Clone)]
    pub(in super::super) struct Tls(TlsConnector);

    impl Tls {
        /// Trusts these certificate authorities, besides those of the system.
        ///
        /// # Errors
        /// If they cannot be read, or the system's cannot.
        pub(in super::super) fn new(root_certificates: &[Vec<u8>]) -> Result<Self, BuildError> {
            let mut builder = native_tls::TlsConnector::builder();
            for pem in root_certificates {
                for certificate in Certificate::stack_from_pem(pem).map_err(|error| unusable(&error))? {
                    builder.add_root_certificate(certificate);
                }
            }
            let connector = builder.build();
            let connector =
                connector.map_err(|error| BuildError::new("address", format!("TLS cannot be used: {error}")))?;
            Ok(Self(connector.into()))
        }

        pub(in super::super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
            Ok(Box::new(self.0.connect(host, stream).await.map_err(io::Error::other)?))
        }
    }
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
mod without {
    use super::{BuildError, Stream, TcpStream, io};

    #[derive(Clone)]
    pub(in super::super) enum Tls {}

    impl Tls {
        /// # Errors
        /// Always.
        pub(in super::super) fn new(_: &[Vec<u8>]) -> Result<Self, BuildError> {
            Err(BuildError::new("address", "`rediss` needs TLS: switch on the feature `rustls` or `native-tls`"))
        }

        #[allow(clippy::unused_async)]
        pub(in super::super) async fn connect(&self, _: &str, _: TcpStream) -> io::Result<Box<dyn Stream>> {
            match *self {}
        }
    }
}
