//! Peer groups in whole servers on real sockets: rings of several nodes, origins of every kind, and clients that
//! ask for odd things.

#[path = "../support/mod.rs"]
mod support;

mod bad_origins;
mod cache;
mod membership;
mod operation;
mod rings;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use larder_server::Config;
use larder_server::config::{Group, Membership, Origin as Source, Template};
use support::http::Origin;

/// A group that this origin fills.
fn group(name: &str, template: &str) -> Group {
    let url = Template::parse(template).expect("it is a template");
    Group {
        name: name.to_owned(),
        max_bytes: 64 << 20,
        ttl: Duration::MAX,
        renew_ahead: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        hot: larder_peers::HotPolicy::Always,
        absent: Duration::ZERO,
        load_timeout: Duration::from_secs(10),
        max_value_bytes: 1 << 20,
        origin: Source::Http { url, headers: axum::http::HeaderMap::new() },
    }
}

/// A server with the group `values`, filled by `origin`, alone in its ring.
async fn alone(origin: &Origin, change: impl FnOnce(&mut Config)) -> support::Running {
    let group = group("values", &origin.template());
    support::Running::start(|config| {
        config.groups.groups.push(group);
        change(config);
    })
    .await
}

/// So many addresses that were free a moment ago, at which members of a ring can listen.
fn free(count: usize) -> Vec<SocketAddr> {
    let bound: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"))
        .collect();
    bound.iter().map(|bound| bound.local_addr().expect("it is bound")).collect()
}

/// All of them, as a list in the configuration.
fn members(addresses: &[SocketAddr]) -> Membership {
    Membership::Fixed(addresses.iter().map(|at| format!("http://{at}").into()).collect())
}

/// A key of its own for each number. Go's hash keeps keys together that differ in their last letter only: ten of
/// those would have one owner.
fn nth(number: u64) -> String {
    format!("{:016x}", (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
