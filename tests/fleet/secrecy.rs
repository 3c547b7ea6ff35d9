//! What the engine is told, as whoever runs it sees it: no token, no hash of one, and nothing that the authority said.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::authority::Authority;
use crate::process::Process;
use crate::server::{Program, Server};
use crate::servers::{is_recorded, refuses_by_the_next_read, settings, shares};
use crate::worker::Settings;
use crate::{run, wait_until};

/// Everything that a server is told.
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn begin(server: &Server) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let all = Arc::<Mutex<Vec<u8>>>::default();
        let captured = Self(Arc::clone(&all));
        std::thread::spawn(move || {
            let mut part = [0; 65_536];
            while let Ok(length @ 1..) = stream.read(&mut part) {
                all.lock().unwrap().extend_from_slice(&part[..length]);
            }
        });
        captured
    }

    /// As it is shown, and without the escapes in it; a character for each byte.
    fn text(&self) -> String {
        let shown = self.0.lock().unwrap().clone();
        let mut bytes = shown.clone();
        let mut rest = shown.as_slice();
        while let [byte, after @ ..] = rest {
            let (plain, next) = match rest {
                [b'\\', b'x', high, low, after @ ..] => {
                    let digits = [*high, *low];
                    (u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(), after)
                }
                [b'\\', escaped, after @ ..] => {
                    let letters = [(b'n', b'\n'), (b'r', b'\r'), (b't', b'\t'), (b'a', 7), (b'b', 8)];
                    let known = letters.iter().find(|(letter, _)| letter == escaped);
                    (known.map_or(*escaped, |(_, byte)| *byte), after)
                }
                _ => (*byte, after),
            };
            bytes.push(plain);
            rest = next;
        }
        text_of(&bytes)
    }

    /// Until then it holds what the server is told now.
    async fn holds_all(&self, server: &Server, marker: &str) {
        server.says(&["ECHO", &format!("{marker}\u{1}\\")]);
        wait_until("it is captured", async || self.text().contains(&format!("{marker}\u{1}\\"))).await;
    }
}

fn text_of(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The ways in which bytes may stand somewhere.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let reversed = bytes.iter().rev().copied().collect();
    let mut forms = vec![bytes.to_vec(), hex.to_uppercase().into(), hex.into(), reversed];
    // Base64 of something with the bytes in it: by what stands before them, without what the neighbours change.
    for before in 0..3 {
        let within = [vec![0; before], bytes.to_vec()].concat();
        for text in [STANDARD_NO_PAD.encode(&within), URL_SAFE_NO_PAD.encode(&within)] {
            forms.push(text[(before * 8).div_ceil(6)..text.len() - 2].into());
        }
    }
    forms
}

#[test]
fn the_engine_is_told_no_token_no_hash_of_one_and_no_claim() {
    run(async {
        let Some(server) = Server::start(Program::Redis, &[]) else { return };
        let captured = Captured::begin(&server);
        captured.holds_all(&server, "begins").await;

        let authority = Authority::start().await;
        let (tenant, subject) = ("the-tenant-of-it", "the-subject-of-it");
        let (first, second) = ("the first secret of a fleet, which changes", "the second secret of the same fleet");
        let short = vec![Duration::from_secs(600), Duration::from_secs(1)];
        let with = |secret: &str, second: Option<&str>| Settings {
            secret: secret.into(),
            second_secret: second.map(str::to_owned),
            max_ttls: short.clone(),
            ..settings(&authority, &server.url())
        };
        let tokens: Vec<_> = (0..6).map(|n| format!("the-token-{n}-which-nobody-may-see")).collect();
        for token in &tokens {
            authority.issue(token, subject, tenant, Duration::from_secs(600));
        }
        let mut shared = Vec::new();
        let processes =
            [Process::join(&with(first, Some(second))).await, Process::join(&with(second, Some(first))).await];
        shared.push(shares(&authority, &processes[0], &processes[1]).await);
        for process in &processes {
            for token in &tokens {
                assert!(process.ask(0, token).await.is_active());
            }
        }
        // The other cache refreshes ahead of the end of a second.
        let refreshed = &tokens[5];
        wait_until("it is asked about again", async || {
            processes[0].ask(1, refreshed).await;
            authority.questions_about(refreshed) > 3
        })
        .await;
        for (token, what) in tokens.iter().zip([
            format!("token {}", tokens[0]),
            format!("subject {subject}"),
            format!("tenant {tenant}"),
        ]) {
            authority.revoke(token);
            let recorded_at = is_recorded(&processes[0], 0, &what).await;
            refuses_by_the_next_read(&processes[1], 0, token, recorded_at).await;
        }
        assert!(processes[0].count("stored").await > 0);
        captured.holds_all(&server, "ends").await;
        let captured = captured.text();
        let is_told = |what: &[u8]| captured.contains(&text_of(what));
        assert!(is_told(b"fleet:{log}:records"));

        for token in tokens.iter().chain(&shared) {
            let hashes = [&SHA256, &SHA512, &SHA1_FOR_LEGACY_USE_ONLY].map(|hash| digest(hash, token.as_bytes()));
            // A part of a hash would tell as much.
            let parts = hashes.iter().map(AsRef::as_ref).flat_map(|hash| [&hash[..8], &hash[hash.len() - 8..]]);
            for form in parts.chain([token.as_bytes()]).flat_map(forms) {
                assert!(!is_told(&form), "{token}: {}", String::from_utf8_lossy(&form));
            }
        }
        for fact in [tenant, subject, first, second, "client_id", &authority.url] {
            for form in forms(fact.as_bytes()) {
                assert!(!is_told(&form), "{fact}: {}", String::from_utf8_lossy(&form));
            }
        }
    });
}
