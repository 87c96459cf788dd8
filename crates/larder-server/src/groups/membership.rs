//! Who stands in the ring, as it is configured.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use larder_peers::membership::{Dns, PeersFile};
use larder_peers::{Address, MembersError, Pool};
use larder_registry::Registry;
use larder_registry::model::Name;

use super::GroupsError;
use super::service::{Instances, Registered};
use crate::config::Membership;

/// Tells the pool of its peers, or has it follow them. This process is registered where that is how others
/// know of it; `at` is where it serves peers.
pub(super) fn open(
    membership: &Membership,
    pool: &Pool,
    registry: &Arc<dyn Registry>,
    at: &[SocketAddr],
) -> Result<Option<Registered>, GroupsError> {
    match membership {
        Membership::Alone => {}
        Membership::Fixed(peers) => pool.set_peers(peers.iter().cloned()).map_err(refused)?,
        Membership::File(path) => {
            is_readable(path)?;
            pool.follow(PeersFile::new(path));
        }
        Membership::Dns(name, port) => pool.follow(Dns::new(pool, format!("{name}:{port}"))),
        Membership::Service(name) => {
            let (name, (host, port)) = (Name::new(name), reached_at(pool.identity(), at)?);
            let identity = pool.identity();
            if host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) {
                let says = "peers are told an address of this machine alone: set groups.identity or listen";
                tracing::warn!(identity, "{says}");
            }
            let mut own = Registered::start(registry.clone(), &name, identity, (&host, port));
            pool.follow(Instances::new(registry.clone(), name, pool.mode(), &mut own));
            return Ok(Some(own));
        }
    }
    Ok(None)
}

/// A file that is not there at the start is a slip of the pen, and later on a file that is being replaced.
fn is_readable(path: &Path) -> Result<(), GroupsError> {
    let unreadable = |reason| GroupsError::PeersFile { path: path.display().to_string(), reason };
    File::open(path).map(drop).map_err(unreadable)
}

/// Host and port for others: those in what this process is called, else where it listens.
fn reached_at(identity: &str, at: &[SocketAddr]) -> Result<(String, u16), GroupsError> {
    if let Some(address) = Address::parse(identity)
        && let Some((host, port)) = address.authority().rsplit_once(':')
        && let Ok(port) = port.parse()
    {
        return Ok((host.to_owned(), port));
    }
    match at.first() {
        Some(first) if !first.ip().is_unspecified() => Ok((first.ip().to_string(), first.port())),
        _ => Err(GroupsError::Unreachable(identity.to_owned())),
    }
}

fn refused(error: MembersError) -> GroupsError {
    match error {
        MembersError::SelfMissing(own) => GroupsError::NotAmongPeers(own),
        error => GroupsError::Members(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_reached_where_its_name_says_or_where_it_listens() {
        let at = |text: &str| vec![text.parse().expect("an address")];
        let reached = |identity, listens| reached_at(identity, &at(listens)).ok();
        let expected = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(reached("http://10.0.0.1:81", "0.0.0.0:82"), expected("10.0.0.1", 81));
        assert_eq!(reached("node-1:81", "0.0.0.0:82"), expected("node-1", 81));
        assert_eq!(reached("[fd00::1]:81", "0.0.0.0:82"), expected("[fd00::1]", 81));
        assert_eq!(reached("node-1", "10.0.0.1:82"), expected("10.0.0.1", 82));
        assert_eq!(reached("node-1", "0.0.0.0:82"), None);
    }
}
