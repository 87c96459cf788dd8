//! Health checks that are attached to an instance, in Consul's terms.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Key, Opaque};

/// The longest output of a check, in bytes: 4 KiB, as Consul's. What is longer is cut.
pub const MAX_OUTPUT_BYTES: usize = 4 << 10;

/// The shortest [`deregister_after`](Check::deregister_after): a minute, as Consul's. What is shorter
/// counts as this long.
pub const MIN_DEREGISTER_AFTER: Duration = Duration::from_secs(60);

/// Which check of which instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckKey {
    /// The instance.
    pub instance: Key,
    /// The check's id in that instance.
    pub id: Arc<str>,
}

impl CheckKey {
    /// The check `id` of `instance`.
    pub fn new(instance: Key, id: &str) -> Self {
        Self { instance, id: id.into() }
    }
}

impl fmt::Display for CheckKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the check {} of {}", self.id, self.instance)
    }
}

/// One health check of an instance: how it is probed, and what the last probe said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Unique within the instance.
    pub id: String,
    /// For people.
    pub name: String,
    /// What the last probe said. In a registration: what is believed until the first probe of a check
    /// that the registry does not hold yet.
    pub health: Health,
    /// For people: what this check is about.
    pub notes: String,
    /// For people: what the last probe printed, at most [`MAX_OUTPUT_BYTES`]. In a snapshot, as of the
    /// last change of the instance: output alone is no change.
    pub output: String,
    /// How it is probed.
    pub probe: Probe,
    /// Time between two probes; zero when somebody else reports.
    pub interval: Duration,
    /// How long a probe may take; zero for the prober's default.
    pub timeout: Duration,
    /// Deregister the instance once this check has been critical for so long, at least
    /// [`MIN_DEREGISTER_AFTER`].
    pub deregister_after: Option<Duration>,
}

impl Check {
    /// A check that is critical until it is probed or reported, as Consul's are. Its name is its id, it
    /// never deregisters anything, and its times are zero.
    pub fn new(id: &str, probe: Probe) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            health: Health::Critical,
            notes: String::new(),
            output: String::new(),
            probe,
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            deregister_after: None,
        }
    }

    /// Whether somebody has to go and look; the others are reported by whoever registered them.
    pub fn is_active(&self) -> bool {
        matches!(self.probe, Probe::Tcp(_) | Probe::Http { .. })
    }
}

/// `output`, cut at a letter's border to [`MAX_OUTPUT_BYTES`].
pub fn cut_output(mut output: String) -> String {
    let end = (0..=MAX_OUTPUT_BYTES).rev().find(|end| output.is_char_boundary(*end));
    if output.len() > MAX_OUTPUT_BYTES {
        output.truncate(end.unwrap_or(0));
    }
    output
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// All is well.
    Passing,
    /// It serves, but somebody should look.
    Warning,
    /// It must not be used.
    Critical,
}

impl Health {
    /// Every health, from good to bad.
    pub const ALL: [Self; 3] = [Self::Passing, Self::Warning, Self::Critical];

    /// Consul's word for it, such as `passing`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The health that [`as_str`](Self::as_str) prints as exactly `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.as_str() == name)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a check is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The instance reports; silence for longer than this is critical.
    Ttl(Duration),
    /// A connection is opened to `host:port`.
    Tcp(String),
    /// A request is sent to this URL; the document holds method, headers, body and TLS settings.
    Http {
        /// Where to.
        url: String,
        /// The rest of the definition.
        definition: Opaque,
    },
    /// A kind that Larder stores and hands back without probing it (gRPC, script, alias, …).
    Other {
        /// Consul's name of the kind.
        kind: String,
        /// The whole definition.
        definition: Opaque,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_health_is_found_by_its_name() {
        for health in Health::ALL {
            assert_eq!(Health::from_name(health.as_str()), Some(health));
        }
        assert_eq!(Health::from_name("Passing"), None);
    }

    #[test]
    fn output_is_cut_at_the_border_of_a_letter() {
        assert_eq!(cut_output("short".to_owned()), "short");
        let exact = "x".repeat(MAX_OUTPUT_BYTES);
        assert_eq!(cut_output(exact.clone()), exact);
        assert_eq!(cut_output(format!("{exact}x")), exact);
        let cut = cut_output(format!("x{}", "é".repeat(MAX_OUTPUT_BYTES)));
        assert_eq!(cut.len(), MAX_OUTPUT_BYTES - 1);
        assert!(cut.ends_with('é'));
    }
}
