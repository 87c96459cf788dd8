//! The members of the ring as a name in DNS has them: each address behind it is one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Discovery, DiscoveryError};
use crate::members::{Address, Peer};
use crate::pool::Pool;
use crate::ring::Mode;

/// How often the name is looked up.
const EVERY: Duration = Duration::from_secs(5);

/// A name with a port, as `larder.default.svc:8761`: every address that it has is a peer, called as its
/// ring's mode calls an address: `http://10.0.0.7:8761` or `10.0.0.7:8761`. This process must be called so,
/// too, by its own address.
///
/// The name is looked up every five seconds by the system's resolver, that is, by the hosts file as well.
/// With both IPv4 and IPv6 addresses only those of this process's own kind count: each process would be
/// there twice.
#[derive(Debug)]
pub struct Dns {
    name: String,
    mode: Mode,
    own: Option<IpAddr>,
    asked: bool,
}

impl Dns {
    /// The peers of `pool` behind `name`, a host and a port.
    pub fn new(pool: &Pool, name: impl Into<String>) -> Self {
        let own = Address::parse(pool.identity()).and_then(|address| address.ip());
        Self { name: name.into(), mode: pool.mode(), own, asked: false }
    }
}

impl Discovery for Dns {
    async fn next(&mut self) -> Result<Vec<Peer>, DiscoveryError> {
        if self.asked {
            tokio::time::sleep(EVERY).await;
        }
        self.asked = true;
        match tokio::net::lookup_host(&self.name).await {
            Ok(found) => Ok(peers(found, self.mode, self.own)),
            Err(reason) => Err(DiscoveryError::Lookup { name: self.name.clone(), reason }),
        }
    }
}

/// Each address once, in an order that does not change from one answer to the next.
fn peers(found: impl Iterator<Item = SocketAddr>, mode: Mode, own: Option<IpAddr>) -> Vec<Peer> {
    let is_kin = |address: &SocketAddr| own.is_none_or(|own| own.is_ipv4() == address.is_ipv4());
    let mut addresses: Vec<_> = found.filter(is_kin).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().map(|address| Peer::new(mode.identity_at(address))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], mode: Mode, own: Option<&str>) -> Vec<Peer> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        peers(addresses, mode, own.map(|own| own.parse().unwrap()))
    }

    #[test]
    fn every_address_is_a_peer_called_as_the_mode_wants() {
        let both = ["10.0.0.2:81", "10.0.0.1:81", "10.0.0.2:81"];
        let urls = [Peer::new("http://10.0.0.1:81"), Peer::new("http://10.0.0.2:81")];
        assert_eq!(found(&both, Mode::MailgunV2, Some("10.0.0.1")), urls);
        let plain = [Peer::new("10.0.0.1:81"), Peer::new("10.0.0.2:81")];
        assert_eq!(found(&both, Mode::GroupcacheGoV3, None), plain);
        assert_eq!(found(&["[::1]:81"], Mode::Golang, None), [Peer::new("http://[::1]:81")]);
    }

    #[test]
    fn a_process_with_two_kinds_of_addresses_is_one_peer() {
        let both = ["10.0.0.1:81", "[fd00::1]:81"];
        let (four, six) = (Peer::new("http://10.0.0.1:81"), Peer::new("http://[fd00::1]:81"));
        assert_eq!(found(&both, Mode::Native, Some("10.0.0.9")), [four]);
        assert_eq!(found(&both, Mode::Native, Some("fd00::9")), [six]);
        assert_eq!(found(&both, Mode::Native, None).len(), 2, "it is called by a name");
    }
}
