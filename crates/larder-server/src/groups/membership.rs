//! Who stands in the ring, as it is configured.

use larder_peers::{MembersError, Pool};

use super::GroupsError;
use crate::config::Membership;

/// Tells the pool of its peers.
pub(super) fn open(membership: &Membership, pool: &Pool) -> Result<(), GroupsError> {
    let told = match membership {
        Membership::Alone => Ok(()),
        Membership::Fixed(peers) => pool.set_peers(peers.iter().cloned()),
        Membership::File(_) => return Err(GroupsError::NotBuiltIn("groups.peers_file")),
        Membership::Dns(..) => return Err(GroupsError::NotBuiltIn("groups.peers_dns")),
        Membership::Service(_) => return Err(GroupsError::NotBuiltIn("groups.peers_service")),
    };
    told.map_err(|error| match error {
        MembersError::SelfMissing(own) => GroupsError::NotAmongPeers(own),
        error => GroupsError::Members(error),
    })
}
