//! `larder register SERVICE …`

use std::time::Duration;

use larder_server::api::{CheckRegistration, Instance, Registration};
use larder_server::interruption;
use reqwest::Method;

use crate::args::Register;
use crate::client::{Client, segment};
use crate::failure::{Failure, note, reason};
use crate::output::{address, json, line};

/// The ttl of an instance that is kept.
const KEPT_TTL_SECS: u32 = 30;

const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) async fn run(register: Register) -> Result<(), Failure> {
    let client = Client::new(&register.ask)?;
    let registration = registration(&register);
    let id = register.id.clone().unwrap_or_else(|| default_id(&register, &registration));
    let path = format!("services/{}/instances/{}", segment(&register.service), segment(&id));
    if register.keep {
        return keep(&client, &path, &registration, register.ask.json).await;
    }
    let held: Instance = client.put(&path, &registration).await?;
    tell(&held, register.ask.json)
}

fn registration(register: &Register) -> Registration {
    let nowhere = register.host.is_none() && register.ip.is_none();
    let ip = register.ip.map(|ip| ip.to_string());
    Registration {
        host: register.host.clone(),
        ip: ip.or_else(|| nowhere.then(|| "127.0.0.1".to_owned())),
        port: register.port,
        version: register.version.clone(),
        tags: register.tag.clone(),
        metadata: register.metadata.iter().cloned().collect(),
        ttl_secs: register.ttl.or(register.keep.then_some(KEPT_TTL_SECS)),
        checks: checks(register),
        ..Registration::default()
    }
}

fn checks(register: &Register) -> Vec<CheckRegistration> {
    let Register { check_http, check_tcp, check_interval, .. } = register;
    let check = |id: &str| CheckRegistration {
        id: id.to_owned(),
        interval_secs: *check_interval,
        ..CheckRegistration::default()
    };
    let http = check_http.clone().map(|url| CheckRegistration { http: Some(url), ..check("http") });
    let tcp = check_tcp.clone().map(|at| CheckRegistration { tcp: Some(at), ..check("tcp") });
    http.into_iter().chain(tcp).collect()
}

fn default_id(register: &Register, registration: &Registration) -> String {
    let host = registration.host.as_deref().or(registration.ip.as_deref()).unwrap_or_default();
    let port = registration.port.map_or(String::new(), |port| format!(":{port}"));
    format!("{host}:{}{port}", register.service)
}

fn tell(held: &Instance, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return json(held);
    }
    let stays = match &held.lease {
        Some(lease) => format!("for {}s unless it is renewed", lease.duration_secs),
        None => "until it is deregistered".to_owned(),
    };
    let Instance { service, id, .. } = held;
    line(&format!("registered {service}/{id} at {}, {stays}", address(held)))
}

/// Stays registered until interrupted, and then leaves.
async fn keep(
    client: &Client,
    path: &str,
    registration: &Registration,
    as_json: bool,
) -> Result<(), Failure> {
    let interruption = interruption().map_err(|error| reason(format!("cannot wait: {error}")))?;
    // cancel-safe: whether a request that is cut off here arrived does not matter, because leaving
    // comes after it.
    tokio::select! {
        () = interruption => leave(client, path, as_json).await,
        failure = stay(client, path, registration, as_json) => Err(failure),
    }
}

/// Renews three times in a lease, registers again when the registry has forgotten, and goes on trying
/// while the server cannot be reached. Ends only if it could not even begin.
async fn stay(client: &Client, path: &str, registration: &Registration, as_json: bool) -> Failure {
    let begun = client.put::<Instance>(path, registration).await;
    if let Err(failure) = begun.and_then(|held| tell(&held, as_json)) {
        return failure;
    }
    let ttl = registration.ttl_secs.unwrap_or(KEPT_TTL_SECS);
    let period = Duration::from_secs(ttl.into()) / 3;
    loop {
        tokio::time::sleep(period).await;
        renew(client, path, registration).await;
    }
}

async fn renew(client: &Client, path: &str, registration: &Registration) {
    if client.tell(Method::POST, &format!("{path}/renew")).await.is_ok() {
        return;
    }
    // Forgotten, or not reached: registering again settles the first and shows the second.
    match client.put::<Instance>(path, registration).await {
        Ok(_) => note("registered again"),
        Err(Failure::Reason(says)) => note(&format!("cannot renew: {says}")),
        Err(_) => {}
    }
}

/// Somebody is waiting for the program to end: a server that does not answer is not waited for.
async fn leave(client: &Client, path: &str, as_json: bool) -> Result<(), Failure> {
    let left = tokio::time::timeout(LEAVE_TIMEOUT, client.tell(Method::DELETE, path)).await;
    left.map_err(|_| {
        reason("the server does not answer: the instance leaves when its ttl is over")
    })??;
    if as_json { Ok(()) } else { line("deregistered") }
}
