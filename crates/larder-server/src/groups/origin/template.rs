//! Where each key of a group is at its origin: a URL with a place for the key.
//!
//! Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use reqwest::Url;

/// The place for the key.
const PLACE: &str = "{key}";

/// What RFC 3986 lets stand for itself everywhere.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A URL with `{key}` in its path or its query, which may stand there more than once.
///
/// A key is percent-encoded whole, its slashes as well, so that it stays within its place. Printing it shows
/// the URL: what is secret belongs into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// A key that has no URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unaskable {
    /// Its URL would be another one: `.` and `..` as a segment of a path lead elsewhere.
    #[error("this key cannot be asked for: as part of a path it leads elsewhere")]
    Elsewhere,
    /// Its URL would be longer than one may be.
    #[error("this key is too long for a URL")]
    TooLong,
}

/// The longest URL that the client takes, in bytes.
const LONGEST: usize = 65_534;

impl Template {
    /// Reads a template; says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err("http://HOST:PORT/…, as TLS is not built in".to_owned());
        }
        let rest = text.strip_prefix("http://");
        let rest = rest.ok_or("a URL such as http://users.internal:8080/v1/users/{key}")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return Err("a URL without a user: that is for headers".to_owned());
        }
        if host.contains(['{', '}']) || !rest[host.len()..].contains(PLACE) {
            return Err("a URL with {key} in its path or its query".to_owned());
        }
        if rest.contains('#') || rest.replace(PLACE, "").contains(['{', '}']) {
            return Err("a URL with no # and no braces but those of {key}".to_owned());
        }
        let template = Self(text.to_owned());
        match template.url(b"key") {
            Ok(_) => Ok(template),
            Err(_) => Err("a URL that is percent-encoded, without . and .. in its path".to_owned()),
        }
    }

    /// Where `key` is.
    pub fn url(&self, key: &[u8]) -> Result<Url, Unaskable> {
        let key = percent_encode(key, RESERVED).to_string();
        let text = self.0.replace(PLACE, &key);
        if text.len() > LONGEST {
            return Err(Unaskable::TooLong);
        }
        let url = Url::parse(&text).map_err(|_| Unaskable::Elsewhere)?;
        // The parser tidies a path as browsers do. Where that changes it, something else is asked for.
        if behind_host(&text) == asked(&url) { Ok(url) } else { Err(Unaskable::Elsewhere) }
    }
}

/// The path and the query, as they were written.
fn behind_host(text: &str) -> &str {
    let from = text.find("://").map_or(0, |at| at + 3);
    let at = text[from..].find(['/', '?']).map_or(text.len(), |at| from + at);
    &text[at..]
}

/// The path and the query, as they are sent.
fn asked(url: &Url) -> String {
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    format!("{}{query}", url.path())
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_key_comes_out_as_it_went_in(key in proptest::collection::vec(any::<u8>(), 0..40)) {
            let template = Template::parse("http://u/a/{key}/z?k={key}").expect("it is one");
            if let Ok(url) = template.url(&key) {
                let inside = url.path().strip_prefix("/a/").and_then(|rest| rest.strip_suffix("/z"));
                let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
                prop_assert_eq!(inside.map(decoded), Some(key.clone()));
                let asked = url.query().and_then(|query| query.strip_prefix("k="));
                prop_assert_eq!(asked.map(decoded), Some(key));
                prop_assert_eq!(url.host_str(), Some("u"));
            } else {
                prop_assert!(matches!(&key[..], b"." | b".."));
            }
        }
    }

    fn url(template: &str, key: &[u8]) -> Result<String, Unaskable> {
        let template = Template::parse(template).expect(template);
        template.url(key).map(|url| url.to_string())
    }

    #[test]
    fn a_key_is_encoded_whole_and_stays_in_its_place() {
        let users = "http://u:80/v1/users/{key}";
        for (key, path) in [
            (&b"ada"[..], "http://u/v1/users/ada"),
            (b"", "http://u/v1/users/"),
            (b"a/../b?c#d e+%", "http://u/v1/users/a%2F..%2Fb%3Fc%23d%20e%2B%25"),
            (b"\xff\x00", "http://u/v1/users/%FF%00"),
            ("\u{e9}".as_bytes(), "http://u/v1/users/%C3%A9"),
        ] {
            assert_eq!(url(users, key).as_deref(), Ok(path));
        }
        assert_eq!(url("http://u/{key}/x?k={key}", b"..a").as_deref(), Ok("http://u/..a/x?k=..a"));
    }

    #[test]
    fn a_key_that_would_lead_elsewhere_is_refused() {
        for key in [&b"."[..], b".."] {
            assert_eq!(url("http://u/v1/users/{key}", key), Err(Unaskable::Elsewhere));
            assert!(url("http://u/v1/users/{key}.json", key).is_ok());
            assert!(url("http://u/v1/users?name={key}", key).is_ok());
        }
        // Two of them make one segment.
        assert_eq!(url("http://u/{key}{key}/x", b"."), Err(Unaskable::Elsewhere));
    }

    #[test]
    fn a_key_of_64_kb_is_too_long() {
        assert_eq!(url("http://u/{key}", &vec![b'a'; 65_536]), Err(Unaskable::TooLong));
        assert!(url("http://u/{key}", &vec![b'a'; 65_000]).is_ok());
    }

    #[test]
    fn what_is_no_template_is_refused_with_what_was_expected() {
        for (text, says) in [
            ("https://u/{key}", "TLS is not built in"),
            ("ftp://u/{key}", "a URL such as"),
            ("u:80/{key}", "a URL such as"),
            ("", "a URL such as"),
            ("http://root:secret@u/{key}", "without a user"),
            ("http://u/v1/users", "with {key}"),
            ("http://{key}/v1", "with {key}"),
            ("http://u/{key}/{id}", "no braces but"),
            ("http://u/{key}#top", "no #"),
            ("http:///{key}", "percent-encoded"),
            ("http://u:x/{key}", "percent-encoded"),
            ("http://u/a b/{key}", "percent-encoded"),
            ("http://u/a/../{key}", "without . and .."),
            ("http://u/%2e/{key}", "without . and .."),
        ] {
            let refused = Template::parse(text).expect_err(text);
            assert!(refused.contains(says) && !refused.contains("secret"), "{text}: {refused}");
        }
    }
}
