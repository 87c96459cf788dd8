//! What the fields of an instance mean, in either format, and when a registration is complete.
//!
//! Pure. Accepts a superset of what Netflix's decoder accepts: also a bare port, a data centre without
//! `@class`, and unknown fields of any shape, all of which are common mistakes of clients. Every value
//! that Netflix's decoder understands is understood in the same way.

use std::str::FromStr;

use larder_registry::model::{
    DataCenter, Instance, Lease, Metadata, Name, Pages, Port, Status, Vips,
};

use super::tree::{Tree, quote};
use super::{DecodeError, defaults};

/// An instance as a client sent it: whatever it left out is still missing.
#[derive(Debug, Clone)]
pub struct Registration {
    app: Option<String>,
    instance_id: Option<String>,
    dirty_at: Option<u64>,
    /// Whether there was a `dataCenterInfo`; the instance holds it only if it has a name.
    has_data_center: bool,
    instance: Instance,
}

/// Why a registration is refused: in Netflix's words, which clients' users find in their logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// There is no id, and nothing that could stand for one.
    #[error("Missing instanceId")]
    InstanceId,
    /// There is no host name.
    #[error("Missing hostname")]
    HostName,
    /// There is no address.
    #[error("Missing ip address")]
    IpAddress,
    /// There is no application.
    #[error("Missing appName")]
    AppName,
    /// The application in the path is another one.
    #[error("Mismatched appName, expecting {expected} but was {found}")]
    Mismatch {
        /// The application in the path, in upper case.
        expected: String,
        /// The application in the body, in upper case.
        found: String,
    },
    /// There is no data centre.
    #[error("Missing dataCenterInfo")]
    DataCenter,
    /// The data centre has no name.
    #[error("Missing dataCenterInfo Name")]
    DataCenterName,
}

/// How one format differs from the other in the meaning of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    /// The name under which a metadata key is meant: XML escapes what an element's name cannot hold.
    pub(super) metadata_key: fn(&str) -> String,
    /// Whether a status may be written in lower case.
    pub(super) status_in_any_case: bool,
}

impl Registration {
    /// The instance, if it is complete and belongs to the application in the path. `now` is the time
    /// of day in milliseconds since 1970, for a registrant that does not say when it last changed.
    pub fn into_instance(self, path_app: &str, now: u64) -> Result<Instance, Invalid> {
        self.validate(path_app)?;
        let app = self.app.clone().unwrap_or_default();
        Ok(self.complete(&app, now))
    }

    /// The instance as it is, for reading what a server sent; what is missing stays missing.
    pub(super) fn into_listed(self, app: &str) -> Instance {
        let app = self.app.clone().unwrap_or_else(|| app.to_owned());
        self.complete(&app, 0)
    }

    /// The checks of `ApplicationResource.addInstance`, in its order.
    fn validate(&self, path_app: &str) -> Result<(), Invalid> {
        let address = &self.instance.address;
        if self.resolve_id().0.is_empty() {
            return Err(Invalid::InstanceId);
        }
        if address.host.is_none() {
            return Err(Invalid::HostName);
        }
        if address.ip.is_none() {
            return Err(Invalid::IpAddress);
        }
        let app = self.app.as_deref().ok_or(Invalid::AppName)?;
        let (expected, found) = (path_app.to_uppercase(), app.to_uppercase());
        if expected != found {
            return Err(Invalid::Mismatch { expected, found });
        }
        if !self.has_data_center {
            return Err(Invalid::DataCenter);
        }
        self.instance.data_center.as_ref().map(drop).ok_or(Invalid::DataCenterName)
    }

    /// The id, and whether it had to be derived: from the cloud's, else from the host name.
    fn resolve_id(&self) -> (String, bool) {
        if let Some(id) = &self.instance_id {
            return (id.clone(), false);
        }
        let cloud = self.instance.data_center.as_ref().and_then(|at| at.metadata.as_ref());
        let id = cloud.and_then(|cloud| cloud.get("instance-id")).filter(|id| !id.is_empty());
        let id = id.or(self.instance.address.host.as_deref());
        (id.unwrap_or_default().to_owned(), true)
    }

    fn complete(self, app: &str, now: u64) -> Instance {
        let (id, id_is_derived) = self.resolve_id();
        let mut instance = self.instance;
        if let Some(center) = instance.data_center.as_mut().filter(|at| at.name == defaults::AMAZON)
        {
            let cloud = center.metadata.get_or_insert_default();
            if now > 0 && !cloud.contains_key("instance-id") {
                cloud.insert("instance-id".to_owned(), id.clone());
            }
        }
        instance.service = Name::new(app);
        instance.id = id;
        instance.id_is_derived = id_is_derived;
        instance.dirty_at = self.dirty_at.unwrap_or(now);
        instance
    }
}

/// Reads the fields of an instance.
pub(super) fn read(tree: &Tree, dialect: Dialect) -> Result<Registration, DecodeError> {
    let mut instance = Instance::new("", "");
    let center = tree.get("dataCenterInfo");
    instance.address.host = text(tree, "hostName");
    instance.address.ip = text(tree, "ipAddr");
    instance.address.port = Some(port(tree, "port", Port { number: 7001, enabled: true })?);
    let secure = Port { number: 7002, enabled: false };
    instance.address.secure_port = Some(port(tree, "securePort", secure)?);
    instance.status = status(tree, "status", dialect).unwrap_or(Status::Up);
    instance.status_override = status(tree, "overriddenStatus", dialect)
        .or_else(|| status(tree, "overriddenstatus", dialect))
        .filter(|status| *status != Status::Unknown);
    instance.metadata = metadata(tree, dialect)?.unwrap_or_default();
    instance.vips =
        Vips { plain: text(tree, "vipAddress"), secure: text(tree, "secureVipAddress") };
    instance.lease = tree.get("leaseInfo").map(lease).transpose()?;
    instance.pages = pages(tree);
    instance.data_center = center.map(|center| data_center(center, dialect)).transpose()?.flatten();
    instance.group = text(tree, "appGroupName").map(|group| group.to_uppercase());
    instance.asg = text(tree, "asgName");
    instance.sid = text(tree, "sid").filter(|sid| defaults::is_told(sid));
    instance.country_id = number(tree, "countryId")?.unwrap_or(1);
    instance.is_coordinator = tree.get("isCoordinatingDiscoveryServer").is_some_and(is_true);
    instance.updated_at = millis(tree, "lastUpdatedTimestamp")?.unwrap_or(0);
    instance.action = action(tree);
    Ok(Registration {
        app: text(tree, "app"),
        instance_id: text(tree, "instanceId"),
        dirty_at: millis(tree, "lastDirtyTimestamp")?,
        has_data_center: center.is_some(),
        instance,
    })
}

/// The text under `key`; an empty one counts as missing, as Eureka's builder has it.
fn text(tree: &Tree, key: &str) -> Option<String> {
    tree.get(key)?.text().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The number under `key`; an empty text counts as missing.
fn number<N: FromStr>(tree: &Tree, key: &'static str) -> Result<Option<N>, DecodeError> {
    let Some(value) = tree.get(key) else { return Ok(None) };
    let wrong = || DecodeError::Field { field: key, expected: "a number", found: value.describe() };
    match value.text().map(str::trim) {
        Some("") => Ok(None),
        Some(digits) => digits.parse().map(Some).map_err(|_| wrong()),
        None if value.pairs().is_empty() => Err(wrong()),
        None => Ok(None),
    }
}

/// A time in milliseconds; what lies before 1970 counts as 1970.
fn millis(tree: &Tree, key: &'static str) -> Result<Option<u64>, DecodeError> {
    let millis: Option<i64> = number(tree, key)?;
    Ok(millis.map(|millis| u64::try_from(millis).unwrap_or(0)))
}

/// `{"$": 8080, "@enabled": "true"}`, or a bare number, which many clients send.
fn port(tree: &Tree, key: &'static str, missing: Port) -> Result<Port, DecodeError> {
    let Some(port) = tree.get(key) else { return Ok(missing) };
    let enabled = match port.get("@enabled") {
        Some(enabled) => is_true(enabled),
        None => missing.enabled,
    };
    let Some(digits) = port.text().map(str::trim).filter(|digits| !digits.is_empty()) else {
        return Ok(Port { enabled, ..missing });
    };
    let expected = "a number from 0 to 65535";
    let wrong = |_| DecodeError::Field { field: key, expected, found: quote(digits) };
    Ok(Port { number: digits.parse().map_err(wrong)?, enabled })
}

fn is_true(tree: &Tree) -> bool {
    tree.text().is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
}

/// A status; one that nobody knows is `UNKNOWN`.
fn status(tree: &Tree, key: &str, dialect: Dialect) -> Option<Status> {
    let mut name = text(tree, key)?;
    if dialect.status_in_any_case {
        name.make_ascii_uppercase();
    }
    Some(Status::from_name(&name).unwrap_or(Status::Unknown))
}

fn action(tree: &Tree) -> Option<larder_registry::model::Action> {
    use larder_registry::model::Action::{Added, Deleted, Modified};
    let name = text(tree, "actionType")?;
    [Added, Modified, Deleted].into_iter().find(|action| action.as_str() == name)
}

/// The pairs of `metadata`, but for the attribute `@class`. Numbers, truth values and null are text.
fn metadata(tree: &Tree, dialect: Dialect) -> Result<Option<Metadata>, DecodeError> {
    let Some(metadata) = tree.get("metadata") else { return Ok(None) };
    let pairs = metadata.pairs().iter().filter(|(key, _)| key != "@class" && key != "$");
    let pairs = pairs.map(|(key, value)| {
        let value = match value {
            Tree::Null => "null",
            other => other.text().ok_or_else(|| DecodeError::Field {
                field: "metadata",
                expected: "texts as values",
                found: format!("{} under {}", other.describe(), quote(key)),
            })?,
        };
        Ok(((dialect.metadata_key)(key), value.to_owned()))
    });
    pairs.collect::<Result<_, _>>().map(Some)
}

fn lease(tree: &Tree) -> Result<Lease, DecodeError> {
    let secs = |key, missing| {
        let secs: Option<i64> = number(tree, key)?;
        let secs =
            secs.filter(|secs| *secs > 0).map(|secs| u32::try_from(secs).unwrap_or(u32::MAX));
        Ok(secs.unwrap_or(missing))
    };
    // `renewalTimestamp` is the older name, which old servers print.
    let renewed_at = match millis(tree, "lastRenewalTimestamp")? {
        Some(renewed_at) => renewed_at,
        None => millis(tree, "renewalTimestamp")?.unwrap_or(0),
    };
    let default = Lease::default();
    Ok(Lease {
        renewal_interval_secs: secs("renewalIntervalInSecs", default.renewal_interval_secs)?,
        duration_secs: secs("durationInSecs", default.duration_secs)?,
        registered_at: millis(tree, "registrationTimestamp")?.unwrap_or(0),
        renewed_at,
        evicted_at: millis(tree, "evictionTimestamp")?.unwrap_or(0),
        up_since: millis(tree, "serviceUpTimestamp")?.unwrap_or(0),
    })
}

fn pages(tree: &Tree) -> Option<Box<Pages>> {
    let pages = Pages {
        home: text(tree, "homePageUrl"),
        status: text(tree, "statusPageUrl"),
        health: text(tree, "healthCheckUrl"),
        secure_health: text(tree, "secureHealthCheckUrl"),
    };
    (pages != Pages::default()).then(|| Box::new(pages))
}

/// The data centre; none if it has no name, which validation finds. The name decides, as in Eureka's
/// XML; `@class` counts only where there is none.
fn data_center(tree: &Tree, dialect: Dialect) -> Result<Option<Box<DataCenter>>, DecodeError> {
    let is_amazon_class =
        || tree.get("@class").and_then(Tree::text) == Some(defaults::AMAZON_CLASS);
    let name = match text(tree, "name") {
        Some(name) => name,
        None if is_amazon_class() => defaults::AMAZON.to_owned(),
        None => return Ok(None),
    };
    let known = ["MyOwn", "Netflix", defaults::AMAZON];
    let known = known.into_iter().find(|known| known.eq_ignore_ascii_case(&name));
    let name = known.ok_or_else(|| DecodeError::Field {
        field: "dataCenterInfo.name",
        expected: "MyOwn, Amazon or Netflix",
        found: quote(&name),
    })?;
    let metadata = metadata(tree, dialect)?;
    Ok(Some(Box::new(DataCenter { name: name.to_owned(), metadata })))
}
