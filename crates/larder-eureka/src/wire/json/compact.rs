//! The compact JSON of lists, byte for byte as Netflix's `JacksonJsonMini` writes it: what a caller needs to
//! find an instance, in another order than the full form, with one timestamp as a number.

use larder_registry::model::{Action, Instance};

use super::encode::{in_json, write_center, write_port};
use crate::wire::Heading;
use crate::wire::defaults::{self, told_of_cloud};

/// What comes before the applications of a list.
pub(crate) fn open_list(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"applications":{"application":["#);
}

/// What comes after the applications of a list.
pub(crate) fn close_list(out: &mut Vec<u8>, heading: &Heading) {
    in_json(out, |json| {
        json.raw(r#"],"registeredApplicationsEmpty":"#);
        json.raw(if heading.is_empty { "true" } else { "false" });
        json.raw(r#","versions__delta":"#);
        json.quoted_number(heading.version);
        json.raw(r#","apps__hashcode":"#);
        json.text(&heading.hash);
        json.raw("}}");
    });
}

/// One instance, as it stands in a list.
pub(crate) fn write_instance(out: &mut Vec<u8>, instance: &Instance) {
    in_json(out, |json| {
        json.raw("{");
        if !instance.id_is_derived {
            json.raw(r#""instanceId":"#);
            json.text(&instance.id);
            json.raw(",");
        }
        json.raw(r#""app":"#);
        json.text(&instance.service.as_str().to_uppercase());
        json.raw(r#","ipAddr":"#);
        json.text(defaults::ip(&instance.address));
        json.option("vipAddress", instance.vips.plain.as_deref());
        json.option("secureVipAddress", instance.vips.secure.as_deref());
        let center = instance.data_center.as_deref();
        write_center(json, center, told_of_cloud(center));
        json.raw(r#","hostName":"#);
        json.text(defaults::host(&instance.address));
        json.raw(r#","status":"#);
        json.text(instance.effective_status().as_str());
        json.raw(r#","lastUpdatedTimestamp":"#);
        json.number(instance.updated_at);
        json.option("actionType", instance.action.map(Action::as_str));
        json.option("asgName", instance.asg.as_deref());
        json.raw(r#","port":"#);
        write_port(json, defaults::port(instance.address.port));
        json.raw(r#","securePort":"#);
        write_port(json, defaults::port(instance.address.secure_port));
        json.raw("}");
    });
}
