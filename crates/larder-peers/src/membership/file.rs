//! The members of the ring as a file has them, one a line.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Discovery, DiscoveryError};
use crate::members::Peer;

/// How often the file is read.
const EVERY: Duration = Duration::from_secs(1);

/// The largest file: a thousand peers with long names.
const MOST_BYTES: u64 = 1 << 20;

/// A file with one peer a line, as [`Peer::parse`] reads it. Empty lines are left out, and so is what comes
/// behind `#`.
///
/// It is read once a second. What it says the first time is taken at once; a change when it has been read
/// twice, because it may have been half written the first time.
#[derive(Debug)]
pub struct PeersFile {
    path: PathBuf,
    given: Option<String>,
    seen: Option<String>,
    /// It could not be read since: what was given is given again, to say that all is well.
    failed: bool,
}

impl PeersFile {
    /// Reads from `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), given: None, seen: None, failed: false }
    }

    /// Whether `text` is to be given away now, having been read.
    fn settles(&mut self, text: &str) -> bool {
        let is_first = self.given.is_none();
        let is_whole = is_first || self.seen.as_deref() == Some(text);
        self.seen = Some(text.to_owned());
        let settles = is_whole && (self.failed || self.given.as_deref() != Some(text));
        if settles {
            self.failed = false;
            self.given = Some(text.to_owned());
        }
        settles
    }
}

impl Discovery for PeersFile {
    async fn next(&mut self) -> Result<Vec<Peer>, DiscoveryError> {
        loop {
            if self.seen.is_some() {
                tokio::time::sleep(EVERY).await;
            }
            let path = self.path.clone();
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            let text = read.unwrap_or_else(|error| Err(io::Error::other(error)));
            let text = text.map_err(|reason| DiscoveryError::File {
                path: self.path.display().to_string(),
                reason,
            })?;
            if self.settles(&text) {
                return Ok(peers(&text));
            }
        }
    }
}

/// The text of a file that is not absurdly long, as a device would be.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        let says = format!("it is longer than {MOST_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, says));
    }
    Ok(text)
}

fn peers(text: &str) -> Vec<Peer> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(Peer::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_a_line_with_comments_and_addresses() {
        let text = "# ring\nhttp://a:1\n\n  http://b:2 # new\r\nc=http://10.0.0.3:80\n";
        let expected = [
            Peer::new("http://a:1"),
            Peer::new("http://b:2"),
            Peer::new("c").at("http://10.0.0.3:80"),
        ];
        assert_eq!(peers(text), expected);
    }

    #[test]
    fn a_change_is_taken_when_it_was_read_twice() {
        let mut file = PeersFile::new("peers");
        assert!(file.settles("a\n"), "the first time at once");
        assert!(!file.settles("a\n"), "nothing new");
        assert!(!file.settles("a\nb"), "perhaps half of it");
        assert!(!file.settles("a\nbc\n"), "indeed");
        assert!(file.settles("a\nbc\n"));
        assert!(!file.settles("a\n") && !file.settles("a\nbc\n"), "it was the same all the time");
        assert!(!file.settles("a\nbc\n"));
        file.failed = true;
        assert!(file.settles("a\nbc\n") && !file.settles("a\nbc\n"), "all is well again");
    }
}
