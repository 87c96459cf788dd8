//! A set of caches, by name: for programs that decide at run time which one to ask.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cache::Cache;
use crate::error::{Error, SubscribeError};
use crate::inbox::{Inbox, Notification};
use crate::reply::Reply;
use crate::request::Request;
use crate::source::Source;
use crate::subscription::Update;

/// Caches by name, each with its own kinds of keys and values. Consul's agent cache is such a set, of
/// its "types".
///
/// ```
/// # use std::convert::Infallible;
/// # use larder_cache::{Attempt, Cache, Caches, CachesError, Fetched, Options, Request, Source};
/// # struct Lengths;
/// # impl Source for Lengths {
/// #     type Key = String;
/// #     type Value = usize;
/// #     type Error = Infallible;
/// #     async fn fetch(&self, key: &String, _: Attempt<usize>) -> Result<Fetched<usize>, Infallible> {
/// #         Ok(Fetched::value(key.len()))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut caches = Caches::new();
/// caches.insert("lengths", Cache::new(Lengths, Options::default())?);
///
/// let reply = caches.get::<Lengths>("lengths", &"four".to_owned(), &Request::DEFAULT).await?;
/// assert_eq!(*reply, 4);
///
/// let unknown = caches.cache::<Lengths>("widths").unwrap_err();
/// assert!(matches!(unknown, CachesError::Unknown(name) if name == "widths"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Caches(BTreeMap<String, Box<dyn Any + Send + Sync>>);

/// Why a cache cannot be had by a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CachesError {
    /// No cache has this name.
    #[error("no cache has the name {0:?}")]
    Unknown(String),
    /// The cache of this name has another source than was asked for.
    #[error("the cache of the name {0:?} has another kind of source")]
    OtherSource(String),
}

/// Why a request to a set of caches got no value.
#[derive(Debug, thiserror::Error)]
pub enum NamedError<E: std::error::Error + 'static> {
    /// There is no such cache.
    #[error(transparent)]
    Name(#[from] CachesError),
    /// The cache says so.
    #[error(transparent)]
    Cache(Error<E>),
}

/// Why a subscription cannot be had from a set of caches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamedSubscribeError {
    /// There is no such cache.
    #[error(transparent)]
    Name(#[from] CachesError),
    /// The cache says so.
    #[error(transparent)]
    Cache(#[from] SubscribeError),
}

impl Caches {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cache; one of the same name is replaced.
    pub fn insert<S: Source>(&mut self, name: impl Into<String>, cache: Cache<S>) {
        self.0.insert(name.into(), Box::new(cache));
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The cache of a name.
    pub fn cache<S: Source>(&self, name: &str) -> Result<&Cache<S>, CachesError> {
        let cache = self.0.get(name).ok_or_else(|| CachesError::Unknown(name.to_owned()))?;
        cache.downcast_ref().ok_or_else(|| CachesError::OtherSource(name.to_owned()))
    }

    /// As [`Cache::get_with`], of the cache of a name.
    pub async fn get<S: Source>(
        &self,
        name: &str,
        key: &S::Key,
        request: &Request,
    ) -> Result<Reply<S::Value>, NamedError<S::Error>> {
        self.cache::<S>(name)?.get_with(key, request).await.map_err(NamedError::Cache)
    }

    /// As [`Cache::notify`], of the cache of a name.
    pub fn notify<S: Source, T, F>(
        &self,
        name: &str,
        key: &S::Key,
        request: &Request,
        correlation_id: impl Into<Arc<str>>,
        inbox: &Inbox<T>,
        convert: F,
    ) -> Result<Notification, NamedSubscribeError>
    where
        T: Send + 'static,
        F: Fn(Update<S::Value, S::Error>) -> T + Send + Sync + 'static,
    {
        Ok(self.cache::<S>(name)?.notify(key, request, correlation_id, inbox, convert)?)
    }
}
