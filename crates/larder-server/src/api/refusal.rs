//! Answers other than success: all of them have one shape.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use larder_registry::Error;

use super::Refused;

/// A status and a sentence.
#[derive(Debug)]
pub(crate) struct Refusal(StatusCode, String);

impl Refusal {
    pub(crate) fn new(status: StatusCode, says: impl Into<String>) -> Self {
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
            Error::Outdated(_) | Error::Probed(_) | Error::Contended(_) => StatusCode::CONFLICT,
            Error::Invalid(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        let status = rejection.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            let says = "the body is larger than this server takes (limits.body_bytes)";
            return Self::new(status, says);
        }
        Self::new(status, rejection.body_text())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
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

/// A route that is asked with a method which it does not have; the header `Allow` lists those it has.
pub(crate) async fn not_that_method(method: Method) -> Refusal {
    let says = format!("{method} does nothing here; the header Allow says what does");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, says)
}
