//! Paths of a groupcache. What one asks for is asked for by the path that is made of it.

#![no_main]

use larder_peers::wire::BASE_PATH;
use larder_peers::wire::path::{Escape, parse, path};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    for raw in [raw.to_owned(), format!("{BASE_PATH}{raw}")] {
        let Ok(target) = parse(BASE_PATH, &raw) else { continue };
        assert!(!target.group.contains(&b'/') && target.key.len() <= raw.len());
        if let Ok(group) = std::str::from_utf8(&target.group) {
            let made = path(BASE_PATH, group, &target.key, Escape::Path);
            assert_eq!(parse(BASE_PATH, &made), Ok(target));
        }
    }
});
