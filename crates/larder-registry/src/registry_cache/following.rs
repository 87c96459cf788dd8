//! A backend as the source of a cache: one service by its name, read and followed.

use std::convert::Infallible;
use std::sync::Arc;

use larder_cache::{Attempt, Blame, Change, Edit, Ended, Feed, Fetched, Fresh, Source, Watch};

use super::follower::{Follower, Step};
use crate::backend::{Backend, Error};
use crate::catalog::Service;
use crate::model::Name;

/// A service as readers share it.
pub type Shared = Arc<Service>;

#[derive(Debug)]
pub(super) struct Following {
    pub(super) backend: Arc<dyn Backend>,
}

impl Source for Following {
    type Key = Name;
    type Value = Shared;
    type Error = Error;

    async fn fetch(&self, name: &Name, _: Attempt<Shared>) -> Result<Fetched<Shared>, Error> {
        match self.backend.service(name).await {
            // Nobody registers under no name, and a backend may have a service whose instances are gone.
            Ok(service) if service.is_empty() => Ok(Fetched::Absent { remember_for: None }),
            Ok(service) => {
                let revision = service.revision();
                Ok(Fresh::new(service).index(revision).into())
            }
            Err(Error::NotFound(_)) => Ok(Fetched::Absent { remember_for: None }),
            Err(error) => Err(error),
        }
    }

    fn is_same(&self, before: &Shared, after: &Shared) -> bool {
        before.says_the_same(after)
    }

    fn blame(&self, error: &Error) -> Blame {
        match error {
            Error::Unavailable { .. } | Error::Closed => Blame::Upstream,
            _ => Blame::Entry,
        }
    }
}

impl Watch for Following {
    // The state is made here, where it is known what is old news.
    type Item = Infallible;

    async fn watch(
        &self,
        name: &Name,
        _: Option<u64>,
        feed: &mut Feed<'_, Self>,
    ) -> Result<Ended, Error> {
        let mut watch = self.backend.watch(Some(name.clone())).await?;
        let mut follower = Follower::new(name.clone());
        // What the events of one step have made so far: shown at the step's end.
        let mut unsaid = None;
        while let Some(event) = watch.next().await {
            // The events of a listing are all ready at once: without this nobody else on the thread would run
            // until the last one.
            tokio::task::consume_budget().await;
            match follower.take(event?) {
                // The half of a listing vouches for nothing yet: what is held goes on ageing.
                Step::Nothing if follower.is_listing() => continue,
                Step::Nothing => {}
                Step::State(state, revision) => unsaid = Some((state, revision)),
                Step::Disordered => return Ok(Ended::Over),
            }
            if watch.is_amid_step() {
                continue;
            }
            match unsaid.take() {
                None => feed.heard(),
                Some((Some(service), revision)) => {
                    feed.tell(Change::Whole(Fresh::new(Arc::new(service)).index(revision)));
                }
                Some((None, _)) => feed.tell(Change::Absent),
            }
        }
        Err(Error::Closed)
    }

    fn build(&self, name: &Name, before: Option<&Shared>, _: Vec<Edit<Infallible>>) -> Shared {
        // Only whole values are told, so there is nothing to build.
        before.map_or_else(|| Arc::new(Service::new(name.clone(), 0, [])), Arc::clone)
    }
}
