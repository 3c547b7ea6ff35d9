//! Over TLS, on real sockets: whoever has the certificate has its key.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use super::*;
use crate::support::certificates::{CertificateAuthority, Certified};

struct TlsListener(TcpListener, TlsAcceptor);

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[derive(Clone)]
struct Shown(Option<ClientCertificate>);

impl Connected<IncomingStream<'_, TlsListener>> for Shown {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let (_, connection) = stream.io().get_ref();
        let chain = connection.peer_certificates().unwrap_or_default();
        Self(chain.first().map(|own| ClientCertificate::from_der(own)))
    }
}

async fn with_certificate(
    ConnectInfo(Shown(certificate)): ConnectInfo<Shown>,
    mut request: axum::extract::Request,
) -> axum::extract::Request {
    if let Some(certificate) = certificate {
        request.extensions_mut().insert(certificate);
    }
    request
}

async fn serve(ca: &CertificateAuthority, guard: Guard) -> SocketAddr {
    let (chain, key) = ca.certify("localhost").in_der();
    let verifier = WebPkiClientVerifier::builder(ca.roots()).allow_unauthenticated().build().unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/", get(async || "welcome"))
        .layer(guard)
        .layer(axum::middleware::map_request(with_certificate))
        .into_make_service_with_connect_info::<Shown>();
    let listener = TlsListener(listener, TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn connect(
    ca: &CertificateAuthority,
    to: SocketAddr,
    with: Option<&Certified>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    let config = ClientConfig::builder().with_root_certificates(ca.roots());
    let config = match with.map(Certified::in_der) {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await?).await
}

/// The first line of each answer to so many requests on one connection.
async fn answers(stream: &mut client::TlsStream<TcpStream>, requests: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..requests {
        let request = "GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer abc\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut answer, mut buffer) = (String::new(), [0; 4_096]);
        while !(answer.contains("\r\n\r\n") && (answer.ends_with("welcome") || answer.contains("content-length: 0"))) {
            let read = patiently(stream.read(&mut buffer)).await.unwrap();
            assert_ne!(read, 0, "it hung up in the middle of {answer:?}");
            answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        all.push(answer.lines().next().unwrap().to_owned());
    }
    all
}

#[tokio::test]
async fn over_tls_a_token_comes_in_with_its_certificate_and_with_no_other() {
    let ca = CertificateAuthority::new();
    let (mine, other) = (ca.certify("mine"), ca.certify("other"));
    let thumbprint = ClientCertificate::from_der(mine.der()).thumbprint();
    let address = serve(&ca, guard(of_connections(), Some(&bound_to(&thumbprint)))).await;
    for (name, certificate, expected) in [
        ("mine", Some(&mine), "HTTP/1.1 200 OK"),
        ("other", Some(&other), "HTTP/1.1 401 Unauthorized"),
        ("none", None, "HTTP/1.1 401 Unauthorized"),
        ("mine again", Some(&mine), "HTTP/1.1 200 OK"),
    ] {
        let mut stream = connect(&ca, address, certificate).await.unwrap();
        assert_eq!(answers(&mut stream, 3).await, [expected; 3], "{name}");
    }
    // Who is not certified by this authority does not even get that far: that is the business of TLS.
    let stranger = CertificateAuthority::new().certify("mine");
    let mut stream = connect(&ca, address, Some(&stranger)).await.unwrap();
    assert!(stream.read(&mut [0; 1]).await.is_err());
    // Nor does who shows the certificate without having its key.
    let (chain, _) = mine.in_der();
    let (_, key) = other.in_der();
    let config = ClientConfig::builder().with_root_certificates(ca.roots()).with_client_auth_cert(chain, key);
    assert!(config.is_err());
}

#[tokio::test]
async fn over_tls_a_bearer_token_comes_in_with_any_certificate_and_with_none() {
    let ca = CertificateAuthority::new();
    let address = serve(&ca, guard(of_connections(), None)).await;
    let any = ca.certify("any");
    for certificate in [Some(&any), None] {
        let mut stream = connect(&ca, address, certificate).await.unwrap();
        assert_eq!(answers(&mut stream, 2).await, ["HTTP/1.1 200 OK"; 2]);
    }
}

/// tonic's own TLS server says which certificate a client has shown: nothing has to be done.
#[cfg(feature = "tonic")]
mod of_tonic {
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::Code;
    use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity, Server, ServerTlsConfig};
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::health_server::HealthServer;

    use super::*;
    use crate::tonic::{Guarded, call};

    #[derive(Clone, Copy, Debug)]
    enum Place {
        AroundTheService,
        AroundTheServer,
    }

    async fn serve(ca: &CertificateAuthority, guard: Guard, place: Place) -> u16 {
        let own = ca.certify("localhost");
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(own.certificate_pem(), own.key_pem()))
            .client_ca_root(Certificate::from_pem(ca.pem()))
            .client_auth_optional(true);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let incoming = TcpListenerStream::new(listener);
        let mut server = Server::builder().tls_config(tls).unwrap();
        match place {
            Place::AroundTheService => {
                let service = guard.layer(HealthServer::new(Guarded));
                tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
            }
            Place::AroundTheServer => {
                let service = HealthServer::new(Guarded);
                tokio::spawn(server.layer(guard).add_service(service).serve_with_incoming(incoming));
            }
        }
        port
    }

    async fn client(ca: &CertificateAuthority, port: u16, with: Option<&Certified>) -> HealthClient<Channel> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem())).domain_name("localhost");
        if let Some(own) = with {
            tls = tls.identity(Identity::from_pem(own.certificate_pem(), own.key_pem()));
        }
        let channel = Channel::from_shared(format!("https://127.0.0.1:{port}")).unwrap().tls_config(tls).unwrap();
        HealthClient::new(channel.connect().await.unwrap())
    }

    #[tokio::test]
    async fn a_token_comes_in_with_its_certificate_and_with_no_other() {
        for place in [Place::AroundTheService, Place::AroundTheServer] {
            let ca = CertificateAuthority::new();
            let (mine, other) = (ca.certify("mine"), ca.certify("other"));
            let thumbprint = ClientCertificate::from_der(mine.der()).thumbprint();
            let port = serve(&ca, guard(of_connections(), Some(&bound_to(&thumbprint))), place).await;
            let mine = client(&ca, port, Some(&mine)).await;
            let other = client(&ca, port, Some(&other)).await;
            let none = client(&ca, port, None).await;
            for _ in 0..3 {
                assert_eq!(call(&mine, "Bearer abc").await.unwrap(), 1, "{place:?}");
                for (client, says) in [
                    (&other, "the access token is bound to another client certificate"),
                    (&none, "the access token is bound to a client certificate, and there is none"),
                ] {
                    let status = call(client, "Bearer abc").await.unwrap_err();
                    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, says), "{place:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn the_certificate_of_the_connection_wins_over_what_a_header_says() {
        use tonic_health::pb::HealthCheckRequest;

        let ca = CertificateAuthority::new();
        let (mine, other) = (ca.certify("mine"), ca.certify("other"));
        let thumbprint = ClientCertificate::from_der(mine.der()).thumbprint();
        let certificates =
            ClientCertificates::of_connections().or_from_proxy(ForwardedCertificate::ClientCert, |_| true);
        let guard = guard(Some(certificates), Some(&bound_to(&thumbprint)));
        let port = serve(&ca, guard, Place::AroundTheService).await;
        for (certificate, comes_in) in [(Some(&other), false), (None, true)] {
            let mut request = tonic::Request::new(HealthCheckRequest::default());
            request.metadata_mut().insert("authorization", "Bearer abc".parse().unwrap());
            request.metadata_mut().insert("client-cert", client_cert(mine.der()).parse().unwrap());
            let answer = client(&ca, port, certificate).await.check(request).await;
            assert_eq!(answer.is_ok(), comes_in, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_bearer_token_comes_in_with_any_certificate_and_with_none() {
        let ca = CertificateAuthority::new();
        let port = serve(&ca, guard(of_connections(), None), Place::AroundTheService).await;
        let any = ca.certify("any");
        for certificate in [Some(&any), None] {
            assert_eq!(call(&client(&ca, port, certificate).await, "Bearer abc").await.unwrap(), 1);
        }
    }
}
