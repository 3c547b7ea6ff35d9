//! One memory for a fleet: all processes that guard one service share answers, and hear of revocations, through an
//! engine.
#![allow(dead_code)]

pub(crate) mod engine;
pub(crate) mod keys;
pub(crate) mod record;
pub(crate) mod seal;
mod secret;
pub(crate) mod value;

pub use engine::memory::MemoryEngine;
pub use secret::FleetSecret;
