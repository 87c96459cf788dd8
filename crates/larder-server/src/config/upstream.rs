//! The registry that this server stands in front of, if it has none of its own.

use std::fmt;
use std::net::Ipv4Addr;

/// The registry behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upstream {
    /// `upstream.url`: where it is; none, the default, for a registry of this server's own, in memory.
    pub url: Option<Address>,
    /// `upstream.user`: who this server is there; empty, the default, for one that asks nobody.
    pub user: String,
    /// `upstream.password`: that user's.
    pub password: Secret,
    /// `upstream.token`: Consul's ACL token with which this server itself asks an agent; empty, the default, for
    /// the anonymous one. Requests that are handed on have the token of whoever sent them.
    pub token: Secret,
    /// `upstream.guard`: what to do when a mass of instances vanishes at once. `warn`, the default: say so in
    /// the log. `on`: keep them until it is confirmed as well. `off`: nothing.
    pub guard: Guard,
}

/// What to do when a mass of instances vanishes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guard {
    /// Nothing.
    Off,
    /// Say so.
    #[default]
    Warn,
    /// Say so, and keep them until it is confirmed.
    On,
}

/// Reads what to do.
pub(super) fn guard(text: &str) -> Result<Guard, String> {
    match text {
        "off" => Ok(Guard::Off),
        "warn" => Ok(Guard::Warn),
        "on" => Ok(Guard::On),
        _ => Err("off, warn or on".to_owned()),
    }
}

/// Where a registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// `etcd://HOST:PORT[,HOST:PORT]...[/PREFIX/]`: in etcd, as go-micro keeps it there.
    Etcd {
        /// Its servers.
        endpoints: Vec<String>,
        /// What every key begins with; go-micro's prefix if there is none.
        prefix: Option<String>,
    },
    /// `eureka+http://HOST:PORT[,HOST:PORT]...[/PATH]`: in a cluster of Eureka servers.
    Eureka {
        /// Its servers.
        servers: Vec<String>,
        /// Where their API is; `/eureka` if there is none.
        path: Option<String>,
    },
    /// `consul+http://HOST:PORT[,HOST:PORT]...`: an agent of Consul, or several that know the same.
    Consul {
        /// Their addresses.
        servers: Vec<String>,
    },
    /// `mdns://[INTERFACE[:PORT]]`: on the local network, as go-micro's default registry announces it.
    Mdns {
        /// The address of the interface to use; the system's choice if there is none.
        interface: Option<Ipv4Addr>,
        /// The port; 5353 if there is none.
        port: Option<u16>,
    },
}

/// A text that nothing prints.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Reads an address; says what was expected.
pub(super) fn address(text: &str) -> Result<Option<Address>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(rest) = text.strip_prefix("mdns://") {
        return mdns(rest).map(Some);
    }
    if let Some(rest) = text.strip_prefix("eureka+http://") {
        let expected = "eureka+http://HOST:PORT, with commas between several servers and the path of \
                        their API behind the last, without a user: that is upstream.user";
        let (servers, path) = servers(rest).ok_or(expected)?;
        return Ok(Some(Address::Eureka { servers, path }));
    }
    if let Some(rest) = text.strip_prefix("consul+http://") {
        let expected = "consul+http://HOST:PORT, with commas between several agents, without a path, a user \
                        or a token: that is upstream.token";
        let (servers, path) = servers(rest).ok_or(expected)?;
        return if path.is_none() {
            Ok(Some(Address::Consul { servers }))
        } else {
            Err(expected.to_owned())
        };
    }
    for secure in ["eureka+https://", "consul+https://"] {
        if text.starts_with(secure) {
            let plain = secure.replace("https", "http");
            return Err(format!("{plain}HOST:PORT, as TLS is not built in"));
        }
    }
    let expected = "consul+http://HOST:PORT, etcd://HOST:PORT or eureka+http://HOST:PORT, with commas between \
                    several servers, or mdns://";
    let rest = text.strip_prefix("etcd://").ok_or(expected)?;
    let (endpoints, prefix) = servers(rest).ok_or(expected)?;
    Ok(Some(Address::Etcd { endpoints, prefix }))
}

/// Reads `HOST:PORT[,HOST:PORT]...[/PATH]`; the path with its slash, if there is more to it.
fn servers(text: &str) -> Option<(Vec<String>, Option<String>)> {
    let (servers, path) = text.split_once('/').unwrap_or((text, ""));
    let path = (!path.is_empty()).then(|| format!("/{path}"));
    let servers: Vec<String> = servers.split(',').map(|server| server.trim().to_owned()).collect();
    let are_named = servers.iter().all(|server| !server.is_empty() && !server.contains('@'));
    are_named.then_some((servers, path))
}

/// Reads `[INTERFACE[:PORT]]`.
fn mdns(text: &str) -> Result<Address, String> {
    if text.is_empty() {
        return Ok(Address::Mdns { interface: None, port: None });
    }
    let (interface, port) = match text.split_once(':') {
        Some((interface, port)) => {
            (interface, port.parse().ok().filter(|port| *port > 0).map(Some))
        }
        None => (text, Some(None)),
    };
    match (interface.parse(), port) {
        (Ok(interface), Some(port)) => Ok(Address::Mdns { interface: Some(interface), port }),
        _ => {
            Err("mdns:// and the IPv4 address of an interface, such as mdns://127.0.0.1".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_servers_and_may_name_a_prefix() {
        let etcd = |endpoints: &[&str], prefix: Option<&str>| {
            let endpoints = endpoints.iter().map(ToString::to_string).collect();
            Ok(Some(Address::Etcd { endpoints, prefix: prefix.map(str::to_owned) }))
        };
        assert_eq!(address("etcd://a:2379"), etcd(&["a:2379"], None));
        assert_eq!(address("etcd://a:2379, b:2379/"), etcd(&["a:2379", "b:2379"], None));
        assert_eq!(address("etcd://a/team/services/"), etcd(&["a"], Some("/team/services/")));
        assert_eq!(address(""), Ok(None));
    }

    #[test]
    fn eureka_has_servers_and_may_have_a_path() {
        let eureka = |servers: &[&str], path: Option<&str>| {
            let servers = servers.iter().map(ToString::to_string).collect();
            Ok(Some(Address::Eureka { servers, path: path.map(str::to_owned) }))
        };
        assert_eq!(address("eureka+http://a:8761"), eureka(&["a:8761"], None));
        let two = eureka(&["a:8761", "b:8761"], Some("/eureka/v2"));
        assert_eq!(address("eureka+http://a:8761,b:8761/eureka/v2"), two);
        for (text, says) in [
            ("eureka+https://a", "TLS is not built in"),
            ("eureka+http://root:secret@a", "upstream.user"),
            ("eureka+http://", "HOST:PORT"),
            ("eureka://a", "eureka+http://HOST:PORT"),
        ] {
            let refused = address(text).expect_err(text);
            assert!(refused.contains(says) && !refused.contains("secret"), "{text}: {refused}");
        }
    }

    #[test]
    fn consul_has_agents_and_no_path() {
        let agents = |servers: &[&str]| {
            let servers = servers.iter().map(ToString::to_string).collect();
            Ok(Some(Address::Consul { servers }))
        };
        assert_eq!(address("consul+http://a:8500"), agents(&["a:8500"]));
        assert_eq!(address("consul+http://a:8500, b:8500/"), agents(&["a:8500", "b:8500"]));
        for (text, says) in [
            ("consul+https://a", "TLS is not built in"),
            ("consul+http://a/v1", "without a path"),
            ("consul+http://token@a", "upstream.token"),
            ("consul+http://", "HOST:PORT"),
        ] {
            let refused = address(text).expect_err(text);
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn multicast_dns_may_have_an_interface_and_a_port() {
        let mdns = |interface, port| Ok(Some(Address::Mdns { interface, port }));
        assert_eq!(address("mdns://"), mdns(None, None));
        assert_eq!(address("mdns://127.0.0.1"), mdns(Some(Ipv4Addr::LOCALHOST), None));
        assert_eq!(address("mdns://127.0.0.1:99"), mdns(Some(Ipv4Addr::LOCALHOST), Some(99)));
        for text in ["mdns://lo", "mdns://127.0.0.1:0", "mdns://127.0.0.1:x", "mdns://::1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["etcd", "etcd://", "http://a:2379", "etcd://a,,b", "etcd://root:secret@a:2379"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let upstream = Upstream { password: Secret("hunter2".to_owned()), ..Upstream::default() };
        assert!(!format!("{upstream:?}").contains("hunter2"));
    }
}
