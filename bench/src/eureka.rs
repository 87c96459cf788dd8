//! Eureka's instances as users have them: about 1,130 bytes of JSON each, most of it differing from one
//! instance to the next.

use larder_registry::model::{DataCenter, Instance, Lease, Metadata, Pages, Port, Vips};

use crate::chance::Dice;

/// How many instances an application has.
pub const INSTANCES_PER_APP: usize = 20;

/// The `number`th instance of a registry.
pub fn instance(number: usize) -> Instance {
    let mut dice = Dice::new(number as u64 + 1);
    let app = format!("SERVICE-{:04}", number / INSTANCES_PER_APP);
    let ip = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
    let host = format!("ip-{}.eu-central-1.compute.internal", ip.replace('.', "-"));
    let port = 8_000 + u16::try_from(dice.below(2_000)).expect("it is small");
    let mut held = Instance::new(&app, &format!("{host}:{}:{port}", app.to_lowercase()));
    held.address.host = Some(host.clone());
    held.address.ip = Some(ip.clone());
    held.address.port = Some(Port { number: port, enabled: true });
    held.address.secure_port = Some(Port { number: 443, enabled: false });
    held.data_center = Some(Box::new(DataCenter { name: "MyOwn".to_owned(), metadata: None }));
    held.lease = Some(Lease::default());
    let hex = |dice: &mut Dice| format!("{:016x}", dice.throw());
    held.metadata = [
        ("management.port", (port + 1).to_string()),
        ("build", hex(&mut dice)),
        ("pod", format!("{}-{}", app.to_lowercase(), hex(&mut dice))),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect::<Metadata>();
    held.pages = Some(Box::new(Pages {
        home: Some(format!("http://{ip}:{port}/")),
        status: Some(format!("http://{ip}:{}/actuator/info", port + 1)),
        health: Some(format!("http://{ip}:{}/actuator/health", port + 1)),
        secure_health: None,
    }));
    held.vips = Vips { plain: Some(app.to_lowercase()), secure: Some(app.to_lowercase()) };
    held.dirty_at = 1_700_000_000_000 + dice.below(1_000_000_000);
    held
}
