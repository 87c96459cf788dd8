//! Paths of Eureka's API. One that names an instance names it in whatever deployment.

#![no_main]

use larder_eureka::server::path::{Route, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let Ok((_, route)) = parse(path) else { return };
    if let Route::App(app) | Route::Instance(app, _) = &route {
        assert!(!path.is_empty() && app.len() <= path.len());
    }
    // Slashes at the end, and doubled ones, are one thing.
    let doubled = path.replace('/', "//");
    assert_eq!(parse(&format!("{doubled}/")).map(|(_, route)| route), Ok(route));
});
