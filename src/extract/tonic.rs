//! Access to the token of a [`tonic::Request`] (feature `tonic`).

use tonic::server::NamedService;
use tonic::{Request, Status};

use crate::layer::guard::{Anonymous, NOT_SET_UP, report_missing_layer};
use crate::layer::require::Require;
use crate::layer::service::Introspection;
use crate::token::AccessToken;

/// Access to the token that an [`IntrospectionLayer`](crate::IntrospectionLayer) let in.
///
/// The layer goes around a whole server (`Server::builder().layer(..)`) or around one service, which keeps its gRPC
/// name. Rejections are gRPC answers: `UNAUTHENTICATED`, `PERMISSION_DENIED` or `UNAVAILABLE`, as
/// [`RejectionKind`](crate::rejection::RejectionKind) lists them.
///
/// ```
/// use tonic::{Request, Response, Status};
/// use tower_introspection::AccessTokenExt;
///
/// async fn greet(request: Request<String>) -> Result<Response<String>, Status> {
///     let token = request.access_token()?;
///     Ok(Response::new(format!("hello {}", token.client_id().unwrap_or("you"))))
/// }
/// ```
pub trait AccessTokenExt: sealed::Sealed {
    /// The token the request came in with.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if an optional layer let the request in without one, which that layer counts as a
    /// [`MissingToken`](crate::rejection::RejectionKind::MissingToken). `INTERNAL`, and a log line that names the
    /// fault, if there is no layer around the service.
    // A `Status` is large, but it is what every tonic handler returns.
    #[allow(clippy::result_large_err)]
    fn access_token(&self) -> Result<&AccessToken, Status>;

    /// Like [`access_token`](Self::access_token), behind an optional layer: `None` if the request came in without a
    /// token.
    ///
    /// # Errors
    /// `INTERNAL`, and a log line that names the fault, if there is no layer around the service.
    #[allow(clippy::result_large_err)]
    fn optional_access_token(&self) -> Result<Option<&AccessToken>, Status>;
}

/// So that it can get further methods.
mod sealed {
    pub trait Sealed {}

    impl<T> Sealed for tonic::Request<T> {}
}

impl<T> AccessTokenExt for Request<T> {
    fn access_token(&self) -> Result<&AccessToken, Status> {
        let token = self.optional_access_token()?;
        token.ok_or_else(|| {
            if let Some(anonymous) = self.extensions().get::<Anonymous>() {
                anonymous.count_missing_token();
            }
            Status::unauthenticated("an access token is required")
        })
    }

    fn optional_access_token(&self) -> Result<Option<&AccessToken>, Status> {
        let token = self.extensions().get::<AccessToken>();
        if token.is_none() && self.extensions().get::<Anonymous>().is_none() {
            report_missing_layer("AccessTokenExt");
            return Err(Status::internal(NOT_SET_UP));
        }
        Ok(token)
    }
}

impl<S: NamedService, I, R> NamedService for Introspection<S, I, R> {
    const NAME: &'static str = S::NAME;
}

impl<S: NamedService, R> NamedService for Require<S, R> {
    const NAME: &'static str = S::NAME;
}
