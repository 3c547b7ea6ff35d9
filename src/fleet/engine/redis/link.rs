//! One connection to one server, which many calls share.
//!
//! Answers come in the order of the questions. A call that was given up keeps its place in the line, so nobody else
//! gets its answer.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, ProtocolVersion, RedisConnectionInfo, RedisResult, Value};
use redis::{ServerErrorKind, cmd};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::fleet::engine::redis::address::{Credentials, Host};
use crate::fleet::engine::redis::scripts::Script;
use crate::fleet::engine::redis::tls::{Stream, Tls};

/// So many calls at most are sent and not answered yet; others wait, as long as their time lasts.
const AT_ONCE: usize = 1_024;

/// A run of a script.
pub(super) struct Call<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl<'a> Call<'a> {
    /// At least one key, all of one slot.
    pub(super) fn new(script: &'a Script, keys: impl Into<Vec<String>>) -> Self {
        Self { script, keys: keys.into(), arguments: Vec::new() }
    }

    pub(super) fn with(mut self, argument: impl fmt::Display) -> Self {
        self.arguments.push(argument.to_string().into_bytes());
        self
    }

    pub(super) fn with_bytes(mut self, argument: &[u8]) -> Self {
        self.arguments.push(argument.to_vec());
        self
    }

    /// By which the server is found.
    pub(super) fn key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }

    fn command(&self, by_name: bool) -> redis::Cmd {
        let mut command = if by_name { cmd("EVALSHA") } else { cmd("EVAL") };
        command.arg(if by_name { self.script.name.as_str() } else { self.script.code });
        command.arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}

pub(super) struct Link {
    pub(super) host: Host,
    connection: MultiplexedConnection,
    driver: AbortHandle,
    is_broken: AtomicBool,
}

impl Link {
    pub(super) async fn open(
        host: &Host,
        tls: Option<&Tls>,
        credentials: Option<&Credentials>,
        database: i64,
    ) -> RedisResult<Self> {
        let stream = TcpStream::connect((host.name.as_str(), host.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            Some(tls) => tls.connect(&host.name, stream).await?,
            None => Box::new(stream),
        };
        let mut info = RedisConnectionInfo::default().set_skip_set_lib_name().set_db(database);
        info = info.set_protocol(ProtocolVersion::RESP2);
        if let Some(Credentials { user, password }) = credentials {
            info = info.set_password(password);
            info = user.iter().fold(info, RedisConnectionInfo::set_username);
        }
        // How long a call may take is up to the caller.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_concurrency_limit(AT_ONCE);
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Self { host: host.clone(), connection, driver, is_broken: AtomicBool::new(false) })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed) || self.driver.is_finished()
    }

    /// Closes it: calls that wait for an answer fail, and there are no more.
    pub(super) fn discard(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
        self.driver.abort();
    }

    pub(super) async fn command(&self, command: &redis::Cmd) -> RedisResult<Value> {
        command.query_async(&mut self.connection.clone()).await
    }

    /// Runs the script by its name, or by its text if the server has not seen it since it started.
    pub(super) async fn run(&self, call: &Call<'_>) -> RedisResult<Value> {
        match self.command(&call.command(true)).await {
            Err(error) if error.kind() == UNKNOWN => self.command(&call.command(false)).await,
            done => done,
        }
    }

    /// Runs all of them in one exchange.
    pub(super) async fn run_all(&self, calls: &[Call<'_>]) -> RedisResult<()> {
        let commands = |by_name| {
            let mut pipeline = Pipeline::with_capacity(calls.len());
            for call in calls {
                pipeline.add_command(call.command(by_name));
            }
            // They come as values, each with its code, which an error of the whole pipeline does not tell.
            pipeline.ignore_errors();
            pipeline
        };
        match self.all(&commands(true)).await {
            Err(error) if error.kind() == UNKNOWN => self.all(&commands(false)).await,
            done => done,
        }
    }

    async fn all(&self, pipeline: &Pipeline) -> RedisResult<()> {
        let answers: Vec<Value> = pipeline.query_async(&mut self.connection.clone()).await?;
        answers.into_iter().try_for_each(|answer| answer.extract_error().map(drop))
    }
}

const UNKNOWN: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
