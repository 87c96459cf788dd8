//! The compact XML of lists, byte for byte as Netflix's `JacksonXmlMini` writes it: what a caller needs to
//! find an instance, on one line.

use larder_registry::model::{Action, DataCenter, Instance, Port};

use super::names::escape;
use super::text::escaped;
use crate::wire::Heading;
use crate::wire::defaults::{self, AMAZON, AMAZON_CLASS, MY_OWN, OWN_CLASS, told_of_cloud};

/// What comes before the applications of a list.
pub(crate) fn open_list(out: &mut Vec<u8>) {
    raw(out, "<applications>");
}

/// What comes after the applications of a list.
pub(crate) fn close_list(out: &mut Vec<u8>, heading: &Heading) {
    text(out, "registeredApplicationsEmpty", if heading.is_empty { "true" } else { "false" });
    number(out, "versions__delta", heading.version);
    text(out, "apps__hashcode", &heading.hash);
    raw(out, "</applications>");
}

/// What comes before the instances of an application.
pub(crate) fn open_app(out: &mut Vec<u8>, name: &str) {
    raw(out, "<application>");
    text(out, "name", &name.to_uppercase());
}

/// What comes after the instances of an application.
pub(crate) fn close_app(out: &mut Vec<u8>) {
    raw(out, "</application>");
}

/// One instance, as it stands in a list.
pub(crate) fn write_instance(out: &mut Vec<u8>, instance: &Instance) {
    raw(out, "<instance>");
    if !instance.id_is_derived {
        text(out, "instanceId", &instance.id);
    }
    text(out, "app", &instance.service.as_str().to_uppercase());
    text(out, "ipAddr", defaults::ip(&instance.address));
    option(out, "vipAddress", instance.vips.plain.as_deref());
    option(out, "secureVipAddress", instance.vips.secure.as_deref());
    write_center(out, instance.data_center.as_deref());
    text(out, "hostName", defaults::host(&instance.address));
    text(out, "status", instance.effective_status().as_str());
    number(out, "lastUpdatedTimestamp", instance.updated_at);
    option(out, "actionType", instance.action.map(Action::as_str));
    option(out, "asgName", instance.asg.as_deref());
    write_port(out, "port", defaults::port(instance.address.port));
    write_port(out, "securePort", defaults::port(instance.address.secure_port));
    raw(out, "</instance>");
}

fn write_center(out: &mut Vec<u8>, center: Option<&DataCenter>) {
    let name = center.map_or(MY_OWN, |center| &center.name);
    let is_amazon = name == AMAZON;
    raw(out, "<dataCenterInfo class=\"");
    raw(out, if is_amazon { AMAZON_CLASS } else { OWN_CLASS });
    raw(out, "\">");
    text(out, "name", name);
    if is_amazon {
        raw(out, "<metadata>");
        for (key, value) in told_of_cloud(center) {
            text(out, &escape(key), value);
        }
        raw(out, "</metadata>");
    }
    raw(out, "</dataCenterInfo>");
}

fn write_port(out: &mut Vec<u8>, name: &str, port: Port) {
    raw(out, "<");
    raw(out, name);
    raw(out, if port.enabled { r#" enabled="true">"# } else { r#" enabled="false">"# });
    raw(out, itoa::Buffer::new().format(port.number));
    end(out, name);
}

fn option(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

fn number<N: itoa::Integer>(out: &mut Vec<u8>, name: &str, number: N) {
    text(out, name, itoa::Buffer::new().format(number));
}

fn text(out: &mut Vec<u8>, name: &str, text: &str) {
    raw(out, "<");
    raw(out, name);
    raw(out, ">");
    escaped(out, text);
    end(out, name);
}

fn end(out: &mut Vec<u8>, name: &str) {
    raw(out, "</");
    raw(out, name);
    raw(out, ">");
}

fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
