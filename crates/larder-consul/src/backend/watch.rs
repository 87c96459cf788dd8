//! A watch: follows which services there are, and each of them, through the agent's copies, all in one inbox.
//!
//! It runs no task of its own: what has changed lies in the inbox until somebody comes for it, the latest of
//! each key, so that a consumer that is slow costs nobody anything.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Inbox, Notification, Request, Update};
use larder_registry::model::Name;
use larder_registry::{BoxFuture, Error, Event, Phase, Watch};
use tokio::sync::watch as signal;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use super::is_addressable;
use super::picture::{Picture, Topic};
use super::reading::{self, Reading};
use crate::client::Fault;
use crate::question::{Endpoint, Question, Selection, Token};
use crate::remote::{Agent, Held};

/// A body larger than this is read on a thread where nobody waits for a turn.
const LONG_BODY: usize = 64 << 10;

/// How often what could not be followed, for there is too much, or what is refused, is tried again. Of what is
/// refused the cache asks every ten seconds at most.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Under which the names of all services arrive; no service is called like that.
const NAMES: &str = "";

type News = Update<Held, Fault>;

/// What an answer says, or why it says nothing.
type Read = Result<Reading, String>;

/// Where a consumer is.
pub(super) struct ConsulWatch {
    agent: Arc<Agent>,
    closed: signal::Receiver<bool>,
    hidden: Arc<BTreeSet<Name>>,
    max_services: usize,
    inbox: Inbox<News>,
    /// What is followed beside the names.
    services: HashMap<Name, Notification>,
    /// What is to be followed and could not be.
    unfollowed: Vec<Name>,
    /// Rises when copies have left because they are refused: whoever followed one hears nothing of it.
    left: signal::Receiver<u64>,
    /// What may be refused by now, and is to be asked for.
    doubts: VecDeque<Topic>,
    /// What is refused. Nothing in the background asks for it again: a token may be corrected, though.
    refused: BTreeSet<Topic>,
    /// When to try again what cannot be followed, and what is refused.
    again: Interval,
    names: Option<Notification>,
    picture: Picture,
    /// An answer that is being read: kept here, so that a call that is dropped loses nothing.
    reading: Option<(Topic, u64, JoinHandle<Read>)>,
    /// Told before anything else.
    error: Option<Error>,
}

impl ConsulWatch {
    /// Follows one service, or everything but what is hidden.
    pub(super) fn new(
        agent: Arc<Agent>,
        closed: signal::Receiver<bool>,
        service: Option<&Name>,
        hidden: Arc<BTreeSet<Name>>,
        max_services: usize,
    ) -> Result<Self, Error> {
        let mut again = tokio::time::interval(TRY_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Self {
            left: agent.left(),
            doubts: VecDeque::new(),
            refused: BTreeSet::new(),
            again,
            agent,
            closed,
            hidden,
            max_services,
            inbox: Inbox::new(),
            services: HashMap::new(),
            unfollowed: Vec::new(),
            names: None,
            picture: Picture::new(service),
            reading: None,
            error: None,
        };
        match service {
            // What nobody can be told of is followed as if it were never there.
            Some(name) if watch.hidden.contains(name) || !is_addressable(name.folded()) => {
                watch.picture.hear_service(name, Vec::new(), 0);
            }
            Some(name) => watch.follow(name)?,
            None => watch.names = Some(watch.subscribe(&Topic::Names, NAMES)?),
        }
        Ok(watch)
    }

    fn follow(&mut self, name: &Name) -> Result<(), Error> {
        let notification = self.subscribe(&Topic::Service(name.clone()), name.as_str())?;
        self.services.insert(name.clone(), notification);
        Ok(())
    }

    fn subscribe(&self, topic: &Topic, as_what: &str) -> Result<Notification, Error> {
        let (question, request, inbox) = (question(topic), Request::DEFAULT, &self.inbox);
        self.agent.kept().notify(&question, &request, as_what, inbox, |news| news).map_err(
            |error| match error {
                larder_cache::SubscribeError::Closed => Error::Closed,
                error => Error::Unavailable { phase: Phase::Watch, reason: error.to_string() },
            },
        )
    }

    async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if *self.closed.borrow_and_update() {
                return None;
            }
            if let Some(error) = self.error.take() {
                return Some(Err(error));
            }
            if let Some(event) = self.picture.ready().pop() {
                return Some(Ok(event));
            }
            if self.reading.is_some() {
                self.read().await?;
                continue;
            }
            let lacks_some = !self.unfollowed.is_empty() || !self.refused.is_empty();
            let doubt = self.doubts.front().map(|topic| (topic.clone(), self.agent.clone()));
            // Cancel-safe: an update that was not received comes again, and so do the closing and what has
            // left; a doubt stays until it is settled.
            tokio::select! {
                biased;
                _ = self.closed.changed() => return None,
                news = self.inbox.recv() => self.hear(&news.correlation_id, news.update),
                _ = self.left.changed() => self.doubt(),
                Some((topic, asked)) = settle(doubt) => self.settled(topic, asked),
                _ = self.again.tick(), if lacks_some => self.try_again(),
            }
        }
    }

    /// Of what is followed and has no copy any more, it is not known whether it is refused.
    fn doubt(&mut self) {
        let services = self.services.keys().cloned().map(Topic::Service);
        let names = self.names.is_some().then_some(Topic::Names);
        let is_gone = |topic: &Topic| self.agent.kept().peek(&question(topic)).is_none();
        let gone = names.into_iter().chain(services).filter(is_gone);
        self.doubts = gone.collect();
    }

    fn settled(&mut self, topic: Topic, asked: Result<(), larder_cache::Error<Fault>>) {
        self.doubts.pop_front();
        // What is there arrives in the inbox.
        if let Err(error) = asked {
            self.heard_error(topic, &error);
        }
    }

    fn try_again(&mut self) {
        for name in std::mem::take(&mut self.unfollowed) {
            self.follow_if_possible(name);
        }
        self.doubts.extend(std::mem::take(&mut self.refused));
    }

    fn follow_if_possible(&mut self, name: Name) {
        if let Err(error) = self.follow(&name) {
            self.fail(Topic::Service(name.clone()), error);
            self.unfollowed.push(name);
        }
    }

    fn hear(&mut self, of: &str, news: News) {
        let topic = if of == NAMES { Topic::Names } else { Topic::Service(Name::new(of)) };
        if let Some(error) = &news.error {
            self.heard_error(topic, error);
            return;
        }
        let Some(reply) = news.value else { return };
        let (index, body) = (reply.index(), reply.answer.body.clone());
        let is_names = topic == Topic::Names;
        let is_long = body.len() > LONG_BODY;
        let work = move || reading::read(&body, is_names);
        if is_long {
            self.reading = Some((topic, index, tokio::task::spawn_blocking(work)));
        } else {
            self.apply(topic, index, work());
        }
    }

    fn heard_error(&mut self, topic: Topic, error: &larder_cache::Error<Fault>) {
        let error = reading::error(error);
        if matches!(error, Error::Denied { .. }) {
            self.refused.insert(topic.clone());
        }
        self.fail(topic, error);
    }

    /// Waits for what is being read. None if the runtime ends.
    ///
    /// Cancel-safe: it stays here until it was read.
    async fn read(&mut self) -> Option<()> {
        let (_, _, task) = self.reading.as_mut()?;
        let read = task.await;
        let (topic, index, _) = self.reading.take()?;
        match read {
            Ok(read) => self.apply(topic, index, read),
            // A panic of the decoder is one here; the runtime's end is the end of everything.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return None,
        }
        Some(())
    }

    fn apply(&mut self, topic: Topic, index: u64, read: Read) {
        match (topic, read) {
            (topic, Err(reason)) => {
                self.fail(topic, Error::Unavailable { phase: Phase::Watch, reason });
            }
            (Topic::Names, Ok(Reading::Names(names))) => self.turn_over(names, index),
            (Topic::Service(name), Ok(Reading::Instances(instances))) => {
                self.picture.hear_service(&name, instances, index);
            }
            (_, Ok(_)) => {}
        }
    }

    fn turn_over(&mut self, mut names: BTreeSet<Name>, index: u64) {
        names.retain(|name| !self.hidden.contains(name));
        if names.len() > self.max_services {
            let reason = format!(
                "it has {} services, more than the {} that are followed: raise max_services",
                names.len(),
                self.max_services
            );
            self.fail(Topic::Names, Error::Unavailable { phase: Phase::List, reason });
            return;
        }
        let turnover = self.picture.hear_names(&names, index);
        for name in &turnover.gone {
            self.services.remove(name);
            self.refused.remove(&Topic::Service(name.clone()));
        }
        self.unfollowed.retain(|name| !turnover.gone.contains(name));
        for name in turnover.come {
            self.follow_if_possible(name);
        }
    }

    fn fail(&mut self, topic: Topic, error: Error) {
        if self.picture.fail(topic) {
            self.error = Some(error);
        }
    }
}

impl Watch for ConsulWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(self.next_event())
    }

    /// What one answer of Consul changed is one step.
    fn is_amid_step(&self) -> bool {
        self.picture.is_amid_step()
    }
}

impl std::fmt::Debug for ConsulWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsulWatch").field("picture", &self.picture).finish_non_exhaustive()
    }
}

/// Asks for what is in doubt; for ever, if nothing is.
async fn settle(
    doubt: Option<(Topic, Arc<Agent>)>,
) -> Option<(Topic, Result<(), larder_cache::Error<Fault>>)> {
    let Some((topic, agent)) = doubt else { return std::future::pending().await };
    let anew = Request::DEFAULT.must_revalidate();
    let asked = agent.kept().get_with(&question(&topic), &anew).await;
    Some((topic, asked.map(drop)))
}

/// As the client's own token asks it, without anything besides.
fn question(topic: &Topic) -> Question {
    let endpoint = match topic {
        Topic::Names => Endpoint::Services,
        Topic::Service(name) => Endpoint::Health(name.folded().into()),
    };
    Question { endpoint, selection: Selection::default(), token: Token::default() }
}
