//! The connections to the servers that are there.
//!
//! A call takes the connection to the server that has its key. If there is none, it fails at once: nobody but
//! [`Connections::connect`], which reading the log calls, makes one. A call that was not answered in time discards its
//! connection, since a server that is gone without a word shows by nothing else. The next reading connects again, and
//! asks the sentinels, or the cluster, again where the servers are. Until it has, calls fail by what keeps the
//! connection away, if that is known: one fault is one kind of failure, whoever meets it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::time::timeout;

use crate::fleet::engine::redis::fault::{Aftermath, judge, no_connection};
use crate::fleet::engine::redis::link::{Call, Link};
use crate::fleet::engine::redis::search::Search;
use crate::fleet::engine::redis::servers::Servers;
use crate::fleet::engine::{EngineError, EngineErrorKind};

pub(super) struct Connections {
    search: Search,
    servers: RwLock<Arc<Servers>>,
    /// Whoever connects has it.
    connecting: tokio::sync::Mutex<()>,
    /// The keys have moved, or there is no connection that a call needs, and reading the log does not.
    is_outdated: AtomicBool,
    /// What keeps the connection away: the last attempt failed by it, or the server refused what came over it.
    problem: Mutex<Option<EngineError>>,
}

impl Connections {
    pub(super) fn new(search: Search) -> Self {
        let (servers, connecting) = (RwLock::default(), tokio::sync::Mutex::new(()));
        Self { search, servers, connecting, is_outdated: AtomicBool::new(false), problem: Mutex::default() }
    }

    /// The connection to the server that has `key`.
    pub(super) fn link(&self, key: &str) -> Result<Arc<Link>, EngineError> {
        let no_link = || no_connection("there is no connection to the server that has the key");
        self.servers().link(key).ok_or_else(|| {
            // It may have broken while nobody waited for an answer, who would have told.
            self.is_outdated.store(true, Ordering::Relaxed);
            self.problem().clone().unwrap_or_else(no_link)
        })
    }

    fn problem(&self) -> MutexGuard<'_, Option<EngineError>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn run(&self, call: Call<'_>, limit: Duration) -> Result<Value, EngineError> {
        let link = self.link(call.key())?;
        self.within(limit, &link, link.run(&call)).await
    }

    /// Waits for what `link` is asked, and discards it if that shows that it is of no use.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        link: &Link,
        exchange: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, EngineError> {
        let Ok(done) = timeout(limit, exchange).await else {
            self.discard(link);
            let text = format!("{}: no answer within {} ms", link.host, limit.as_millis());
            return Err(EngineError { kind: EngineErrorKind::Timeout, text });
        };
        done.map_err(|error| {
            let (error, aftermath) = judge(&link.host, &self.search.secrets(), &error);
            match aftermath {
                Aftermath::Kept => {}
                Aftermath::Discarded => {
                    if error.kind == EngineErrorKind::Refused {
                        *self.problem() = Some(error.clone());
                    }
                    self.discard(link);
                }
                Aftermath::Moved => self.is_outdated.store(true, Ordering::Relaxed),
            }
            error
        })
    }

    /// Sees to it that there is a connection to the server that has `key`. The others of a cluster are connected to
    /// again in a task of their own.
    pub(super) async fn connect(self: &Arc<Self>, key: &str) -> Result<(), EngineError> {
        if self.link(key).is_ok() {
            self.mend();
            return Ok(());
        }
        let connecting = async {
            let _turn = self.connecting.lock().await;
            // Somebody else may have done it meanwhile.
            if self.link(key).is_ok() { Ok(()) } else { self.find_servers().await }
        };
        let limit = self.search.connect_timeout;
        let done = timeout(limit, connecting).await;
        let done = done.unwrap_or_else(|_| {
            let text = format!("no connection within {} ms", limit.as_millis());
            Err(EngineError { kind: EngineErrorKind::Timeout, text })
        });
        *self.problem() = done.as_ref().err().cloned();
        done?;
        self.link(key).map(drop)
    }

    /// What fails here fails the calls that need it, and is tried again at the next reading.
    fn mend(self: &Arc<Self>) {
        if !self.is_outdated.swap(false, Ordering::Relaxed) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_turn) = this.connecting.try_lock() else { return };
            let done = timeout(this.search.connect_timeout, this.find_servers()).await;
            if !matches!(done, Ok(Ok(()))) {
                this.is_outdated.store(true, Ordering::Relaxed);
            }
        });
    }

    async fn find_servers(&self) -> Result<(), EngineError> {
        let found = self.search.find(&self.servers()).await?;
        self.is_outdated.store(found.lacks_some(), Ordering::Relaxed);
        *self.servers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
        Ok(())
    }

    fn servers(&self) -> Arc<Servers> {
        Arc::clone(&self.servers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn discard(&self, link: &Link) {
        link.discard();
        self.is_outdated.store(true, Ordering::Relaxed);
    }
}
