//! Where the engine is, as the user says it.
//!
//! Not read as a URL throughout, since several hosts may stand in it.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::build_error::BuildError;
use crate::url::shown;

const SETTING: &str = "address";

/// What an address says. It has no `Debug`, for it holds passwords.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) is_tls: bool,
    pub(super) credentials: Option<Credentials>,
    /// One at least.
    pub(super) hosts: Vec<Host>,
    pub(super) place: Place,
    pub(super) database: i64,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: String,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// What is behind the hosts.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Server,
    /// Sentinels, who know where the master of that name is.
    Sentinels {
        master: String,
        password: Option<String>,
    },
    Cluster,
}

impl Address {
    /// Reads `redis://[user:password@]host[:port][/database]` and its kin.
    ///
    /// # Errors
    /// Names what is wrong, and shows no password.
    pub(super) fn parse(text: &str) -> Result<Self, BuildError> {
        read(text).map_err(|problem| BuildError::new(SETTING, format!("{:?} {problem}", shown(text))))
    }
}

fn read(text: &str) -> Result<Address, String> {
    let (scheme, rest) = text.split_once("://").ok_or("has no scheme: `redis://host:6379` is a server")?;
    let (is_tls, kind) = match scheme.split_once('+').unwrap_or((scheme, "")) {
        ("redis", kind) => (false, kind),
        ("rediss", kind) => (true, kind),
        _ => return Err(UNKNOWN_SCHEME.to_owned()),
    };
    if rest.contains('#') {
        return Err("holds a `#`, which is written `%23` in a password".to_owned());
    }
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (Some(read_credentials(credentials)?), hosts),
        None => (None, authority),
    };
    let default_port = if kind == "sentinel" { 26_379 } else { 6_379 };
    let hosts: Vec<_> = hosts.split(',').map(|host| read_host(host, default_port)).collect::<Result<_, _>>()?;
    let sentinel_password = read_query(query, kind)?;
    let (place, database) = match kind {
        "" if hosts.len() > 1 => {
            return Err("holds several hosts: `redis+sentinel://` or `redis+cluster://` takes them".to_owned());
        }
        "" => (Place::Server, path),
        "cluster" if path.is_empty() => (Place::Cluster, ""),
        "cluster" => return Err("names a database, and a cluster has none: leave out what follows the `/`".to_owned()),
        "sentinel" => {
            let (master, database) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err("names no master: `redis+sentinel://host:26379/mymaster`".to_owned());
            }
            (Place::Sentinels { master: decoded(master)?, password: sentinel_password }, database)
        }
        _ => return Err(UNKNOWN_SCHEME.to_owned()),
    };
    Ok(Address { is_tls, credentials, hosts, place, database: read_database(database)? })
}

const UNKNOWN_SCHEME: &str = "has an unknown scheme; there are `redis`, `rediss` (TLS), and both with `+sentinel` or \
                              `+cluster` behind it";

fn read_credentials(text: &str) -> Result<Credentials, String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    if password.is_empty() {
        return Err("holds no password before the `@`: `redis://user:password@host`, or `:password@` alone".to_owned());
    }
    let user = decoded(user)?;
    Ok(Credentials { user: (!user.is_empty()).then_some(user), password: decoded(password)? })
}

fn read_host(text: &str, default_port: u16) -> Result<Host, String> {
    let (name, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((name, port)) => (name, (!port.is_empty()).then_some(port.strip_prefix(':').unwrap_or("none"))),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || "@[]".contains(c)) {
        return Err("holds an empty host, or one that cannot be: `redis://host:6379`".to_owned());
    }
    let port = port.map_or(Ok(default_port), str::parse::<u16>).ok().filter(|&port| port != 0);
    let port = port.ok_or(
        "holds a port that is none. In a password, `/`, `?`, `#`, `@` and `:` are percent-encoded, an address of IPv6 \
         stands in `[]`",
    )?;
    Ok(Host { name: name.to_owned(), port })
}

fn read_database(text: &str) -> Result<i64, String> {
    let number = if text.is_empty() { Ok(0) } else { text.parse::<u32>() };
    number.map(i64::from).map_err(|_| "names a database that is not a number: `redis://host:6379/0`".to_owned())
}

/// The password of the sentinels, which is the only thing that may be asked for there.
fn read_query(query: Option<&str>, kind: &str) -> Result<Option<String>, String> {
    match query {
        None | Some("") => Ok(None),
        Some(query) => match query.strip_prefix("sentinel_password=") {
            Some(password) if kind == "sentinel" && !password.is_empty() && !password.contains('&') => {
                decoded(password).map(Some)
            }
            _ => Err("holds an unknown query; there is `?sentinel_password=`, with `redis+sentinel`".to_owned()),
        },
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "holds percent-encoded bytes that are not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type UserAndPassword = (Option<String>, String);

    fn parsed(text: &str) -> (bool, Option<UserAndPassword>, Vec<String>, String, i64) {
        let address = Address::parse(text).unwrap();
        let place = match address.place {
            Place::Server => "server".to_owned(),
            Place::Sentinels { master, password } => format!("sentinels, {master}, {password:?}"),
            Place::Cluster => "cluster".to_owned(),
        };
        let hosts = address.hosts.iter().map(|host| format!("{} {}", host.name, host.port)).collect();
        let credentials = address.credentials.map(|credentials| (credentials.user, credentials.password));
        (address.is_tls, credentials, hosts, place, address.database)
    }

    #[test]
    fn an_address_says_where_the_engine_is() {
        let known = |user: Option<&str>, password: &str| Some((user.map(ToOwned::to_owned), password.to_owned()));
        for (text, is_tls, credentials, hosts, place, database) in [
            ("redis://a.example", false, None, "a.example 6379", "server", 0),
            ("redis://a.example:1/7", false, None, "a.example 1", "server", 7),
            ("rediss://u:p@[::1]:7000/", true, known(Some("u"), "p"), "::1 7000", "server", 0),
            ("redis://:p%2f%40:%3A@[::1]", false, known(None, "p/@::"), "::1 6379", "server", 0),
            (
                "redis+sentinel://u:p@a,b:1/m%20m/3",
                false,
                known(Some("u"), "p"),
                "a 26379, b 1",
                "sentinels, m m, None",
                3,
            ),
            ("rediss+sentinel://a/m?sentinel_password=s%26", true, None, "a 26379", "sentinels, m, Some(\"s&\")", 0),
            ("redis+cluster://:p@a,b:1", false, known(None, "p"), "a 6379, b 1", "cluster", 0),
            ("rediss+cluster://a/", true, None, "a 6379", "cluster", 0),
        ] {
            let hosts: Vec<_> = hosts.split(", ").map(ToOwned::to_owned).collect();
            assert_eq!(parsed(text), (is_tls, credentials, hosts, place.to_owned(), database), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_named_and_no_password_is_shown() {
        for (text, problem) in [
            ("a.example:6379", "has no scheme"),
            ("http://a.example", "has an unknown scheme"),
            ("redis+sentry://a.example", "has an unknown scheme"),
            ("unix:///run/redis.sock", "has an unknown scheme"),
            ("redis://", "holds an empty host"),
            ("redis://user:hush@", "holds an empty host"),
            ("redis+cluster://a,,b", "holds an empty host"),
            ("redis://user@a.example", "holds no password"),
            ("redis://a.example:0", "holds a port that is none"),
            ("redis://a.example:70000", "holds a port that is none"),
            ("redis://user:hush/hush@a.example", "holds a port that is none"),
            ("redis://user:hush#hush@a.example", "holds a `#`"),
            ("redis://a.example/x", "names a database that is not a number"),
            ("redis://a.example/-1", "names a database that is not a number"),
            ("redis://a,b", "holds several hosts"),
            ("redis+cluster://:hush@a/1", "names a database, and a cluster has none"),
            ("redis+sentinel://:hush@a", "names no master"),
            ("redis+sentinel://a/m?sentinel_password=", "holds an unknown query"),
            ("redis://:hush@a?sentinel_password=hush", "holds an unknown query"),
            ("redis://a?protocol=hush", "holds an unknown query"),
            ("redis://user:hush%ff@a.example", "holds percent-encoded bytes"),
        ] {
            let error = Address::parse(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert_eq!(error.setting(), "address");
            let error = error.to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
