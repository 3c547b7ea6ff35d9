//! The only thing the cache knows of a token.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::random::random;
use crate::selection::Fingerprint;
use crate::token::BearerToken;

/// A keyed 128-bit fingerprint of a token (SipHash-2-4-128).
///
/// Without the key nobody can make two tokens collide, nor test a guess against a memory dump.
///
/// In halves rather than in one number: that would want an address divisible by 16, and entries would be larger for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TokenKey {
    low: u64,
    high: u64,
}

/// As numbers, for those who keep it without looking into it.
impl TokenKey {
    pub(super) fn halves(self) -> [u64; 2] {
        [self.low, self.high]
    }

    pub(super) fn of_halves([low, high]: [u64; 2]) -> Self {
        Self { low, high }
    }
}

impl TokenKey {
    /// A number from 0 to 1 that is the token's own and says nothing else of it.
    #[allow(clippy::cast_possible_truncation)] // the upper half fits
    pub(super) fn chance(self) -> f64 {
        f64::from((self.high >> 32) as u32) / f64::from(u32::MAX)
    }
}

/// A table finds the place of a key by one half, and tells it from others by the other half or by both.
impl TokenKey {
    pub(super) fn low(self) -> u64 {
        self.low
    }

    pub(super) fn high(self) -> u64 {
        self.high
    }
}

impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

/// Makes the keys of one cache. Each cache has a secret of its own, so no two caches, and no two authorities behind
/// them, share a key space.
pub(super) struct TokenKeys {
    /// Which secret it is, among those that a fleet has told of. 0 is one that only this cache knows.
    id: u64,
    fingerprint: SipHasher24,
}

impl TokenKeys {
    pub(super) fn random() -> Self {
        Self { id: 0, fingerprint: SipHasher24::new_with_keys(random(), random()) }
    }

    /// With a secret that others have, too.
    #[cfg(feature = "redis")]
    pub(super) fn of_secret(id: u64, low: u64, high: u64) -> Self {
        Self { id, fingerprint: SipHasher24::new_with_keys(low, high) }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn fingerprint(&self, token: &BearerToken) -> Fingerprint {
        Fingerprint { key_id: self.id, key: self.of(token).halves() }
    }

    pub(super) fn of(&self, token: &BearerToken) -> TokenKey {
        let mut fingerprint = self.fingerprint;
        fingerprint.write(token.as_bytes());
        let fingerprint = fingerprint.finish128();
        TokenKey { low: fingerprint.h1, high: fingerprint.h2 }
    }
}

/// Takes the hash from the key as it is: a fingerprint is already uniform, and unpredictable to whoever chooses tokens.
#[derive(Default)]
pub(super) struct UniformHasher(u64);

impl Hasher for UniformHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    /// Not reached by [`TokenKey`]; right for anything else, only slower.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

pub(super) type UniformState = BuildHasherDefault<UniformHasher>;

#[cfg(test)]
impl TokenKeys {
    /// With a secret that is known.
    fn with_secret(low: u64, high: u64) -> Self {
        Self { id: 0, fingerprint: SipHasher24::new_with_keys(low, high) }
    }
}

/// The keys of as many tokens.
#[cfg(test)]
pub(super) fn keys(count: usize) -> Vec<TokenKey> {
    let keys = TokenKeys::random();
    (0..count).map(|n| keys.of(&BearerToken::parse(format!("token-{n}")).unwrap())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn token(text: &str) -> BearerToken<'_> {
        BearerToken::parse(text).unwrap()
    }

    #[test]
    fn one_token_has_one_key_in_a_cache_and_another_in_every_other_cache() {
        let (one, other) = (TokenKeys::random(), TokenKeys::random());
        assert_eq!(one.of(&token("abc")), one.of(&token("abc")));
        assert_ne!(one.of(&token("abc")), other.of(&token("abc")));
    }

    #[test]
    fn tokens_that_differ_in_one_character_or_in_length_have_different_keys() {
        let keys = TokenKeys::random();
        let tokens = (0..10_000).map(|n| format!("token-{n}")).chain((1..500).map(|n| "a".repeat(n)));
        let distinct: HashSet<TokenKey, UniformState> = tokens.map(|text| keys.of(&token(&text))).collect();
        assert_eq!(distinct.len(), 10_499);
    }

    #[test]
    fn both_halves_of_a_key_are_the_tokens_own() {
        let halves: HashSet<u64> = keys(1_000).into_iter().flat_map(TokenKey::halves).collect();
        assert_eq!(halves.len(), 2_000);
    }

    #[test]
    fn the_fingerprint_is_siphash_2_4_with_128_bits() {
        // Reference vector of the SipHash authors: key 00..0f, input 00..0e.
        let keys = TokenKeys::with_secret(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let input: Vec<u8> = (0..15).collect();
        let expected = [
            u64::from_le_bytes([0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11]),
            u64::from_le_bytes([0x7e, 0x08, 0xec, 0x0f, 0x97, 0xcf, 0xc3, 0xd9]),
        ];
        assert_eq!(keys.of(&BearerToken::of_any_bytes(&input)).halves(), expected);
    }
}
