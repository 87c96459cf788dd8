//! Which checks may be registered.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use larder_registry::model::{self, Health, Opaque, Probe};

use super::super::CheckRegistration;
use super::super::refusal::Refusal;
use super::check_text;
use crate::checks;

/// The most checks of one instance.
const MAX_CHECKS: usize = 16;

/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 1_024;

/// Of a ttl and of an interval: a day at most.
const PERIOD_SECS: RangeInclusive<u32> = 1..=86_400;

const TIMEOUT_SECS: RangeInclusive<u32> = 1..=60;

/// From the shortest that the registry knows to a week.
const DEREGISTER_AFTER_SECS: RangeInclusive<u32> = 60..=604_800;

/// The checks that the registration describes, or the first thing that is wrong with them.
pub(super) fn checks(registrations: Vec<CheckRegistration>) -> Result<Vec<model::Check>, Refusal> {
    if registrations.len() > MAX_CHECKS {
        let found = registrations.len();
        return Err(Refusal::invalid(format!("checks: at most {MAX_CHECKS}, found {found}")));
    }
    let mut ids = HashSet::new();
    let twice = registrations.iter().find(|check| !ids.insert(check.id.as_str()));
    if let Some(CheckRegistration { id, .. }) = twice {
        return Err(Refusal::invalid(format!("checks: there are two with the id {id:?}")));
    }
    registrations.into_iter().map(check).collect()
}

fn check(registration: CheckRegistration) -> Result<model::Check, Refusal> {
    check_text("the id of a check", &registration.id)?;
    if let Some(name) = &registration.name {
        check_text("the name of a check", name)?;
    }
    let of_this = |says: String| Refusal::invalid(format!("check {:?}: {says}", registration.id));
    let probe = probe(&registration).map_err(of_this)?;
    let mut check = model::Check::new(&registration.id, probe);
    set_times(&mut check, &registration).map_err(of_this)?;
    if let Some(status) = &registration.status {
        check.health = health(status).map_err(of_this)?;
    }
    if let Some(name) = registration.name {
        check.name = name;
    }
    Ok(check)
}

fn probe(registration: &CheckRegistration) -> Result<Probe, String> {
    match (&registration.http, &registration.tcp, registration.ttl_secs) {
        (Some(url), None, None) => {
            check_len("http", url)?;
            checks::http::target(url).map_err(|says| format!("http: {says}"))?;
            Ok(Probe::Http { url: url.clone(), definition: Opaque::default() })
        }
        (None, Some(target), None) => {
            check_len("tcp", target)?;
            let expected = || format!("tcp: expected HOST:PORT or [IPV6]:PORT, found {target:?}");
            checks::tcp::split(target).ok_or_else(expected)?;
            Ok(Probe::Tcp(target.clone()))
        }
        (None, None, Some(ttl_secs)) => secs("ttl_secs", ttl_secs, PERIOD_SECS).map(Probe::Ttl),
        _ => Err("expected one of http, tcp and ttl_secs".to_owned()),
    }
}

fn check_len(what: &str, text: &str) -> Result<(), String> {
    if text.len() > MAX_URL_BYTES || text.chars().any(char::is_control) {
        let wanted = format!("at most {MAX_URL_BYTES} bytes without control characters");
        return Err(format!("{what} must be {wanted}"));
    }
    Ok(())
}

fn set_times(check: &mut model::Check, registration: &CheckRegistration) -> Result<(), String> {
    let CheckRegistration { interval_secs, timeout_secs, deregister_after_secs, .. } = registration;
    if check.is_active() {
        check.interval = match *interval_secs {
            Some(interval) => secs("interval_secs", interval, PERIOD_SECS)?,
            None => checks::probe::DEFAULT_INTERVAL,
        };
        if let Some(timeout) = *timeout_secs {
            check.timeout = secs("timeout_secs", timeout, TIMEOUT_SECS)?;
        }
    } else if interval_secs.is_some() || timeout_secs.is_some() {
        return Err("interval_secs and timeout_secs are for http and tcp".to_owned());
    }
    if let Some(wait) = *deregister_after_secs {
        let wait = secs("deregister_after_secs", wait, DEREGISTER_AFTER_SECS)?;
        check.deregister_after = Some(wait);
    }
    Ok(())
}

fn secs(what: &str, found: u32, range: RangeInclusive<u32>) -> Result<Duration, String> {
    if !range.contains(&found) {
        return Err(format!(
            "{what}: expected {} to {}, found {found}",
            range.start(),
            range.end()
        ));
    }
    Ok(Duration::from_secs(found.into()))
}

/// What a check says, in Consul's words.
pub(in super::super) fn health(status: &str) -> Result<Health, String> {
    Health::from_name(status)
        .ok_or_else(|| format!("status: expected passing, warning or critical, found {status:?}"))
}
