//! The tokens that requests present.

use crate::signing::Issuer;

/// Opaque tokens in rotation, unless `PEERS_TOKENS` says otherwise.
const OPAQUE: usize = 10_000;
/// Signed tokens in rotation. Nothing about them is cached, so a few do.
const SIGNED: usize = 300;
/// Tokens take turns in another order than the one they were cached in, as they do in life: in that order the processor
/// would fetch the next entry ahead of its use. A prime that divides neither number visits each.
const STRIDE: usize = 7_919;

/// What kind of token requests present.
#[derive(Clone, Copy)]
pub enum TokenKind {
    /// 28 letters and digits that mean nothing to anybody but the authority.
    Opaque,
    /// A JWT signed with RSA, 2,048 bits.
    Rs256,
    /// A JWT signed with ECDSA on P-256.
    Es256,
}

impl TokenKind {
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Opaque, Self::Rs256, Self::Es256].into_iter().find(|kind| kind.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Rs256 => "rs256",
            Self::Es256 => "es256",
        }
    }

    /// Tokens that the authority of `issuer` vouches for.
    pub(crate) fn tokens(self, issuer: &Issuer) -> Vec<String> {
        match self {
            Self::Opaque => (0..opaque_tokens()).map(opaque).collect(),
            Self::Rs256 => (0..SIGNED).map(|n| issuer.rs256(n)).collect(),
            Self::Es256 => (0..SIGNED).map(|n| issuer.es256(n)).collect(),
        }
    }
}

fn opaque_tokens() -> usize {
    std::env::var("PEERS_TOKENS").ok().and_then(|number| number.parse().ok()).unwrap_or(OPAQUE).max(1)
}

/// As Apigee's tokens are: 28 letters and digits.
pub(crate) fn opaque(n: usize) -> String {
    format!("25poPXCPOw43s0hJBn6t{n:08}")
}

/// `items` in the order in which they take turns.
pub(crate) fn in_turn<T: Clone>(items: &[T]) -> Vec<T> {
    (0..items.len()).map(|n| items[n * STRIDE % items.len()].clone()).collect()
}
