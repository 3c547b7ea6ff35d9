//! Settings from the environment.

use std::env;
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// An environment variable that cannot be used. The message starts with its name.
#[derive(Debug)]
pub(crate) struct BadVariable(String);

impl BadVariable {
    pub(crate) fn new(name: &str, problem: impl fmt::Display) -> Self {
        Self(format!("{name}: {problem}"))
    }
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadVariable {}

/// What every one of these servers reads.
pub(crate) struct Settings {
    listen_addr: SocketAddr,
    pub(crate) max_ttl: Duration,
    pub(crate) inactive_ttl: Duration,
    pub(crate) log: EnvFilter,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, BadVariable> {
        let ttl = |name, default| Ok(seconds(name, "0 for none")?.unwrap_or(Duration::from_secs(default)));
        Ok(Self {
            listen_addr: parsed("LISTEN_ADDR")?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 3000))),
            max_ttl: ttl("MAX_TTL", 60)?,
            inactive_ttl: ttl("INACTIVE_TTL", 10)?,
            log: parsed("RUST_LOG")?.unwrap_or_else(|| EnvFilter::new("info")),
        })
    }

    pub(crate) async fn listen(&self) -> Result<TcpListener, BadVariable> {
        TcpListener::bind(self.listen_addr).await.map_err(|error| {
            BadVariable::new("LISTEN_ADDR", format_args!("cannot listen on {}: {error}", self.listen_addr))
        })
    }
}

pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(name: &str) -> Result<Option<T>, BadVariable> {
    let parse = |value: String| {
        value.parse().map_err(|error| BadVariable::new(name, format_args!("{value:?} cannot be used: {error}")))
    };
    text(name)?.map(parse).transpose()
}

/// Whole seconds; `hint` says what else a reader of the error should know.
pub(crate) fn seconds(name: &str, hint: &str) -> Result<Option<Duration>, BadVariable> {
    match parsed(name) {
        Ok(value) => Ok(value.map(Duration::from_secs)),
        Err(BadVariable(problem)) => Err(BadVariable(format!("{problem}; give whole seconds, {hint}"))),
    }
}

pub(crate) fn text(name: &str) -> Result<Option<String>, BadVariable> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Err(BadVariable::new(name, "set, but empty; unset it to get the default")),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(BadVariable::new(name, "not Unicode text")),
    }
}

/// A switch, off by default.
pub(crate) fn switched_on(name: &str) -> Result<bool, BadVariable> {
    match text(name)?.as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(BadVariable::new(name, format_args!("{other:?} cannot be used; give 1 or 0"))),
    }
}
