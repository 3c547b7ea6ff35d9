//! Servers as processes of their own, and the processor time they use.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::Failure;

const START: Duration = Duration::from_secs(300);
const END: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(20);

/// A running server. It ends when this is dropped, and also when this program ends in any other way: its input ends
/// then.
pub struct Server {
    child: Child,
    said: HashMap<String, String>,
}

impl Server {
    /// Starts `command` on one core, and waits until it says where it listens.
    ///
    /// # Errors
    /// If it does not; what it says instead is in the error.
    pub fn start(core: &str, command: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new("taskset")
            .args(["--cpu-list", core])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut server = Self { child, said: HashMap::new() };
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The receiver has gone once the server is ready; the rest is read all the same, or it might wait for
                // us.
                let _ = sender.send(line);
            }
        });
        let until = Instant::now() + START;
        loop {
            let line = receiver.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.map_err(|_| format!("{command:?} did not start"))?;
            match line.split_once(' ') {
                None if line == "ready" => return Ok(server),
                Some(("skipped", reason)) => return Err(reason.into()),
                Some((name, value)) => drop(server.said.insert(name.into(), value.into())),
                None => return Err(format!("{command:?} said {line:?}").into()),
            }
        }
    }

    /// Where it serves a protocol.
    ///
    /// # Errors
    /// If it does not.
    pub fn address(&self, protocol: &str) -> Result<SocketAddr, Failure> {
        Ok(self.said.get(protocol).ok_or_else(|| format!("it does not serve {protocol}"))?.parse()?)
    }

    /// The processor time that it, and the processes it started, have used so far. Exact while they rest.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn processor_time(&self) -> Result<Duration, Failure> {
        let parents = parents()?;
        let own = |mut process: u32| {
            while process != self.child.id() {
                match parents.get(&process) {
                    Some(parent) => process = *parent,
                    None => return false,
                }
            }
            true
        };
        parents.keys().filter(|process| own(**process)).map(|process| time_of(&process.to_string())).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let until = Instant::now() + END;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time of all threads of a process, or of `self`.
///
/// # Errors
/// If the system does not tell.
pub fn time_of(process: &str) -> Result<Duration, Failure> {
    let mut time = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // Nanoseconds; `stat` has hundredths of a second, too coarse for a second of load.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let nanoseconds = text.split(' ').next().ok_or("an empty schedstat")?;
        time += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(time)
}

/// Each process with the one that started it.
fn parents() -> Result<HashMap<u32, u32>, Failure> {
    let mut parents = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(text) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        // The name, in parentheses, may hold anything.
        let parent = text.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parents.insert(process, parent.ok_or("an unknown form of /proc/.../stat")?);
    }
    Ok(parents)
}

/// One request over HTTP/1.1 with a connection of its own: the status and the body.
///
/// # Errors
/// If there is no answer.
pub fn get(address: SocketAddr, path: &str, token: &str) -> Result<(u16, String), Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
