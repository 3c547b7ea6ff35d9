//! Base64url as RFC 7515 section 2 has it.

use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use base64::{Engine, decoded_len_estimate};

use super::fault::Fault;

/// Each text stands for bytes that no other text stands for: padding, white space, and bits behind the last byte that
/// are not zero are refused.
pub(crate) fn decoded(text: &str) -> Result<Vec<u8>, Fault> {
    // With room beforehand: `decode` asks for zeroed memory, which takes the allocator longer.
    let mut bytes = Vec::with_capacity(decoded_len_estimate(text.len()));
    BASE64_URL_SAFE_NO_PAD.decode_vec(text, &mut bytes).map_err(|_| Fault::Base64)?;
    Ok(bytes)
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn encode_into(bytes: &[u8], text: &mut String) {
    BASE64_URL_SAFE_NO_PAD.encode_string(bytes, text);
}
