//! `Cache-Control` of a request: `max-age`, `must-revalidate` and `stale-if-error`, the rest is for others.
//!
//! Directives may be separated by commas, as HTTP wants, and by blanks, as Consul's documentation writes
//! them and its agent refuses. A number with a sign is none; Consul takes it, and a negative one for an age.

use std::time::Duration;

use http::HeaderMap;
use http::header::CACHE_CONTROL;

use super::BadParameter;
use crate::terms::CacheControl;

/// More seconds than this (292 years, what Go can hold) are this many.
const LONGEST: u64 = i64::MAX as u64 / 1_000_000_000;

/// What `headers` say, in one line or several.
pub fn read(headers: &HeaderMap) -> Result<CacheControl, BadParameter> {
    let mut wishes = CacheControl::default();
    for line in headers.get_all(CACHE_CONTROL) {
        let line = line.to_str().map_err(|_| BadParameter::CacheControl)?;
        for directive in line.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
            heed(&mut wishes, directive)?;
        }
    }
    Ok(wishes)
}

fn heed(wishes: &mut CacheControl, directive: &str) -> Result<(), BadParameter> {
    // A number that is left out says nothing, and that is what Consul hears.
    let Some((name, value)) = directive.split_once('=') else {
        wishes.must_revalidate |= directive.eq_ignore_ascii_case("must-revalidate");
        return Ok(());
    };
    if name.eq_ignore_ascii_case("must-revalidate") {
        wishes.must_revalidate = true;
    } else if name.eq_ignore_ascii_case("max-age") {
        let age = seconds(value)?;
        wishes.must_revalidate |= age.is_zero();
        wishes.max_age = (!age.is_zero()).then_some(age);
    } else if name.eq_ignore_ascii_case("stale-if-error") {
        wishes.stale_if_error = Some(seconds(value)?);
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, BadParameter> {
    // Not even a plus sign, which `parse` would take.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadParameter::CacheControl);
    }
    let seconds = text.parse().unwrap_or(LONGEST).min(LONGEST);
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(lines: &[&str]) -> Result<CacheControl, BadParameter> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        read(&headers)
    }

    fn wishes(max_age: Option<u64>, must_revalidate: bool, stale: Option<u64>) -> CacheControl {
        CacheControl {
            max_age: max_age.map(Duration::from_secs),
            must_revalidate,
            stale_if_error: stale.map(Duration::from_secs),
        }
    }

    #[test]
    fn the_directives_of_consuls_documentation_are_understood() {
        for (line, expected) in [
            ("", wishes(None, false, None)),
            ("max-age=30", wishes(Some(30), false, None)),
            ("max-age=0", wishes(None, true, None)),
            ("must-revalidate", wishes(None, true, None)),
            ("max-age=1234, must-revalidate", wishes(Some(1234), true, None)),
            ("maX-aGe=12", wishes(Some(12), false, None)),
            ("stale-if-error=60", wishes(None, false, Some(60))),
            ("stale-if-error=60, max-age=15", wishes(Some(15), false, Some(60))),
            ("stale-if-error=60,max-age=15", wishes(Some(15), false, Some(60))),
            ("no-cache", wishes(None, false, None)),
            ("max-age", wishes(None, false, None)),
            ("must-revalidate=3", wishes(None, true, None)),
            ("no-cache, max-age=12, private=\"x\"", wishes(Some(12), false, None)),
        ] {
            assert_eq!(parse(&[line]), Ok(expected), "{line}");
        }
    }

    #[test]
    fn the_example_without_a_comma_means_what_it_says() {
        let expected = wishes(Some(30), false, Some(259_200));
        assert_eq!(parse(&["max-age=30 stale-if-error=259200"]), Ok(expected));
        assert_eq!(parse(&["max-age=30", "stale-if-error=259200"]), Ok(expected));
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        for line in [
            "max-age=\"30\"",
            "max-age=",
            "max-age=-1",
            "max-age=+1",
            "max-age=1.5",
            "stale-if-error=x",
        ] {
            assert_eq!(parse(&[line]), Err(BadParameter::CacheControl), "{line}");
        }
        assert_eq!(parse(&["max-age=\u{e9}"]), Err(BadParameter::CacheControl));
    }

    #[test]
    fn a_number_beyond_every_clock_is_the_greatest_there_is() {
        let long = parse(&["max-age=99999999999999999999999999"]);
        assert_eq!(long, Ok(wishes(Some(LONGEST), false, None)));
    }
}
