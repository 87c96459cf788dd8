//! How long an answer of an origin holds, by its headers.
//!
//! Pure.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{AGE, CACHE_CONTROL};

/// To how long the answer shortens the group's ttl; `None` if it says nothing about that.
///
/// `no-store` and `no-cache` leave nothing. Else it is `s-maxage`, or `max-age` without one, less `Age`. What
/// cannot be read leaves nothing, as RFC 9111 advises. `Expires` is not looked at.
pub(crate) fn shortened(headers: &HeaderMap) -> Option<Duration> {
    let mut lifetime = Lifetime::default();
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or("no-store").split(',') {
            lifetime.note(directive.trim());
        }
    }
    let secs = lifetime.shared.or(lifetime.any)?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    Some(Duration::from_secs(secs.saturating_sub(age)))
}

/// The shortest that is said, in seconds.
#[derive(Debug, Default)]
struct Lifetime {
    /// To caches that many share.
    shared: Option<u64>,
    any: Option<u64>,
}

impl Lifetime {
    fn note(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let shorten = |said: &mut Option<u64>, secs: u64| {
            *said = Some(said.map_or(secs, |before| before.min(secs)));
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => shorten(&mut self.shared, 0),
            "s-maxage" => shorten(&mut self.shared, seconds(value)),
            "max-age" => shorten(&mut self.any, seconds(value)),
            _ => {}
        }
    }
}

fn seconds(value: &str) -> u64 {
    let digits = value.trim().trim_matches('"');
    let are_digits = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    // More than can be counted is for ever.
    if are_digits { digits.parse().unwrap_or(u64::MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn secs(headers: &[(axum::http::HeaderName, &'static str)]) -> Option<u64> {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        shortened(&map).map(|shortened| shortened.as_secs())
    }

    #[test]
    fn an_answer_says_how_long_it_holds() {
        for (says, holds) in [
            ("max-age=60", Some(60)),
            ("public, MAX-AGE = 60", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=60, max-age=30", Some(30)),
            ("max-age=60, s-maxage=600", Some(600)),
            ("max-age=60, no-store", Some(0)),
            ("no-cache", Some(0)),
            ("max-age=soon", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age", Some(0)),
            ("max-age=99999999999999999999999", Some(u64::MAX)),
            ("public, immutable", None),
            ("", None),
        ] {
            assert_eq!(secs(&[(CACHE_CONTROL, says)]), holds, "{says}");
        }
    }

    #[test]
    fn what_a_cache_before_has_had_for_a_while_holds_for_less() {
        for (age, holds) in [("20", 40), ("60", 0), ("61", 0), ("nonsense", 60)] {
            assert_eq!(secs(&[(CACHE_CONTROL, "max-age=60"), (AGE, age)]), Some(holds), "{age}");
        }
        assert_eq!(secs(&[(AGE, "20")]), None);
    }

    #[test]
    fn several_headers_are_one_list() {
        assert_eq!(secs(&[(CACHE_CONTROL, "max-age=60"), (CACHE_CONTROL, "no-store")]), Some(0));
    }
}
