//! Paths of Consul's reads. A path that stands for a read is printed as one that stands for the same.

#![no_main]

use larder_consul::question::Endpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let Some(endpoint) = Endpoint::from_path(path) else { return };
    let printed = endpoint.path();
    assert!(
        printed.is_ascii() && !printed.contains("//") && !printed.contains("/../"),
        "{printed}"
    );
    assert_eq!(Endpoint::from_path(&printed), Some(endpoint));
});
