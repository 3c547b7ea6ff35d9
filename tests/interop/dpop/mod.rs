//! Tokens that are bound to a key of a client that nobody here wrote (DPoP, RFC 9449).

mod client;
mod proofs;
