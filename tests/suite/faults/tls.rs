//! Authorities that are not who they should be, and sessions that are cut off.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tower_introspection::connection::Connection;

pub(super) struct Issuer(pub(super) CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A connection that trusts it.
    pub(super) fn trusted(&self) -> Connection {
        Connection::new().root_certificate(self.0.pem())
    }

    /// A server with a certificate for `name`, valid in these years.
    pub(super) fn server(&self, name: &str, years: std::ops::Range<i32>) -> ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.0).unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap()
    }
}

pub(super) const NOW: std::ops::Range<i32> = 2000..4000;

#[tokio::test]
async fn an_authority_with_a_wrong_certificate_is_not_asked_until_it_has_a_right_one() {
    let (issuer, stranger) = (Issuer::new("the issuer"), Issuer::new("a stranger"));
    let wrong = || {
        [
            ("a wrong name", issuer.server("elsewhere.example", NOW)),
            ("expired", issuer.server("localhost", 2000..2001)),
            ("not valid yet", issuer.server("localhost", 3999..4000)),
            ("from an unknown issuer", stranger.server("localhost", NOW)),
        ]
    };
    for protocol in BOTH {
        for (fault, config) in wrong() {
            let authority = Faulty::start();
            authority.speaks_tls(issuer.server("localhost", NOW));
            let base = format!("https://localhost:{}", authority.port());
            let guarded = guarded!(protocol, base, connection(issuer.trusted())).in_case(fault);
            guarded.lets_in("known").await;

            authority.speaks_tls(config);
            assert_eq!(guarded.turns_away("abc").await, "5");
            assert_eq!(guarded.failures(), [(Connect, 1)], "{fault}, {protocol:?}");
            assert_eq!((guarded.endpoint().attempts, guarded.remembered()), (1 + 3, (1, 0)), "{fault}, {protocol:?}");
            guarded.lets_in("known").await;
            assert_eq!(authority.requests(), 1, "{fault}, {protocol:?}: neither token nor credentials went out");

            authority.speaks_tls(issuer.server("localhost", NOW));
            recovers(&guarded, &authority, true).await;
        }
    }
}

#[tokio::test]
async fn an_authority_that_does_not_speak_tls_ends_in_the_connect_timeout() {
    for protocol in BOTH {
        let authority = Faulty::start();
        let issuer = Issuer::new("the issuer");
        let base = format!("https://localhost:{}", authority.port());
        let guarded = guarded!(protocol, base, connection(issuer.trusted().connect_timeout(secs(2))));
        let asking = guarded.turns_away("abc");
        assert_eq!(skipping(authority.connected(0), asking).await, "5");
        assert_eq!((guarded.failures(), guarded.remembered()), (vec![(Connect, 1)], (0, 0)), "{protocol:?}");
        assert_eq!(guarded.endpoint().attempts, 3, "{protocol:?}: `request_timeout` has room for all of them");
        assert_eq!(authority.requests(), 0, "{protocol:?}");
    }
}

#[tokio::test]
async fn connect_timeout_is_how_long_each_attempt_to_connect_may_take_and_a_second_unless_it_is_set() {
    let issuer = Issuer::new("the issuer");
    let attempts = async |authority: &Faulty, guarded: Guarded| {
        skipping(authority.connected(0), guarded.turns_away("abc")).await;
        guarded.endpoint().attempts
    };
    for protocol in BOTH {
        let authority = Faulty::start();
        let base = format!("https://localhost:{}", authority.port());
        let unless_set = guarded!(protocol, base, connection(issuer.trusted()), request_timeout(secs(4)));
        assert_eq!(attempts(&authority, unless_set).await, 3, "{protocol:?}: four seconds have room for all of them");

        let authority = Faulty::start();
        let base = format!("https://localhost:{}", authority.port());
        let hasty = guarded!(protocol, base, connection(issuer.trusted()), request_timeout(secs(2)));
        assert_eq!(attempts(&authority, hasty).await, 2, "{protocol:?}: two seconds have no room for a third");

        let authority = Faulty::start();
        let base = format!("https://localhost:{}", authority.port());
        let set = guarded!(protocol, base, connection(issuer.trusted().connect_timeout(secs(6))));
        assert_eq!(attempts(&authority, set).await, 2, "{protocol:?}: ten seconds have no room for a third");
    }
}

/// Without a length, the end of TLS is the end of the body, and these have none. OpenSSL takes the end of the
/// connection for it; then it is the JSON that has to be whole.
#[tokio::test]
async fn an_answer_that_is_cut_off_under_tls_is_not_taken_for_a_whole_one() {
    let (half, _) = GOOD.split_at(20);
    let cuts =
        if cfg!(feature = "native-tls") { vec![(half, Answer)] } else { vec![(half, Transport), (GOOD, Transport)] };
    let issuer = Issuer::new("the issuer");
    for protocol in BOTH {
        for (body, kind) in &cuts {
            let authority = Faulty::start();
            authority.speaks_tls(issuer.server("localhost", NOW));
            let base = format!("https://localhost:{}", authority.port());
            let guarded = guarded!(protocol, base, connection(issuer.trusted())).in_case(body);
            guarded.lets_in("known").await;
            let cut = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}");
            authority.does(vec![Step::Send(cut), Step::Truncate]);
            assert_eq!(guarded.turns_away("abc").await, "5");
            assert_eq!((guarded.failures(), guarded.remembered()), (vec![(*kind, 1)], (1, 0)), "{body}, {protocol:?}");
            assert_eq!(authority.requests(), 2, "{body}, {protocol:?}");
            recovers(&guarded, &authority, true).await;
        }
    }
}
