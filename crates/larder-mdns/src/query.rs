//! Asking everybody, and waiting for as long as answers may come.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use larder_registry::model::Name;
use larder_registry::{Error, Phase};
use tokio::net::UdpSocket;

use crate::message::{self, Heard, Said, Seen};
use crate::names::{Labels, Place};
use crate::shared::Shared;
use crate::sockets::{self, DATAGRAM_BYTES_MAX};

/// How many names a question is about at most. More become several questions, sent at once.
const NAMES_MAX: usize = 16;

impl Shared {
    /// What there is of a service. A spelling that nobody here has met is sought among all services, if
    /// nobody answers to the ones that are known: go-micro answers only to its own.
    pub(crate) async fn ask_service(&self, name: &Name, phase: Phase) -> Result<Vec<Heard>, Error> {
        let mut spellings = self.state().picture.spellings(name);
        spellings.push(name.as_str().to_owned());
        spellings.push(name.folded().to_owned());
        spellings.sort();
        spellings.dedup();
        let mut heard = self.ask(&self.names(&spellings), phase).await?;
        heard.retain(|heard| is_of(heard, name));
        if !heard.is_empty() {
            return Ok(heard);
        }
        let mut others = self.ask_services(phase).await?;
        others.retain(|other| Name::new(other) == *name && !spellings.contains(other));
        if others.is_empty() {
            return Ok(heard);
        }
        let mut heard = self.ask(&self.names(&others), phase).await?;
        heard.retain(|heard| is_of(heard, name));
        Ok(heard)
    }

    /// The services that there are, as they are written.
    pub(crate) async fn ask_services(&self, phase: Phase) -> Result<Vec<String>, Error> {
        let heard = self.ask(&Place::ALL.map(|place| self.domain.services(place)), phase).await?;
        let mut listed: Vec<String> = heard
            .into_iter()
            .filter_map(|heard| match heard {
                Heard::Listed(service) => Some(service),
                Heard::Here(_) | Heard::Gone { .. } => None,
            })
            .collect();
        listed.sort();
        listed.dedup();
        Ok(listed)
    }

    /// Everything that there is.
    pub(crate) async fn ask_all(&self, phase: Phase) -> Result<Vec<Heard>, Error> {
        let services = self.ask_services(phase).await?;
        if services.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(&self.names(&services), phase).await
    }

    /// By which names services are asked for.
    fn names(&self, services: &[String]) -> Vec<Labels> {
        let names = services.iter().flat_map(|service| {
            Place::ALL.into_iter().filter_map(|place| self.domain.service(place, service))
        });
        names.collect()
    }

    /// Asks for names, and waits.
    async fn ask(&self, names: &[Labels], phase: Phase) -> Result<Vec<Heard>, Error> {
        let unavailable =
            |error: std::io::Error| Error::Unavailable { phase, reason: error.to_string() };
        let _turn = self.questions.acquire().await.expect("it is never closed");
        let socket = sockets::asking(&self.options).map_err(unavailable)?;
        let group = sockets::group(&self.options);
        for names in names.chunks(NAMES_MAX) {
            socket.send_to(&message::query(names), group).await.map_err(unavailable)?;
        }
        let mut heard = Answers::new();
        // A time-out is the usual end: what came until then is the answer.
        let listening = self.listen(&socket, &mut heard);
        match tokio::time::timeout(self.options.query_timeout, listening).await {
            Ok(error) => Err(error),
            Err(_) if self.is_closed() => Err(Error::Closed),
            Err(_) => Ok(heard.into_values().collect()),
        }
    }

    /// Collects answers until there are too many. Safe to cancel: what was read is in `heard`.
    async fn listen(&self, socket: &UdpSocket, heard: &mut Answers) -> Error {
        let limit = self.options.max_instances;
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while heard.len() <= limit {
            // An error is about something that was sent before: the next one is read.
            let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
            let answers = self.answer(&buffer[..len], from).into_iter();
            heard.extend(answers.map(|answer| (subject(&answer), answer)));
        }
        Error::Full { limit }
    }

    fn answer(&self, bytes: &[u8], from: SocketAddr) -> Vec<Heard> {
        match message::read(bytes, &self.domain) {
            Ok(Said::Statement { heard, malformed }) => {
                self.skip_all(&malformed);
                heard
            }
            Ok(Said::Question { .. }) => Vec::new(),
            Err(reason) => {
                self.skip(&format!("{from}: {reason}"));
                Vec::new()
            }
        }
    }
}

/// What is said, by what it is about: go-micro may say everything twice.
type Answers = BTreeMap<(String, String), Heard>;

/// The service as it is written, and the instance's id.
fn subject(heard: &Heard) -> (String, String) {
    match heard {
        Heard::Here(Seen { instance, .. }) => {
            (instance.service.as_str().to_owned(), instance.id.clone())
        }
        Heard::Gone { key, .. } => (key.service.as_str().to_owned(), (*key.id).to_owned()),
        Heard::Listed(service) => (service.clone(), String::new()),
    }
}

fn is_of(heard: &Heard, name: &Name) -> bool {
    matches!(heard, Heard::Here(seen) if seen.instance.service == *name)
}
