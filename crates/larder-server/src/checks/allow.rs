//! Who may be probed: this machine always, others only if the operator says so.
//!
//! Pure. Whoever can register an instance decides where this server connects to, and so could look into
//! a network that only the server reaches. Names are judged by the addresses that they stand for, and
//! only those are connected to, so that a name cannot mean one thing when it is judged and another when
//! it is used.

use std::net::IpAddr;
use std::str::FromStr;

/// Who may be probed beside this machine: `checks.allow`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allow(pub Vec<Pattern>);

/// One pattern of [`Allow`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `*`: everybody.
    Everybody,
    /// `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`: an address or a network.
    Network {
        /// Its first bits are those of the network.
        address: IpAddr,
        /// How many of them.
        bits: u8,
    },
    /// `orders.internal`: this name, whatever it stands for.
    Name(String),
    /// `*.internal`: every name that ends with `.internal`, whatever it stands for.
    Below(String),
}

impl Allow {
    /// Whether a connection to this address may be opened.
    pub fn address(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.0.iter().any(|pattern| pattern.holds_address(ip))
    }

    /// Whether a connection to this name may be opened, whatever it stands for. If not, its addresses
    /// decide.
    pub fn name(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().any(|pattern| pattern.holds_name(&name))
    }
}

impl Pattern {
    fn holds_address(&self, ip: IpAddr) -> bool {
        match self {
            Self::Everybody => true,
            Self::Network { address, bits } => is_in(ip, *address, *bits),
            Self::Name(_) | Self::Below(_) => false,
        }
    }

    fn holds_name(&self, name: &str) -> bool {
        match self {
            Self::Everybody => true,
            Self::Network { .. } => false,
            Self::Name(allowed) => name == allowed,
            Self::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Ok(Self::Everybody);
        }
        let (address, bits) = text.split_once('/').unwrap_or((&text, ""));
        if let Ok(address) = address.parse::<IpAddr>() {
            return network(address, bits).ok_or_else(|| expected(&text));
        }
        let (name, below) = match text.strip_prefix('*') {
            Some(suffix) => (suffix.strip_prefix('.').unwrap_or_default(), true),
            None => (text.as_str(), false),
        };
        if !is_name(name) {
            return Err(expected(&text));
        }
        Ok(if below { Self::Below(format!(".{name}")) } else { Self::Name(name.to_owned()) })
    }
}

fn expected(text: &str) -> String {
    let like = "10.1.2.3, 10.0.0.0/8, orders.internal, *.internal or *";
    format!("addresses, networks or names, such as {like}, not {text:?}")
}

fn network(address: IpAddr, bits: &str) -> Option<Pattern> {
    let address = address.to_canonical();
    let most = width(address);
    let bits = if bits.is_empty() { most } else { bits.parse().ok()? };
    (bits <= most).then_some(Pattern::Network { address, bits })
}

fn is_name(name: &str) -> bool {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    !name.is_empty() && name.chars().all(is_allowed) && !name.starts_with('.')
}

const fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn is_in(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    if ip.is_ipv4() != network.is_ipv4() {
        return false;
    }
    let rest = u32::from(width(ip).saturating_sub(bits));
    let differing = number(ip) ^ number(network);
    differing.checked_shr(rest).unwrap_or(0) == 0
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allow(patterns: &[&str]) -> Allow {
        Allow(patterns.iter().map(|text| text.parse().expect("a pattern")).collect())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn this_machine_may_always_be_probed_and_nobody_else() {
        let none = Allow::default();
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(none.address(ip(own)), "{own}");
        }
        for other in ["10.0.0.1", "169.254.169.254", "0.0.0.0", "::", "::ffff:10.0.0.1"] {
            assert!(!none.address(ip(other)), "{other}");
        }
        assert!(!none.name("localhost"), "its addresses decide");
    }

    #[test]
    fn a_network_holds_its_addresses() {
        let some = allow(&["10.1.0.0/16", "192.168.1.7", "fd00::/8"]);
        for inside in ["10.1.0.0", "10.1.255.255", "192.168.1.7", "fdff::1", "::ffff:10.1.2.3"] {
            assert!(some.address(ip(inside)), "{inside}");
        }
        for outside in ["10.2.0.0", "10.0.255.255", "192.168.1.8", "fe00::1", "::a01:203"] {
            assert!(!some.address(ip(outside)), "{outside}");
        }
        assert!(allow(&["0.0.0.0/0"]).address(ip("8.8.8.8")));
        assert!(!allow(&["0.0.0.0/0"]).address(ip("2000::1")));
        assert!(allow(&["::/0"]).address(ip("2000::1")));
        assert!(allow(&["*"]).address(ip("2000::1")));
    }

    #[test]
    fn a_name_is_held_whatever_its_case_and_its_last_dot() {
        let some = allow(&["Orders.internal", "*.svc.local"]);
        for inside in ["orders.internal", "ORDERS.internal.", "a.svc.local", "a.b.svc.local"] {
            assert!(some.name(inside), "{inside}");
        }
        for outside in
            ["internal", "xorders.internal", "svc.local", "asvc.local", "a.svc.local.evil"]
        {
            assert!(!some.name(outside), "{outside}");
        }
        assert!(!some.address(ip("10.0.0.1")));
        assert!(allow(&["*"]).name("anything"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_examples() {
        for wrong in ["", " ", "*.", "*x", "**", "10.0.0.0/33", "::/129", "10.0.0.0/x", "a b", ".a"]
        {
            let told = wrong.parse::<Pattern>().expect_err(wrong);
            assert!(told.contains("10.0.0.0/8"), "{wrong}: {told}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = text.parse::<Pattern>();
        }

        #[test]
        fn an_address_is_in_a_network_if_their_first_bits_agree(a: u32, b: u32, bits in 0_u8..=32) {
            let same = (0..u32::from(bits)).all(|bit| (a ^ b) & (1 << (31 - bit)) == 0);
            prop_assert_eq!(is_in(IpAddr::V4(a.into()), IpAddr::V4(b.into()), bits), same);
        }
    }
}
