//! Where the servers are: as the address says, as a sentinel does, or as the cluster does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value, cmd};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fleet::engine::redis::address::{Address, Credentials, Host, Place};
use crate::fleet::engine::redis::fault::{judge, no_connection, unexpected_answer};
use crate::fleet::engine::redis::link::Link;
use crate::fleet::engine::redis::reply;
use crate::fleet::engine::redis::servers::{Range, Servers};
use crate::fleet::engine::redis::tls::Tls;
use crate::fleet::engine::{EngineError, EngineErrorKind};

/// More servers than a cluster has, and more ranges of slots. What says that it has more is not believed.
const MOST_SERVERS: usize = 1_000;

pub(super) struct Search {
    pub(super) address: Address,
    pub(super) tls: Option<Tls>,
    pub(super) connect_timeout: Duration,
}

impl Search {
    /// What no error may hold.
    pub(super) fn secrets(&self) -> [&str; 2] {
        let password = self.address.credentials.as_ref().map_or("", |credentials| credentials.password.as_str());
        let of_sentinels = match &self.address.place {
            Place::Sentinels { password, .. } => password.as_deref().unwrap_or_default(),
            _ => "",
        };
        [password, of_sentinels]
    }

    /// Asks anew where the servers are, and connects to those that are not connected in `known`.
    pub(super) async fn find(&self, known: &Servers) -> Result<Servers, EngineError> {
        match &self.address.place {
            Place::Server => {
                let link = self.first_that_answers(&self.address.hosts, |host| self.open(host)).await?;
                Ok(Servers::one(link))
            }
            Place::Sentinels { master, password } => {
                let ask = |host| self.ask_sentinel(host, master, password.as_deref());
                let master = self.first_that_answers(&self.address.hosts, ask).await?;
                Ok(Servers::one(self.open(master).await?))
            }
            Place::Cluster => {
                let hosts: Vec<_> = known.hosts().chain(&self.address.hosts).cloned().collect();
                let ranges = self.first_that_answers(&hosts, |host| self.ask_cluster(host, known)).await?;
                self.connect_to_all(ranges, known).await
            }
        }
    }

    /// What the first of `hosts` says that says something; each has its part of the time.
    async fn first_that_answers<T, F>(&self, hosts: &[Host], ask: impl Fn(Host) -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let parts = u32::try_from(hosts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let mut problem = no_connection("there is no host");
        for host in hosts {
            let shown = host.to_string();
            // A server that is alone has all of it.
            let part = if hosts.len() == 1 { self.connect_timeout } else { self.connect_timeout / parts };
            problem = match timeout(part, ask(host.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => {
                    let text = format!("{shown}: no connection within {} ms", part.as_millis());
                    EngineError { kind: EngineErrorKind::Timeout, text }
                }
            };
        }
        Err(problem)
    }

    async fn open(&self, host: Host) -> Result<Link, EngineError> {
        self.open_with(&host, self.address.credentials.as_ref(), self.address.database).await
    }

    async fn open_with(
        &self,
        host: &Host,
        credentials: Option<&Credentials>,
        database: i64,
    ) -> Result<Link, EngineError> {
        let link = Link::open(host, self.tls.as_ref(), credentials, database).await;
        link.map_err(|error| self.judged(host, &error))
    }

    fn judged(&self, host: &Host, error: &redis::RedisError) -> EngineError {
        let (error, _) = judge(host, &self.secrets(), error);
        error
    }

    async fn ask_sentinel(&self, host: Host, master: &str, password: Option<&str>) -> Result<Host, EngineError> {
        let credentials = password.map(|password| Credentials { user: None, password: password.to_owned() });
        let link = self.open_with(&host, credentials.as_ref(), 0).await?;
        let answer: RedisResult<Value> = link.command(cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master)).await;
        match answer.map_err(|error| self.judged(&host, &error))? {
            Value::Nil => Err(EngineError {
                kind: EngineErrorKind::Refused,
                text: format!("{host}: the sentinel knows no master of the name {master:?}"),
            }),
            answer => master_in(answer).ok_or_else(|| unexpected_answer("where the master is")),
        }
    }

    async fn ask_cluster(&self, host: Host, known: &Servers) -> Result<Vec<Range>, EngineError> {
        let link = match known.to(&host) {
            Some(link) => link,
            None => Arc::new(self.open(host.clone()).await?),
        };
        let answer = link.command(cmd("CLUSTER").arg("SLOTS")).await;
        let answer = answer.map_err(|error| self.judged(&host, &error))?;
        ranges_in(answer, &host).ok_or_else(|| unexpected_answer("which server has which slots"))
    }

    /// To all at a time, so that one that does not answer holds up no other.
    async fn connect_to_all(&self, ranges: Vec<Range>, known: &Servers) -> Result<Servers, EngineError> {
        let mut servers: Vec<(Host, Option<Arc<Link>>)> = Vec::new();
        let mut opening = JoinSet::new();
        let part = self.connect_timeout / 2;
        for Range { host, .. } in &ranges {
            if servers.iter().any(|(there, _)| there == host) {
                continue;
            }
            let link = known.to(host);
            if link.is_none() {
                let (address, tls, host) = (self.address.clone(), self.tls.clone(), host.clone());
                opening.spawn(async move {
                    let link = Link::open(&host, tls.as_ref(), address.credentials.as_ref(), address.database);
                    (timeout(part, link).await, host)
                });
            }
            servers.push((host.clone(), link));
        }
        let mut problem = no_connection("there is no server");
        while let Some(Ok((opened, host))) = opening.join_next().await {
            match opened {
                Ok(Ok(link)) => {
                    if let Some((_, place)) = servers.iter_mut().find(|(there, _)| *there == host) {
                        *place = Some(Arc::new(link));
                    }
                }
                Ok(Err(error)) => problem = self.judged(&host, &error),
                Err(_) => problem.text = format!("{host}: no connection within {} ms", part.as_millis()),
            }
        }
        if servers.iter().all(|(_, link)| link.is_none()) {
            return Err(problem);
        }
        Ok(Servers::cluster(ranges, servers))
    }
}

fn master_in(answer: Value) -> Option<Host> {
    let [name, port] = reply::items(answer)?;
    Some(Host { name: reply::text(name)?, port: reply::number(&port)?.try_into().ok()? })
}

/// Of `CLUSTER SLOTS`: for each range its ends, its master, and replicas. A server without a name is the one that was
/// asked.
fn ranges_in(answer: Value, asked: &Host) -> Option<Vec<Range>> {
    let answer = reply::list(answer)?;
    if answer.is_empty() || answer.len() > MOST_SERVERS * 16 {
        return None;
    }
    let ranges: Option<Vec<Range>> = answer.into_iter().map(|range| range_in(range, asked)).collect();
    ranges.filter(|ranges| {
        let mut hosts: Vec<_> = ranges.iter().map(|range| &range.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.len() <= MOST_SERVERS
    })
}

fn range_in(range: Value, asked: &Host) -> Option<Range> {
    let mut range = reply::list(range)?.into_iter();
    let first = reply::number(&range.next()?)?.try_into().ok()?;
    let last = reply::number(&range.next()?)?.try_into().ok()?;
    let mut master = reply::list(range.next()?)?.into_iter();
    let name = reply::text(master.next()?).filter(|name| !name.is_empty()).unwrap_or_else(|| asked.name.clone());
    let port = reply::number(&master.next()?)?.try_into().ok()?;
    Some(Range { first, last, host: Host { name, port } })
}
