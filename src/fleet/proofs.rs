//! Which proofs of possession were used, at any process of the fleet.
//!
//! The name of a proof is kept in the engine for as long as the proof could be used. While the engine is away each
//! process goes by what it has noted itself, so that a proof comes in once at each.

use std::sync::Weak;
use std::time::Duration;

use super::engine::EngineError;
use super::figures::Counted;
use super::node::{Node, PROOF_TIME};
use super::trouble::Call;
use crate::introspect::{Inserting, SharedProofs};

/// Holds no process in its fleet.
pub(super) struct Proofs(pub(super) Weak<Node>);

impl SharedProofs for Proofs {
    fn insert<'a>(&'a self, key: &'a [u8; 32], jti: &'a str, lasts: Duration) -> Inserting<'a> {
        Box::pin(async move {
            let node = self.0.upgrade()?;
            let is_new = node.notes_proof(key, jti, lasts).await;
            if is_new.is_none() {
                node.figures.count(Counted::LocalProof);
            }
            is_new
        })
    }
}

impl Node {
    async fn notes_proof(&self, key: &[u8; 32], jti: &str, lasts: Duration) -> Option<bool> {
        if !self.proof_access.is_open() {
            return None;
        }
        let error = match tokio::time::timeout(PROOF_TIME, self.insert_proof(key, jti, lasts)).await {
            Ok(Ok(is_new)) => {
                self.proof_access.succeeds();
                self.succeeded(Call::Proof);
                return Some(is_new);
            }
            Ok(Err(error)) => error,
            Err(_) => EngineError::too_slow(),
        };
        self.proof_access.fails();
        self.failed(Call::Proof, &error);
        None
    }

    /// Under the name by each secret: while one takes the place of another, processes have them in different orders. In
    /// one order all the same, so that of two processes with one proof the first one to come is the first under both.
    async fn insert_proof(&self, key: &[u8; 32], jti: &str, lasts: Duration) -> Result<bool, EngineError> {
        let mut all: Vec<_> = self.keys.ids().zip(self.keys.which()).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        for (_, which) in all {
            let name = self.keys.proof_name(which, key, jti);
            if !self.engine.insert_once(&name, lasts).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
