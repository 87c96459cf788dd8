//! Which instances of a service may be picked.

use super::zone::zone_of;
use crate::model::{Instance, Status};

/// Which instances of a service may be picked: those that everything said here is true of.
///
/// Texts are compared exactly, letter by letter. The default asks for nothing but [`Status::Up`].
///
/// ```
/// use larder_registry::selector::Filter;
///
/// let filter = Filter::default().version("1.2").label("tier", "gold");
/// assert_eq!(filter.version.as_deref(), Some("1.2"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Instances of this version; of the unversioned if it is empty.
    ///
    /// Defaults to: any version.
    pub version: Option<String>,
    /// Instances whose own [`metadata`](Instance::metadata) has each of these pairs.
    ///
    /// Defaults to: none, which all have.
    pub labels: Vec<(String, String)>,
    /// Instances that offer an endpoint of this name.
    ///
    /// Defaults to: whatever they offer.
    pub endpoint: Option<String>,
    /// Instances with this tag.
    ///
    /// Defaults to: whatever their tags are.
    pub tag: Option<String>,
    /// Instances in this zone and in no other, as [`zone_of`] finds it. To prefer a zone, and leave it
    /// when it fails, set [`Options::zone`](super::Options::zone) instead.
    ///
    /// Defaults to: any zone, also an unknown one.
    pub zone: Option<String>,
    /// Instances whose [effective status](Instance::effective_status) is this; none for any.
    ///
    /// Defaults to: [`Status::Up`].
    pub status: Option<Status>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            version: None,
            labels: Vec::new(),
            endpoint: None,
            tag: None,
            zone: None,
            status: Some(Status::Up),
        }
    }
}

impl Filter {
    /// Asks for [`version`](Self::version) as well.
    #[must_use]
    pub fn version(self, version: &str) -> Self {
        Self { version: Some(version.to_owned()), ..self }
    }

    /// Asks for one more of the [`labels`](Self::labels).
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Asks for [`endpoint`](Self::endpoint) as well.
    #[must_use]
    pub fn endpoint(self, name: &str) -> Self {
        Self { endpoint: Some(name.to_owned()), ..self }
    }

    /// Asks for [`tag`](Self::tag) as well.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), ..self }
    }

    /// Asks for [`zone`](Self::zone) as well.
    #[must_use]
    pub fn zone(self, zone: &str) -> Self {
        Self { zone: Some(zone.to_owned()), ..self }
    }

    /// Asks for no [`status`](Self::status).
    #[must_use]
    pub fn any_status(self) -> Self {
        Self { status: None, ..self }
    }

    /// Whether everything said here is true of the instance, whose zone is under `zone_key`.
    pub fn matches(&self, instance: &Instance, zone_key: &str) -> bool {
        self.status.is_none_or(|status| instance.effective_status() == status)
            && self.version.as_ref().is_none_or(|version| instance.version == *version)
            && self.labels.iter().all(|(key, value)| instance.has_label(key, value))
            && self.endpoint.as_ref().is_none_or(|name| instance.has_endpoint(name))
            && self.tag.as_ref().is_none_or(|tag| instance.has_tag(tag))
            && self.zone.as_ref().is_none_or(|zone| zone_of(instance, zone_key) == Some(zone))
    }
}
