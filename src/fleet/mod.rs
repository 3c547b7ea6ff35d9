//! One memory for a fleet: all processes that guard one service share answers, and hear of revocations, through an
//! engine.
#![allow(dead_code)]

pub(crate) mod engine;
