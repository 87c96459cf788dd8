//! Answers other than success.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder_registry::Error;

use super::Refused;

/// A status and a sentence.
#[derive(Debug)]
pub(super) struct Refusal(StatusCode, String);

impl Refusal {
    pub(super) fn new(status: StatusCode, says: impl Into<String>) -> Self {
        Self(status, says.into())
    }

    pub(super) fn invalid(says: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, says)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Outdated(_) => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(Refused { error: self.1 })).into_response()
    }
}

/// Whatever is below `/larder/` and is no route.
pub(super) async fn nothing_here() -> Refusal {
    let says = "there is nothing here: the API is below /larder/v1, such as /larder/v1/services";
    Refusal::new(StatusCode::NOT_FOUND, says)
}
