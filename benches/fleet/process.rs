//! A process of the fleet: it does what lines on its standard input say, and answers with a line each.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tower_introspection::BearerToken;
use tower_introspection::fleet::{Fleet, FleetStats};

use crate::load::Load;
use crate::member::{Member, Settings};
use crate::processes::READY;
use crate::support::token_name;

/// So long a token is presented on after it was refused: it must not be accepted again.
const AFTERWARDS: Duration = Duration::from_millis(300);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Microseconds since 1970: processes of one machine have one clock.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

/// At once, if it is over: the timer takes a millisecond for nothing, too.
pub async fn wait_until(micros: u64) {
    let left = micros.saturating_sub(now());
    if left > 0 {
        tokio::time::sleep(Duration::from_micros(left)).await;
    }
}

/// Ends when nobody tells it anything any more.
pub async fn run(settings: &str) {
    let member = Arc::new(Member::join(&Settings::from_line(settings)).await);
    let (lines, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|l| lines.send(l)));
    says(READY);
    while let Some(command) = commands.recv().await {
        let member = Arc::clone(&member);
        tokio::spawn(async move {
            let (name, words) = command.split_once(' ').unwrap_or((&command, ""));
            let answer = obey(&member, name, &words.split(' ').collect::<Vec<_>>()).await;
            says(&format!("{name} {answer}"));
        });
    }
}

fn says(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

async fn obey(member: &Arc<Member>, command: &str, words: &[&str]) -> String {
    let number = |place: usize| words[place].parse::<u64>().unwrap();
    match command {
        "load" => Load::from_words(words).put_on(member).await.to_string(),
        "herd" => herd(member, words[0], number(1), number(2)).await,
        "present" => present(member, words[0]).await,
        "invalidate" => invalidate(member, words[0]).await,
        "store" => store(member, number(0)..number(1)).await,
        "stats" => stats(member),
        _ => panic!("{command}"),
    }
}

/// As many requests at once with one token: when the last was answered, and how many were accepted.
async fn herd(member: &Arc<Member>, token: &str, requests: u64, start: u64) -> String {
    wait_until(start).await;
    let token: Arc<str> = token.into();
    let mut tasks = JoinSet::new();
    for _ in 0..requests {
        let (member, token) = (Arc::clone(member), Arc::clone(&token));
        tasks.spawn(async move { (member.accepts(&token).await, now()) });
    }
    let answers = tasks.join_all().await;
    let accepted = answers.iter().filter(|(accepted, _)| *accepted == Some(true)).count();
    format!("{} {accepted}", answers.iter().map(|(_, at)| *at).max().unwrap())
}

/// One request after the other, a millisecond apart, until it is refused and some time after: when it was accepted
/// last, when it was refused first, and how often it was accepted.
async fn present(member: &Member, token: &str) -> String {
    let (mut accepted_at, mut refused_at, mut accepted) = (0, None, 0);
    while refused_at.is_none_or(|at| now() < at + u64::try_from(AFTERWARDS.as_micros()).unwrap()) {
        match member.accepts(token).await {
            Some(true) => (accepted_at, accepted) = (now(), accepted + 1),
            Some(false) => _ = refused_at.get_or_insert_with(now),
            None => {}
        }
        tokio::time::sleep(MILLISECOND).await;
    }
    format!("{accepted_at} {} {accepted}", refused_at.unwrap())
}

/// When the call began, when it returned, and how far it got.
async fn invalidate(member: &Member, token: &str) -> String {
    let token = BearerToken::parse(token).unwrap();
    let began_at = now();
    let reach = member.cached.handle().invalidate(&token).await;
    format!("{began_at} {} {}", now(), reach.as_str())
}

async fn store(member: &Arc<Member>, numbers: std::ops::Range<u64>) -> String {
    let mut tasks = JoinSet::new();
    for n in numbers {
        if tasks.len() >= 32 {
            tasks.join_next().await;
        }
        let member = Arc::clone(member);
        tasks.spawn(async move { member.accepts(&token_name('s', usize::try_from(n).unwrap())).await });
    }
    tasks.join_all().await;
    stats(member)
}

/// Calls of the engine that failed, gaps of the log, and waits for others.
fn stats(member: &Member) -> String {
    let Some(stats) = member.fleet.as_ref().map(Fleet::stats) else { return "0 0 0".into() };
    let FleetStats { engine_failures, gaps, waits, .. } = stats;
    format!("{engine_failures} {gaps} {waits}")
}
