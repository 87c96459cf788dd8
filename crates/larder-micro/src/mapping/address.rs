//! A node's address: one text in go-micro, host and port in the model.

use larder_registry::model::{Address, Port};

/// Splits what joins to the same text again: `host:080` and `::1:80` stay whole.
pub(super) fn split(text: &str) -> Address {
    if text.is_empty() {
        return Address::default();
    }
    let whole = Address { ip: Some(text.to_owned()), ..Address::default() };
    let Some((host, digits)) = text.rsplit_once(':') else { return whole };
    let Ok(number) = digits.parse() else { return whole };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = Some(Port { number, enabled: true });
    let split = Address { ip: Some(bare.to_owned()), port, ..Address::default() };
    if join(&split) == text { split } else { whole }
}

/// What go-micro's clients dial: the address that needs no resolving, else the name; the port for
/// plain traffic if it is on, else the one for TLS.
pub(super) fn join(address: &Address) -> String {
    let host = address.ip.as_deref().or(address.host.as_deref()).unwrap_or_default();
    let ports = [address.port, address.secure_port];
    match ports.into_iter().flatten().find(|port| port.enabled) {
        Some(port) if host.contains(':') => format!("[{host}]:{}", port.number),
        Some(port) => format!("{host}:{}", port.number),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_if_it_joins_to_the_same_text() {
        for (text, ip, port) in [
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("[::1]:80", "::1", Some(80)),
            ("host:080", "host:080", None),
            ("::1:80", "::1:80", None),
            ("[a]:80", "[a]:80", None),
            ("host:65536", "host:65536", None),
            ("host", "host", None),
            (":80", "", Some(80)),
        ] {
            let address = split(text);
            assert_eq!(address.ip.as_deref(), Some(ip), "{text}");
            assert_eq!(address.port.map(|port| port.number), port, "{text}");
            assert_eq!(join(&address), text);
        }
        assert_eq!(split(""), Address::default());
    }

    #[test]
    fn clients_dial_what_is_switched_on() {
        let port = |number, enabled| Some(Port { number, enabled });
        let both = Address {
            host: Some("web.local".to_owned()),
            ip: Some("fe80::1".to_owned()),
            port: port(80, false),
            secure_port: port(443, true),
        };
        assert_eq!(join(&both), "[fe80::1]:443");
        let named = Address { ip: None, port: port(80, true), ..both };
        assert_eq!(join(&named), "web.local:80");
    }
}
