//! Who is asked by whom: what tells the answers of one endpoint from those of another.

/// The same in all processes with the same configuration, and without a secret of its own. Whoever takes it out of the
/// process makes a keyed hash of it.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Authority {
    /// The endpoint's, or the issuer's where the endpoint is found in its metadata; with Apigee that of the
    /// organisation.
    pub(crate) url: String,
    /// The client's identifier or the name of the account; empty where only a secret tells who it is.
    pub(crate) client: String,
}
