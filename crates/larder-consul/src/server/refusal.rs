//! A request that is not answered as it was meant: a status and a sentence, in plain text as Consul's agent
//! says it.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use larder_registry::Error;

use crate::answer::Answer;

/// Why not.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    says: String,
    allow: Option<&'static str>,
    /// What an agent behind this server says, as it came.
    answer: Option<Box<Answer>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, says: impl Into<String>) -> Self {
        Self { status, says: says.into(), allow: None, answer: None }
    }

    /// What an agent behind this server says.
    pub(super) fn from_agent(answer: Box<Answer>) -> Self {
        let says = String::from_utf8_lossy(&answer.body).into_owned();
        let refusal = Self::new(answer.status, says);
        Self { answer: Some(answer), ..refusal }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn says(&self) -> &str {
        &self.says
    }

    /// What was sent makes no sense.
    pub(super) fn invalid(says: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, says)
    }

    /// There is no such thing.
    pub(super) fn not_found(says: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, says)
    }

    /// Consul has this, and Larder's own registry has not.
    pub(super) fn unsupported(what: &str) -> Self {
        let says = format!(
            "{what} are not kept by Larder's own registry; put Larder in front of a Consul agent for them: \
             larder serve --upstream consul+http://HOST:8500"
        );
        Self::new(StatusCode::NOT_IMPLEMENTED, says)
    }

    /// The path is there, and not for this method.
    pub(super) fn method(method: &Method, allow: &'static str) -> Self {
        let says = format!("method {method} not allowed");
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, says);
        Self { allow: Some(allow), ..refusal }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Invalid(_) | Error::Probed(_) => StatusCode::BAD_REQUEST,
            Error::Outdated(_) | Error::Contended(_) => StatusCode::CONFLICT,
            Error::Denied { .. } => StatusCode::FORBIDDEN,
            Error::Full { .. } | Error::Unavailable { .. } | Error::Closed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Some(answer) = self.answer {
            return answer.into_response();
        }
        let mut response = Response::new(Body::from(self.says));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
