//! Redis and Valkey.

use super::Engine;
use super::memory::MemoryEngine;
use crate::build_error::BuildError;
/// Stub until it lands.
pub(crate) fn stub(_: &str, prefix: &str, _: Option<Vec<u8>>) -> Result<MemoryEngine, BuildError> {
    Ok(MemoryEngine::new().of_fleet(prefix))
}
