//! The future of a request without bounds. Written by hand, because an async fn's states would copy the
//! reply once more, and be inlined into their only caller or not at all.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cache::{Answer, Cache};
use crate::reply::{Origin, Reply};
use crate::request::Request;
use crate::source::Source;

/// Looks when it is first polled, and takes the long way if there is nothing fresh.
pub(crate) struct Get<'a, S: Source> {
    pub(crate) cache: &'a Cache<S>,
    pub(crate) key: &'a S::Key,
    pub(crate) miss: Option<Miss<'a, S>>,
}

/// A request on the long way.
pub(crate) type Miss<'a, S> = Pin<Box<dyn Future<Output = Answer<S>> + Send + 'a>>;

impl<S: Source> Future for Get<'_, S> {
    type Output = Answer<S>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.miss.is_none()
            && let Some((entry, now)) = self.cache.look(self.key)
        {
            return Poll::Ready(Ok(Reply::new(entry, now, Origin::Hit)));
        }
        self.poll_miss(context)
    }
}

impl<'a, S: Source> Get<'a, S> {
    #[cold]
    fn poll_miss(&mut self, context: &mut Context<'_>) -> Poll<Answer<S>> {
        let cache: &'a Cache<S> = self.cache;
        let miss = self.miss.get_or_insert_with(|| cache.miss(self.key, Request::DEFAULT));
        miss.as_mut().poll(context)
    }
}
