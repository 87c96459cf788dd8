//! A registry over multicast DNS, in the form in which go-micro keeps it there.
//!
//! [`Mdns`] is a [`Backend`](larder_registry::Backend) without a server: everybody on the local network
//! answers for what they registered. What go-micro services register with their default registry is
//! found through it, and they find what registers through it.
//!
//! ```no_run
//! use larder_cache::Clock;
//! use larder_mdns::{Mdns, Options};
//! use larder_registry::Backend;
//! use larder_registry::model::{Instance, Name};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mdns = Mdns::start(Options::default(), Clock::running())?;
//! mdns.register(Instance::new("orders", "orders-1")).await?;
//! let greeter = mdns.service(&Name::new("go.micro.srv.greeter")).await?;
//! for instance in greeter.instances() {
//!     println!("{} {:?}", instance.id, instance.address);
//! }
//! mdns.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is published
//!
//! Each instance is a DNS name, `<id>.<service>.micro.`, with a port (SRV), an address (A or AAAA) and a
//! description (TXT): go-micro's JSON, packed by zlib, in hexadecimal digits, in strings of up to 255
//! bytes; see [`mapping`](larder_micro::mapping). `<service>.micro.` asks for all instances of a
//! service, `_services.micro.` for all services. A change is announced twice, a second apart; the end of
//! an instance likewise, with a time to live of zero. Nobody is asked first whether a name is free: as
//! in go-micro, ids are expected to be unique, and of two instances with one name the one heard last
//! counts.
//!
//! **An instance that go-micro's clients must not call, or cannot**, is published in a domain beside the
//! first, `micro-larder.`, where only Larder looks: one that does not serve, as they know no status, and
//! one without an IP address and a port. When an instance goes out of service, go-micro hears that it is
//! gone, and that it is there when it is back.
//!
//! **A name must have a form in DNS**: each part between two dots 1 to 63 bytes, and all of it up to 255.
//! A description has room for 8,000 digits, about 4 KB packed. What has no form is refused with
//! [`Error::Invalid`](larder_registry::Error::Invalid). Blanks and the like in an id are legal, but
//! go-micro's clients show them with a backslash.
//!
//! # What can be relied on
//!
//! **What is registered here** is held in memory, and all of the contract holds for it: leases, renewals
//! with their errors, overrides, checks. It is published, and withdrawn, before the caller is answered.
//!
//! **What others registered** can be found and watched, and nothing else: multicast DNS has no way to ask
//! for a change. Renewing, removing or overriding it, and reporting on its checks, is answered with
//! [`NotFound`](larder_registry::Error::NotFound).
//!
//! **Reading asks the network**, and lasts as long as [`Options::query_timeout`], since nobody knows how
//! many will answer. Who is too slow is missing, and so is who cannot be heard: over multicast DNS no
//! answer looks like an absent one. A service is one in whatever case it is written; go-micro answers
//! only to its own spelling, which is sought among all services if nobody answers to those that are
//! known.
//!
//! **A watch** lists what it heard, and follows what is announced. What dies without a word is told as
//! deleted once nobody heard of it for [`Options::silence_timeout`], or for as long as it asked to be
//! believed; everybody is asked again every [`Options::query_interval`] while somebody watches.
//!
//! **Everybody on the network is believed.** Multicast DNS has no secrets and no signatures; use it where
//! you trust the network. What others send is bounded before it is read; what is no description of an
//! instance is skipped, counted ([`Mdns::skipped`]) and logged.
//!
//! Many programs of a machine share the port, go-micro's and Larder's among them. Messages go over IPv4,
//! on one interface ([`Options::interface`]); the addresses inside of them may be of IPv6.

mod backend;
mod board;
mod message;
mod names;
mod options;
mod picture;
mod query;
mod record;
mod shared;
mod sockets;
mod tasks;
mod txt;
mod watch;

pub use backend::Mdns;
pub use options::{Options, StartError};
