//! What runs in the background: answering, announcing, and keeping watches up to date.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;
use larder_registry::{Error, Phase};

use crate::board::{Answer, News};
use crate::message::{self, Asked, Heard, Said, TTL_SECS, Wanted};
use crate::shared::Shared;
use crate::sockets::{self, DATAGRAM_BYTES_MAX};

/// How long to wait after the socket failed, so that one that stays broken does not keep a processor
/// busy.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers questions, and hears what is announced, until the backend is closed.
pub(crate) async fn respond(shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // cancel-safe: a datagram that was not returned is still in the socket, and the end stays.
        let received = tokio::select! {
            received = shared.socket.recv_from(&mut buffer) => received,
            () = shared.closed() => return,
        };
        match received {
            Ok((len, from)) => attend(&shared, &buffer[..len], from).await,
            Err(error) => {
                shared.skip(&error.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn attend(shared: &Shared, bytes: &[u8], from: SocketAddr) {
    match message::read(bytes, &shared.domain) {
        Ok(Said::Question { asked, about }) => answer(shared, &asked, &about, from).await,
        Ok(Said::Statement { heard, malformed }) => {
            shared.skip_all(&malformed);
            shared.hear(heard, None);
        }
        Err(reason) => shared.skip(&format!("{from}: {reason}")),
    }
}

/// Answers to whoever asked; or to everybody, if a responder asked, which listens to nothing else.
async fn answer(shared: &Shared, asked: &Asked, about: &[Wanted], from: SocketAddr) {
    if about.is_empty() {
        return;
    }
    let answers = shared.state().board.answers(about);
    let to_all = from.port() == shared.options.port;
    let to = if to_all { sockets::group(&shared.options) } else { from };
    // What is said to everybody repeats no question.
    let asked = &if to_all { Asked::default() } else { asked.clone() };
    for answer in answers {
        let bytes = match answer {
            Answer::Instance(record) => message::answer(asked, &record),
            Answer::Service(record) => message::listing(asked, &record),
        };
        send(shared, &bytes, to).await;
    }
}

/// Says what changed, until the backend is closed.
pub(crate) async fn announce(shared: Arc<Shared>) {
    loop {
        let (news, next) = {
            let mut state = shared.state();
            let news = state.board.take_due(shared.clock.now());
            (news, state.board.next_due())
        };
        tell(&shared, news).await;
        // cancel-safe: a permit that was granted is kept for the next round, and the end stays.
        tokio::select! {
            () = shared.news.notified() => {}
            () = sleep(&shared, next) => {}
            () = shared.closed() => return,
        }
    }
}

/// Tells everybody.
pub(crate) async fn tell(shared: &Shared, news: Vec<News>) {
    for news in news {
        let bytes = match news {
            News::Here(record) => message::announcement(&record, TTL_SECS),
            News::Gone(record) => message::announcement(&record, 0),
        };
        send(shared, &bytes, sockets::group(&shared.options)).await;
    }
}

/// What cannot be sent is lost, as on any network: others ask again.
async fn send(shared: &Shared, bytes: &[u8], to: SocketAddr) {
    if let Err(error) = shared.socket.send_to(bytes, to).await {
        tracing::debug!(%to, %error, "could not send over multicast DNS");
    }
}

/// Asks everybody again and again while somebody watches, and forgets who was not heard of, until the
/// backend is closed.
pub(crate) async fn browse(shared: Arc<Shared>) {
    let interval = shared.options.query_interval;
    let mut ask_at = shared.clock.now().after(interval);
    loop {
        shared.expire();
        if ask_at <= shared.clock.now() {
            // cancel-safe: what was heard counts once everything is, and is asked for again.
            tokio::select! {
                () = refresh(&shared) => {}
                () = shared.closed() => return,
            }
            ask_at = shared.clock.now().after(interval);
        }
        let expiry = shared.state().picture.next_expiry();
        let next = expiry.map_or(ask_at, |expiry| expiry.min(ask_at));
        // cancel-safe: a permit that was granted is kept for the next round, and the end stays.
        tokio::select! {
            () = sleep(&shared, Some(next)) => {}
            () = shared.earlier.notified() => {}
            () = shared.closed() => return,
        }
    }
}

async fn refresh(shared: &Shared) {
    let interests = shared.state().interests();
    let mut wants_all = interests.iter().any(|interest| interest.is_none());
    let mut names: Vec<_> = interests.iter().filter_map(|interest| (**interest).clone()).collect();
    names.sort();
    names.dedup();
    // More than a few at once are a listing.
    wants_all |= names.len() > 4;
    if wants_all {
        let asked_at = shared.clock.now();
        take_in(shared, shared.ask_all(Phase::Watch).await, asked_at);
        return;
    }
    for name in &names {
        let asked_at = shared.clock.now();
        take_in(shared, shared.ask_service(name, Phase::Watch).await, asked_at);
    }
}

fn take_in(shared: &Shared, answer: Result<Vec<Heard>, Error>, asked_at: Time) {
    match answer {
        Ok(heard) => shared.hear(heard, Some(asked_at)),
        Err(error) => tracing::warn!(%error, "could not ask again over multicast DNS"),
    }
}

/// None for ever. At least a millisecond, the clock's grain: a moment within this one would spin.
async fn sleep(shared: &Shared, until: Option<Time>) {
    match until {
        Some(until) => {
            let wait = until.since(shared.clock.now());
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
        None => std::future::pending().await,
    }
}
