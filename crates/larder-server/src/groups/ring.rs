//! What this process is called in the ring, and how it behaves there, as it is configured.

use std::net::SocketAddr;

use larder_cache::Clock;
use larder_peers::{PoolOptions, Token};

use super::GroupsError;
use crate::config::{Groups, Membership, Secret};

/// `groups.identity`, or what the first address at which peers are served makes of it.
pub(super) fn identity(config: &Groups, at: &[SocketAddr]) -> Result<String, GroupsError> {
    if !config.identity.is_empty() {
        return Ok(config.identity.clone());
    }
    let Some(first) = at.first() else { return Ok(String::new()) };
    // Alone, nobody needs to be told.
    if first.ip().is_unspecified() && config.membership != Membership::Alone {
        return Err(GroupsError::Nameless(*first));
    }
    Ok(config.mode.identity_at(*first))
}

/// The token, if one is configured.
pub(super) fn token(secret: &Secret) -> Option<Token> {
    Some(secret.0.as_str()).filter(|secret| !secret.is_empty()).map(Token::from)
}

pub(super) fn options(config: &Groups, clock: &Clock) -> PoolOptions {
    PoolOptions {
        mode: config.mode,
        replicas: config.replicas,
        admission: config.admission,
        token: token(&config.token),
        second_owner: config.second_owner,
        hedge: config.hedge,
        peer_timeout: config.peer_timeout,
        connections: config.peer_connections,
        max_value: config.max_value_bytes,
        retry_for: config.retry,
        clock: Some(clock.clone()),
        ..PoolOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use larder_peers::Mode;

    use super::*;

    fn named(mode: Mode, at: &str, membership: Membership) -> Result<String, String> {
        let config = Groups { mode, membership, ..Groups::default() };
        let at = at.parse().expect("an address");
        identity(&config, &[at]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_process_is_called_after_its_address_in_the_modes_form() {
        let url = |mode| named(mode, "127.0.0.1:8761", Membership::Alone);
        assert_eq!(url(Mode::MailgunV2).as_deref(), Ok("http://127.0.0.1:8761"));
        assert_eq!(url(Mode::Native).as_deref(), Ok("http://127.0.0.1:8761"));
        assert_eq!(url(Mode::GroupcacheGoV3).as_deref(), Ok("127.0.0.1:8761"));
        assert_eq!(
            named(Mode::Golang, "[::1]:80", Membership::Alone).as_deref(),
            Ok("http://[::1]:80")
        );
    }

    #[test]
    fn an_address_that_is_everywhere_names_nobody_for_others() {
        assert!(named(Mode::MailgunV2, "0.0.0.0:80", Membership::Alone).is_ok());
        let told = named(Mode::MailgunV2, "0.0.0.0:80", Membership::Service("a".to_owned()));
        let told = told.expect_err("others could not reach it");
        assert!(
            told.contains("groups.identity is needed") && told.contains("0.0.0.0:80"),
            "{told}"
        );
        let config = Groups {
            identity: "me".to_owned(),
            membership: Membership::Service("a".to_owned()),
            ..Groups::default()
        };
        assert_eq!(identity(&config, &[]).ok().as_deref(), Some("me"));
    }
}
