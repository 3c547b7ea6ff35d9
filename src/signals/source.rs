//! A transmitter that is listened to.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::event::{Reaction, SecurityEvent};
use super::forged::Forged;
use super::heard::Heard;
use super::memory::Memory;
use super::set::Way;
use crate::jose::Algorithm;
use crate::jwks::Keys;

pub(super) type Decide = Arc<dyn Fn(&SecurityEvent) -> Reaction + Send + Sync>;

pub(super) struct Source {
    pub(super) issuer: String,
    pub(super) token_issuers: Vec<String>,
    pub(super) audiences: Vec<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) keys: Keys,
    /// Their places among those of all transmitters.
    pub(super) caches: Vec<usize>,
    pub(super) decide: Decide,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) clock_skew: Duration,
    pub(super) max_event_age: Duration,
    pub(super) memory: Memory,
    pub(super) forged_pushes: Forged,
    pub(super) forged_logouts: Forged,
    pub(super) heard: Heard,
}

impl Source {
    /// The wrong signatures that strangers may have sent this way. Where the sender is known they do not count: nobody
    /// is to keep its events out.
    pub(super) fn forged_by(&self, way: &Way) -> Option<&Forged> {
        match way {
            Way::Push { .. } if self.authorization.is_none() => Some(&self.forged_pushes),
            Way::Push { .. } | Way::Poll { .. } => None,
            Way::Logout => Some(&self.forged_logouts),
        }
    }
}
