//! A process of the fleet, as the program sees it that started it.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::wait_until;
use crate::worker::{READY, SIGN, Settings};

/// The environment variable with the settings of a process.
pub const SETTINGS: &str = "FLEET_PROCESS";

/// Ends with a SIGKILL when it is dropped.
pub struct Process {
    /// No two have the same.
    pub id: u64,
    child: Mutex<Child>,
    pid: u32,
    lines: mpsc::UnboundedSender<String>,
    waiting: Waiting,
    next: AtomicU64,
    is_ready: watch::Receiver<bool>,
    log: Arc<Mutex<Vec<String>>>,
}

/// By the number of the command. `None` once the process has ended.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<String>>>>>;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub verdict: String,
    /// Microseconds since 1970.
    pub began_at: u64,
    /// Microseconds.
    pub took: u64,
    /// When the read of the log was sent that was the last one to come back before the request began.
    pub read_at: u64,
}

impl Answer {
    pub fn is_active(&self) -> bool {
        self.verdict == "active"
    }

    pub fn is_inactive(&self) -> bool {
        self.verdict == "inactive"
    }
}

impl Process {
    /// It may not be ready when this returns.
    pub fn spawn(settings: &Settings) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process_of_a_fleet", "--nocapture", "--test-threads=1"]);
        command.env(SETTINGS, serde_json::to_string(settings).unwrap()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let errors = child.stderr.take().unwrap();
        let (lines, mut to_write) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(line) = to_write.recv().await {
                if input.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        let waiting = Waiting::new(Mutex::new(Some(HashMap::new())));
        let (becomes_ready, is_ready) = watch::channel(false);
        tokio::spawn({
            let waiting = Arc::clone(&waiting);
            async move {
                let mut lines = BufReader::new(output).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let Some(line) = line.strip_prefix(SIGN) else { continue };
                    if line == READY {
                        becomes_ready.send_replace(true);
                    } else if let Some((number, answer)) = line.split_once(' ')
                        && let Some(waiting) = waiting.lock().unwrap().as_mut()
                        && let Some(waits) = waiting.remove(&number.parse().unwrap())
                    {
                        // Who waited may have gone.
                        let _ = waits.send(answer.to_owned());
                    }
                }
                // All that wait hear that there will be no answer.
                waiting.lock().unwrap().take();
            }
        });
        let log = Arc::<Mutex<Vec<String>>>::default();
        tokio::spawn({
            let log = Arc::clone(&log);
            async move {
                let mut lines = BufReader::new(errors).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    log.lock().unwrap().push(line);
                }
            }
        });
        let (id, pid) = (STARTED.fetch_add(1, Ordering::Relaxed), child.id().unwrap());
        Self { id, child: Mutex::new(child), pid, lines, waiting, next: AtomicU64::new(0), is_ready, log }
    }

    /// It has begun, and may not have read the log.
    pub async fn start(settings: &Settings) -> Self {
        let process = Self::spawn(settings);
        let is_ready = process.is_ready.clone().wait_for(|is_ready| *is_ready).await.is_ok();
        assert!(is_ready, "{:?}", process.log());
        process
    }

    /// It reads the log already.
    pub async fn join(settings: &Settings) -> Self {
        let process = Self::start(settings).await;
        process.wait_until_it_reads().await;
        process
    }

    pub async fn join_all(count: usize, settings: &Settings) -> Vec<Arc<Self>> {
        let all: Vec<_> = (0..count).map(|_| Self::spawn(settings)).collect();
        for process in &all {
            process.wait_until_it_reads().await;
        }
        all.into_iter().map(Arc::new).collect()
    }

    pub async fn wait_until_it_reads(&self) {
        wait_until("the log is read", async || self.stats().await["is_reading"] == true).await;
    }

    /// `None` if the process has ended.
    pub async fn tell(&self, command: &str) -> Option<String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answers, answer) = oneshot::channel();
        self.waiting.lock().unwrap().as_mut()?.insert(number, answers);
        self.lines.send(format!("{number} {command}\n")).ok()?;
        answer.await.ok()
    }

    pub async fn asks(&self, cache: usize, token: &str) -> Option<Answer> {
        let answer = self.tell(&format!("ask {cache} {token}")).await?;
        let words: Vec<_> = answer.split(' ').collect();
        let number = |place: usize| words[place].parse().unwrap();
        Some(Answer { verdict: words[0].into(), began_at: number(1), took: number(2), read_at: number(3) })
    }

    /// Of a process that is there.
    pub async fn ask(&self, cache: usize, token: &str) -> Answer {
        self.asks(cache, token).await.expect("the process has ended")
    }

    /// How far it got, and when it was known there.
    pub async fn invalidates(&self, cache: usize, what: &str) -> Option<(String, u64)> {
        let answer = self.tell(&format!("invalidate {cache} {what}")).await?;
        let (reach, at) = answer.split_once(' ').unwrap();
        Some((reach.to_owned(), at.parse().unwrap()))
    }

    pub async fn stats(&self) -> Value {
        let stats = self.tell("stats").await;
        let stats = stats.unwrap_or_else(|| panic!("the process has ended: {:?}", self.log()));
        serde_json::from_str(&stats).unwrap()
    }

    pub async fn count(&self, name: &str) -> u64 {
        self.stats().await[name].as_u64().unwrap()
    }

    /// What it wrote on its standard error.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn kill(&self) {
        self.child.lock().unwrap().start_kill().unwrap();
    }

    pub fn stop(&self) {
        signal(self.pid, "-STOP");
    }

    pub fn go_on(&self) {
        signal(self.pid, "-CONT");
    }
}

/// To a process that was started here and has not been waited for, so that its number is that of no other.
pub fn signal(pid: u32, name: &str) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}
