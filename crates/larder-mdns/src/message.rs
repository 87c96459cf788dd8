//! DNS messages: what is sent, and what is made of what others send.
//!
//! A message of go-micro's is about one instance, as its reader keeps no more than the last of a
//! message; so are Larder's. Others may put several into one, which are all read.
//!
//! Pure. A message can be anything: it is bounded before it is parsed, and what is not understood is an
//! error or skipped.

mod heard;

use simple_dns::rdata::{A, AAAA, PTR, RData, SRV, TXT};
use simple_dns::{
    CLASS, CharacterString, Label, Name, Packet, PacketFlag, QCLASS, QTYPE, Question,
    ResourceRecord, TYPE,
};

use crate::names::Labels;
use crate::record::Record;
use crate::txt::STRING_BYTES_MAX;

pub(crate) use heard::{Heard, Said, Seen, Wanted, read};

/// How long others may believe a record, in seconds: go-micro's.
pub(crate) const TTL_SECS: u32 = 120;

/// The port by which a service answers when services are asked for: go-micro's, which nobody listens on.
const LISTED_PORT: u16 = 9_999;

/// A question about several names at once.
pub(crate) fn query(names: &[Labels]) -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    let (kind, class) = (QTYPE::TYPE(TYPE::PTR), QCLASS::CLASS(CLASS::IN));
    let about = names.iter().map(|name| Question::new(dns_name(name), kind, class, false));
    packet.questions = about.collect();
    bytes(&packet)
}

/// What nobody asked for: an instance is there, or, with a `ttl` of zero, it is gone.
pub(crate) fn announcement(record: &Record, ttl: u32) -> Vec<u8> {
    let mut packet = reply(0);
    packet.answers = about_instance(record, ttl);
    bytes(&packet)
}

/// The answer about an instance to a question about its service, or about itself. The reader knows by
/// the question, which is repeated, that it is meant.
pub(crate) fn answer(asked: &Asked, record: &Record) -> Vec<u8> {
    let mut packet = repeating(asked);
    packet.answers.push(pointer(&record.service, &record.name));
    packet.answers.extend(about_instance(record, TTL_SECS));
    bytes(&packet)
}

/// The answer about a service to a question about services. Like go-micro's it has the form of an
/// instance, at an address that is none.
pub(crate) fn listing(asked: &Asked, record: &Record) -> Vec<u8> {
    let mut packet = repeating(asked);
    let service_len = record.key.service.as_str().split('.').count();
    packet.answers.push(pointer(&record.listed[service_len..], &record.listed));
    let unspecified = RData::A(A { address: 0 });
    let srv = service(LISTED_PORT, &record.listed);
    for data in [srv, unspecified, RData::TXT(TXT::new())] {
        packet.answers.push(resource(&record.listed, TTL_SECS, data).into_owned());
    }
    bytes(&packet)
}

/// A question that was asked, as far as its answers repeat it: nothing by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// Its number.
    pub(crate) id: u16,
    /// All names that it is about.
    pub(crate) questions: Vec<Question<'static>>,
}

fn repeating(asked: &Asked) -> Packet<'static> {
    let mut packet = reply(asked.id);
    packet.questions.clone_from(&asked.questions);
    packet
}

fn reply<'a>(id: u16) -> Packet<'a> {
    let mut packet = Packet::new_reply(id);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet
}

/// The records of an instance, in the order in which go-micro's reader needs them: the name that SRV
/// gives comes before its address.
fn about_instance(record: &Record, ttl: u32) -> Vec<ResourceRecord<'static>> {
    let port = record.address.map_or(0, |address| address.port());
    let address = record.address.map(|address| match address.ip() {
        std::net::IpAddr::V4(ip) => RData::A(A { address: ip.to_bits() }),
        std::net::IpAddr::V6(ip) => RData::AAAA(AAAA { address: ip.to_bits() }),
    });
    let mut txt = TXT::new();
    for string in record.txt.as_bytes().chunks(STRING_BYTES_MAX) {
        txt.add_char_string(CharacterString::new(string).expect("it is no longer than it may be"));
    }
    let records = [Some(service(port, &record.name)), address, Some(RData::TXT(txt))];
    let records = records.into_iter().flatten();
    records.map(|data| resource(&record.name, ttl, data).into_owned()).collect()
}

/// go-micro's target is the host's name, which all instances of a host share. The instance's own name
/// serves its reader as well, and cannot be taken for another's.
fn service(port: u16, target: &[String]) -> RData<'_> {
    RData::SRV(SRV { priority: 10, weight: 1, port, target: dns_name(target) })
}

fn pointer(name: &[String], to: &[String]) -> ResourceRecord<'static> {
    resource(name, TTL_SECS, RData::PTR(PTR(dns_name(to)))).into_owned()
}

fn resource<'a>(name: &'a [String], ttl: u32, data: RData<'a>) -> ResourceRecord<'a> {
    ResourceRecord::new(dns_name(name), CLASS::IN, ttl, data)
}

fn dns_name(labels: &[String]) -> Name<'_> {
    let labels: Vec<Label<'_>> =
        labels.iter().map(|label| Label::new_unchecked(label.as_bytes())).collect();
    Name::new_with_labels(&labels)
}

fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    packet.build_bytes_vec_compressed().expect("its names and strings are as long as they may be")
}

#[cfg(test)]
mod tests;
