//! Reads of the catalog and of health.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use larder_cache::Error;
use larder_registry::backend::Copied;

use super::crowd::{NoSeat, Seat};
use super::refusal::Refusal;
use super::respond::{About, Cached};
use super::{Client, Consul, asked};
use crate::blocking::time_to_wait;
use crate::local::Unanswerable;
use crate::params::Asked;
use crate::question::{Endpoint, Question};
use crate::terms::Terms;

/// An answer with what there is to say about it.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) status: StatusCode,
    /// Its content's type, and what else belongs to it.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// As of which change.
    pub(super) index: u64,
    /// How old it is.
    pub(super) age: Duration,
    /// Whether it was in the agent's cache.
    pub(super) is_hit: bool,
    /// When whoever knows was last heard of.
    pub(super) contact: Contact,
}

/// When whoever knows was last heard of, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// This server's own registry knows, or a copy of another one that follows what changes.
    Now,
    /// A copy of another registry, which cannot be reached.
    Lost(Duration),
    /// Consul: its leader was heard of this long ago. Its agent says more in its own headers.
    Consul(Duration),
    /// Consul, of which no agent answers. Its leader was heard of this long ago.
    ConsulLost(Duration),
}

impl Contact {
    pub(super) fn of_registry(out_of_reach: Option<Duration>) -> Self {
        out_of_reach.map_or(Self::Now, Self::Lost)
    }
}

impl Consul {
    /// Reads the catalog, or a key.
    pub(super) async fn read(&self, endpoint: Endpoint, parts: Parts) -> Result<Response, Refusal> {
        let Asked { selection, terms, token } = asked(&parts)?;
        let question = Question { endpoint, selection, token };
        if let Some(sentence) = question.endpoint.missing(&question.selection) {
            return Err(Refusal::invalid(sentence));
        }
        self.answer_read(&question, &terms, parts).await
    }

    /// Answers a read that was understood.
    pub(super) async fn answer_read(
        &self,
        question: &Question,
        terms: &Terms,
        parts: Parts,
    ) -> Result<Response, Refusal> {
        let _seat = self.seat(&parts, terms.index)?;
        // Its headers lie in the buffer that their connection was read into: a query that waits holds on to none.
        drop(parts);
        let looked = self.look(question, terms).await?;
        Ok(respond(question, terms, looked))
    }

    /// The answer, and all that there is to say about it. Waits as the terms say. Safe to cancel.
    pub(super) async fn look(&self, question: &Question, terms: &Terms) -> Result<Looked, Refusal> {
        let wait = self.time_to_wait(terms);
        if let Some(behind) = &self.behind {
            // Apart, so that a server with a registry of its own has no room for it in each read that waits.
            return Box::pin(behind.look(question, terms, wait)).await;
        }
        if let Endpoint::Kv(key) = &question.endpoint {
            return self.look_up(key, question, terms.index, wait).await;
        }
        let told = self.local.read(question, terms.index, wait).await.map_err(refused)?;
        let out_of_reach = self.out_of_reach();
        Ok(Looked {
            status: told.answer.status,
            headers: with_room(&told.answer.headers),
            body: told.answer.body.clone(),
            index: told.index,
            // What this server has is kept up to date by what changes it.
            age: out_of_reach.unwrap_or_default(),
            is_hit: told.is_hit,
            contact: Contact::of_registry(out_of_reach),
        })
    }

    /// How long the registry behind has not been heard of.
    pub(super) fn out_of_reach(&self) -> Option<Duration> {
        match self.registry.copy() {
            Some(Copied::Stale(since)) => Some(since),
            _ => None,
        }
    }

    /// How long a read waits for its index.
    pub(super) fn time_to_wait(&self, terms: &Terms) -> Duration {
        time_to_wait(terms.wait, &self.options.blocking, dice())
    }

    /// A seat for a query that waits; none is needed for one that does not.
    pub(super) fn seat(&self, parts: &Parts, index: u64) -> Result<Option<Seat>, Refusal> {
        if index == 0 {
            return Ok(None);
        }
        self.parking_place(parts).map(Some)
    }

    /// A seat for a query that waits.
    pub(super) fn parking_place(&self, parts: &Parts) -> Result<Seat, Refusal> {
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        self.seat_of(parts.extensions.get::<Client>().map_or(unknown, |client| client.0))
    }

    /// A seat for a query of this client that waits.
    pub(super) fn seat_of(&self, client: IpAddr) -> Result<Seat, Refusal> {
        self.parked.seat(client).map_err(|no| {
            let says = match no {
                NoSeat::Full => "as many queries wait as may (consul.parked): try again",
                NoSeat::OfClient => {
                    "this client has as many queries waiting as it may (consul.parked_client); \
                     /larder/v1/watch follows many of them over one connection"
                }
            };
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, says)
        })
    }
}

/// A copy, with room for what else there is to say.
fn with_room(headers: &HeaderMap) -> HeaderMap {
    let mut copy = HeaderMap::with_capacity(headers.len() + 8);
    copy.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    copy
}

fn respond(question: &Question, terms: &Terms, looked: Looked) -> Response {
    let can_wait = question.endpoint != Endpoint::Datacenters;
    // Consul says it of nodes, services and health, and of nothing else.
    let says_consistency = can_wait && !matches!(question.endpoint, Endpoint::Kv(_));
    // Whoever gets a copy because nothing better is to be had is told how old it is, asked for or not.
    let is_copy = terms.cached || matches!(looked.contact, Contact::ConsulLost(_));
    let cached = if looked.is_hit { Cached::Hit(looked.age) } else { Cached::Miss };
    let about = About {
        index: can_wait.then_some(looked.index),
        contact: looked.contact,
        consistency: says_consistency.then_some(terms.consistency),
        cached: is_copy.then_some(cached),
    };
    let mut response = Response::new(Body::from(looked.body));
    *response.status_mut() = looked.status;
    let headers = response.headers_mut();
    *headers = looked.headers;
    about.tell(headers);
    response
}

/// Spreads the ends of waits that began together: each call lies as far from those before it as can be.
pub(super) fn dice() -> u16 {
    static THROWN: AtomicU32 = AtomicU32::new(0);
    // The golden section of the circle.
    let step = THROWN.fetch_add(0x9E37_79B9, Ordering::Relaxed);
    u16::try_from(step >> 16).unwrap_or_default()
}

fn refused(error: Error<Unanswerable>) -> Refusal {
    match error {
        Error::Source(unanswerable) => {
            let status = match *unanswerable {
                Unanswerable::Filter(ref bad) => bad.status(),
                Unanswerable::Datacenter(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Refusal::new(status, unanswerable.to_string())
        }
        error => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}
