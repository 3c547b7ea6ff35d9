//! Where processes note together which proofs were used.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub(crate) type Inserting<'a> = Pin<Box<dyn Future<Output = Option<bool>> + Send + 'a>>;

/// Notes used proofs for several processes.
pub(crate) trait SharedProofs: Send + Sync {
    /// Notes for so long that the proof with this `jti` and key is used, in one step. False if it was noted before;
    /// `None` if that cannot be found out now.
    fn insert<'a>(&'a self, key: &'a [u8; 32], jti: &'a str, lasts: Duration) -> Inserting<'a>;
}

/// Where the processes of a fleet note which DPoP proofs were used, so that each comes in once:
/// [`Introspect::proof_memory`](crate::Introspect::proof_memory).
#[derive(Clone)]
pub struct ProofMemory(Arc<dyn SharedProofs>);

impl ProofMemory {
    #[cfg(feature = "redis")]
    pub(crate) fn new(shared: Arc<dyn SharedProofs>) -> Self {
        Self(shared)
    }

    pub(crate) async fn insert(&self, key: &[u8; 32], jti: &str, lasts: Duration) -> Option<bool> {
        self.0.insert(key, jti, lasts).await
    }
}

impl fmt::Debug for ProofMemory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("ProofMemory")
    }
}
