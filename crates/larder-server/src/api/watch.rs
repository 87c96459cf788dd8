//! The present state and every change, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Query;
use axum::http::Uri;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::Stream;
use larder_registry::model::Name;
use larder_registry::{Error, Event, Watch};
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::{Api, Instance, InstanceChange, ListingEnd};
use crate::shutdown::Stopping;

/// How often a comment is sent while nothing happens, so that a dead connection is noticed.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Strict: whoever misspells `service` would be told of everything and think it was one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    service: Option<String>,
}

/// Ends when the program stops. What a slow reader has not read yet costs no memory but its place: it
/// is handed a new listing if it falls too far behind.
pub(super) async fn stream(
    api: Api,
    uri: &Uri,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>>, Refusal> {
    let Query(wanted) = Query::<Wanted>::try_from_uri(uri)?;
    if wanted.service.as_deref() == Some("") {
        return Err(Refusal::invalid("service is empty: leave it out to watch all services"));
    }
    let watch = api.registry.watch(wanted.service.as_deref().map(Name::new)).await?;
    let state = (watch, api.stopping);
    let events = futures_util::stream::unfold(state, |(mut watch, mut stopping)| async {
        let event = next(&mut *watch, &mut stopping).await?;
        Some((Ok(told(&event)), (watch, stopping)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn next(watch: &mut dyn Watch, stopping: &mut Stopping) -> Option<Event> {
    loop {
        // cancel-safe: a dropped call for the next event loses none.
        let event = tokio::select! {
            event = watch.next() => event?,
            () = stopping.wait() => return None,
        };
        match event {
            Ok(event) => return Some(event),
            Err(Error::Closed) => return None,
            // The watch goes on by itself.
            Err(error) => tracing::warn!(%error, "a watch was interrupted"),
        }
    }
}

fn told(event: &Event) -> sse::Event {
    let change = |instance, revision| InstanceChange { revision, instance };
    match event {
        Event::Init => sse::Event::default().event("init").data("{}"),
        Event::InitApply(held) => {
            with_data("instance", None, &change(Instance::from(&**held), None))
        }
        Event::InitDone { revision } => {
            with_data("init_done", Some(*revision), &ListingEnd { revision: *revision })
        }
        Event::Apply { revision, instance } => {
            let revision = Some(*revision);
            with_data("apply", revision, &change(Instance::from(&**instance), revision))
        }
        Event::Delete { revision, instance } => {
            let revision = Some(*revision);
            with_data("delete", revision, &change(Instance::from(&**instance), revision))
        }
        // Nobody was told that it had broken off.
        Event::Resumed => sse::Event::default().comment("resumed"),
    }
}

fn with_data(name: &str, revision: Option<u64>, data: &impl Serialize) -> sse::Event {
    let data = serde_json::to_string(data).expect("texts and numbers can always be written");
    let event = sse::Event::default().event(name).data(data);
    match revision {
        Some(revision) => event.id(revision.to_string()),
        None => event,
    }
}
