//! Where an origin sends whoever asks, and what is taken along.
//!
//! Pure.

use reqwest::Url;

/// How many redirects are followed for one key.
pub(super) const MOST: usize = 10;

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Astray {
    /// It says nowhere where to.
    #[error("it redirects to nowhere: the header Location is missing, or no URL")]
    Nowhere,
    /// It leads to another scheme than `http`.
    #[error("it redirects to another scheme than http: TLS is not built in")]
    Scheme,
    /// There were too many before it.
    #[error("it redirects more than {MOST} times")]
    TooMany,
}

/// Where to ask next, from `from`, after `before` redirects.
pub(super) fn next(from: &Url, location: Option<&str>, before: usize) -> Result<Url, Astray> {
    if before >= MOST {
        return Err(Astray::TooMany);
    }
    let location = location.ok_or(Astray::Nowhere)?;
    let next = from.join(location).map_err(|_| Astray::Nowhere)?;
    match next.scheme() {
        // What it holds beside that is the origin's affair; a user in a URL would become a header.
        "http" if next.username().is_empty() && next.password().is_none() => Ok(next),
        "http" => Err(Astray::Nowhere),
        _ => Err(Astray::Scheme),
    }
}

/// Whether `next` is the same server, which may hear the headers that are meant for it.
pub(super) fn is_same_server(from: &Url, next: &Url) -> bool {
    from.host() == next.host() && from.port_or_known_default() == next.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    #[test]
    fn redirects_are_followed_over_http_and_ten_times() {
        let from = url("http://a:80/x/y");
        for (location, to) in [
            ("/z", "http://a/z"),
            ("z", "http://a/x/z"),
            ("//b/z", "http://b/z"),
            ("http://b:81/", "http://b:81/"),
        ] {
            assert_eq!(next(&from, Some(location), 9), Ok(url(to)), "{location}");
        }
        assert_eq!(next(&from, Some("/z"), 10), Err(Astray::TooMany));
        for (location, why) in [
            (None, Astray::Nowhere),
            (Some("http://"), Astray::Nowhere),
            (Some("http://user:secret@b/"), Astray::Nowhere),
            (Some("https://a/"), Astray::Scheme),
            (Some("file:///etc/passwd"), Astray::Scheme),
        ] {
            assert_eq!(next(&from, location, 0), Err(why), "{location:?}");
        }
    }

    #[test]
    fn another_host_or_port_is_another_server() {
        let from = url("http://a/x");
        assert!(is_same_server(&from, &url("http://a:80/y")));
        assert!(!is_same_server(&from, &url("http://a:81/x")));
        assert!(!is_same_server(&from, &url("http://b/x")));
    }
}
