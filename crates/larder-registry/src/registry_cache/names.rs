//! The names of all services, as a cache of one entry.

use std::sync::Arc;

use larder_cache::{Attempt, Blame, Fetched, Source};

use crate::backend::{Backend, Error};
use crate::model::Name;

#[derive(Debug)]
pub(super) struct Names {
    pub(super) backend: Arc<dyn Backend>,
}

impl Source for Names {
    type Key = ();
    type Value = Vec<Name>;
    type Error = Error;

    async fn fetch(&self, (): &(), _: Attempt<Vec<Name>>) -> Result<Fetched<Vec<Name>>, Error> {
        self.backend.services().await.map(Fetched::value)
    }

    fn blame(&self, _: &Error) -> Blame {
        Blame::Upstream
    }
}
