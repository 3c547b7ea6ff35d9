//! A security event that one process is sent: once that one has taken it, all of them refuse its tokens.

use std::time::Duration;

use tower_introspection::sandbox::{Sandbox, SandboxEvent};

use crate::authority::Authority;
use crate::process::Process;
use crate::server::{Program, Server};
use crate::servers::{refuses_by_the_next_read, settings};
use crate::worker::Settings;
use crate::{run, wait_until};

const EVENTS: usize = 200;

/// Who tells of a user whose account was disabled.
struct Story {
    sandbox: Sandbox,
    authority: Authority,
    one: Process,
    another: Process,
}

impl Story {
    async fn begin(server: &Server) -> Self {
        let (sandbox, authority) = (Sandbox::start().await.unwrap(), Authority::start().await);
        let transmitter = Some((sandbox.issuer(), sandbox.jwks()));
        let settings = Settings { transmitter, ..settings(&authority, &server.url()) };
        let [one, another] = [Process::join(&settings).await, Process::join(&settings).await];
        Self { sandbox, authority, one, another }
    }

    /// A token of the user that both processes serve, and that the authority has taken away since.
    async fn revoked(&self, user: &str) -> String {
        let token = format!("token-of-{user}");
        self.authority.issue(&token, user, "north", Duration::from_secs(86_400));
        for process in [&self.one, &self.another] {
            assert!(process.ask(0, &token).await.is_active());
        }
        self.authority.revoke(&token);
        token
    }

    fn event(&self, user: &str) -> String {
        let disabled = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
        self.sandbox.sign_event(SandboxEvent::new(disabled).about_user(self.sandbox.issuer(), user)).unwrap()
    }

    /// Pushes it to one process. What that answers: the status, when that was, and when to send it again.
    async fn push(&self, set: &str) -> (u16, u64, Option<u64>) {
        let answer = self.one.tell(&format!("push {set}")).await.expect("the process has ended");
        let words: Vec<_> = answer.split(' ').collect();
        (words[0].parse().unwrap(), words[1].parse().unwrap(), words[2].parse().ok())
    }

    /// When one process took it: it may have to be sent again.
    async fn is_taken(&self, set: &str) -> u64 {
        let mut taken_at = None;
        wait_until("the event is taken", async || {
            let (status, answered_at, again) = self.push(set).await;
            assert!(status == 202 || status == 503 && again.is_some(), "{status}, {again:?}");
            taken_at = (status == 202).then_some(answered_at);
            taken_at.is_some()
        })
        .await;
        taken_at.unwrap()
    }
}

#[test]
fn the_tokens_of_an_event_that_one_process_has_taken_are_refused_by_all() {
    run(async {
        let Some(server) = Server::start(Program::Redis, &[]) else { return };
        let story = Story::begin(&server).await;
        let untouched = story.revoked("nobody-speaks-of").await;
        let mut took = Vec::new();
        for event in 0..EVENTS {
            let user = format!("user-{event}");
            let token = story.revoked(&user).await;
            let taken_at = story.is_taken(&story.event(&user)).await;
            assert!(story.one.ask(0, &token).await.is_inactive());
            let refused = async {
                loop {
                    let answer = story.another.ask(0, &token).await;
                    if answer.is_inactive() {
                        break answer.began_at;
                    }
                    // The time of a read is of whole milliseconds.
                    assert!(answer.read_at <= taken_at + 2_000, "{answer:?}, taken at {taken_at}");
                }
            };
            let refused_at = tokio::time::timeout(Duration::from_secs(30), refused).await.expect("it is refused");
            took.push(refused_at.saturating_sub(taken_at));
        }
        for process in [&story.one, &story.another] {
            assert!(process.ask(0, &untouched).await.is_active());
        }
        took.sort_unstable();
        let part = |part: usize| took[(EVENTS * part / 100).min(EVENTS - 1)] as f64 / 1_000.0;
        println!(
            "from 202 to the other process' first refusal, ms, of {EVENTS}: p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1}",
            part(50),
            part(90),
            part(99),
            part(100)
        );
    });
}

#[test]
fn without_the_engine_an_event_has_its_effect_here_and_is_to_be_sent_again() {
    run(async {
        let Some(server) = Server::start(Program::Redis, &[]) else { return };
        let (story, port) = (Story::begin(&server).await, server.port);
        let (token, set) = (story.revoked("ann").await, story.event("ann"));
        drop(server);
        let (status, _, again) = story.push(&set).await;
        assert_eq!(status, 503);
        assert!(again.is_some_and(|seconds| seconds > 0), "{again:?}");
        assert!(story.one.ask(0, &token).await.is_inactive());
        assert!(story.another.ask(0, &token).await.is_active(), "it cannot have heard of it");

        let _server = Server::start_on(Program::Redis, port, &[]).unwrap();
        let taken_at = story.is_taken(&set).await;
        assert!(story.one.ask(0, &token).await.is_inactive());
        refuses_by_the_next_read(&story.another, 0, &token, taken_at).await;
    });
}
