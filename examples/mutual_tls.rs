//! An axum service with mutual TLS, guarded by tokens that are bound to a client certificate (RFC 8705), with nothing
//! to configure.
//!
//! `cargo run --example mutual_tls` starts the sandbox (an in-memory authorization server) and a service behind the
//! layer, with certificates that are made for it in a temporary folder, and prints curl lines for every outcome. With
//! `INTROSPECTION_URL` or `ISSUER` set it asks a real server instead, and has certificates of yours. The environment:
//!
//! * `INTROSPECTION_URL`: the endpoint to ask; or
//! * `ISSUER`: the server that names it in its metadata, exactly as written there
//! * `CLIENT_ID`, `CLIENT_SECRET`: who asks; required with either
//! * `TLS_CERT`, `TLS_KEY`: files with the certificate chain of this service, and its private key, in PEM; required
//!   with either
//! * `CLIENT_CA`: a file with the certificates, in PEM, of those who certify clients; required with either
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`
//!
//! What a service of your own needs of this is everything from [`TlsListener`] on.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::middleware::map_request;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tower_introspection::possession::{ClientCertificate, ClientCertificates};
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{Cached, IntrospectionLayer};

use common::BoxError;
use common::authority::endpoint;
use common::certificates::Certificates;
use common::environment::{BadVariable, Settings, text};

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let files = TlsFiles::from_env()?;
    let endpoint = endpoint().await?;
    let tls = match (&endpoint, files) {
        (Some(_), Some(files)) => Some(files.server_config()?),
        (Some(_), None) => return Err(BadVariable::new("TLS_CERT", "required with INTROSPECTION_URL or ISSUER").into()),
        (None, Some(_)) => {
            let problem = "neither it nor ISSUER is set, but TLS_CERT is; set one of them to ask a real server";
            return Err(BadVariable::new("INTROSPECTION_URL", problem).into());
        }
        (None, None) => None,
    };
    let listener = settings.listen().await?;
    common::init_tracing(settings.log);
    let address = listener.local_addr()?;

    // Dropped when this function returns: the sandbox stops, and the certificates are removed.
    let (sandbox, certificates);
    let (endpoint, tls) = match (endpoint, tls) {
        (Some(endpoint), Some(tls)) => {
            print_curl_lines(address);
            (endpoint, tls)
        }
        _ => {
            sandbox = Sandbox::start().await?;
            certificates = Certificates::new()?;
            println!("authorization server: {}, the sandbox in this process", sandbox.issuer());
            println!();
            print_sandbox_curl_lines(address, &sandbox, &certificates)?;
            certificates.certify_server(address)?;
            let own = |extension| certificates.file("server", extension);
            let files = TlsFiles { cert: own("pem"), key: own("key"), client_ca: certificates.file("ca", "pem") };
            (sandbox.rfc7662().build()?, files.server_config()?)
        }
    };
    let introspector =
        Cached::builder(endpoint).max_ttl(settings.max_ttl).inactive_ttl(settings.inactive_ttl).build()?;
    let caches = [introspector.handle()];
    let guard = IntrospectionLayer::builder(introspector)
        // Without this a token that is bound to a certificate is refused, whatever the connection has.
        .client_certificates(ClientCertificates::of_connections())
        .build()?;
    let handle = guard.handle();
    // Outside of the guard, which looks for what this puts into the request.
    let app = common::router(guard)?.layer(map_request(with_certificate));
    let app = common::with_status_page(app, "https", address, handle, &caches);
    println!("listening on https://{address}");
    axum::serve(TlsListener::new(listener, tls), app.into_make_service_with_connect_info::<Shown>())
        .with_graceful_shutdown(common::shutdown())
        .await?;
    common::print_figures(&caches);
    Ok(())
}

/// Accepts TLS connections for [`axum::serve`].
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    /// Those under way. They end with the listener.
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

/// Whoever has not finished its handshake by then is gone.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

impl TlsListener {
    fn new(tcp: TcpListener, config: ServerConfig) -> Self {
        Self { tcp, acceptor: TlsAcceptor::from(Arc::new(config)), handshakes: JoinSet::new() }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            tokio::select! {
                // Each handshake is a task of its own: a client that does not go on keeps no other one waiting.
                (stream, peer) = Listener::accept(&mut self.tcp) => {
                    let handshake = self.acceptor.accept(stream);
                    self.handshakes.spawn(async move {
                        let stream = timeout(HANDSHAKE_TIME, handshake).await.ok()?.ok()?;
                        Some((stream, peer))
                    });
                }
                Some(handshake) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = handshake {
                        return accepted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// The certificate that the client of a connection has shown, if it has. rustls has seen that the client has its key.
#[derive(Clone)]
struct Shown(Option<ClientCertificate>);

/// Made once for a connection, so the certificate is hashed once.
impl Connected<IncomingStream<'_, TlsListener>> for Shown {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let (_, connection) = stream.io().get_ref();
        // The first one is the client's own, those behind it are of who certified it.
        let own = connection.peer_certificates().and_then(|chain| chain.first());
        Self(own.map(|certificate| ClientCertificate::from_der(certificate)))
    }
}

/// Says with each request which certificate its connection has.
async fn with_certificate(ConnectInfo(Shown(certificate)): ConnectInfo<Shown>, mut request: Request) -> Request {
    if let Some(certificate) = certificate {
        request.extensions_mut().insert(certificate);
    }
    request
}

/// Certificates and keys in PEM.
struct TlsFiles {
    cert: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
}

impl TlsFiles {
    fn from_env() -> Result<Option<Self>, BadVariable> {
        let names = ["TLS_CERT", "TLS_KEY", "CLIENT_CA"];
        let mut given = Vec::new();
        for name in names {
            given.push(text(name)?.map(PathBuf::from));
        }
        if let Some(set) = given.iter().position(Option::is_some)
            && let Some(unset) = given.iter().position(Option::is_none)
        {
            return Err(BadVariable::new(names[unset], format_args!("required with {}", names[set])));
        }
        let mut given = given.into_iter().flatten();
        let (Some(cert), Some(key), Some(client_ca)) = (given.next(), given.next(), given.next()) else {
            return Ok(None);
        };
        Ok(Some(Self { cert, key, client_ca }))
    }

    fn server_config(&self) -> Result<ServerConfig, BadVariable> {
        let mut authorities = RootCertStore::empty();
        for authority in certificates_in(&self.client_ca, "CLIENT_CA")? {
            authorities.add(authority).map_err(|error| BadVariable::new("CLIENT_CA", error))?;
        }
        // Whom clients may be certified by is decided here and nowhere else: RFC 8705 section 6.2.
        let verifier = WebPkiClientVerifier::builder(Arc::new(authorities))
            // So that tokens come in that are bound to nothing. The layer refuses those that are.
            .allow_unauthenticated()
            .build()
            .map_err(|error| BadVariable::new("CLIENT_CA", error))?;
        let chain = certificates_in(&self.cert, "TLS_CERT")?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| {
            BadVariable::new("TLS_KEY", format_args!("no private key in {}: {error}", self.key.display()))
        })?;
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| BadVariable::new("TLS_KEY", format_args!("it does not go with TLS_CERT: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates_in(path: &PathBuf, variable: &str) -> Result<Vec<CertificateDer<'static>>, BadVariable> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let bad = |problem: &dyn std::fmt::Display| {
        BadVariable::new(variable, format_args!("no certificates in {}: {problem}", path.display()))
    };
    match read {
        Ok(certificates) if certificates.is_empty() => Err(bad(&"none in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(bad(&error)),
    }
}

/// For an authority whose tokens are not ours to issue.
fn print_curl_lines(address: SocketAddr) {
    println!("curl -i -k https://{address}/healthz                              # 200, open");
    println!("curl -i -k https://{address}/whoami                               # 401, no token");
    println!("curl -i -k https://{address}/whoami -H 'Authorization: Bearer ?'  # 400, malformed");
    let certificate = "--cert client.pem --key client.key";
    println!("curl -i -k {certificate} https://{address}/whoami -H \"Authorization: Bearer $TOKEN\"");
    println!("curl -i -k {certificate} https://{address}/admin  -H \"Authorization: Bearer $TOKEN\"");
    println!();
}

/// Issues the tokens and the certificates that this takes.
fn print_sandbox_curl_lines(
    address: SocketAddr,
    sandbox: &Sandbox,
    certificates: &Certificates,
) -> Result<(), BoxError> {
    let thumbprint = ClientCertificate::from_der(&certificates.certify_client("ann")?).thumbprint();
    certificates.certify_client("bob")?;
    let bound = |scope: &str| SandboxToken::new().scope(scope).bound_to_certificate(&thumbprint);
    let token = sandbox.issue(bound("read"));
    let admin = sandbox.issue(bound("read admin"));
    let bearer = sandbox.issue(SandboxToken::new().scope("read"));
    let of_another_kind = sandbox.issue(bound("read").bound_to_key(&thumbprint));
    let revoked = sandbox.issue(bound("read"));
    sandbox.revoke(&revoked);

    let file = |name: &str, extension: &str| format!("'{}'", certificates.file(name, extension).display());
    let curl = format!("curl -i --cacert {}", file("ca", "pem"));
    let line = |name: Option<&str>, path: &str, token: &str, outcome: &str| {
        let own = name.map(|name| format!(" --cert {} --key {}", file(name, "pem"), file(name, "key")));
        let own = own.unwrap_or_default();
        println!("{curl}{own} https://{address}{path} -H 'Authorization: Bearer {token}'  # {outcome}");
    };
    let (ann, bob, nobody) = (Some("ann"), Some("bob"), None);
    println!("{curl} https://{address}/healthz  # 200, open to everyone");
    println!("{curl} https://{address}/whoami  # 401, no token");
    line(ann, "/whoami", &token, "200, the facts: it is bound to this certificate");
    line(bob, "/whoami", &token, "401, another certificate: whoever stole the token cannot use it");
    line(nobody, "/whoami", &token, "401, no certificate");
    line(ann, "/admin", &token, "403, the scope `admin` is missing");
    line(ann, "/admin", &admin, "200");
    line(nobody, "/whoami", &bearer, "200, a bearer token: it is bound to nothing, and good for anybody");
    line(bob, "/whoami", &bearer, "200, a bearer token, with any certificate");
    line(ann, "/whoami", &of_another_kind, "401, bound to a key, too, and such tokens are not accepted here");
    line(ann, "/whoami", &revoked, "401, revoked");
    line(ann, "/whoami", "nobody-issued-this", "401, unknown");
    println!();
    Ok(())
}
