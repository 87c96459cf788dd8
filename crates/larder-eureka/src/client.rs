//! The client's side: asks a Eureka cluster, and puts together what it holds.
//!
//! [`reconcile`] makes of lists and deltas what a server holds, and knows nothing of how they came. The
//! rest is HTTP: full JSON, packed by gzip if the server likes, one server at a time with the next in
//! reserve. [`EurekaClient`](crate::EurekaClient) makes a backend of it.

mod body;
mod calls;
pub(crate) mod carried;
mod fault;
mod options;
pub(crate) mod pursuit;
pub mod reconcile;
mod replication;
pub(crate) mod rounds;

use std::sync::Arc;

use larder_registry::Phase;
use larder_registry::model::{Instance, Key, Status};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;

use crate::wire::{Applications, json};
use calls::{Answer, Calls, Question, Repeat};
pub(crate) use carried::unpack;
pub use carried::{CARRIED, LEASE_SECS_MAX};
pub(crate) use fault::Fault;
pub(crate) use options::base;
pub use options::{Credentials, Options, OptionsError};

/// How a client of ours names itself.
const LARDER: &str = concat!("Larder/", env!("CARGO_PKG_VERSION"));

/// How one that follows a region does: with the word by which Netflix's servers name theirs,
/// `Java-EurekaClient-RemoteRegion/v2.0.5`.
const LARDER_OF_REGION: &str = concat!("Larder-RemoteRegion/", env!("CARGO_PKG_VERSION"));

/// What stands for itself in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Asks a Eureka cluster.
#[derive(Debug)]
pub(crate) struct Client {
    calls: Calls,
}

/// A list or a delta, and which server sent it.
#[derive(Debug)]
pub(crate) struct Heard {
    /// As the server prints it.
    pub(crate) apps: Applications,
    /// Its place among the servers.
    pub(crate) server: usize,
}

impl Client {
    /// Asks nobody yet.
    pub(crate) fn new(options: &Options) -> Result<Self, OptionsError> {
        Ok(Self { calls: Calls::new(options, LARDER)? })
    }

    /// Asks servers for what is registered with them, and not for what they themselves copy from others: so
    /// that what is copied in a circle does not live for ever. Larder's servers heed that.
    pub(crate) fn of_region(options: &Options) -> Result<Self, OptionsError> {
        Ok(Self { calls: Calls::new(options, LARDER_OF_REGION)? })
    }

    /// Ends every call that is under way, and refuses further ones.
    pub(crate) fn close(&self) {
        self.calls.close();
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.calls.is_closed()
    }

    /// Returns once [`close`](Self::close) was called.
    pub(crate) async fn until_closed(&self) {
        self.calls.until_closed().await;
    }

    /// Everything.
    pub(crate) async fn list(&self) -> Result<Heard, Fault> {
        let answer = self.ask(Phase::List, Method::GET, "/apps/".to_owned()).await?;
        self.apps(Phase::List, answer).await
    }

    /// What changed lately.
    pub(crate) async fn delta(&self) -> Result<Heard, Fault> {
        let answer = self.ask(Phase::Watch, Method::GET, "/apps/delta".to_owned()).await?;
        self.apps(Phase::Watch, answer).await
    }

    /// One instance, as it is held at this moment.
    pub(crate) async fn instance(&self, key: &Key) -> Result<Option<Arc<Instance>>, Fault> {
        let asked = self.ask(Phase::Read, Method::GET, instance_path(key)).await;
        let Some(answer) = found(asked)? else { return Ok(None) };
        let limit = self.calls.max_body();
        let (server, decode) = (answer.server, json::decode_instance);
        let read = body::read(answer.body, Phase::Read, limit, decode).await;
        Ok(Some(Arc::new(self.judge(server, read)?)))
    }

    /// Registers the instance as it is sent: packed already.
    pub(crate) async fn register(&self, instance: &Instance) -> Result<(), Fault> {
        let question = Question {
            phase: Phase::Write,
            method: Method::POST,
            path: format!("/apps/{}", app(instance.service.as_str())),
            body: json::registration(instance),
            repeat: Repeat::Elsewhere,
        };
        self.calls.call(question).await.map(drop)
    }

    /// Renews a lease; says whether the server knows it, as it was at `dirty_at` or later.
    pub(crate) async fn renew(&self, key: &Key, dirty_at: Option<u64>) -> Result<bool, Fault> {
        let mut query = Query::default();
        query.add("lastDirtyTimestamp", dirty_at);
        let path = query.after(&instance_path(key));
        let asked = self.ask(Phase::Renew, Method::PUT, path).await;
        Ok(found(asked)?.is_some())
    }

    /// Ends a registration; says whether there was one.
    pub(crate) async fn leave(&self, key: &Key) -> Result<bool, Fault> {
        let question = Question {
            phase: Phase::Write,
            method: Method::DELETE,
            path: instance_path(key),
            body: Vec::new(),
            repeat: Repeat::Never,
        };
        Ok(found(self.calls.call(question).await)?.is_some())
    }

    /// Sets an override; says whether there is such an instance.
    pub(crate) async fn set_status(
        &self,
        key: &Key,
        to: Status,
        dirty_at: Option<u64>,
    ) -> Result<bool, Fault> {
        self.status(Method::PUT, key, to, dirty_at).await
    }

    /// Lifts an override, to show this status until the instance registers again; says whether there
    /// is such an instance.
    pub(crate) async fn lift_status(
        &self,
        key: &Key,
        fallback: Status,
        dirty_at: Option<u64>,
    ) -> Result<bool, Fault> {
        self.status(Method::DELETE, key, fallback, dirty_at).await
    }

    async fn status(
        &self,
        method: Method,
        key: &Key,
        status: Status,
        dirty_at: Option<u64>,
    ) -> Result<bool, Fault> {
        let mut query = Query::default();
        query.add("value", Some(status));
        query.add("lastDirtyTimestamp", dirty_at);
        let path = query.after(&format!("{}/status", instance_path(key)));
        Ok(found(self.ask(Phase::Write, method, path).await)?.is_some())
    }

    async fn ask(&self, phase: Phase, method: Method, path: String) -> Result<Answer, Fault> {
        let repeat = Repeat::Elsewhere;
        self.calls.call(Question { phase, method, path, body: Vec::new(), repeat }).await
    }

    async fn apps(&self, phase: Phase, answer: Answer) -> Result<Heard, Fault> {
        let (server, limit) = (answer.server, self.calls.max_body());
        let read = body::read(answer.body, phase, limit, json::decode_applications).await;
        Ok(Heard { apps: self.judge(server, read)?, server })
    }

    /// A server whose answers cannot be read is not asked next.
    fn judge<T>(&self, server: usize, read: Result<T, Fault>) -> Result<T, Fault> {
        if read.as_ref().is_err_and(Fault::is_the_servers) {
            self.calls.pass_over(server);
        }
        read
    }
}

/// None for what the server does not know.
fn found(answer: Result<Answer, Fault>) -> Result<Option<Answer>, Fault> {
    match answer {
        Err(fault) if fault.is_not_found() => Ok(None),
        answer => answer.map(Some),
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// In upper case, as Eureka keeps it; so that no application is taken for the word `delta`.
fn app(name: &str) -> String {
    segment(&name.to_uppercase())
}

fn instance_path(key: &Key) -> String {
    format!("/apps/{}/{}", app(key.service.as_str()), segment(&key.id))
}

/// The query of a URL, of words and numbers.
#[derive(Debug, Default)]
struct Query(Vec<String>);

impl Query {
    fn add(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        self.0.extend(value.map(|value| format!("{name}={value}")));
    }

    fn after(&self, path: &str) -> String {
        if self.0.is_empty() { path.to_owned() } else { format!("{path}?{}", self.0.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_encoded_segment_by_segment() {
        for (service, id, path) in [
            ("orders", "h:orders:80", "/apps/ORDERS/h%3Aorders%3A80"),
            ("a/b", "50%", "/apps/A%2FB/50%25"),
            ("delta", "1.2-3_4~5", "/apps/DELTA/1.2-3_4~5"),
        ] {
            assert_eq!(instance_path(&Key::new(service, id)), path);
        }
    }

    #[test]
    fn a_query_names_what_is_known() {
        let mut query = Query::default();
        query.add("value", None::<u64>);
        assert_eq!(query.after("/x"), "/x");
        query.add("value", Some(Status::Up));
        query.add("lastDirtyTimestamp", Some(7));
        assert_eq!(query.after("/x"), "/x?value=UP&lastDirtyTimestamp=7");
    }
}
