//! Who may ask on the peers' path.
//!
//! Pure.

use std::collections::HashSet;
use std::net::IpAddr;

/// Who may ask, beside whoever is on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// The configured peers, by the addresses at which they are reached, and whoever has the token.
    #[default]
    Peers,
    /// Everybody who can connect: for where the network sees to it.
    Anyone,
}

/// Whether to answer a request from `from`, if that is known, with this token.
pub(crate) fn admits(
    admission: Admission,
    peers: &HashSet<IpAddr>,
    token: Option<&str>,
    from: Option<IpAddr>,
    shown: Option<&[u8]>,
) -> bool {
    let known = from.is_some_and(|from| {
        let from = from.to_canonical();
        from.is_loopback() || peers.contains(&from)
    });
    let trusted = token.zip(shown).is_some_and(|(token, shown)| is_same(token.as_bytes(), shown));
    admission == Admission::Anyone || known || trusted
}

/// Takes as long for a token that is nearly right as for one that is not at all.
pub(crate) fn is_same(token: &[u8], shown: &[u8]) -> bool {
    let differing = token.iter().zip(shown).fold(0, |bits, (one, other)| bits | (one ^ other));
    !token.is_empty() && token.len() == shown.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(token: Option<&str>, from: Option<&str>, shown: Option<&str>) -> bool {
        let peers = HashSet::from(["10.0.0.1".parse().unwrap()]);
        let from = from.map(|from| from.parse().unwrap());
        admits(Admission::Peers, &peers, token, from, shown.map(str::as_bytes))
    }

    #[test]
    fn peers_and_this_machine_are_let_in_and_strangers_are_not() {
        for from in ["10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1", "::1"] {
            assert!(admitted(None, Some(from), None), "{from}");
        }
        for from in [Some("10.0.0.2"), Some("2001:db8::1"), None] {
            assert!(!admitted(None, from, None), "{from:?}");
            assert!(!admitted(None, from, Some("")), "{from:?}");
        }
    }

    #[test]
    fn a_stranger_with_the_token_is_let_in() {
        let stranger = Some("10.0.0.2");
        assert!(admitted(Some("secret"), stranger, Some("secret")));
        for shown in [None, Some(""), Some("secre"), Some("secrets"), Some("Secret")] {
            assert!(!admitted(Some("secret"), stranger, shown), "{shown:?}");
        }
        assert!(!admitted(Some(""), stranger, Some("")), "an empty token opens nothing");
    }

    #[test]
    fn everybody_is_let_in_where_the_network_sees_to_it() {
        let nobody = HashSet::new();
        assert!(admits(Admission::Anyone, &nobody, None, None, None));
    }
}
