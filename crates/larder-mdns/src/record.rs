//! What this backend publishes of one instance: its name, address and description.
//!
//! Pure.

use std::net::SocketAddr;

use larder_micro::mapping;
use larder_registry::model::{Instance, Key, Status};

use crate::names::{Domain, Labels, Place};
use crate::txt::{self, DIGITS_MAX};

/// Why an instance has no form in multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// It has no DNS name.
    #[error(
        "the service's name and the id must be parts of 1 to 63 bytes with dots between, 240 bytes in \
         all, and not _services"
    )]
    Name,
    /// go-micro's JSON has no form for it.
    #[error("{0}")]
    Json(#[from] mapping::Unfit),
    /// Its description is too large for a message.
    #[error(
        "its description takes {digits} bytes of the {DIGITS_MAX} that a message has room for: shorten \
         its metadata or endpoints"
    )]
    TooLarge {
        /// How many it takes.
        digits: usize,
    },
}

/// An instance as it is published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// Which instance it is.
    pub(crate) key: Key,
    /// Who may see it.
    pub(crate) place: Place,
    /// Its DNS name.
    pub(crate) name: Labels,
    /// What it is asked for by: its service.
    pub(crate) service: Labels,
    /// The name by which its service answers when services are asked for.
    pub(crate) listed: Labels,
    /// Its name before the domain, folded.
    pub(crate) folded_name: String,
    /// Where it is reached, if that is an IP address and a port.
    pub(crate) address: Option<SocketAddr>,
    /// Its description; see [`txt`].
    pub(crate) txt: String,
}

impl Record {
    /// What is published of `instance`.
    pub(crate) fn of(domain: &Domain, instance: &Instance) -> Result<Self, Unfit> {
        let (service, id) = (instance.service.as_str(), instance.id.as_str());
        let address = address(instance);
        let is_up = instance.effective_status() == Status::Up;
        let place = if is_up && address.is_some() { Place::Open } else { Place::Aside };
        let name = domain.instance(place, service, id);
        let name = name.zip(domain.service(place, service)).zip(domain.listed(place, service));
        let ((name, service), listed) = name.ok_or(Unfit::Name)?;
        let txt = txt::encode(&describe(instance, address)?);
        if txt.len() > DIGITS_MAX {
            return Err(Unfit::TooLarge { digits: txt.len() });
        }
        let folded_name = format!("{id}.{}", instance.service.as_str()).to_lowercase();
        Ok(Self { key: instance.key(), place, name, service, listed, folded_name, address, txt })
    }

    /// Whether a registration of `instance` can be published, with room for what the registry adds to
    /// it later: times, a status, an override.
    pub(crate) fn check(domain: &Domain, instance: &Instance) -> Result<(), Unfit> {
        const ROOM: usize = 600;
        let digits = Self::of(domain, instance)?.txt.len();
        if digits + ROOM > DIGITS_MAX {
            return Err(Unfit::TooLarge { digits: digits + ROOM });
        }
        Ok(())
    }
}

/// The JSON, without what checks said last: new output is no change, so that nobody would be told.
fn describe(instance: &Instance, address: Option<SocketAddr>) -> Result<Vec<u8>, mapping::Unfit> {
    let said = address.map_or_else(String::new, |address| address.to_string());
    if instance.checks.iter().all(|check| check.output.is_empty()) {
        return mapping::encode_txt(instance, &said);
    }
    let mut silent = instance.clone();
    silent.checks.iter_mut().for_each(|check| check.output.clear());
    mapping::encode_txt(&silent, &said)
}

/// What go-micro can publish: an IP address and a port that is not zero.
fn address(instance: &Instance) -> Option<SocketAddr> {
    let address: SocketAddr = mapping::dialled(&instance.address).parse().ok()?;
    let is_plain = match address {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(address) => address.scope_id() == 0,
    };
    (is_plain && address.port() != 0)
        .then(|| SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use larder_registry::model::{Check, Health, Port, Probe};

    use super::*;

    fn web() -> Instance {
        let mut web = Instance::new("web", "1");
        web.address.ip = Some("10.0.0.1".to_owned());
        web.address.port = Some(Port { number: 80, enabled: true });
        web
    }

    fn record(instance: &Instance) -> Result<Record, Unfit> {
        Record::of(&Domain::new("micro").expect("it is a name"), instance)
    }

    #[test]
    fn go_micro_sees_what_serves_at_an_address_and_a_port() {
        let place = |instance: &Instance| record(instance).expect("it has a form").place;
        assert_eq!(place(&web()), Place::Open);
        let mut odd = [web(), web(), web(), web(), web()];
        odd[0].status = Status::OutOfService;
        odd[1].address.port = None;
        odd[2].address.ip = Some("web.local".to_owned());
        odd[3].address.port = Some(Port { number: 0, enabled: true });
        odd[4].checks = vec![Check {
            health: Health::Critical,
            ..Check::new("c", Probe::Tcp("10.0.0.1:80".to_owned()))
        }];
        for instance in odd {
            assert_eq!(place(&instance), Place::Aside, "{instance:?}");
        }
    }

    #[test]
    fn what_is_too_large_for_a_message_is_refused() {
        let mut large = web();
        // Hexadecimal digits of a counter, which zlib cannot make much smaller.
        let noise: Vec<String> = (0..2_000_u64).map(|n| (n * 2_654_435_761).to_string()).collect();
        large.metadata.insert("noise".to_owned(), noise.concat());
        assert!(matches!(record(&large), Err(Unfit::TooLarge { digits }) if digits > DIGITS_MAX));
        assert_eq!(record(&Instance::new("web", "a..b")), Err(Unfit::Name));
    }

    #[test]
    fn output_of_checks_is_not_published() {
        let mut web = web();
        web.checks = vec![Check::new("c", Probe::Tcp("10.0.0.1:80".to_owned()))];
        let before = record(&web);
        web.checks[0].output = "answered in 3 ms".to_owned();
        assert_eq!(record(&web), before);
    }
}
