//! A record of the log as the bytes that are sealed: an object of JSON.

use serde::{Deserialize, Serialize};

use crate::selection::Rule;

/// The greatest record, before it is sealed.
pub(crate) const MAX_RECORD_BYTES: usize = 16 * 1024;

/// Tells all nodes that tokens are to be forgotten.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Drawn at random, so that one that was appended twice can be told.
    pub(crate) id: u128,
    /// Of the cache of this name, or of all.
    pub(crate) cache: Option<String>,
    pub(crate) rule: Rule,
    /// No one asked for it: the authority said so of the one token of this rule.
    pub(crate) found_inactive: bool,
}

impl Record {
    /// `None` if it is longer than [`MAX_RECORD_BYTES`], or could not be read back: a claim in it is nested too deeply.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let bytes = serde_json::to_vec(self).ok()?;
        Self::decode(&bytes)?;
        Some(bytes)
    }

    /// `None` if it is too long, or is not all understood: a later release may mean more by it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_RECORD_BYTES {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}
