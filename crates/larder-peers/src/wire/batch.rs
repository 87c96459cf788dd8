//! Many keys by one request, between Larders: `POST <base><group>/_get-many/`.
//!
//! Pure. Go's servers would take it for a get of a key of that name, so it is sent in native rings alone.

use bytes::Bytes;
use prost::Message;

use crate::wire::expiry::Expiry;
use crate::wire::message::MessageError;

/// What stands where a key would.
pub const GET_MANY: &[u8] = b"_get-many/";

/// How many keys a request may have.
pub const MOST_KEYS: usize = 1_000;

/// Which keys.
#[derive(Clone, PartialEq, Message)]
pub struct GetManyRequest {
    /// The keys.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub keys: Vec<Bytes>,
}

/// An outcome for each key, in the order in which they were asked for.
#[derive(Clone, PartialEq, Message)]
pub struct GetManyResponse {
    /// The outcomes.
    #[prost(message, repeated, tag = "1")]
    pub outcomes: Vec<Outcome>,
}

/// What became of one key.
#[derive(Clone, PartialEq, Message)]
pub struct Outcome {
    /// The value, if there is one.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub value: Option<Bytes>,
    /// As in [`GetResponse::expire`](super::message::GetResponse::expire).
    #[prost(int64, tag = "2")]
    pub expire: i64,
    /// 0 with a value; else 404 or 503, which are final, or another one, after which the key is asked for alone.
    #[prost(uint32, tag = "3")]
    pub status: u32,
    /// The words of an error.
    #[prost(string, tag = "4")]
    pub text: String,
    /// As in [`GetResponse::minute_qps`](super::message::GetResponse::minute_qps).
    #[prost(double, optional, tag = "5")]
    pub minute_qps: Option<f64>,
}

impl Outcome {
    /// A value.
    pub fn of_value(value: Bytes, expiry: Expiry, minute_qps: Option<f64>) -> Self {
        let text = String::new();
        Self { value: Some(value), expire: expiry.nanos(), status: 0, text, minute_qps }
    }

    /// An error.
    pub fn of_error(status: u16, text: String) -> Self {
        let status = u32::from(status);
        Self { value: None, expire: 0, status, text, minute_qps: None }
    }
}

/// What a key's outcome means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// The value, until when it holds, and how often its owner is asked for it in a second, if it says so.
    Value(Bytes, Expiry, Option<f64>),
    /// There is no such key. Final.
    Missing(String),
    /// The loader failed. Final.
    Failed(String),
    /// To be asked for alone.
    Alone,
}

/// The body that asks for `keys`.
pub fn encode_keys(keys: Vec<Bytes>) -> Vec<u8> {
    GetManyRequest { keys }.encode_to_vec()
}

/// Reads which keys are asked for; more than [`MOST_KEYS`] are refused.
pub fn decode_keys(body: &[u8]) -> Result<Vec<Bytes>, MessageError> {
    let keys = GetManyRequest::decode(body)?.keys;
    if keys.len() > MOST_KEYS {
        let text = format!("{} keys are more than a request may have ({MOST_KEYS})", keys.len());
        return Err(MessageError::Undecodable(text));
    }
    Ok(keys)
}

/// The body that answers.
pub fn encode_outcomes(outcomes: Vec<Outcome>) -> Vec<u8> {
    GetManyResponse { outcomes }.encode_to_vec()
}

/// Reads the outcomes for so many keys; another number of them is an error. `now` is in milliseconds since
/// 1970. Values are copies, so that none keeps the body alive.
pub fn decode_outcomes(body: &[u8], keys: usize, now: u64) -> Result<Vec<Meaning>, MessageError> {
    let outcomes = GetManyResponse::decode(body)?.outcomes;
    if outcomes.len() != keys {
        let text = format!("{} outcomes for {keys} keys", outcomes.len());
        return Err(MessageError::Undecodable(text));
    }
    Ok(outcomes.into_iter().map(|outcome| meaning(outcome, now)).collect())
}

fn meaning(outcome: Outcome, now: u64) -> Meaning {
    let expiry = Expiry::from_nanos(outcome.expire);
    match (outcome.status, outcome.value) {
        (0, Some(value)) if !expiry.is_past(now) => {
            Meaning::Value(value, expiry, outcome.minute_qps.filter(|qps| qps.is_finite()))
        }
        (404, _) => Meaning::Missing(outcome.text),
        (503, _) => Meaning::Failed(outcome.text),
        _ => Meaning::Alone,
    }
}
