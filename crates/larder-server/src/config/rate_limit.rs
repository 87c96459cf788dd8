//! How often Eureka's lists may be read.

use larder_cache::Rate;
use larder_eureka::server::RateLimits;

/// How often Eureka's lists may be read. Beyond it a reader is answered 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// `eureka.rate_limit`: whether there is a limit at all. `off` by default.
    pub is_on: bool,
    /// `eureka.rate_limit_burst`: how many reads may follow each other at once. 1 to 1,000,000, 10 by default.
    pub burst: u32,
    /// `eureka.rate_limit_reads`: how many lists may be read in a second. 1 to 1,000,000, 500 by default.
    pub reads: u32,
    /// `eureka.rate_limit_full_reads`: how many of them may be lists of everything. 1 to 1,000,000, 100 by
    /// default.
    pub full_reads: u32,
    /// `eureka.rate_limit_privileged`: who is never refused, by the header `DiscoveryIdentity-Name`; nobody
    /// by default.
    pub privileged: Vec<String>,
    /// `eureka.rate_limit_standard`: whether Java's own clients and servers are refused as well. `off` by
    /// default.
    pub standard: bool,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            is_on: false,
            burst: 10,
            reads: 500,
            full_reads: 100,
            privileged: Vec::new(),
            standard: false,
        }
    }
}

impl RateLimit {
    /// As Eureka's routes take them; none if there is no limit.
    pub(crate) fn limits(&self) -> Option<RateLimits> {
        let rate = |a_second: u32| Rate { burst: self.burst, per_second: a_second.into() };
        self.is_on.then(|| RateLimits {
            reads: rate(self.reads),
            full_reads: rate(self.full_reads),
            privileged: self.privileged.clone(),
            throttles_standard_clients: self.standard,
        })
    }
}

/// Reads names with commas between them; none in an empty list.
pub(super) fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
