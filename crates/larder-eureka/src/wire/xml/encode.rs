//! Writes Eureka's XML, byte for byte as Netflix's server does: two spaces for each level, no
//! declaration, no line end at the end.

use larder_registry::model::{Action, DataCenter, Instance, Lease, Metadata, Port, Status};

use super::names::escape;
use super::text::escaped;
use crate::wire::defaults::{self, AMAZON, AMAZON_CLASS, EMPTY_MAP_CLASS, MY_OWN, OWN_CLASS};
use crate::wire::{ApiVersion, Application, Heading};

/// What comes before the applications of a list.
pub(crate) fn open_list(out: &mut Vec<u8>, heading: &Heading) {
    out.extend_from_slice(b"<applications>");
    in_xml(out, 1, |xml| {
        xml.number("versions__delta", heading.version);
        xml.text("apps__hashcode", &heading.hash);
    });
}

/// What comes after the applications of a list.
pub(crate) fn close_list(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n</applications>");
}

/// What comes before the instances of an application in a list.
pub(crate) fn open_app(out: &mut Vec<u8>, name: &str) {
    in_xml(out, 1, |xml| {
        xml.open("application");
        xml.text("name", &name.to_uppercase());
    });
}

/// What comes after the instances of an application in a list.
pub(crate) fn close_app(out: &mut Vec<u8>) {
    in_xml(out, 2, |xml| xml.close("application"));
}

/// One instance of an application in a list.
pub(crate) fn write_listed(out: &mut Vec<u8>, instance: &Instance, version: ApiVersion) {
    in_xml(out, 2, |xml| write_instance(xml, instance, version));
}

/// `<application>…</application>`
pub(crate) fn application(app: &Application, version: ApiVersion) -> Vec<u8> {
    document(|xml| {
        xml.open("application");
        xml.text("name", &app.name.to_uppercase());
        for instance in &app.instances {
            write_instance(xml, instance, version);
        }
        xml.close("application");
    })
}

/// `<instance>…</instance>`
pub fn instance(instance: &Instance, version: ApiVersion) -> Vec<u8> {
    document(|xml| write_instance(xml, instance, version))
}

fn write_instance(xml: &mut Xml, instance: &Instance, version: ApiVersion) {
    xml.open("instance");
    write_identity(xml, instance, version);
    write_where(xml, instance);
    write_optional(xml, instance);
    write_history(xml, instance);
    xml.close("instance");
}

fn write_identity(out: &mut Xml, instance: &Instance, version: ApiVersion) {
    if !instance.id_is_derived {
        out.text("instanceId", &instance.id);
    }
    out.text("hostName", defaults::host(&instance.address));
    out.text("app", &instance.service.as_str().to_uppercase());
    out.text("ipAddr", defaults::ip(&instance.address));
    out.option("sid", instance.sid.as_deref());
    out.text("status", shown(instance.effective_status(), version).as_str());
    // Lower case here, camel case in JSON.
    let status_override = instance.status_override.unwrap_or(Status::Unknown);
    out.text("overriddenstatus", status_override.as_str());
}

/// The first version of the API knows neither `OUT_OF_SERVICE` nor `UNKNOWN`.
fn shown(status: Status, version: ApiVersion) -> Status {
    match (version, status) {
        (ApiVersion::V1, Status::OutOfService | Status::Unknown) => Status::Down,
        (_, status) => status,
    }
}

fn write_where(out: &mut Xml, instance: &Instance) {
    write_port(out, "port", defaults::port(instance.address.port));
    write_port(out, "securePort", defaults::port(instance.address.secure_port));
    out.number("countryId", instance.country_id);
    write_data_center(out, instance.data_center.as_deref());
    if let Some(lease) = &instance.lease {
        write_lease(out, lease);
    }
    write_metadata(out, &instance.metadata);
}

fn write_optional(out: &mut Xml, instance: &Instance) {
    out.option("appGroupName", instance.group.as_deref());
    if let Some(pages) = &instance.pages {
        out.option("homePageUrl", pages.home.as_deref());
        out.option("statusPageUrl", pages.status.as_deref());
        out.option("healthCheckUrl", pages.health.as_deref());
        out.option("secureHealthCheckUrl", pages.secure_health.as_deref());
    }
    out.option("vipAddress", instance.vips.plain.as_deref());
    out.option("secureVipAddress", instance.vips.secure.as_deref());
}

fn write_history(out: &mut Xml, instance: &Instance) {
    let is_coordinator = if instance.is_coordinator { "true" } else { "false" };
    out.text("isCoordinatingDiscoveryServer", is_coordinator);
    out.number("lastUpdatedTimestamp", instance.updated_at);
    out.number("lastDirtyTimestamp", instance.dirty_at);
    out.option("actionType", instance.action.map(Action::as_str));
    out.option("asgName", instance.asg.as_deref());
}

fn write_port(out: &mut Xml, name: &str, port: Port) {
    out.line();
    out.raw("<");
    out.raw(name);
    out.raw(if port.enabled { r#" enabled="true">"# } else { r#" enabled="false">"# });
    out.raw(itoa::Buffer::new().format(port.number));
    out.end(name);
}

fn write_data_center(out: &mut Xml, center: Option<&DataCenter>) {
    let name = center.map_or(MY_OWN, |center| &center.name);
    let is_amazon = name == AMAZON;
    let class = if is_amazon { AMAZON_CLASS } else { OWN_CLASS };
    out.line();
    out.raw(r#"<dataCenterInfo class=""#);
    out.raw(class);
    out.raw(r#"">"#);
    out.depth += 1;
    out.text("name", name);
    if is_amazon {
        out.open("metadata");
        let cloud = center.and_then(|center| center.metadata.as_ref());
        write_pairs(out, cloud.unwrap_or(&Metadata::new()));
        out.close("metadata");
    }
    out.close("dataCenterInfo");
}

fn write_lease(out: &mut Xml, lease: &Lease) {
    out.open("leaseInfo");
    out.number("renewalIntervalInSecs", lease.renewal_interval_secs);
    out.number("durationInSecs", lease.duration_secs);
    out.number("registrationTimestamp", lease.registered_at);
    out.number("lastRenewalTimestamp", lease.renewed_at);
    out.number("evictionTimestamp", lease.evicted_at);
    out.number("serviceUpTimestamp", lease.up_since);
    out.close("leaseInfo");
}

/// Empty metadata is written as the Java class that it was in the server's memory; clients skip it.
fn write_metadata(out: &mut Xml, metadata: &Metadata) {
    if metadata.keys().all(str::is_empty) {
        out.line();
        out.raw(r#"<metadata class=""#);
        out.raw(EMPTY_MAP_CLASS);
        out.raw(r#""/>"#);
        return;
    }
    out.open("metadata");
    write_pairs(out, metadata);
    out.close("metadata");
}

/// An empty key has no place in XML: an element has a name. It is left out.
fn write_pairs(out: &mut Xml, pairs: &Metadata) {
    for (key, value) in pairs.iter().filter(|(key, _)| !key.is_empty()) {
        out.text(&escape(key), value);
    }
}

/// Bytes of XML that grow at the end: an element a line.
struct Xml {
    out: Vec<u8>,
    depth: usize,
}

/// Appends to `out` what `write` writes, `depth` levels deep.
fn in_xml(out: &mut Vec<u8>, depth: usize, write: impl FnOnce(&mut Xml)) {
    let mut xml = Xml { out: std::mem::take(out), depth };
    write(&mut xml);
    *out = xml.out;
}

/// A document: its first line is where it begins.
fn document(write: impl FnOnce(&mut Xml)) -> Vec<u8> {
    let mut out = Vec::new();
    in_xml(&mut out, 0, write);
    out.split_off(1)
}

impl Xml {
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn line(&mut self) {
        self.raw("\n");
        for _ in 0..self.depth {
            self.raw("  ");
        }
    }

    fn open(&mut self, name: &str) {
        self.line();
        self.raw("<");
        self.raw(name);
        self.raw(">");
        self.depth += 1;
    }

    fn close(&mut self, name: &str) {
        self.depth -= 1;
        self.line();
        self.end(name);
    }

    fn end(&mut self, name: &str) {
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }

    fn text(&mut self, name: &str, text: &str) {
        self.line();
        self.raw("<");
        self.raw(name);
        self.raw(">");
        escaped(&mut self.out, text);
        self.end(name);
    }

    fn number<N: itoa::Integer>(&mut self, name: &str, number: N) {
        self.text(name, itoa::Buffer::new().format(number));
    }

    fn option(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }
}
