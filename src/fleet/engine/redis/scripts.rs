//! What runs in the server, one script for each thing to be done.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// A script, and the name by which the server knows one that it has seen.
pub(super) struct Script {
    pub(super) code: &'static str,
    pub(super) name: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, code.as_bytes());
        let name = digest.as_ref().iter().fold(String::new(), |mut name, byte| {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        Self { code, name }
    }
}

pub(super) struct Scripts {
    pub(super) claim: Script,
    pub(super) renew: Script,
    pub(super) put: Script,
    pub(super) release: Script,
    pub(super) append: Script,
    pub(super) read: Script,
    pub(super) nodes: Script,
    pub(super) take_turn: Script,
}

macro_rules! script {
    ($($file:literal),+) => {
        Script::new(concat!($(include_str!(concat!("lua/", $file, ".lua"))),+))
    };
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            claim: script!("common", "value", "claim"),
            renew: script!("common", "renew"),
            put: script!("common", "value", "put"),
            release: script!("common", "release"),
            append: script!("common", "log", "append"),
            read: script!("common", "log", "read"),
            nodes: script!("common", "nodes"),
            take_turn: script!("common", "take_turn"),
        }
    }
}
