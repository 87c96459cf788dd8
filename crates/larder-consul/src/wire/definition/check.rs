//! Checks as they are registered: with a service, by themselves, or in the catalog.

use std::collections::BTreeMap;
use std::time::Duration;

use larder_registry::model::Health;
use serde_json::Value;

use super::Invalid;
use super::bounds::{MAX_CHECKS, MAX_ITEMS, MAX_PROSE_BYTES, MAX_TEXT_BYTES, MAX_URL_BYTES};
use super::fields::{Fields, json};

/// A check, as it is registered. What was not said is empty, zero or false.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of its own on the wire")]
pub struct CheckRegistration {
    /// `CheckID`, or `ID`.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub notes: String,
    /// What it is said to say; none means critical.
    pub status: Option<Health>,
    /// For people: why. In the catalog only.
    pub output: String,
    /// The service it belongs to; empty if it is the node's.
    pub service_id: String,
    /// Silence for longer than this is critical.
    pub ttl: Duration,
    /// Time between two probes.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How long it may be critical before its service is deregistered.
    pub deregister_after: Duration,
    /// The URL that is asked.
    pub http: String,
    /// How it is asked.
    pub method: String,
    /// Headers that are sent.
    pub header: BTreeMap<String, Vec<String>>,
    /// What is sent along.
    pub body: String,
    /// Whether any certificate will do.
    pub tls_skip_verify: bool,
    /// The name that the certificate is for.
    pub tls_server_name: String,
    /// Whether redirects are left alone.
    pub disable_redirects: bool,
    /// `host:port` that is connected to.
    pub tcp: String,
    /// Whether that speaks TLS.
    pub tcp_use_tls: bool,
    /// `host:port` that is sent a datagram.
    pub udp: String,
    /// `host:port/service` that is asked over gRPC.
    pub grpc: String,
    /// Whether that speaks TLS.
    pub grpc_use_tls: bool,
    /// `host:port` that is pinged over HTTP/2.
    pub h2ping: String,
    /// A service of the operating system that is looked at.
    pub os_service: String,
    /// A program that is run, with its arguments.
    pub args: Vec<String>,
    /// The container that it is run in.
    pub docker_container_id: String,
    /// The shell that it is run by.
    pub shell: String,
    /// The service whose health is repeated.
    pub alias_service: String,
    /// The node whose health is repeated.
    pub alias_node: String,
}

impl CheckRegistration {
    /// Whether somebody has to go and look.
    pub fn is_probed(&self) -> bool {
        let targets =
            [&self.http, &self.tcp, &self.udp, &self.grpc, &self.h2ping, &self.os_service];
        targets.iter().any(|target| !target.is_empty()) || !self.args.is_empty()
    }

    /// Whether it repeats what others say.
    pub fn is_alias(&self) -> bool {
        !self.alias_service.is_empty() || !self.alias_node.is_empty()
    }

    /// Whether it can be run, in Consul's words.
    fn validate(self) -> Result<Self, Invalid> {
        let wrong = if self.is_probed() && !self.ttl.is_zero() {
            "Interval and TTL cannot both be specified"
        } else if self.is_probed() && self.interval.is_zero() {
            "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
        } else if !self.is_probed() && !self.is_alias() && self.ttl.is_zero() {
            "TTL must be > 0 for TTL checks"
        } else {
            return Ok(self);
        };
        Err(Invalid::Check(wrong))
    }
}

/// Reads the body of `agent/check/register`.
pub fn check(body: &[u8]) -> Result<CheckRegistration, Invalid> {
    let body = json(body)?;
    let fields = Fields::of("", &body)?;
    let check = read(&fields, Invalid::CheckStatus)?;
    if check.name.is_empty() {
        return Err(Invalid::CheckName);
    }
    check.validate()
}

/// The checks of a service: `Check`, then `Checks`. Empty ones are none, as for Consul.
pub(super) fn of_service(fields: &Fields<'_>) -> Result<Vec<CheckRegistration>, Invalid> {
    let read = |value| -> Result<Option<CheckRegistration>, Invalid> {
        let fields = Fields::of("Check.", value)?;
        if fields.is_empty() {
            return Ok(None);
        }
        read(&fields, Invalid::ServiceCheckStatus)?.validate().map(Some)
    };
    all(fields)?.into_iter().filter_map(|value| read(value).transpose()).collect()
}

/// The checks of an entry of the catalog, which nobody here runs.
pub(super) fn of_catalog(fields: &Fields<'_>) -> Result<Vec<CheckRegistration>, Invalid> {
    let read = |value| {
        let fields = Fields::of("Check.", value)?;
        let mut check = read(&fields, Invalid::ServiceCheckStatus)?;
        if let Some(definition) = fields.get("Definition") {
            read_probe(&Fields::of("Check.Definition.", definition)?, &mut check)?;
        }
        Ok(check)
    };
    all(fields)?.into_iter().map(read).collect()
}

fn all<'a>(fields: &Fields<'a>) -> Result<Vec<&'a Value>, Invalid> {
    let mut checks: Vec<&Value> = fields.get("Check").into_iter().collect();
    if let Some(several) = fields.get("Checks") {
        let several = several.as_array();
        checks.extend(several.ok_or_else(|| Invalid::field("Checks", "a list of checks"))?);
    }
    checks.retain(|check| !check.is_null());
    let fits = checks.len() <= MAX_CHECKS;
    fits.then_some(checks).ok_or_else(|| Invalid::field("Checks", format!("at most {MAX_CHECKS}")))
}

fn read(fields: &Fields<'_>, bad_status: Invalid) -> Result<CheckRegistration, Invalid> {
    let mut check = CheckRegistration {
        id: fields.name("CheckID")?,
        name: fields.text("Name", MAX_TEXT_BYTES)?,
        notes: fields.text("Notes", MAX_PROSE_BYTES)?,
        output: fields.text("Output", MAX_PROSE_BYTES)?,
        service_id: fields.name("ServiceID")?,
        ..CheckRegistration::default()
    };
    if check.id.is_empty() {
        check.id = fields.name("ID")?;
    }
    let status = fields.text("Status", MAX_TEXT_BYTES)?;
    if !status.is_empty() {
        check.status = Some(Health::from_name(&status).ok_or(bad_status)?);
    }
    read_probe(fields, &mut check)?;
    Ok(check)
}

fn read_probe(fields: &Fields<'_>, check: &mut CheckRegistration) -> Result<(), Invalid> {
    let text = |name| fields.text(name, MAX_TEXT_BYTES);
    let target = |name| fields.text(name, MAX_URL_BYTES);
    check.ttl = fields.duration("TTL")?;
    check.interval = fields.duration("Interval")?;
    check.timeout = fields.duration("Timeout")?;
    check.deregister_after = fields.duration("DeregisterCriticalServiceAfter")?;
    check.http = target("HTTP")?;
    check.method = text("Method")?;
    check.header = fields.headers("Header")?;
    check.body = fields.text("Body", MAX_PROSE_BYTES)?;
    check.tls_skip_verify = fields.flag("TLSSkipVerify")?;
    check.tls_server_name = text("TLSServerName")?;
    check.disable_redirects = fields.flag("DisableRedirects")?;
    check.tcp = target("TCP")?;
    check.tcp_use_tls = fields.flag("TCPUseTLS")?;
    check.udp = target("UDP")?;
    check.grpc = target("GRPC")?;
    check.grpc_use_tls = fields.flag("GRPCUseTLS")?;
    check.h2ping = target("H2PING")?;
    check.os_service = text("OSService")?;
    check.docker_container_id = text("DockerContainerID")?;
    check.shell = text("Shell")?;
    check.alias_service = text("AliasService")?;
    check.alias_node = text("AliasNode")?;
    check.args = fields.texts("Args", MAX_ITEMS, MAX_URL_BYTES)?;
    if check.args.is_empty() {
        check.args = fields.texts("ScriptArgs", MAX_ITEMS, MAX_URL_BYTES)?;
    }
    // Older clients' form of a program: one line for the shell.
    let script = target("Script")?;
    if check.args.is_empty() && !script.is_empty() {
        check.args = vec!["sh".to_owned(), "-c".to_owned(), script];
    }
    // Read for their kind alone: the first failure and the first success count at once.
    let thresholds = [
        "SuccessBeforePassing",
        "FailuresBeforeWarning",
        "FailuresBeforeCritical",
        "OutputMaxSize",
    ];
    thresholds.iter().try_for_each(|name| fields.number::<i64>(name, "a number").map(drop))
}
