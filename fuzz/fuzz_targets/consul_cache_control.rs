//! `Cache-Control` of requests, in any number of lines.

#![no_main]

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};
use larder_consul::params::cache_control::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(16) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(CACHE_CONTROL, value);
        }
    }
    let Ok(wishes) = read(&headers) else { return };
    let seconds = |name: &str, wish: Option<std::time::Duration>| {
        wish.map(|wish| format!("{name}={}", wish.as_secs()))
    };
    let said = [
        wishes.must_revalidate.then(|| "must-revalidate".to_owned()),
        seconds("max-age", wishes.max_age),
        seconds("stale-if-error", wishes.stale_if_error),
    ];
    let line = said.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let value = HeaderValue::from_str(&line).expect("it is ASCII");
    let again = read(&HeaderMap::from_iter([(CACHE_CONTROL, value)])).expect("it is ours");
    assert_eq!(again, wishes);
});
