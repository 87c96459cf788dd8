//! What the server says about itself: `GET status`, `GET serverinfo/statusoverrides`.
//!
//! Netflix's names of fields, down to `isHeathly`. Its server fails to write the page as JSON unless a
//! number of peers is configured; this one always writes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::{Eureka, negotiation};
use crate::replicate::Contact;
use crate::response_cache::media_type;
use crate::wire::{ApiVersion, Format, json, xml};

/// The page, as far as every format has it.
struct Page {
    general: Vec<(&'static str, String)>,
    replicas: [(&'static str, String); 3],
}

impl Page {
    fn of(eureka: &Eureka) -> Self {
        let peers = eureka.peers.as_ref().map_or_else(Vec::new, |peers| peers.figures());
        let listed = |wanted: &[Contact]| {
            let of_these = peers.iter().filter(|peer| wanted.contains(&peer.contact));
            of_these.flat_map(|peer| [peer.url.as_str(), ","]).collect::<String>()
        };
        let all = [Contact::Untried, Contact::Available, Contact::Unavailable];
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let uptime = eureka.clock.now().since(eureka.started);
        let mut general =
            vec![("num-of-cpus", cores.to_string()), ("server-uptime", hours_and_minutes(uptime))];
        let preserving = eureka.view().self_preservation();
        general.extend(preserving.map(|explained| ("self-preservation", explained.to_string())));
        Self {
            general,
            replicas: [
                ("registered-replicas", listed(&all).trim_end_matches(',').to_owned()),
                ("available-replicas", listed(&[Contact::Available])),
                ("unavailable-replicas", listed(&[Contact::Unavailable])),
            ],
        }
    }
}

/// `GET status`: always 200.
pub(super) fn page(eureka: &Eureka, version: ApiVersion, headers: &HeaderMap) -> Response {
    let page = Page::of(eureka);
    let format = negotiation::live_format(headers);
    let body = match format {
        Format::Json => in_json(eureka, &page),
        Format::Xml => in_xml(eureka, &page, version),
    };
    ([(CONTENT_TYPE, media_type(format))], body).into_response()
}

fn in_json(eureka: &Eureka, page: &Page) -> Vec<u8> {
    let object = |pairs: &[(&'static str, String)]| {
        serde_json::Value::Object(
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect(),
        )
    };
    let mut out = format!(
        r#"{{"generalStats":{},"applicationStats":{},"instanceInfo":"#,
        object(&page.general),
        object(&page.replicas)
    )
    .into_bytes();
    json::write_instance(&mut out, &eureka.own);
    out.extend_from_slice(br#","healthy":true}"#);
    out
}

fn in_xml(eureka: &Eureka, page: &Page, version: ApiVersion) -> Vec<u8> {
    let mut out = String::from("<com.netflix.eureka.util.StatusInfo>");
    for (group, pairs) in
        [("generalStats", &page.general[..]), ("applicationStats", &page.replicas[..])]
    {
        // Writing to a string cannot fail.
        let _ = write!(out, "\n  <{group}>");
        for (key, value) in pairs {
            let value = quick_xml::escape::escape(value.as_str());
            let _ = write!(out, "\n    <{key}>{value}</{key}>");
        }
        let _ = write!(out, "\n  </{group}>");
    }
    let instance = xml::instance(&eureka.own, version);
    let instance = String::from_utf8_lossy(&instance).replace('\n', "\n  ");
    let instance = instance.replacen("<instance>", "<instanceInfo>", 1).replacen(
        "</instance>",
        "</instanceInfo>",
        1,
    );
    let _ = write!(out, "\n  {instance}\n  <isHeathly>true</isHeathly>");
    out.push_str("\n</com.netflix.eureka.util.StatusInfo>");
    out.into_bytes()
}

/// Netflix's way: `1 day 02:03`, `02:03`.
fn hours_and_minutes(uptime: Duration) -> String {
    let minutes = uptime.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    let clock = format!("{hours:02}:{minutes:02}");
    match days {
        0 => clock,
        1 => format!("1 day {clock}"),
        days => format!("{days} days {clock}"),
    }
}

/// `GET serverinfo/statusoverrides`: which instances an operator has overridden. Of one id in several
/// applications Netflix's form has room for one override.
pub(super) fn overrides(eureka: &Eureka) -> Response {
    let now = eureka.view().snapshot();
    let held: BTreeMap<&str, &str> = now
        .instances()
        .filter_map(|held| Some((held.id.as_str(), held.status_override?.as_str())))
        .collect();
    let body = serde_json::to_vec(&held).unwrap_or_default();
    ([(CONTENT_TYPE, media_type(Format::Json))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_the_start_is_told_in_days_hours_and_minutes() {
        for (secs, told) in
            [(59, "00:00"), (3_660, "01:01"), (86_400, "1 day 00:00"), (180_060, "2 days 02:01")]
        {
            assert_eq!(hours_and_minutes(Duration::from_secs(secs)), told);
        }
    }
}
