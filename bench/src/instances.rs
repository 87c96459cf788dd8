//! Services and instances to measure a registry with, and a backend that hands them out.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_registry::backend::{Backend, BoxFuture, Error, OverrideChange, Watch};
use larder_registry::catalog::Service;
use larder_registry::event::Event;
use larder_registry::model::{Instance, Key, Metadata, Name};
use tokio::sync::mpsc;

/// The revision of the listing with which a watch of an [`Elsewhere`] begins. What is read there is of the one
/// before.
pub const LISTED: u64 = 2;

/// The version that all instances have.
pub const VERSION: &str = "1.4.2";

/// The `number`th instance of a service, with five pairs of metadata, each text in memory of its own as
/// what was decoded is. `go-micro/main.go` makes the same.
pub fn instance(service: &str, number: usize) -> Instance {
    let mut made =
        Instance::new(service, &format!("{service}-6fd4b1de-9c9b-4b9e-8f0a-{number:012}"));
    VERSION.clone_into(&mut made.version);
    let host = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
    made.address.host = Some(host);
    made.address.port = Some(larder_registry::model::Port { number: 8080, enabled: true });
    let pairs = [
        ("protocol", "grpc"),
        ("transport", "grpc"),
        ("registry", "etcd"),
        ("zone", "eu-central-1a"),
        ("build", "7f3c9e1d2b4a"),
    ];
    made.metadata = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect::<Metadata>();
    made
}

/// The name of the `number`th service.
pub fn service_name(number: usize) -> Name {
    Name::new(&format!("service-{number}"))
}

/// A listing of so many instances, every one made anew; those of which `edited` says so are of another
/// build.
pub fn listing(
    services: &[Name],
    count: usize,
    revision: u64,
    edited: impl Fn(usize) -> bool,
) -> Vec<Event> {
    let made = services.iter().flat_map(|name| {
        (0..count).map(|number| {
            let mut made = instance(name.as_str(), number);
            if edited(number) {
                made.metadata.insert("build".to_owned(), format!("{revision:012}"));
            }
            Event::InitApply(Arc::new(made))
        })
    });
    let mut events = Vec::with_capacity(services.len() * count + 2);
    events.push(Event::Init);
    events.extend(made);
    events.push(Event::InitDone { revision });
    events
}

/// A registry elsewhere: it makes what it is asked for, keeps nothing of it, counts who asks, and tells its
/// watches what it is told to.
#[derive(Debug)]
pub struct Elsewhere {
    services: Vec<Name>,
    count: usize,
    delay: Duration,
    reads: AtomicU64,
    watches: Mutex<Vec<(Option<Name>, mpsc::UnboundedSender<Vec<Event>>)>>,
}

impl Elsewhere {
    /// Of so many services of `count` instances, each of which takes `delay` to be read.
    pub fn new(services: usize, count: usize, delay: Duration) -> Self {
        let services = (0..services).map(service_name).collect();
        let (reads, watches) = (AtomicU64::new(0), Mutex::default());
        Self { services, count, delay, reads, watches }
    }

    /// Its services.
    pub fn names(&self) -> &[Name] {
        &self.services
    }

    /// How often a service was read.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// What each watch follows, and where to tell it something.
    pub fn watches(&self) -> Vec<(Option<Name>, mpsc::UnboundedSender<Vec<Event>>)> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What an [`Elsewhere`] is not asked for.
fn unasked<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Error>> {
    Box::pin(std::future::ready(Err(Error::Closed)))
}

impl Backend for Elsewhere {
    fn kind(&self) -> &'static str {
        "elsewhere"
    }

    fn register(&self, _: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        unasked()
    }

    fn renew<'a>(
        &'a self,
        _: &'a Key,
        _: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        unasked()
    }

    fn deregister<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        unasked()
    }

    fn set_override<'a>(
        &'a self,
        _: &'a Key,
        _: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        unasked()
    }

    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            let made = (0..self.count).map(|number| Arc::new(instance(name.as_str(), number)));
            Ok(Arc::new(Service::new(name.clone(), LISTED - 1, made)))
        })
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        Box::pin(std::future::ready(Ok(self.services.clone())))
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        let followed = service.as_ref().map_or(self.services.as_slice(), std::slice::from_ref);
        let ready = listing(followed, self.count, LISTED, |_| false).into_iter();
        let (teller, told) = mpsc::unbounded_channel();
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).push((service, teller));
        Box::pin(std::future::ready(Ok(Box::new(Told { ready, told }) as Box<dyn Watch>)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Box::pin(std::future::ready(()))
    }
}

struct Told {
    ready: std::vec::IntoIter<Event>,
    told: mpsc::UnboundedReceiver<Vec<Event>>,
}

impl Watch for Told {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(async {
            loop {
                if let Some(event) = self.ready.next() {
                    return Some(Ok(event));
                }
                self.ready = Vec::new().into_iter();
                self.ready = self.told.recv().await?.into_iter();
            }
        })
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}
