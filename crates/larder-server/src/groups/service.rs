//! A ring whose members are the instances of a service: who is up is in it.
//!
//! Each process registers itself, and renews that for as long as it runs. So with a registry that several
//! processes share, in Consul, etcd, Eureka or multicast DNS, a ring needs nothing but its service's name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use larder_peers::membership::{Discovery, DiscoveryError};
use larder_peers::{Address, Mode, Peer};
use larder_registry::backend::Watch;
use larder_registry::catalog::Service;
use larder_registry::event::Event;
use larder_registry::model::{Instance, Lease, Name, Port, Status};
use larder_registry::{Error, Registry};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What an instance is called in the ring.
const IDENTITY: &str = "groups-identity";

/// How often a process renews its registration.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long a registration lasts without.
const LEASE: Duration = Duration::from_secs(30);

/// How long to wait before a registration is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the first list waits for this process to be in it.
const ENTRANCE: Duration = Duration::from_secs(5);

/// How long a registry may take to hear that this process is gone.
const FAREWELL: Duration = Duration::from_secs(2);

/// The instances of a service, followed.
#[derive(Debug)]
pub(super) struct Instances {
    registry: Arc<dyn Registry>,
    service: Name,
    mode: Mode,
    /// Told when this process is registered: before, it is in no list, and a list without it is no ring.
    entered: Option<oneshot::Receiver<()>>,
    watch: Option<Box<dyn Watch>>,
}

impl Instances {
    /// The instances of `service`, from when `registered` is among them.
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        service: Name,
        mode: Mode,
        registered: &mut Registered,
    ) -> Self {
        Self { registry, service, mode, entered: registered.entered.take(), watch: None }
    }

    /// Waits until something is other than it was.
    async fn changed(&mut self) -> Result<(), Error> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            None => self.watch.insert(self.registry.watch(Some(self.service.clone())).await?),
        };
        loop {
            let Some(event) = watch.next().await else { return Err(Error::Closed) };
            let is_whole = !matches!(event?, Event::Init | Event::InitApply(_));
            if is_whole && !watch.is_amid_step() {
                return Ok(());
            }
        }
    }
}

impl Discovery for Instances {
    async fn next(&mut self) -> Result<Vec<Peer>, DiscoveryError> {
        if let Some(entered) = self.entered.take() {
            // A registry that is down now is said to be so by the watch.
            let _ = tokio::time::timeout(ENTRANCE, entered).await;
        }
        match self.changed().await {
            Ok(()) => {
                let snapshot = self.registry.snapshot();
                Ok(snapshot.service(&self.service).map_or_else(Vec::new, |it| peers(it, self.mode)))
            }
            Err(error) => Err(DiscoveryError::Other(format!("{}: {error}", self.service))),
        }
    }
}

/// Those that are up, each once.
fn peers(service: &Service, mode: Mode) -> Vec<Peer> {
    let up = service.instances().filter(|instance| instance.effective_status() == Status::Up);
    let mut peers: Vec<Peer> = up.filter_map(|instance| fit(instance, mode)).collect();
    // One that was registered twice, by itself and by somebody for it, is one.
    peers.sort_by(|a, b| a.identity().cmp(b.identity()));
    peers.dedup_by(|a, b| a.identity() == b.identity());
    peers
}

/// None for an instance that cannot be a peer: one of them is not to keep all others from their ring.
fn fit(instance: &Instance, mode: Mode) -> Option<Peer> {
    let peer = peer(instance, mode);
    if peer.is_none() {
        let (instance, mode) = (instance.key(), mode.name());
        tracing::warn!(%instance, mode, "left out of the ring: it has no address or name for it");
    }
    peer
}

/// One that was registered by somebody else is called after its address.
fn peer(instance: &Instance, mode: Mode) -> Option<Peer> {
    let port = instance.address.port.filter(|port| port.enabled)?.number;
    let host = instance.address.ip.as_ref().or(instance.address.host.as_ref())?;
    let address = host.parse().ok().map(|ip| SocketAddr::new(ip, port));
    let at = address.map_or_else(|| format!("{host}:{port}"), |address| address.to_string());
    let identity = instance.metadata.get(IDENTITY).map(str::to_owned);
    let identity = identity.unwrap_or_else(|| mode.identity_of(&at));
    // A name that is an address says itself where it is.
    let dialled = Address::parse(&identity).or_else(|| Address::parse(&at))?;
    let fits = mode.identity_form().fits(&identity) && !dialled.is_secured();
    fits.then(|| match Address::parse(&identity) {
        Some(_) => Peer::new(identity),
        None => Peer::new(identity).at(at),
    })
}

/// This process, registered.
#[derive(Debug)]
pub(super) struct Registered {
    registry: Arc<dyn Registry>,
    instance: Instance,
    entered: Option<oneshot::Receiver<()>>,
    /// Aborted when this is dropped.
    task: JoinSet<()>,
}

impl Registered {
    /// Registers what is called `identity` and reached at `host` and `port`, for as long as this is there.
    pub(super) fn start(
        registry: Arc<dyn Registry>,
        service: &Name,
        identity: &str,
        (host, port): (&str, u16),
    ) -> Self {
        let instance = instance(service, identity, host, port);
        let (enter, entered) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(stay(registry.clone(), instance.clone(), enter));
        Self { registry, instance, entered: Some(entered), task }
    }

    /// Takes the registration back. If nobody hears it soon, it ends with its lease.
    pub(super) async fn close(mut self) {
        self.task.shutdown().await;
        let key = self.instance.key();
        let farewell = tokio::time::timeout(FAREWELL, self.registry.deregister(&key)).await;
        if !matches!(farewell, Ok(Ok(_) | Err(Error::NotFound(_)))) {
            tracing::warn!(instance = %key, "the ring's service has this process until its lease ends");
        }
    }
}

fn instance(service: &Name, identity: &str, host: &str, port: u16) -> Instance {
    let mut instance = Instance::new(service.as_str(), &format!("groups-{host}:{port}"));
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    instance.address.ip = bare.parse::<IpAddr>().is_ok().then(|| bare.clone());
    instance.address.host = Some(bare);
    instance.address.port = Some(Port { number: port, enabled: true });
    instance.metadata.insert(IDENTITY.to_owned(), identity.to_owned());
    let secs = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    instance.lease = Some(Lease {
        renewal_interval_secs: secs(RENEWAL),
        duration_secs: secs(LEASE),
        ..Lease::default()
    });
    instance
}

/// Registers and renews, whatever becomes of the registry meanwhile.
async fn stay(registry: Arc<dyn Registry>, instance: Instance, enter: oneshot::Sender<()>) {
    let (key, mut enter) = (instance.key(), Some(enter));
    let (mut is_registered, mut has_warned) = (false, false);
    loop {
        let told = if is_registered {
            registry.renew(&key, None).await
        } else {
            registry.register(instance.clone()).await
        };
        is_registered = told.is_ok();
        let Err(error) = told else {
            // Whoever waited for it may have given up.
            let _ = enter.take().map(|enter| enter.send(()));
            has_warned = false;
            tokio::time::sleep(RENEWAL).await;
            continue;
        };
        // Once: it may go on for hours.
        if !std::mem::replace(&mut has_warned, true) {
            tracing::warn!(instance = %key, %error, "the ring's service lacks this process; tried again");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(service: &Service, mode: Mode) -> Vec<String> {
        peers(service, mode).iter().map(|peer| peer.identity().to_owned()).collect()
    }

    #[test]
    fn who_is_up_and_has_an_address_is_a_peer() {
        let name = Name::new("ring");
        let mut service = Service::new(name.clone(), 0, []);
        service.put(Arc::new(instance(&name, "http://10.0.0.2:81", "10.0.0.2", 81)), 1);
        service.put(Arc::new(Instance::new("ring", "no address")), 2);
        let mut down = instance(&name, "http://10.0.0.3:81", "10.0.0.3", 81);
        down.status = Status::Starting;
        service.put(Arc::new(down), 3);
        // Registered by somebody else: it is called after its address.
        let mut foreign = instance(&name, "", "[fd00::1]", 81);
        foreign.metadata.remove(IDENTITY);
        service.put(Arc::new(foreign), 4);
        let mut by_name = Instance::new("ring", "named");
        by_name.address.host = Some("node-4".to_owned());
        by_name.address.port = Some(Port { number: 81, enabled: true });
        service.put(Arc::new(by_name), 5);
        let urls = ["http://10.0.0.2:81", "http://[fd00::1]:81", "http://node-4:81"];
        assert_eq!(named(&service, Mode::MailgunV2), urls);
        // Its name is for rings of another mode.
        assert_eq!(named(&service, Mode::GroupcacheGoV3), ["[fd00::1]:81", "node-4:81"]);
    }

    #[test]
    fn what_cannot_be_a_peer_is_left_out_and_nobody_else() {
        let name = Name::new("ring");
        let mut service = Service::new(name.clone(), 0, []);
        service.put(Arc::new(instance(&name, "http://10.0.0.2:81", "10.0.0.2", 81)), 1);
        for (revision, identity) in (2..).zip(["", "https://10.0.0.3:81", "10.0.0.3:81"]) {
            let mut unfit = instance(&name, identity, "10.0.0.3", 81);
            unfit.id = format!("unfit-{revision}");
            service.put(Arc::new(unfit), revision);
        }
        let mut nowhere = instance(&name, "http://u@x", "a b", 81);
        nowhere.id = "nowhere".to_owned();
        service.put(Arc::new(nowhere), 9);
        assert_eq!(named(&service, Mode::MailgunV2), ["http://10.0.0.2:81"]);
    }

    #[test]
    fn one_that_is_registered_twice_is_one_peer() {
        let name = Name::new("ring");
        let mut service = Service::new(name.clone(), 0, []);
        let own = instance(&name, "http://10.0.0.2:81", "10.0.0.2", 81);
        let mut other = own.clone();
        other.id = "by-the-orchestrator".to_owned();
        service.put(Arc::new(own), 1);
        service.put(Arc::new(other), 2);
        assert_eq!(named(&service, Mode::MailgunV2), ["http://10.0.0.2:81"]);
    }
}
