//! `event/fire/:name` and `event/list`.

use axum::body::Body;
use axum::http::request::Parts;
use axum::response::Response;

use super::body::receive;
use super::events::{Event, MAX_PAYLOAD};
use super::refusal::Refusal;
use super::respond::{self, About};
use super::{Consul, asked, path, written};
use crate::wire::UserEvent;

/// The lower half of every event's UUID. Go's client makes an index of a UUID by an exclusive or of its halves:
/// the upper half is chosen so that this is the event's number.
const LOWER: u64 = 0x8000_0000_0000_0000;

impl Consul {
    pub(super) async fn event(
        &self,
        tail: &str,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, Refusal> {
        match tail.split_once('/') {
            Some(("fire", name)) if !name.is_empty() => self.fire(name, parts, body).await,
            Some(("fire", _)) => Err(path::missing("name")),
            None if tail == "list" => self.list(parts).await,
            _ => Err(path::unknown()),
        }
    }

    async fn fire(&self, name: &str, parts: &Parts, body: Body) -> Result<Response, Refusal> {
        let (asked, name) = (asked(parts)?, path::segment(name)?);
        let filter = |of: &str| asked.other(of).unwrap_or_default().to_owned();
        let (node, service) = (filter("node"), filter("service"));
        let tag = asked.selection.tags.first().map(ToString::to_string).unwrap_or_default();
        let payload = receive(body, MAX_PAYLOAD, self.options.body_time).await?.to_vec();
        let event = Event {
            number: 0,
            name,
            payload,
            node_filter: node,
            service_filter: service,
            tag_filter: tag,
        };
        let fired = self.events().fire(event);
        self.fired.send_replace(fired.number);
        Ok(respond::json(written(&told(&fired))?, About::NOTHING))
    }

    async fn list(&self, parts: &Parts) -> Result<Response, Refusal> {
        let asked = asked(parts)?;
        let _seat = self.seat(parts, asked.terms.index)?;
        let mut fired = self.fired.subscribe();
        let newest = || self.events().list(asked.other("name")).last().map_or(1, |it| it.number);
        // As with Consul, it is only another index than the one it has that does not make a client wait.
        let wait = async {
            while asked.terms.index != 0 && newest() == asked.terms.index {
                // The sender is this server's, so that it cannot be gone.
                let _ = fired.changed().await;
            }
        };
        let longest = self.options.blocking.max;
        // Cancel-safe: it only looks.
        let _ = tokio::time::timeout(asked.terms.wait.unwrap_or(longest).min(longest), wait).await;
        let events = self.events().list(asked.other("name"));
        let index = events.last().map_or(1, |event| event.number);
        let told: Vec<_> = events.iter().map(told).collect();
        let about = About { index: Some(index), ..About::NOTHING };
        Ok(respond::json(written(&told)?, about))
    }
}

fn told(event: &Event) -> UserEvent<'_> {
    let upper = format!("{:016x}", event.number ^ LOWER);
    let lower = format!("{LOWER:016x}");
    let id = [&upper[..8], &upper[8..12], &upper[12..], &lower[..4], &lower[4..]].join("-");
    UserEvent {
        id: id.into(),
        name: (&event.name).into(),
        payload: (&event.payload).into(),
        node_filter: (&event.node_filter).into(),
        service_filter: (&event.service_filter).into(),
        tag_filter: (&event.tag_filter).into(),
        version: 1,
        l_time: event.number,
    }
}
