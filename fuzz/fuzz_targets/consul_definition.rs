//! What clients of Consul's API register, in any case and with underscores.

#![no_main]

use larder_consul::wire::definition;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = definition::service(body);
    let _ = definition::check(body);
    let _ = definition::check_update(body);
    let _ = definition::registration(body);
    let _ = definition::deregistration(body);
});
