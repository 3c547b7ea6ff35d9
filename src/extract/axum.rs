//! [`AccessToken`] as an axum extractor (feature `axum`).

use std::fmt;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::layer::guard::{Anonymous, RejectsBelow, missing_layer, report_missing_layer};
use crate::rejection::{EmptyBody, GrpcForm, Refused, Rejection, RejectionKind, RejectionReason, respond};
use crate::request::RequestView;
use crate::token::AccessToken;

/// Why [`AccessToken`] could not be extracted: an answer to send.
///
/// If the fault is the caller's, it is the answer of the layer around the route, which counts it too. (It has an empty
/// body if a layer between the two changes the type of the response's body: then the one around cannot make it.)
pub struct AccessTokenRejection {
    kind: Option<RejectionKind>,
    /// A body cannot be shared, but errors have to be.
    response: Box<Mutex<Response>>,
}

impl AccessTokenRejection {
    /// What the caller is told, if the fault is theirs: an optional layer let the request in without a token. `None` if
    /// the route has no layer around it.
    #[must_use]
    pub fn kind(&self) -> Option<RejectionKind> {
        self.kind
    }

    fn of(kind: Option<RejectionKind>, response: Response) -> Self {
        Self { kind, response: Box::new(Mutex::new(response)) }
    }

    /// An optional layer let the request in.
    fn missing_token(anonymous: &Anonymous, request: &mut Parts) -> Self {
        let response = match request.extensions.get::<RejectsBelow<Body>>().cloned() {
            Some(layer) => layer.reject(request),
            None => {
                anonymous.count_missing_token();
                let request = RequestView::new(request);
                let refused = Refused::For(RejectionReason::MissingToken);
                respond(&EmptyBody, &Rejection::new(refused, &anonymous.context, &request, None), &request)
            }
        };
        Self::of(Some(RejectionKind::MissingToken), response)
    }

    fn missing_layer(request: &Parts) -> Self {
        report_missing_layer("the AccessToken extractor");
        Self::of(None, missing_layer(GrpcForm::of(&RequestView::new(request))))
    }
}

impl fmt::Debug for AccessTokenRejection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("AccessTokenRejection").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Display for AccessTokenRejection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.kind {
            Some(_) => "the request came in without an access token",
            None => "the route has no IntrospectionLayer around it",
        })
    }
}

impl std::error::Error for AccessTokenRejection {}

impl IntoResponse for AccessTokenRejection {
    fn into_response(self) -> Response {
        self.response.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AccessToken {
    type Rejection = AccessTokenRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let token = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        token.ok_or_else(|| match parts.extensions.get::<Anonymous>().cloned() {
            Some(anonymous) => AccessTokenRejection::missing_token(&anonymous, parts),
            None => AccessTokenRejection::missing_layer(parts),
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for AccessToken {
    type Rejection = AccessTokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        let token = parts.extensions.get::<Self>().cloned();
        if token.is_none() && parts.extensions.get::<Anonymous>().is_none() {
            return Err(AccessTokenRejection::missing_layer(parts));
        }
        Ok(token)
    }
}
