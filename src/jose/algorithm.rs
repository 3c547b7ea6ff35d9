//! What a signature is made with.

/// An algorithm for signatures that is taken from an authority. There is none without a key pair.
///
/// A header's `alg` never decides alone: the type and the curve of the key have to fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256, RFC 7518 section 3.4.
    Es256,
    /// ECDSA on P-384 with SHA-384, RFC 7518 section 3.4.
    Es384,
    /// RSASSA-PSS with SHA-256, RFC 7518 section 3.5. The key has 2,048 to 8,192 bits.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, RFC 7518 section 3.3. The key has 2,048 to 8,192 bits.
    Rs256,
    /// EdDSA on Ed25519, RFC 8037 section 3.1; also by its newer name `Ed25519`, RFC 9864 section 2.2.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::Ps256, Self::Rs256, Self::EdDsa];

    /// The name in a header: `ES256`, `ES384`, `PS256`, `RS256` or `EdDSA`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// By a name that a header or a key states, to the letter.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "PS256" => Self::Ps256,
            "RS256" => Self::Rs256,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }
}
