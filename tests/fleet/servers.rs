//! The same story on every kind of server: what one process learned serves in another, what one invalidates is refused
//! by all, and who begins knows what the others knew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::authority::Authority;
use crate::process::Process;
use crate::server::{Cluster, Program, Server, free_port};
use crate::worker::Settings;
use crate::{run, wait_until};

/// Longer than any test.
const MAX_TTL: Duration = Duration::from_secs(600);

pub fn settings(authority: &Authority, address: &str) -> Settings {
    Settings {
        authority: authority.url.clone(),
        address: address.into(),
        fleet: "fleet".into(),
        secret: "the secret of the fleet of a test".into(),
        second_secret: None,
        root_certificate: None,
        max_ttls: vec![MAX_TTL],
        transmitter: None,
    }
}

/// A token that the authority was asked about once, and that both processes accept. A machine that is busy may take
/// longer than a request waits for the engine: then it is another token.
pub async fn shares(authority: &Authority, one: &Process, another: &Process) -> String {
    static SHARED: AtomicUsize = AtomicUsize::new(0);
    for _ in 0..100 {
        let token = format!("shared-{}", SHARED.fetch_add(1, Ordering::Relaxed));
        authority.issue_lasting(&token);
        assert!(one.ask(0, &token).await.is_active());
        assert!(another.ask(0, &token).await.is_active());
        if authority.questions_about(&token) == 1 {
            return token;
        }
    }
    panic!("nothing is shared: {:?}, {:?}", one.log(), another.log());
}

/// When it was.
pub async fn is_recorded(process: &Process, cache: usize, what: &str) -> u64 {
    let mut recorded_at = None;
    wait_until("the invalidation is recorded", async || {
        let (reach, at) = process.invalidates(cache, what).await.unwrap();
        recorded_at = (reach == "recorded").then_some(at);
        recorded_at.is_some()
    })
    .await;
    recorded_at.unwrap()
}

/// Of a token whose invalidation was recorded then.
pub async fn refuses_by_the_next_read(process: &Process, cache: usize, token: &str, recorded_at: u64) {
    wait_until("the log is read and the token is refused", async || {
        let answer = process.ask(cache, token).await;
        // The time of a read is of whole milliseconds.
        let has_read = answer.read_at > recorded_at + 2_000;
        assert!(!has_read || answer.is_inactive(), "{answer:?}, recorded at {recorded_at}");
        has_read
    })
    .await;
}

async fn story(address: &str, root_certificate: Option<String>) {
    let authority = Authority::start().await;
    let settings = Settings { root_certificate, ..settings(&authority, address) };
    let [one, another] = [Process::join(&settings).await, Process::join(&settings).await];
    let [taken_away, known] = [shares(&authority, &one, &another).await, shares(&authority, &another, &one).await];

    authority.revoke(&taken_away);
    let recorded_at = is_recorded(&another, 0, &format!("token {taken_away}")).await;
    for process in [&one, &another] {
        refuses_by_the_next_read(process, 0, &taken_away, recorded_at).await;
    }
    assert!(one.count("records_read").await > 0 && one.count("gaps").await == 0);

    drop((one, another));
    authority.fails(true);
    let began = Process::join(&settings).await;
    wait_until("a new process knows what others knew", async || began.ask(0, &known).await.is_active()).await;
    assert!(!began.ask(0, &taken_away).await.is_active());
}

#[test]
fn processes_share_on_redis() {
    run(async {
        let Some(server) = Server::start(Program::Redis, &[]) else { return };
        story(&server.url(), None).await;
    });
}

#[test]
fn processes_share_on_valkey() {
    run(async {
        let Some(server) = Server::start(Program::Valkey, &[]) else { return };
        story(&server.url(), None).await;
    });
}

#[test]
fn processes_share_on_a_cluster() {
    run(async {
        let Some(cluster) = Cluster::start(Program::Redis) else { return };
        story(&cluster.url(), None).await;
    });
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn processes_share_over_tls() {
    run(async {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("fleet-tls-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = [("cert", certificate.pem()), ("key", key.serialize_pem()), ("ca-cert", issuer.pem())];
        let mut lines = vec!["port 0".to_owned(), format!("tls-port {port}"), "tls-auth-clients no".to_owned()];
        for (file, text) in files {
            std::fs::write(folder.join(file), text).unwrap();
            lines.push(format!("tls-{file}-file {}", folder.join(file).display()));
        }
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let server = Server::start_on(Program::Redis, port, &lines);
        std::fs::remove_dir_all(&folder).unwrap();
        if server.is_some() {
            story(&format!("rediss://127.0.0.1:{port}"), Some(issuer.pem())).await;
        }
    });
}
