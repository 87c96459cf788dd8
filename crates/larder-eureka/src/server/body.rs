//! The body of a request, whole and unpacked.

use std::io::Read;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_ENCODING;
use flate2::read::MultiGzDecoder;

use super::refusal::Refusal;

/// How many bytes a body in gzip may unpack to.
const MAX_UNPACKED: u64 = 16 << 20;

/// The body, unpacked if it comes in gzip, as peers send it that are told to compress. How many bytes it
/// may have as it comes is a matter of who serves the routes.
pub(super) async fn whole(request: Request) -> Result<Bytes, Refusal> {
    let codings = request.headers().get_all(CONTENT_ENCODING).iter();
    let codings: Vec<&[u8]> = codings.map(|value| value.as_bytes().trim_ascii()).collect();
    let is_packed = match codings[..] {
        [] | [b"" | b"identity"] => false,
        [b"gzip"] => true,
        _ => {
            let says = "this Content-Encoding is not supported: send the body as it is, or in gzip";
            return Err(Refusal::MediaType(says.to_owned()));
        }
    };
    let body = Bytes::from_request(request, &())
        .await
        .map_err(|rejection| Refusal::Transfer(rejection.status(), rejection.body_text()))?;
    if is_packed { unpacked(&body) } else { Ok(body) }
}

fn unpacked(body: &[u8]) -> Result<Bytes, Refusal> {
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(body).take(MAX_UNPACKED + 1).read_to_end(&mut text);
    read.map_err(|error| Refusal::Invalid(format!("the body is not gzip: {error}")))?;
    if text.len() as u64 > MAX_UNPACKED {
        let says = format!("the body unpacks to more than {MAX_UNPACKED} bytes");
        return Err(Refusal::Transfer(StatusCode::PAYLOAD_TOO_LARGE, says));
    }
    Ok(text.into())
}
