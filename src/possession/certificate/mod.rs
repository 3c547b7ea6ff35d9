//! Tokens bound to a client certificate: mutual TLS, RFC 8705 (feature `certificate-bound`).

mod forwarded;
#[cfg(feature = "tonic")]
mod hashes;

use std::fmt;
use std::sync::Arc;

pub use self::forwarded::ForwardedCertificate;

#[cfg(feature = "tonic")]
use self::hashes::Hashes;
use crate::jose::{encoded, sha256};
use crate::log_limit::LogLimit;
use crate::rejection::{CertificateFault, RejectionReason};
use crate::request::RequestView;

/// The certificate that the client of a connection has shown, and whose key it has: its SHA-256, which is all that is
/// kept of it.
///
/// Whoever accepts TLS connections makes it once for a connection, and puts it into the extensions of each request that
/// comes over the connection. The example `mutual_tls` has all of it for rustls and axum. That the certificate is one
/// to be trusted, and its key the client's, is the business of the TLS server: RFC 8705 section 6.2.
///
/// With the feature `tonic` nothing has to be done behind tonic's own TLS server over TCP. It hands the certificate
/// itself to each request; its hash is remembered for about a thousand connections at a time, and made again for what
/// comes over others. What tonic serves over another transport needs a layer around this one that inserts it, made of
/// `TlsConnectInfo<T>`, with the `T` of that transport.
///
/// ```
/// use tower_introspection::possession::ClientCertificate;
///
/// # let (mut request, der) = (http::Request::new(()), b"a certificate in DER");
/// request.extensions_mut().insert(ClientCertificate::from_der(der));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificate {
    hash: [u8; 32],
}

impl ClientCertificate {
    /// The certificate in DER, as TLS has it: of rustls the first of `peer_certificates()`.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Self {
        Self { hash: sha256(der) }
    }

    /// What a token that is bound to it has in `cnf` as `x5t#S256`, RFC 8705 section 3.1.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        encoded(&self.hash)
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("ClientCertificate").field(&self.thumbprint()).finish()
    }
}

/// Where the client certificate of a request is found. Given to
/// [`IntrospectionLayerBuilder::client_certificates`](crate::layer::IntrospectionLayerBuilder::client_certificates).
///
/// That of the connection itself comes first, always: a [`ClientCertificate`] in the extensions of the request, or,
/// with the feature `tonic`, what tonic's TLS server leaves there. A header of a proxy is looked at only if there is
/// none, and only if [that was said](Self::or_from_proxy).
///
/// ```
/// use tower_introspection::IntrospectionLayer;
/// use tower_introspection::possession::ClientCertificates;
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let layer = IntrospectionLayer::builder(introspector)
///     .client_certificates(ClientCertificates::of_connections())
///     .build()?;
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
///
/// A token that is bound to a certificate (`cnf` with `x5t#S256`, RFC 8705 section 3.1) is presented as a bearer token,
/// and comes in over a connection with that certificate only. Otherwise it is
/// [`InvalidToken`](crate::rejection::RejectionKind::InvalidToken), for one of the reasons that
/// [`CertificateFault`](crate::rejection::CertificateFault) lists. Tokens that are bound to none come in over any
/// connection. One that is bound to a key besides (`jkt`) needs a DPoP proof, too.
#[derive(Clone)]
#[must_use]
pub struct ClientCertificates(Arc<Source>);

struct Source {
    proxy: Option<Proxy>,
    /// Of connections whose server states the certificate itself.
    #[cfg(feature = "tonic")]
    hashes: Hashes,
    told: LogLimit<CertificateFault>,
}

struct Proxy {
    format: ForwardedCertificate,
    is_trusted: Box<dyn Fn(&RequestView<'_>) -> bool + Send + Sync>,
}

impl ClientCertificates {
    /// That of the connection on which the request came.
    pub fn of_connections() -> Self {
        Self::of(None)
    }

    /// The same; where the connection has none, what a proxy that ends TLS in front of this service says of it, in this
    /// form. `is_trusted` is asked whether the request came from that proxy: by the peer's address, or by whatever else
    /// tells the connection. **A header is believed whoever wrote it**, so this must be true only of connections that
    /// nobody but the proxy can open, and the proxy has to remove or overwrite the header of its own callers.
    ///
    /// A header that is there twice, or cannot be read, is refused
    /// ([`CertificateFault::Malformed`](crate::rejection::CertificateFault::Malformed)); on a connection that is not
    /// trusted it is not looked at. Nor is it on one that has a certificate itself, so a proxy that shows one of its
    /// own to this service cannot speak for its callers, unless the acceptor leaves that certificate out.
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    /// use tower_introspection::RequestView;
    /// use tower_introspection::possession::{ClientCertificates, ForwardedCertificate};
    ///
    /// /// Put there by whoever accepts connections (of axum it is `ConnectInfo<SocketAddr>`).
    /// #[derive(Clone)]
    /// struct Peer(SocketAddr);
    ///
    /// let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
    /// let certificates = ClientCertificates::of_connections()
    ///     .or_from_proxy(ForwardedCertificate::ClientCert, move |request: &RequestView| {
    ///         request.extension::<Peer>().is_some_and(|peer| peer.0.ip() == proxy)
    ///     });
    /// ```
    pub fn or_from_proxy(
        self,
        format: ForwardedCertificate,
        is_trusted: impl Fn(&RequestView<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::of(Some(Proxy { format, is_trusted: Box::new(is_trusted) }))
    }

    fn of(proxy: Option<Proxy>) -> Self {
        Self(Arc::new(Source {
            proxy,
            #[cfg(feature = "tonic")]
            hashes: Hashes::new(),
            told: LogLimit::new(),
        }))
    }

    /// Whether the request came with the certificate of this hash.
    pub(super) fn judge(&self, hash: &[u8; 32], request: &RequestView) -> Result<(), RejectionReason> {
        let fault = match self.find(request) {
            Ok(Some(certificate)) if certificate.hash == *hash => return Ok(()),
            Ok(Some(_)) => CertificateFault::Other,
            Ok(None) => CertificateFault::Missing,
            Err(Unreadable) => CertificateFault::Malformed,
        };
        self.tell(fault);
        Err(RejectionReason::Certificate(fault))
    }

    fn find(&self, request: &RequestView) -> Result<Option<ClientCertificate>, Unreadable> {
        if let Some(certificate) = self.of_connection(request) {
            return Ok(Some(certificate));
        }
        match &self.0.proxy {
            Some(proxy) if (proxy.is_trusted)(request) => proxy.format.read(request.headers()),
            _ => Ok(None),
        }
    }

    fn of_connection(&self, request: &RequestView) -> Option<ClientCertificate> {
        let stated = request.extension::<ClientCertificate>().copied();
        #[cfg(feature = "tonic")]
        return stated.or_else(|| self.of_tonic(request));
        #[cfg(not(feature = "tonic"))]
        stated
    }

    /// What tonic's own TLS server leaves with each request.
    #[cfg(feature = "tonic")]
    fn of_tonic(&self, request: &RequestView) -> Option<ClientCertificate> {
        use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

        let chain = request.extension::<TlsConnectInfo<TcpConnectInfo>>()?.peer_certs()?;
        let own = chain.first()?;
        Some(self.0.hashes.of(&chain, || ClientCertificate::from_der(own)))
    }

    fn tell(&self, fault: CertificateFault) {
        const TOLD: &str = "a token is refused that is bound to a client certificate";
        let name = RejectionReason::Certificate(fault).as_str();
        match self.0.told.due(fault) {
            Some(untold) => tracing::info!(fault = name, untold, "{TOLD}"),
            None => tracing::debug!(fault = name, "{TOLD}"),
        }
    }
}

/// What a proxy wrote is not exactly one certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let format = self.0.proxy.as_ref().map(|proxy| &proxy.format);
        f.debug_struct("ClientCertificates").field("or_from_proxy", &format).finish()
    }
}
