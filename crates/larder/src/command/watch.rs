//! `larder watch [SERVICE]`

use std::collections::BTreeMap;
use std::time::Duration;

use larder_server::api::{Instance, InstanceChange};
use larder_server::interruption;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::Watch;
use crate::client::{Client, segment};
use crate::failure::{Failure, note, reason};
use crate::output::{address, cell, json, line};

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// The longest event: an instance with as much metadata as a server takes, and then some.
const MAX_EVENT_BYTES: usize = 64 << 20;

pub(crate) async fn run(watch: Watch) -> Result<(), Failure> {
    let client = Client::new(&watch.ask)?;
    let interruption = interruption().map_err(|error| reason(format!("cannot wait: {error}")))?;
    // cancel-safe: what is under way is not needed after an interruption.
    tokio::select! {
        () = interruption => Ok(()),
        ended = follow(&client, &watch) => ended,
    }
}

/// Follows the server; a server that cannot be reached at first is a failure, one that goes away later
/// is waited for.
async fn follow(client: &Client, watch: &Watch) -> Result<(), Failure> {
    let path = match &watch.service {
        Some(service) => format!("watch?service={}", segment(service)),
        None => "watch".to_owned(),
    };
    let mut shown = Shown::new(watch.ask.json);
    let mut stream = client.stream(&path).await?;
    loop {
        let lost = read(client, &mut stream, &mut shown).await?;
        let mut retry = FIRST_RETRY;
        note(&format!("{lost}; trying again"));
        stream = loop {
            tokio::time::sleep(retry).await;
            match client.stream(&path).await {
                Ok(stream) => break stream,
                Err(_) => retry = (retry * 2).min(LAST_RETRY),
            }
        };
        note("connected again");
    }
}

/// Shows events until the stream ends; says why it did.
async fn read(
    client: &Client,
    stream: &mut reqwest::Response,
    shown: &mut Shown,
) -> Result<String, Failure> {
    let mut buffer = Vec::new();
    loop {
        match stream.chunk().await {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk),
            Ok(None) => return Ok("the server ended the watch".to_owned()),
            Err(error) => match client.unreachable(&error) {
                Failure::Reason(says) => return Ok(says),
                failure => return Err(failure),
            },
        }
        while let Some(event) = take_event(&mut buffer) {
            shown.apply(&event)?;
        }
        if buffer.len() > MAX_EVENT_BYTES {
            return Err(reason("the server sent an event without end"));
        }
    }
}

/// One server-sent event. A comment is an event without a name.
#[derive(Debug, Default, PartialEq, Eq)]
struct SentEvent {
    name: String,
    data: String,
}

/// Takes the first complete event out of the buffer.
fn take_event(buffer: &mut Vec<u8>) -> Option<SentEvent> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let block: Vec<u8> = buffer.drain(..end + 2).collect();
    let mut event = SentEvent::default();
    for text in String::from_utf8_lossy(&block).lines() {
        match text.split_once(':') {
            Some(("event", name)) => name.trim_start().clone_into(&mut event.name),
            Some(("data", data)) => event.data.push_str(data.trim_start()),
            _ => {}
        }
    }
    Some(event)
}

type Instances = BTreeMap<(String, String), Instance>;

/// What was shown so far, so that after a new listing only the difference is.
struct Shown {
    json: bool,
    known: Instances,
    /// A listing that is not complete yet.
    aside: Option<Instances>,
    /// What to call an instance that a listing has and `known` has not: at first it was present, later
    /// it was added while the server was away.
    new_in_listing: &'static str,
}

/// A line for scripts.
#[derive(Serialize)]
struct Line<'a> {
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    instance: &'a Instance,
}

impl Shown {
    fn new(json: bool) -> Self {
        Self { json, known: BTreeMap::new(), aside: None, new_in_listing: "present" }
    }

    fn apply(&mut self, event: &SentEvent) -> Result<(), Failure> {
        match event.name.as_str() {
            "init" => self.aside = Some(Instances::new()),
            "instance" => {
                let InstanceChange { instance, .. } = data(event)?;
                self.aside.get_or_insert_default().insert(key(&instance), instance);
            }
            "init_done" => self.listed()?,
            "apply" => {
                let InstanceChange { revision, instance } = data(event)?;
                let known = self.known.insert(key(&instance), instance.clone()).is_some();
                self.show(if known { "changed" } else { "added" }, revision, &instance)?;
            }
            "delete" => {
                let InstanceChange { revision, instance } = data(event)?;
                self.known.remove(&key(&instance));
                self.show("gone", revision, &instance)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A listing is complete: shows how it differs from what was shown before.
    fn listed(&mut self) -> Result<(), Failure> {
        let now = self.aside.take().unwrap_or_default();
        let before = std::mem::replace(&mut self.known, now.clone());
        for (key, instance) in &before {
            if !now.contains_key(key) {
                self.show("gone", None, instance)?;
            }
        }
        for (key, instance) in &now {
            match before.get(key) {
                None => self.show(self.new_in_listing, None, instance)?,
                Some(known) if known != instance => self.show("changed", None, instance)?,
                Some(_) => {}
            }
        }
        self.new_in_listing = "added";
        Ok(())
    }

    fn show(
        &self,
        change: &'static str,
        revision: Option<u64>,
        instance: &Instance,
    ) -> Result<(), Failure> {
        if self.json {
            return json(&Line { change, revision, instance });
        }
        let name = cell(&format!("{}/{}", instance.service, instance.id));
        let at = cell(&address(instance));
        line(&format!("{change:8} {name} {} {at}", instance.status))
    }
}

fn key(instance: &Instance) -> (String, String) {
    (instance.service.to_lowercase(), instance.id.clone())
}

fn data<T: DeserializeOwned>(event: &SentEvent) -> Result<T, Failure> {
    serde_json::from_str(&event.data)
        .map_err(|error| reason(format!("cannot read an event of the server: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_one_by_one_however_they_arrive() {
        let mut buffer = b"event: init\ndata: {}\n\n:\n\nevent: apply\nda".to_vec();
        let init = SentEvent { name: "init".to_owned(), data: "{}".to_owned() };
        assert_eq!(take_event(&mut buffer), Some(init));
        assert_eq!(take_event(&mut buffer), Some(SentEvent::default()));
        assert_eq!(take_event(&mut buffer), None);
        buffer.extend_from_slice(b"ta: 1\nid: 7\n\n");
        let apply = SentEvent { name: "apply".to_owned(), data: "1".to_owned() };
        assert_eq!(take_event(&mut buffer), Some(apply));
        assert!(buffer.is_empty());
    }
}
