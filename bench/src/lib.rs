//! What the programs in `src/bin` share: what is cached, who caches it, chance, clocks and tables.

pub mod chance;
pub mod child;
pub mod consul;
pub mod eureka;
pub mod gate;
pub mod golang;
pub mod heap;
pub mod http;
pub mod http2;
pub mod instances;
pub mod keys;
pub mod measure;
pub mod server;
pub mod subjects;
pub mod table;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What is cached everywhere: 64 bytes.
pub type Payload = [u8; 64];

/// The hasher of every subject, so that hashes are not what differs.
pub use foldhash::fast::RandomState;

/// The result of a future that must not wait. Polled by hand, it is the cache that is measured and
/// not an executor.
#[expect(clippy::inline_always, reason = "a call here would move the future and copy the answer")]
#[inline(always)]
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a hit waited"),
    }
}
