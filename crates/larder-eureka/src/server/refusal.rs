//! Answers other than success: a status, and a sentence that says what is wrong.

use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use larder_registry::Error;

use super::path;
use crate::response_cache::media_type;
use crate::wire::Format;

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The path names nothing that Eureka has.
    Path(path::Refusal),
    /// The path does not take this method; these it takes.
    Method(&'static str),
    /// A query parameter or the validation of a registration: 400 and the sentence.
    Invalid(String),
    /// The body could not be read, in the shape that Eureka answers with for this format.
    Body(Format, String),
    /// The body is in a format that nobody here reads.
    MediaType(String),
    /// The body is too large or broke off.
    Transfer(StatusCode, String),
    /// The list is empty: no such application.
    NoApp(String),
    /// Lists may not be read yet: this server does not know what there is.
    Shut,
    /// The registry said no.
    Registry(Error),
    /// The registry said no to a heartbeat: the status alone. Netflix's client takes any body for an
    /// instance, whatever the status; where it cannot read one, it does not register again.
    Heartbeat(Error),
    /// The answer could not be encoded in time.
    Unavailable(String),
    /// A region that was asked for was never read: 403 without a body, at which Eureka's clients keep what
    /// they know.
    Unread,
    /// Lists are read more often than this server was told to allow.
    TooMany,
}

impl From<path::Refusal> for Refusal {
    fn from(refusal: path::Refusal) -> Self {
        Self::Path(refusal)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Registry(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Path(path::Refusal::Unknown) => {
                let hint =
                    "there is nothing here: Eureka's API is below /eureka, such as /eureka/apps";
                text(StatusCode::NOT_FOUND, hint.to_owned())
            }
            Self::Path(path::Refusal::NotUtf8) => {
                text(StatusCode::BAD_REQUEST, "the path is not UTF-8".to_owned())
            }
            Self::Method(allowed) => {
                let says = format!("this path takes {allowed}");
                ([(ALLOW, allowed)], text(StatusCode::METHOD_NOT_ALLOWED, says)).into_response()
            }
            Self::Invalid(says) => text(StatusCode::BAD_REQUEST, says),
            Self::Body(format, says) => body(format, &says),
            Self::MediaType(says) => text(StatusCode::UNSUPPORTED_MEDIA_TYPE, says),
            Self::Transfer(status, says) => text(status, says),
            Self::NoApp(says) => text(StatusCode::NOT_FOUND, says),
            Self::Shut | Self::Unread => StatusCode::FORBIDDEN.into_response(),
            Self::Registry(error) => text(status_of(&error), error.to_string()),
            Self::Heartbeat(error) => status_of(&error).into_response(),
            Self::Unavailable(says) => text(StatusCode::SERVICE_UNAVAILABLE, says),
            Self::TooMany => {
                let says = "lists are read too often: try again (eureka.rate_limit)".to_owned();
                ([(RETRY_AFTER, "1")], text(StatusCode::SERVICE_UNAVAILABLE, says)).into_response()
            }
        }
    }
}

pub(super) fn status_of(error: &Error) -> StatusCode {
    match error {
        // Eureka's word for "register again", too.
        Error::NotFound(_) | Error::Outdated(_) => StatusCode::NOT_FOUND,
        Error::Invalid(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Eureka's shape for a body that it cannot parse, with the reason that Eureka leaves out.
fn body(format: Format, says: &str) -> Response {
    let says = format!("cannot parse request body: {says}");
    let body = match format {
        Format::Json => serde_json::json!({ "error": says }).to_string(),
        Format::Xml => {
            let says = quick_xml::escape::escape(says.as_str());
            format!("<error><message>{says}</message></error>")
        }
    };
    (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, media_type(format))], body).into_response()
}

fn text(status: StatusCode, says: String) -> Response {
    (status, says).into_response()
}
