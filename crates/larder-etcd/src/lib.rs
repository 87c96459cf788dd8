//! A registry in etcd, in the form in which go-micro keeps it there.
//!
//! [`Etcd`] is a [`Backend`](larder_registry::Backend): what go-micro services register is found through
//! it, and they find what registers through it.
//!
//! ```no_run
//! use larder_cache::Clock;
//! use larder_etcd::{Etcd, Options};
//! use larder_registry::Backend;
//! use larder_registry::model::{Instance, Name};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoints = vec!["10.0.0.1:2379".to_owned(), "10.0.0.2:2379".to_owned()];
//! let etcd = Etcd::connect(Options { endpoints, ..Options::default() }, Clock::running())?;
//! etcd.register(Instance::new("orders", "orders-1")).await?;
//! let greeter = etcd.service(&Name::new("go.micro.srv.greeter")).await?;
//! for instance in greeter.instances() {
//!     println!("{} {:?}", instance.id, instance.address);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept there
//!
//! One key for each instance, `<prefix><service>/<id>` with `-` for every `/` of the two names, and in
//! it go-micro's JSON; [`mapping`] says which field goes where. Two ids, or two services, that differ
//! only in `/` and `-` share a key, as they do in go-micro: the later takes the earlier's place, and
//! watches are told so. What is below the prefix and no instance is skipped, counted
//! ([`Etcd::skipped`]) and logged.
//!
//! **An instance that does not serve** is one that go-micro's clients must not call, and they know no
//! status. It is kept beside the prefix, at `<prefix without its slash>.larder/`, where only Larder
//! looks; the move is one transaction, which go-micro sees as a deletion, and back as a creation. A user
//! of etcd's with rights on the prefix alone needs them there as well.
//!
//! **A service is one in whatever case it is written**, while etcd's keys are not. Reads seek the
//! spellings that exist (one question, and one more for each spelling that is not in lower case; for
//! names outside of ASCII every key is looked at), and a registration takes the place of the same instance in another spelling. Of keys that others wrote
//! for one instance, the one written last counts.
//!
//! **Leases** are etcd's: one for each instance that has a lease here, of its duration (etcd makes it 2
//! seconds if it is shorter). Its number is kept with the key, so that any Larder may renew what another
//! registered, and nothing is lost when one restarts. A renewal is one keep-alive; when the lease is
//! gone so is the instance, and the renewal is answered with
//! [`NotFound`](larder_registry::Error::NotFound). What go-micro registered has a lease in etcd that
//! says nothing of its duration: [`Instance::lease`](larder_registry::model::Instance::lease) is none.
//!
//! # What can be relied on
//!
//! Reads are linearizable and of one revision. A write holds on the condition that nobody changed the
//! instance since it was read, and is tried again if somebody did. A watch lists, and follows from the
//! revision of its listing; it resumes after a break, and lists anew only if etcd has compacted what
//! happened since, or was replaced by one that knows less. A watch of one service hears of all on the
//! wire, and picks. Every call, connection and silence has a bound, in [`Options`].

mod api;
mod backend;
mod connection;
mod holdings;
mod keys;
mod options;
mod spelling;
mod store;
mod watch;

pub use backend::Etcd;
pub use larder_micro::mapping;
pub use options::{Credentials, Options, OptionsError};
