//! Writes Eureka's JSON, byte for byte as Netflix's server does.

use larder_registry::model::{DataCenter, Instance, Lease, Metadata, Port, Status};

use crate::wire::Heading;
use crate::wire::defaults::{self, AMAZON, AMAZON_CLASS, EMPTY_MAP_CLASS, MY_OWN, OWN_CLASS};

/// What comes before the applications of a list.
pub(crate) fn open_list(out: &mut Vec<u8>, heading: &Heading) {
    in_json(out, |json| {
        json.raw(r#"{"applications":{"versions__delta":"#);
        json.quoted_number(heading.version);
        json.raw(r#","apps__hashcode":"#);
        json.text(&heading.hash);
        json.raw(r#","application":["#);
    });
}

/// What comes after the applications of a list.
pub(crate) fn close_list(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}}");
}

/// What comes before the instances of an application.
pub(crate) fn open_app(out: &mut Vec<u8>, name: &str) {
    in_json(out, |json| {
        json.raw(r#"{"name":"#);
        json.text(&name.to_uppercase());
        json.raw(r#","instance":["#);
    });
}

/// What comes after the instances of an application.
pub(crate) fn close_app(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}");
}

/// `{"instance":{…}}`
pub fn instance(instance: &Instance) -> Vec<u8> {
    let mut out = Vec::from(br#"{"instance":"#);
    write_instance(&mut out, instance);
    out.push(b'}');
    out
}

/// `{"instance":{…}}`, for a registration. When the registrant changed last is left out if it is not
/// known: the server then takes the time at which it hears of it, where a zero would make it older than
/// anything.
pub fn registration(instance: &Instance) -> Vec<u8> {
    let mut json = Json(Vec::from(br#"{"instance":"#));
    write_description(&mut json, instance);
    write_history(&mut json, instance, (instance.dirty_at != 0).then_some(instance.dirty_at));
    json.raw("}}");
    json.0
}

/// Appends one instance, as it stands in a list.
pub fn write_instance(out: &mut Vec<u8>, instance: &Instance) {
    in_json(out, |json| {
        write_description(json, instance);
        write_history(json, instance, Some(instance.dirty_at));
        json.raw("}");
    });
}

fn write_description(out: &mut Json, instance: &Instance) {
    write_identity(out, instance);
    write_where(out, instance);
    write_optional(out, instance);
}

fn write_identity(out: &mut Json, instance: &Instance) {
    out.raw("{");
    if !instance.id_is_derived {
        out.raw(r#""instanceId":"#);
        out.text(&instance.id);
        out.raw(",");
    }
    out.raw(r#""hostName":"#);
    out.text(defaults::host(&instance.address));
    out.raw(r#","app":"#);
    out.text(&instance.service.as_str().to_uppercase());
    out.raw(r#","ipAddr":"#);
    out.text(defaults::ip(&instance.address));
    out.option("sid", instance.sid.as_deref());
    out.raw(r#","status":"#);
    out.text(instance.effective_status().as_str());
    out.raw(r#","overriddenStatus":"#);
    out.text(instance.status_override.unwrap_or(Status::Unknown).as_str());
}

fn write_where(out: &mut Json, instance: &Instance) {
    out.raw(r#","port":"#);
    write_port(out, defaults::port(instance.address.port));
    out.raw(r#","securePort":"#);
    write_port(out, defaults::port(instance.address.secure_port));
    out.raw(r#","countryId":"#);
    out.number(instance.country_id);
    write_data_center(out, instance.data_center.as_deref());
    if let Some(lease) = &instance.lease {
        write_lease(out, lease);
    }
    out.raw(r#","metadata":"#);
    write_metadata(out, &instance.metadata);
}

fn write_optional(out: &mut Json, instance: &Instance) {
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

fn write_history(out: &mut Json, instance: &Instance, dirty_at: Option<u64>) {
    out.raw(r#","isCoordinatingDiscoveryServer":""#);
    out.raw(if instance.is_coordinator { "true" } else { "false" });
    out.raw(r#"","lastUpdatedTimestamp":"#);
    out.quoted_number(instance.updated_at);
    if let Some(dirty_at) = dirty_at {
        out.raw(r#","lastDirtyTimestamp":"#);
        out.quoted_number(dirty_at);
    }
    out.option("actionType", instance.action.map(larder_registry::model::Action::as_str));
    out.option("asgName", instance.asg.as_deref());
}

pub(super) fn write_port(out: &mut Json, port: Port) {
    out.raw(r#"{"$":"#);
    out.number(port.number);
    out.raw(r#","@enabled":""#);
    out.raw(if port.enabled { "true" } else { "false" });
    out.raw(r#""}"#);
}

fn write_data_center(out: &mut Json, center: Option<&DataCenter>) {
    let cloud = center.and_then(|center| center.metadata.as_ref());
    write_center(out, center, cloud.into_iter().flat_map(Metadata::iter));
}

/// The data center, with this of its cloud's metadata.
pub(super) fn write_center<'a>(
    out: &mut Json,
    center: Option<&DataCenter>,
    cloud: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let name = center.map_or(MY_OWN, |center| &center.name);
    let is_amazon = name == AMAZON;
    out.raw(r#","dataCenterInfo":{"@class":"#);
    out.text(if is_amazon { AMAZON_CLASS } else { OWN_CLASS });
    out.raw(r#","name":"#);
    out.text(name);
    if is_amazon {
        out.raw(r#","metadata":{"#);
        write_pairs(out, cloud);
        out.raw("}");
    }
    out.raw("}");
}

fn write_lease(out: &mut Json, lease: &Lease) {
    let fields = [
        (r#","leaseInfo":{"renewalIntervalInSecs":"#, lease.renewal_interval_secs.into()),
        (r#","durationInSecs":"#, lease.duration_secs.into()),
        (r#","registrationTimestamp":"#, lease.registered_at),
        (r#","lastRenewalTimestamp":"#, lease.renewed_at),
        (r#","evictionTimestamp":"#, lease.evicted_at),
        (r#","serviceUpTimestamp":"#, lease.up_since),
    ];
    for (key, value) in fields {
        out.raw(key);
        out.number::<u64>(value);
    }
    out.raw("}");
}

/// Empty metadata is written as the Java class that it was in the server's memory; clients skip it.
fn write_metadata(out: &mut Json, metadata: &Metadata) {
    out.raw("{");
    if metadata.is_empty() {
        out.raw(r#""@class":"#);
        out.text(EMPTY_MAP_CLASS);
    }
    write_pairs(out, metadata.iter());
    out.raw("}");
}

pub(super) fn write_pairs<'a>(out: &mut Json, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    for (place, (key, value)) in pairs.enumerate() {
        if place > 0 {
            out.raw(",");
        }
        out.text(key);
        out.raw(":");
        out.text(value);
    }
}

/// Bytes of JSON that grow at the end.
pub(in crate::wire) struct Json(Vec<u8>);

/// Appends to `out` what `write` writes.
pub(in crate::wire) fn in_json(out: &mut Vec<u8>, write: impl FnOnce(&mut Json)) {
    let mut json = Json(std::mem::take(out));
    write(&mut json);
    *out = json.0;
}

impl Json {
    pub(in crate::wire) fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(in crate::wire) fn number<N: itoa::Integer>(&mut self, number: N) {
        self.raw(itoa::Buffer::new().format(number));
    }

    pub(super) fn quoted_number<N: itoa::Integer>(&mut self, number: N) {
        self.raw("\"");
        self.number(number);
        self.raw("\"");
    }

    pub(in crate::wire) fn option(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.raw(",\"");
            self.raw(key);
            self.raw("\":");
            self.text(value);
        }
    }

    /// A string, escaped as Jackson escapes: what must be, with hexadecimal digits in upper case.
    pub(in crate::wire) fn text(&mut self, text: &str) {
        self.0.push(b'"');
        let mut written = 0;
        for (place, byte) in text.bytes().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.raw(&text[written..place]);
            written = place + 1;
            match byte {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                0x08 => self.raw("\\b"),
                0x0C => self.raw("\\f"),
                control => self.raw(&format!("\\u{control:04X}")),
            }
        }
        self.raw(&text[written..]);
        self.0.push(b'"');
    }
}
