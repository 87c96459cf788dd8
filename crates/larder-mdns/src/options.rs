//! On which network and under which domain to look, and how patiently.

use std::net::Ipv4Addr;
use std::time::Duration;

/// How to take part in multicast DNS, and within which bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The domain. Defaults to: `micro`, go-micro's. What go-micro must not see is in the domain of the
    /// same name with `-larder` behind it. Range: a DNS name of up to 120 bytes.
    pub domain: String,
    /// The address of the network interface to use, such as `127.0.0.1` to stay on this machine.
    /// Defaults to: none, for the interface that the system sends multicast to, as go-micro does.
    pub interface: Option<Ipv4Addr>,
    /// The UDP port that everybody listens on. Defaults to: 5353. Range: above zero.
    pub port: u16,
    /// How long a question waits for answers. As nobody knows how many will come, it always waits for
    /// as long. Defaults to: 100 ms, as in go-micro. Range: above zero.
    pub query_timeout: Duration,
    /// How often everybody is asked again while somebody watches. Defaults to: 30 s, so that an answer
    /// or two may be lost without anybody being forgotten. Range: above zero.
    pub query_interval: Duration,
    /// How long an instance of others is believed to be there that is not heard of again, if it does
    /// not ask for less itself; go-micro's ask for 120 s. What dies without a word is gone from watches
    /// after that. Defaults to: 120 s. Range: above zero; three intervals or more are reasonable.
    pub silence_timeout: Duration,
    /// How many instances are registered here at most, and how many of others are held for watches and
    /// taken for an answer. Registering another, or asking for more, answers
    /// [`Error::Full`](larder_registry::Error::Full); what is announced beyond it is left out of
    /// watches, and logged. Defaults to: 10,000. Range: 1 or more.
    pub max_instances: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            domain: "micro".to_owned(),
            interface: None,
            port: 5353,
            query_timeout: Duration::from_millis(100),
            query_interval: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(120),
            max_instances: 10_000,
        }
    }
}

/// Why a backend could not be started. Not retried: correct the [`Options`], or the machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The domain is no DNS name.
    #[error("{0:?} is no domain: write a name such as micro")]
    Domain(String),
    /// A number or a duration that must not be zero is.
    #[error("{0} must be above zero")]
    Zero(&'static str),
    /// The system gives no socket for multicast.
    #[error(
        "cannot listen for multicast DNS on {interface}, port {port}: {reason}; name another interface"
    )]
    Listen {
        /// On which interface.
        interface: Ipv4Addr,
        /// On which port.
        port: u16,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// Refuses what cannot be used.
pub(crate) fn check(options: &Options) -> Result<(), StartError> {
    let zeroes = [
        ("the port", options.port == 0),
        ("the query timeout", options.query_timeout.is_zero()),
        ("the query interval", options.query_interval.is_zero()),
        ("the silence timeout", options.silence_timeout.is_zero()),
        ("the number of instances", options.max_instances == 0),
    ];
    match zeroes.into_iter().find(|(_, is_zero)| *is_zero) {
        Some((name, _)) => Err(StartError::Zero(name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_zero_is_refused() {
        let good = Options::default();
        assert!(check(&good).is_ok());
        let zero = Duration::ZERO;
        for (options, name) in [
            (Options { port: 0, ..good.clone() }, "the port"),
            (Options { query_timeout: zero, ..good.clone() }, "the query timeout"),
            (Options { query_interval: zero, ..good.clone() }, "the query interval"),
            (Options { silence_timeout: zero, ..good.clone() }, "the silence timeout"),
            (Options { max_instances: 0, ..good.clone() }, "the number of instances"),
        ] {
            let refused = check(&options);
            assert!(matches!(refused, Err(StartError::Zero(zero)) if zero == name), "{refused:?}");
        }
    }
}
