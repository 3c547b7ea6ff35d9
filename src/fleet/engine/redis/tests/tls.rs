//! TLS, in a process in which nobody has installed a provider of cryptography.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::super::server::free_port;
use super::*;

/// A server that speaks TLS only, and the certificate of who vouches for it.
fn start(name: &str) -> Option<(Server, String)> {
    start_with(Program::Redis, name, &[])
}

fn start_with(program: Program, name: &str, more: &[&str]) -> Option<(Server, String)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("engine-tls-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let files = [("certificate", certificate.pem()), ("key", key.serialize_pem()), ("issuer", issuer.pem())];
    for (file, text) in files {
        std::fs::write(folder.join(file), text).unwrap();
    }
    let file = |name: &str| folder.join(name).display().to_string();
    let lines = [
        "port 0".to_owned(),
        format!("tls-port {port}"),
        format!("tls-cert-file {}", file("certificate")),
        format!("tls-key-file {}", file("key")),
        format!("tls-ca-cert-file {}", file("issuer")),
        "tls-auth-clients no".to_owned(),
    ];
    let lines: Vec<_> = lines.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let server = Server::start_on(program, port, &lines);
    std::fs::remove_dir_all(&folder).unwrap();
    Some((server?, issuer.pem()))
}

fn engine_at(server: &Server, pem: Option<&str>) -> RedisEngine {
    let root_certificates = pem.into_iter().map(|pem| pem.as_bytes().to_vec()).collect();
    let options = RedisOptions { root_certificates, ..patient() };
    RedisEngine::new(&format!("rediss://127.0.0.1:{}", server.port), "fleet", &options).unwrap()
}

#[tokio::test]
async fn a_server_with_a_certificate_that_is_trusted_is_spoken_to_and_nothing_is_installed() {
    let Some((server, pem)) = start("127.0.0.1") else { return };
    everything(&engine_at(&server, Some(&pem))).await.unwrap();
    #[cfg(feature = "rustls")]
    assert!(tokio_rustls::rustls::crypto::CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn a_certificate_of_nobody_known_or_of_another_name_is_no_connection() {
    let Some((server, _)) = start("127.0.0.1") else { return };
    assert_eq!(read(&engine_at(&server, None), None).await.err().unwrap().kind, EngineErrorKind::Connection);
    let Some((server, pem)) = start("127.0.0.2") else { return };
    assert_eq!(read(&engine_at(&server, Some(&pem)), None).await.err().unwrap().kind, EngineErrorKind::Connection);
}

/// Each has somebody of its own who vouches for it.
#[tokio::test]
async fn sentinel_and_master_are_both_spoken_to_over_tls() {
    let Some((master, of_master)) = start("127.0.0.1") else { return };
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1", master.port);
    let Some((sentinel, of_sentinel)) = start_with(Program::Sentinel, "127.0.0.1", &[&monitor]) else { return };
    let engine = |certificates: &[&String]| {
        let root_certificates = certificates.iter().map(|pem| pem.as_bytes().to_vec()).collect();
        let address = format!("rediss+sentinel://127.0.0.1:{}/main", sentinel.port);
        RedisEngine::new(&address, "fleet", &RedisOptions { root_certificates, ..patient() }).unwrap()
    };
    everything(&engine(&[&of_master, &of_sentinel])).await.unwrap();
    for trusted in [&of_master, &of_sentinel] {
        let error = read(&engine(&[trusted]), None).await.err().unwrap();
        assert_eq!(error.kind, EngineErrorKind::Connection, "{error}");
    }
}

#[test]
fn a_certificate_that_is_none_is_named() {
    for (address, pem) in [("rediss://a", "x"), ("redis://a", "x")] {
        let options = RedisOptions { root_certificates: vec![pem.into()], ..RedisOptions::default() };
        let error = RedisEngine::new(address, "fleet", &options).err().unwrap();
        assert_eq!(error.setting(), "root_certificate");
    }
}
