//! Other regions, shown beside what is registered here: opened as they are configured, and measured.

use std::fmt;
use std::sync::Arc;

use larder_cache::Clock;
use larder_eureka::regions::{Figures, Options, Region, Regions, RegionsError, WhiteList};
use larder_eureka::response_cache::ResponseCache;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config::{ANY, Config, Regions as Configured};

/// Begins to follow the regions, if there are any. Nothing is waited for: they need not be there.
pub(crate) fn open(config: &Config, clock: &Clock) -> Result<Option<Arc<Regions>>, RegionsError> {
    let configured = &config.regions;
    if configured.regions.is_empty() {
        return Ok(None);
    }
    let region = |region: &crate::config::Region| Region {
        name: region.name.clone(),
        servers: larder_eureka::Options {
            servers: region.servers.clone(),
            max_instances: config.registry.max_instances,
            ..larder_eureka::Options::default()
        },
        white_list: white_list(configured, &region.name),
    };
    let regions = configured.regions.iter().map(region).collect();
    Regions::start(Options { regions, fallback: configured.fallback }, clock)
        .map(Arc::new)
        .map(Some)
}

/// The region's own list, else the one for all, else everything.
fn white_list(configured: &Configured, region: &str) -> WhiteList {
    let of = |wanted: &str| {
        let apps = configured.apps.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let apps: Vec<&str> = apps.map(|(_, app)| app.as_str()).collect();
        (!apps.is_empty()).then(|| WhiteList::of(apps))
    };
    of(region).or_else(|| of(ANY)).unwrap_or_default()
}

/// What is read when somebody asks for metrics. A region's name is a label: there are as many as are
/// configured.
pub(crate) struct Measured(pub(crate) Arc<ResponseCache>);

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured").finish_non_exhaustive()
    }
}

/// A figure of a region: its name, what it says, its kind, and where it is.
type FigureOf = (&'static str, &'static str, MetricType, fn(&Figures) -> u64);

const FIGURES: [FigureOf; 4] = [
    ("ready", "Whether the region was read", MetricType::Gauge, |figures| figures.ready.into()),
    ("instances", "Instances of the region that are shown", MetricType::Gauge, |figures| {
        figures.instances as u64
    }),
    ("age_seconds", "How long ago the region was read", MetricType::Gauge, |figures| {
        figures.age.unwrap_or_default().as_secs()
    }),
    ("failures", "Rounds in which the region was not read", MetricType::Counter, |figures| {
        figures.failures
    }),
];

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(regions) = self.0.regions() else { return Ok(()) };
        let regions = regions.figures();
        for (name, help, kind, read) in &FIGURES {
            let name = format!("larder_eureka_region_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, *kind)?;
            for figures in &regions {
                let labels = [("region", figures.region.as_str())];
                let of_region = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(read(figures)).encode(of_region)?,
                    _ => ConstGauge::new(read(figures)).encode(of_region)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use larder_registry::model::Name;

    use super::*;

    #[test]
    fn a_region_has_its_own_white_list_else_the_one_for_all_else_none() {
        let pair = |name: &str, app: &str| (name.to_owned(), app.to_owned());
        let apps = vec![pair("East", "orders"), pair("*", "web")];
        let configured = Configured { apps, ..Configured::default() };
        let shows =
            |region: &str, app: &str| white_list(&configured, region).shows(&Name::new(app));
        assert!(shows("east", "Orders") && !shows("east", "web"));
        assert!(shows("west", "web") && !shows("west", "orders"));
        assert!(white_list(&Configured::default(), "west").shows(&Name::new("any")));
    }
}
