//! There is no fleet.

use std::future::Future;
use std::sync::Arc;

use super::{Look, Settled};
use crate::cache::figures::CacheStats;
use crate::cache::invalidation::Rest;
use crate::cache::key::{TokenKey, TokenKeys};
use crate::cache::store::Store;
use crate::clock::{Clock, Timestamp};
use crate::selection::{Fingerprint, Rule};
use crate::token::BearerToken;

pub(in crate::cache) enum Membership {}

pub(in crate::cache) enum Question {}

impl Membership {
    pub(in crate::cache) fn token_keys(&self) -> TokenKeys {
        match *self {}
    }

    pub(in crate::cache) fn judging(&self, _: Arc<dyn Clock>) -> Arc<dyn Clock> {
        match *self {}
    }

    pub(in crate::cache) fn join(&self, _: &Arc<Store>) {
        match *self {}
    }

    pub(in crate::cache) fn add_figures(&self, _: &mut CacheStats) {
        match *self {}
    }

    #[cfg(feature = "dpop")]
    pub(in crate::cache) fn proof_memory(&self) -> Option<crate::introspect::ProofMemory> {
        match *self {}
    }

    pub(in crate::cache) fn fingerprints(&self, _: &BearerToken) -> Vec<Fingerprint> {
        match *self {}
    }

    pub(in crate::cache) async fn look(&self, _: &Store, _: TokenKey, _: &BearerToken<'_>, _: bool) -> Look {
        match *self {}
    }

    pub(in crate::cache) fn invalidate(&self, _: &Rule, _: Option<&BearerToken>, _: Option<Timestamp>) -> Rest {
        match *self {}
    }

    pub(in crate::cache) async fn settle(&self, _: &Store, _: Question, _: &BearerToken<'_>, _: Settled) {
        match *self {}
    }
}

impl Question {
    pub(in crate::cache) async fn during<A: Future>(&self, _: A) -> A::Output {
        match *self {}
    }
}
