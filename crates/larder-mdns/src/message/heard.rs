//! What others send: a question, or what they say of instances and services.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::string::FromUtf8Error;
use std::sync::Arc;

use larder_micro::mapping;
use larder_registry::model::{Instance, Key};
use simple_dns::rdata::{RData, SRV, TXT};
use simple_dns::{Name, OPCODE, Packet, PacketFlag, QTYPE, RCODE, TYPE};

use super::Asked;
use crate::names::{Domain, Labels, Parted, Place};
use crate::txt;

/// How many questions of one message are looked at.
const QUESTIONS_MAX: usize = 32;

/// The head of a message, a question and a record take at least this many bytes each.
const HEAD_BYTES: usize = 12;
const QUESTION_BYTES_MIN: usize = 5;
const RECORD_BYTES_MIN: usize = 11;

/// A message, read.
#[derive(Debug)]
pub(crate) enum Said {
    /// A question about names of the domain: none, if it is about others'.
    Question {
        /// What answers repeat.
        asked: Asked,
        /// What it is about.
        about: Vec<Wanted>,
    },
    /// What is there, or gone.
    Statement {
        /// What could be read.
        heard: Vec<Heard>,
        /// Why the rest of what is said in the domain could not be, in a sentence for each.
        malformed: Vec<String>,
    },
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The name.
    pub(crate) name: Parted,
    /// Whether everything is wanted that the name points to, or only what has this name.
    pub(crate) pointers: bool,
}

/// Something that is said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    /// An instance is there.
    Here(Seen),
    /// An instance is gone.
    Gone {
        /// Which one.
        key: Key,
        /// Where it was.
        place: Place,
    },
    /// There is a service of this name.
    Listed(String),
}

/// An instance that somebody published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// Where.
    pub(crate) place: Place,
    /// The instance.
    pub(crate) instance: Arc<Instance>,
    /// For how long that may be believed, in seconds; above zero.
    pub(crate) ttl_secs: u32,
}

/// Reads a message. The error says in words why it is none.
pub(crate) fn read(bytes: &[u8], domain: &Domain) -> Result<Said, String> {
    if !is_plausible(bytes) {
        return Err("it announces more than it has room for".to_owned());
    }
    let packet = Packet::parse(bytes).map_err(|error| error.to_string())?;
    if packet.opcode() != OPCODE::StandardQuery || packet.rcode() != RCODE::NoError {
        return Err("it is neither a plain question nor a plain answer".to_owned());
    }
    if packet.has_flags(PacketFlag::RESPONSE) {
        return Ok(statement(packet, domain));
    }
    let about = packet.questions.iter().take(QUESTIONS_MAX).filter_map(|question| {
        let name = domain.parted(&labels(&question.qname)?)?;
        let pointers = matches!(question.qtype, QTYPE::ANY | QTYPE::TYPE(TYPE::PTR));
        Some(Wanted { name, pointers })
    });
    let about: Vec<Wanted> = about.collect();
    let questions = packet.questions.iter().take(QUESTIONS_MAX).cloned();
    let questions = questions.map(simple_dns::Question::into_owned).collect();
    Ok(Said::Question { asked: Asked { id: packet.id(), questions }, about })
}

/// Whether the head announces no more than the message can hold: the parser makes room for what is
/// announced.
fn is_plausible(bytes: &[u8]) -> bool {
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return false };
    let count = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
    let records = count(6) + count(8) + count(10);
    count(4) * QUESTION_BYTES_MIN + records * RECORD_BYTES_MIN <= rest.len()
}

/// The records of a statement, by their names.
#[derive(Debug, Default)]
struct Records<'a> {
    services: Vec<(Labels, SRV<'a>, u32)>,
    texts: HashMap<Labels, (Vec<u8>, u32)>,
    v4: HashMap<Labels, Ipv4Addr>,
    v6: HashMap<Labels, Ipv6Addr>,
}

fn statement(packet: Packet<'_>, domain: &Domain) -> Said {
    let mut records = Records::default();
    for resource in packet.answers.into_iter().chain(packet.additional_records) {
        let Some(name) = labels(&resource.name) else { continue };
        match resource.rdata {
            RData::SRV(srv) => records.services.push((name, srv, resource.ttl)),
            RData::TXT(text) => {
                records.texts.insert(name, (joined(text), resource.ttl));
            }
            RData::A(a) => {
                records.v4.insert(name, Ipv4Addr::from_bits(a.address));
            }
            RData::AAAA(aaaa) => {
                records.v6.insert(name, Ipv6Addr::from_bits(aaaa.address));
            }
            _ => {}
        }
    }
    let (mut heard, mut malformed) = (Vec::new(), Vec::new());
    for (name, srv, ttl) in &records.services {
        let Some(parted) = domain.parted(name) else { continue };
        match records.of(name, &parted, srv, *ttl) {
            Ok(said) => heard.extend(said),
            Err(reason) => malformed.push(format!("{}: {reason}", name.join("."))),
        }
    }
    Said::Statement { heard, malformed }
}

impl Records<'_> {
    /// What is said of a name of the domain; none if it takes more records to know.
    fn of(
        &self,
        name: &Labels,
        parted: &Parted,
        srv: &SRV<'_>,
        ttl: u32,
    ) -> Result<Option<Heard>, String> {
        if let Some(service) = parted.listed() {
            return Ok((ttl > 0).then_some(Heard::Listed(service)));
        }
        let Some((text, text_ttl)) = self.texts.get(name) else { return Ok(None) };
        let json = txt::decode(text).map_err(|error| error.to_string())?;
        let address = self.address(srv).map_or_else(String::new, |address| address.to_string());
        let instance =
            |id: &str| mapping::decode_txt(&json, id, &address).map_err(|error| error.to_string());
        // Which labels are the id is known once the service is.
        let service = instance("")?.service;
        let id =
            parted.id_in(service.as_str()).ok_or("it speaks of another service than its name")?;
        let instance = instance(&id)?;
        if parted.place == Place::Open && address.is_empty() {
            return Err("it has no address".to_owned());
        }
        let ttl_secs = ttl.min(*text_ttl);
        if ttl_secs == 0 {
            return Ok(Some(Heard::Gone { key: instance.key(), place: parted.place }));
        }
        let instance = Arc::new(instance);
        Ok(Some(Heard::Here(Seen { place: parted.place, instance, ttl_secs })))
    }

    /// As go-micro does: the IPv4 address if there is one.
    fn address(&self, srv: &SRV<'_>) -> Option<SocketAddr> {
        let target = labels(&srv.target)?;
        let v4 = self.v4.get(&target).copied().map(IpAddr::V4);
        let ip = v4.or_else(|| self.v6.get(&target).copied().map(IpAddr::V6))?;
        (srv.port != 0).then(|| SocketAddr::new(ip, srv.port))
    }
}

/// None for a name that is not text.
fn labels(name: &Name<'_>) -> Option<Labels> {
    name.as_bytes().map(|label| Some(std::str::from_utf8(label).ok()?.to_owned())).collect()
}

/// All strings in a row. They are digits, or not go-micro's.
fn joined(text: TXT<'_>) -> Vec<u8> {
    String::try_from(text).map_or_else(FromUtf8Error::into_bytes, String::into_bytes)
}
