//! Apigee Edge's access-token endpoint.
//!
//! [`Apigee`](crate::Apigee), which stands at the root of the crate, asks `GET
//! {base}/o/{org}/oauth2/accesstokens/{token}`, as the vendor's management API has it.

pub(crate) mod endpoint;
mod login;
pub(crate) mod wire;

pub use endpoint::ApigeeBuilder;
pub use login::ApigeeLogin;
