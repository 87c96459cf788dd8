//! What a registry system must be able to do: the trait that every backend implements.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::catalog::{Change, Service, Snapshot};
use crate::event::Event;
use crate::model::{CheckKey, Health, Instance, Key, Name, Probe, Status};
use crate::registrar::self_preservation::Explained;

/// A boxed future: what keeps [`Backend`] object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A registry system: memory, etcd, Consul, …
///
/// Object-safe, because a program picks one at run time. Every implementation passes the suite in
/// [`conformance`](crate::conformance). All methods are safe to cancel: a dropped call has either
/// happened or not.
pub trait Backend: Debug + Send + Sync {
    /// The backend's kind, for logs and metrics, such as `memory`.
    fn kind(&self) -> &'static str;

    /// Adds the instance, or replaces the one with its key, and starts its lease.
    ///
    /// The registry fills in what it owns: the status that results from overrides, the lease's times,
    /// [`updated_at`](Instance::updated_at). A registration whose
    /// [`dirty_at`](Instance::dirty_at) is known, and smaller than what is held, renews the lease and
    /// changes nothing else. Answers with the instance as it is held.
    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>>;

    /// Adds the instance as another registry of the same kind holds it, or replaces the one with its key.
    ///
    /// Like [`register`](Self::register), but its status stands: the other registry has resolved it. That
    /// is how Eureka's servers take what their peers send. By default the same as `register`, for
    /// backends that have no peers.
    fn adopt(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        self.register(instance)
    }

    /// Renews the lease of `key`.
    ///
    /// `dirty_at` is what the registrant believes it last registered; if it is newer than what is held
    /// the answer is [`Error::Outdated`], and the registrant must register again.
    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>>;

    /// Removes the instance. Answers with the instance as it was.
    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>>;

    /// Sets or lifts an operator's override of the instance's status.
    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>>;

    /// Says how a check is.
    ///
    /// Nobody is told unless its health changed: new output alone shows in [`View::instance`] at once,
    /// and in snapshots with the next change. A registrant's report renews a check with a ttl, whatever
    /// it says. Answers with the instance as it is held; [`Error::NotFound`] if there is no such
    /// check, or none any more that is probed like this; [`Error::Probed`] if a registrant reports what
    /// others probe. Backends that hold no checks answer [`Error::NotFound`], which is the default.
    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        _report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(std::future::ready(Err(Error::NotFound(check.to_string()))))
    }

    /// All instances of a service. [`Error::NotFound`] for one that is unknown or has none.
    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>>;

    /// The names of all services that have an instance, in the order of their folded names.
    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>>;

    /// Watches one service, or all of them: the present state, then every change in order.
    ///
    /// Of an unknown service the present state is empty, not an error.
    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>>;

    /// Stops everything that the backend runs in the background and waits for its end. Later calls
    /// answer [`Error::Closed`]; watches end.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A registry that is wholly held in memory: what servers read from.
pub trait View: Debug + Send + Sync {
    /// Everything, as of one revision. Cheap: nothing is copied.
    fn snapshot(&self) -> Snapshot;

    /// One instance with its lease as it is at this moment, renewals included.
    fn instance(&self, key: &Key) -> Option<Arc<Instance>>;

    /// The changes after `revision`, oldest first; none if they are no longer all known.
    fn changes_since(&self, revision: u64) -> Option<Vec<Change>>;

    /// The changes made at or after `wall` milliseconds since 1970, oldest first, and the state that
    /// they lead to; none if they are no longer all known.
    fn recent_changes(&self, wall: u64) -> (Snapshot, Option<Vec<Change>>);

    /// Calls `observer` for every change from now on, as long as somebody else keeps it alive.
    fn observe(&self, observer: Weak<dyn Observer>);

    /// Whether this is a copy of another registry, and how good it is; nothing by default.
    fn copy(&self) -> Option<Copied> {
        None
    }

    /// What ended by itself so far; nothing by default, for a registry where nothing does.
    fn tally(&self) -> Tally {
        Tally::default()
    }

    /// Why leases that ran out are held on to, or are not; nothing by default, for a registry that holds on
    /// to none.
    fn self_preservation(&self) -> Option<Explained> {
        None
    }

    /// An operator says that the instances whose leases ran out are gone: they are removed. Answers how many
    /// there are; none by default.
    fn confirm_expired(&self) -> usize {
        0
    }
}

/// How good a copy of a registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// Nothing has been read yet: nobody can be told anything.
    Nothing,
    /// It follows what changes.
    Connected,
    /// It was right this long ago; since then the registry has not been heard of.
    Stale(Duration),
}

/// How often something happened because of the time that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Instances removed because their lease ran out.
    pub leases_expired: u64,
    /// Checks turned critical because nobody reported for longer than their ttl.
    pub checks_expired: u64,
    /// Instances removed because a check was critical for too long.
    pub deregistered_by_checks: u64,
}

/// A registry that can be written to and read from at memory speed.
pub trait Registry: Backend + View {}

impl<R: Backend + View> Registry for R {}

/// Somebody who must know of a change before the writer is answered: a cache that forgets what it
/// had encoded, so that a client which registers and reads sees itself.
pub trait Observer: Debug + Send + Sync {
    /// Called with changes in the order of their revisions, after [`View::snapshot`] holds them and
    /// before the write is answered. Must not block and must not call the registry's writing methods.
    fn changed(&self, changes: &[Change]);
}

/// The stream of a [`Backend::watch`].
pub trait Watch: Debug + Send {
    /// The next event; none once the backend is closed.
    ///
    /// Safe to cancel: a dropped call loses no event. An error ends nothing: calling again goes on,
    /// where the watch broke off if the source still knows what happened since, else with a new
    /// listing.
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>>;

    /// Whether the event that was told last is one of several that its source made in one step, and the
    /// next one of them is at hand: [`next`](Self::next) tells it without waiting for anything. Whoever
    /// puts together what there is shows it when this is false, so that nobody sees half a step. Not of
    /// listings, which say themselves when they are complete; false by default, for sources that
    /// change one instance at a time.
    fn is_amid_step(&self) -> bool {
        false
    }
}

/// A change of an operator's override.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverrideChange {
    /// The override to set; none to lift the one that is there.
    pub to: Option<Status>,
    /// The status to show when an override is lifted, until the instance registers again. Ignored
    /// otherwise. Eureka's default is [`Status::Unknown`], which makes the instance register at its
    /// next renewal.
    pub fallback: Status,
    /// By the operator's clock, milliseconds since 1970; the instance's
    /// [`dirty_at`](Instance::dirty_at) moves up to it.
    pub dirty_at: Option<u64>,
}

/// How a check is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who says so.
    pub from: Reporter,
    /// How it is.
    pub health: Health,
    /// For people: why. Cut to [`MAX_OUTPUT_BYTES`](crate::model::MAX_OUTPUT_BYTES).
    pub output: String,
}

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reporter {
    /// Whoever registered the instance. Heard only about checks that nobody probes.
    Registrant,
    /// Whoever ran this probe. Not heard once the check is probed otherwise: a late answer about an
    /// old address says nothing about the new one.
    Prober(Probe),
}

/// Why a backend could not do what it was asked. Nothing was changed, but where a variant says
/// otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such service or instance. Not retried: register first.
    #[error("{0} is not registered")]
    NotFound(String),
    /// The registrant has changed since it registered. It must register again.
    #[error("{0} has changed since it registered: register it again")]
    Outdated(Key),
    /// A registrant reported about a check that is probed. Not retried: only checks with a ttl are
    /// reported.
    #[error("{0} is probed, so that nobody reports it: register one with a ttl for that")]
    Probed(CheckKey),
    /// The registry holds as many instances as it may. Retry when some have left, or raise the limit.
    #[error("the registry is full: it holds {limit} instances, the most that it may")]
    Full {
        /// How many it may hold.
        limit: usize,
    },
    /// The system behind the backend did not answer, or not in time. Of a write nobody knows whether
    /// it was done; every write of a backend may be repeated. Try again, after a pause that grows.
    #[error("the registry behind did not answer while {phase}: {reason}; try again")]
    Unavailable {
        /// What was being done.
        phase: Phase,
        /// What went wrong, for people.
        reason: String,
    },
    /// The system behind the backend refuses these credentials, or what they are used for. Not
    /// retried: correct the credentials, or what they may do.
    #[error("the registry behind refuses the credentials while {phase}: {reason}")]
    Denied {
        /// What was being done.
        phase: Phase,
        /// What went wrong, for people.
        reason: String,
    },
    /// Others changed the instance at the same moment, each time that it was tried. Try again.
    #[error("{0} was changed by others at the same moment: try again")]
    Contended(Key),
    /// The system behind the backend has no form for such an instance. Not retried: the text says what
    /// to change.
    #[error("the registry behind cannot hold it: {0}")]
    Invalid(String),
    /// The backend was closed. Not retried.
    #[error("the registry is shutting down")]
    Closed,
}

/// What a backend was doing when the system behind it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Presenting its credentials.
    Login,
    /// Reading a service or an instance.
    Read,
    /// Listing everything.
    List,
    /// Registering, deregistering or overriding.
    Write,
    /// Renewing a lease.
    Renew,
    /// Following what changes.
    Watch,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "logging in",
            Self::Read => "reading",
            Self::List => "listing",
            Self::Write => "writing",
            Self::Renew => "renewing a lease",
            Self::Watch => "watching",
        })
    }
}
