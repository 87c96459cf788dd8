//! What Eureka's servers send each other: batches of what their clients did, and an answer for each item.
//!
//! Pure. JSON only, as Netflix's servers send it. Fields are written in Netflix's order and none is added:
//! its decoder refuses a batch with a field that it does not know.

use std::sync::Arc;

use larder_registry::model::{Instance, Key, Status};

use super::json;
use super::registration::{Registration, read};
use super::tree::Tree;
use super::{DecodeError, json::DIALECT};

/// What a client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It registered.
    Register,
    /// It renewed its lease.
    Heartbeat,
    /// It left.
    Cancel,
    /// Somebody set an override of its status.
    StatusUpdate,
    /// Somebody lifted it.
    DeleteStatusOverride,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Register,
        Self::Heartbeat,
        Self::Cancel,
        Self::StatusUpdate,
        Self::DeleteStatusOverride,
    ];

    /// Those that change the instance. A heartbeat does not.
    pub(crate) const CHANGES: [Self; 4] =
        [Self::Register, Self::Cancel, Self::StatusUpdate, Self::DeleteStatusOverride];

    /// Netflix's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "Register",
            Self::Heartbeat => "Heartbeat",
            Self::Cancel => "Cancel",
            Self::StatusUpdate => "StatusUpdate",
            Self::DeleteStatusOverride => "DeleteStatusOverride",
        }
    }
}

/// One item of a batch that was received.
#[derive(Debug, Clone)]
pub struct Received {
    /// What was done; none if nobody here knows the word.
    pub action: Option<Action>,
    /// To which instance.
    pub key: Key,
    /// When the instance last changed, by its own clock.
    pub dirty_at: Option<u64>,
    /// The override that the sender holds.
    pub status_override: Option<Status>,
    /// The status: the new one of an override, or the one to fall back to.
    pub status: Option<Status>,
    /// The instance, of a registration; or why it cannot be read, which spoils no other item.
    pub instance: Option<Result<Registration, DecodeError>>,
}

/// One item of a batch to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// What was done.
    pub action: Action,
    /// To which instance.
    pub key: Key,
    /// When the instance last changed, by its own clock.
    pub dirty_at: Option<u64>,
    /// The override that the sender holds.
    pub status_override: Option<Status>,
    /// The status: the new one of an override, or the one to fall back to.
    pub status: Option<Status>,
    /// The instance, of a registration.
    pub instance: Option<Arc<Instance>>,
}

/// The answer to one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// As an HTTP status.
    pub status: u16,
    /// The receiver's own instance, where it is newer.
    pub instance: Option<Arc<Instance>>,
}

/// Reads a batch. An item that cannot be read is one all the same: it is answered for itself, where Netflix's
/// server refuses the whole batch.
pub fn decode_batch(body: &[u8]) -> Result<Vec<Received>, DecodeError> {
    let tree = json::document(body)?;
    let list = tree.get("replicationList").ok_or(missing("replicationList"))?;
    let Tree::List(items) = list else { return Err(missing("replicationList")) };
    Ok(items.iter().map(received).collect())
}

const fn missing(field: &'static str) -> DecodeError {
    DecodeError::Field { field, expected: "a list", found: String::new() }
}

fn received(item: &Tree) -> Received {
    let text = |key| item.get(key).and_then(Tree::text);
    let status = |key| text(key).and_then(Status::from_name);
    let action = text("action").unwrap_or_default();
    Received {
        action: Action::ALL.into_iter().find(|one| one.as_str() == action),
        key: Key::new(text("appName").unwrap_or_default(), text("id").unwrap_or_default()),
        dirty_at: text("lastDirtyTimestamp").and_then(|text| text.parse().ok()),
        status_override: status("overriddenStatus").filter(|status| *status != Status::Unknown),
        status: status("status"),
        instance: item.get("instanceInfo").map(|tree| read(tree, DIALECT)),
    }
}

/// Writes a batch.
pub fn encode_batch<'a>(items: impl IntoIterator<Item = &'a Sent>) -> Vec<u8> {
    encode_within(items, usize::MAX).0
}

/// Writes a batch of as many items as make a body of up to `most` bytes, and one at least; says of how many.
pub fn encode_within<'a>(
    items: impl IntoIterator<Item = &'a Sent>,
    most: usize,
) -> (Vec<u8>, usize) {
    const END: &[u8] = b"]}";
    let mut out = Vec::from(br#"{"replicationList":["#);
    let mut count = 0;
    for item in items {
        let before = out.len();
        if count > 0 {
            out.push(b',');
        }
        write_item(&mut out, item);
        if count > 0 && out.len().saturating_add(END.len()) > most {
            out.truncate(before);
            break;
        }
        count += 1;
    }
    out.extend_from_slice(END);
    (out, count)
}

fn write_item(out: &mut Vec<u8>, item: &Sent) {
    json::in_json(out, |json| {
        json.raw(r#"{"appName":"#);
        json.text(&item.key.service.as_str().to_uppercase());
        json.option("id", Some(&item.key.id));
        if let Some(dirty_at) = item.dirty_at {
            json.raw(r#","lastDirtyTimestamp":"#);
            json.number(dirty_at);
        }
        json.option("overriddenStatus", item.status_override.map(Status::as_str));
        json.option("status", item.status.map(Status::as_str));
    });
    if let Some(instance) = &item.instance {
        out.extend_from_slice(br#","instanceInfo":"#);
        json::write_instance(out, instance);
    }
    json::in_json(out, |json| {
        json.option("action", Some(item.action.as_str()));
        json.raw("}");
    });
}

/// Writes the answers to a batch, in the order of its items.
pub fn encode_answers(answers: &[Answer]) -> Vec<u8> {
    let mut out = Vec::from(br#"{"responseList":["#);
    for (place, answer) in answers.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!(r#"{{"statusCode":{}"#, answer.status).as_bytes());
        if let Some(instance) = &answer.instance {
            out.extend_from_slice(br#","responseEntity":"#);
            json::write_instance(&mut out, instance);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// Reads the answers to a batch.
pub fn decode_answers(body: &[u8]) -> Result<Vec<Answer>, DecodeError> {
    let tree = json::document(body)?;
    let list = tree.get("responseList").ok_or(missing("responseList"))?;
    let Tree::List(items) = list else { return Err(missing("responseList")) };
    items.iter().map(answer).collect()
}

fn answer(item: &Tree) -> Result<Answer, DecodeError> {
    let status = item.get("statusCode").and_then(Tree::text).unwrap_or_default();
    let wrong = |_| DecodeError::Field {
        field: "statusCode",
        expected: "an HTTP status",
        found: super::tree::quote(status),
    };
    let instance = item.get("responseEntity").map(|tree| read(tree, DIALECT)).transpose()?;
    Ok(Answer {
        status: status.parse().map_err(wrong)?,
        instance: instance.map(|held| Arc::new(held.into_listed(""))),
    })
}
