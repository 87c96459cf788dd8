//! Other regions, whose Eureka servers are shown here.

use larder_eureka::regions::MAX_REGIONS;

/// Other regions, whose Eureka servers are shown here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    /// `eureka.regions`: the regions, the one that is preferred first, each with its servers:
    /// `us-east=http://eureka.us-east:8761/eureka`, once more for each further server of a region. Up to 16
    /// regions; none by default.
    pub regions: Vec<Region>,
    /// `eureka.region_apps`: what is shown of them, such as `us-east=orders`, or `*=orders` for those regions
    /// that no other entry names. Everything by default.
    pub apps: Vec<(String, String)>,
    /// `eureka.region_fallback`: whether they are shown to those who do not ask for them. `on` by default.
    pub fallback: bool,
}

/// One region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// How clients name it.
    pub name: String,
    /// Its servers; one is asked at a time.
    pub servers: Vec<String>,
}

impl Default for Regions {
    fn default() -> Self {
        Self { regions: Vec::new(), apps: Vec::new(), fallback: true }
    }
}

/// What stands for every region that is not named.
pub(crate) const ANY: &str = "*";

/// Reads `NAME=URL` with commas between them; none in an empty list. Whether a URL can be used is seen when it
/// is, at the start.
pub(super) fn regions(text: &str) -> Result<Vec<Region>, String> {
    let expected = "NAME=URL such as us-east=http://eureka:8761/eureka";
    let mut regions: Vec<Region> = Vec::new();
    for (name, server) in pairs(text).ok_or(expected)? {
        match regions.iter_mut().find(|region| region.name.eq_ignore_ascii_case(&name)) {
            Some(region) => region.servers.push(server),
            None => regions.push(Region { name, servers: vec![server] }),
        }
    }
    if regions.len() > MAX_REGIONS || regions.iter().any(|region| region.name == ANY) {
        return Err(format!("{expected}, of {MAX_REGIONS} regions at most"));
    }
    Ok(regions)
}

/// Reads `NAME=APPLICATION` with commas between them, of these regions or of any.
pub(super) fn apps(text: &str, regions: &[Region]) -> Result<Vec<(String, String)>, String> {
    let expected = "NAME=APPLICATION such as us-east=orders or *=orders";
    let apps = pairs(text).ok_or(expected)?;
    let is_region =
        |name: &str| regions.iter().any(|region| region.name.eq_ignore_ascii_case(name));
    match apps.iter().find(|(name, _)| name != ANY && !is_region(name)) {
        Some((name, _)) => {
            Err(format!("{expected}, of regions that eureka.regions names: {name} is none"))
        }
        None => Ok(apps),
    }
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let items = text.split(',').filter(|_| !text.is_empty());
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let are_there = !name.is_empty() && !value.is_empty();
        are_there.then(|| (name.to_owned(), value.to_owned()))
    };
    items.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `testRemoteRegionUrlsWithName1Region`, `testRemoteRegionUrlsWithName2Regions`.
    #[test]
    fn a_region_has_a_name_and_servers() {
        let region = |name: &str, servers: &[&str]| Region {
            name: name.to_owned(),
            servers: servers.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(regions("a=http://x"), Ok(vec![region("a", &["http://x"])]));
        let both = vec![region("a", &["x", "y"]), region("b", &["z:1/eureka"])];
        assert_eq!(regions("a=x, b = z:1/eureka,A=y"), Ok(both));
        assert_eq!(regions(""), Ok(vec![]));
        for text in ["a", "=x", "a=", "a=x,,b=y", "*=x"] {
            assert!(regions(text).is_err(), "{text}");
        }
        let many: Vec<String> = (0..=MAX_REGIONS).map(|n| format!("r{n}=x")).collect();
        assert!(regions(&many.join(",")).is_err_and(|says| says.contains("16 regions at most")));
    }

    /// `testGetGlobalAppWhiteList`, `testGetRegionAppWhiteList`.
    #[test]
    fn white_lists_are_of_regions_that_there_are() {
        let two = regions("a=x,b=y").expect("they are well-formed");
        let read = apps("a=orders,A=stock,*=web", &two).expect("they are well-formed");
        assert_eq!(read.len(), 3);
        let refused = apps("c=orders", &two).expect_err("there is no c");
        assert!(refused.contains("c is none"), "{refused}");
        assert!(apps("orders", &two).is_err());
    }
}
