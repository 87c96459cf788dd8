//! A directory as an origin: each key is a file below it.
//!
//! A key is a relative path, `users/ada`, whose parts are names: neither empty nor `.` nor `..`. Links are followed
//! within the directory and not out of it. Only regular files are opened, and none that could make a reader wait.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use larder_cache::Fetched;
use tokio::sync::Semaphore;

use super::OriginError;

/// How many files of a group are read at once; further ones wait, within their time. A disk that hangs must not
/// take the threads that look up names as well.
const AT_ONCE: usize = 64;

/// A directory.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    /// The largest value, in bytes.
    max_value: usize,
    permits: Arc<Semaphore>,
}

impl Directory {
    pub(crate) fn new(root: PathBuf, max_value: usize) -> Self {
        Self { root, max_value, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Reads `key`'s file. What is no file, or cannot be one, is no key.
    pub(super) async fn load(&self, key: &[u8]) -> Result<Fetched<Bytes>, OriginError> {
        let Some(file) = relative(key) else { return Ok(absent()) };
        let (root, file, most) = (self.root.clone(), file.to_owned(), self.max_value);
        let permit = self.permits.clone().acquire_owned().await.expect("nobody closes it");
        // Whoever waits may be gone before a slow disk has answered: the reading then ends by itself, and
        // counts until it does.
        let reading = tokio::task::spawn_blocking(move || {
            let read = read(&root, &file, most);
            drop(permit);
            read
        });
        match reading.await {
            Ok(read) => Ok(read?.map_or_else(absent, Fetched::value)),
            Err(error) => Err(OriginError::Unreadable(error.to_string())),
        }
    }
}

fn absent() -> Fetched<Bytes> {
    Fetched::Absent { remember_for: None }
}

/// The path that a key is, if it is one.
fn relative(key: &[u8]) -> Option<&Path> {
    let is_name = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    key.split(|byte| *byte == b'/').all(is_name).then(|| Path::new(OsStr::from_bytes(key)))
}

/// The whole file, if there is one.
fn read(root: &Path, file: &Path, most: usize) -> Result<Option<Bytes>, OriginError> {
    let root = root.canonicalize().map_err(|error| unreadable(&error))?;
    let Some(mut open) = open(&root, &root.join(file))? else { return Ok(None) };
    let announced = open.metadata().map_err(|error| unreadable(&error))?.len();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > most {
        return Err(OriginError::TooLarge(most));
    }
    let mut value = Vec::with_capacity(announced);
    // It may grow meanwhile.
    let limit = most as u64 + 1;
    open.by_ref().take(limit).read_to_end(&mut value).map_err(|error| unreadable(&error))?;
    if value.len() > most {
        return Err(OriginError::TooLarge(most));
    }
    Ok(Some(Bytes::from(value.into_boxed_slice())))
}

/// Opens a regular file below `root`, if there is one.
fn open(root: &Path, file: &Path) -> Result<Option<File>, OriginError> {
    let found = file.canonicalize().and_then(|real| Ok((fs::metadata(&real)?.is_file(), real)));
    let (is_file, real) = match found {
        Ok(found) => found,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    if !real.starts_with(root) {
        return Err(OriginError::Outside);
    }
    if !is_file {
        return Ok(None);
    }
    // What was a file a moment ago may be a pipe or a link by now: neither is waited for or followed.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC);
    let open = match options.open(&real) {
        Ok(open) => open,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    if !open.metadata().map_err(|error| unreadable(&error))?.is_file() {
        return Ok(None);
    }
    // So may a directory on the way.
    if is_inside(root, &open) { Ok(Some(open)) } else { Err(OriginError::Outside) }
}

/// Whether what was opened is below `root` in truth. Only Linux can say.
fn is_inside(root: &Path, open: &File) -> bool {
    let link = format!("/proc/self/fd/{}", open.as_raw_fd());
    !cfg!(target_os = "linux") || fs::read_link(link).is_ok_and(|real| real.starts_with(root))
}

fn is_absence(error: &io::Error) -> bool {
    use ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

/// The kind alone: a path may tell more than a client should know.
fn unreadable(error: &io::Error) -> OriginError {
    OriginError::Unreadable(error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    const MOST: usize = 100;

    /// A directory `root` beside a file `secret`.
    fn root() -> (tempfile::TempDir, PathBuf) {
        let around = tempfile::tempdir().expect("a directory");
        let root = around.path().join("root");
        fs::create_dir_all(root.join("a/b")).expect("it can be made");
        fs::write(root.join("a/b/c"), "deep").expect("it can be written");
        fs::write(root.join("..name"), "odd").expect("it can be written");
        fs::write(around.path().join("secret"), "secret").expect("it can be written");
        (around, root)
    }

    async fn load(root: &Path, key: &[u8]) -> Result<Option<Vec<u8>>, OriginError> {
        let directory = Directory::new(root.to_owned(), MOST);
        Ok(match directory.load(key).await? {
            Fetched::Fresh(fresh) => {
                let mut value = Vec::new();
                let _ = fresh.map(|bytes| value.extend_from_slice(&bytes));
                Some(value)
            }
            _ => None,
        })
    }

    async fn loads(root: &Path, key: &str) -> Option<Vec<u8>> {
        load(root, key.as_bytes()).await.expect(key)
    }

    #[tokio::test]
    async fn a_key_is_the_path_of_a_file() {
        let (_around, root) = root();
        assert_eq!(loads(&root, "a/b/c").await.as_deref(), Some(&b"deep"[..]));
        assert_eq!(loads(&root, "..name").await.as_deref(), Some(&b"odd"[..]));
        let odd = OsStr::from_bytes(b"\xff\n");
        fs::write(root.join(odd), "bytes").expect("it can be written");
        let read = load(&root, b"\xff\n").await.expect("it is there");
        assert_eq!(read.as_deref(), Some(&b"bytes"[..]));
    }

    #[tokio::test]
    async fn what_is_no_path_below_or_no_file_is_no_key() {
        let (around, root) = root();
        let absolute = around.path().join("secret").display().to_string();
        let long = "x".repeat(5_000);
        let nested = "x/".repeat(5_000) + "x";
        for key in [
            "",
            ".",
            "..",
            "/",
            "../secret",
            "a/../../secret",
            "a/..",
            "a/./b/c",
            "a//b/c",
            "/a/b/c",
            "a/b/c/",
            "a/b/c/d",
            "a",
            "a/b",
            "missing",
            "a\0b",
            "\0",
            &absolute,
            &long,
            &nested,
        ] {
            assert_eq!(loads(&root, key).await, None, "{key:?}");
        }
    }

    #[tokio::test]
    async fn links_are_followed_within_and_not_out() {
        let (around, root) = root();
        symlink("a/b/c", root.join("within")).expect("it can be made");
        symlink(root.join("a"), root.join("linked")).expect("it can be made");
        assert_eq!(loads(&root, "within").await.as_deref(), Some(&b"deep"[..]));
        assert_eq!(loads(&root, "linked/b/c").await.as_deref(), Some(&b"deep"[..]));
        symlink("../secret", root.join("out")).expect("it can be made");
        symlink(around.path(), root.join("up")).expect("it can be made");
        symlink("/dev/zero", root.join("zero")).expect("it can be made");
        symlink("/proc/self/environ", root.join("environ")).expect("it can be made");
        for key in ["out", "up/secret", "zero", "environ"] {
            let refused = load(&root, key.as_bytes()).await;
            assert!(matches!(refused, Err(OriginError::Outside)), "{key}: {refused:?}");
        }
        symlink("loop", root.join("loop")).expect("it can be made");
        let refused = load(&root, b"loop").await;
        assert!(matches!(refused, Err(OriginError::Unreadable(_))), "{refused:?}");
        symlink("nowhere", root.join("dangling")).expect("it can be made");
        assert_eq!(loads(&root, "dangling").await, None);
        // The directory itself may be a link.
        let alias = around.path().join("alias");
        symlink(&root, &alias).expect("it can be made");
        assert_eq!(loads(&alias, "a/b/c").await.as_deref(), Some(&b"deep"[..]));
    }

    #[tokio::test]
    async fn pipes_and_sockets_are_no_keys_and_nobody_waits_for_them() {
        let (_around, root) = root();
        let made = Command::new("mkfifo").arg(root.join("pipe")).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo is everywhere");
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("bound");
        let waited = std::time::Duration::from_secs(10);
        for key in ["pipe", "socket"] {
            let read = tokio::time::timeout(waited, loads(&root, key)).await;
            assert_eq!(read.expect("it does not wait"), None, "{key}");
        }
    }

    #[tokio::test]
    async fn a_file_may_have_as_many_bytes_as_a_value() {
        let (_around, root) = root();
        fs::write(root.join("most"), [b'x'; MOST]).expect("it can be written");
        fs::write(root.join("more"), [b'x'; MOST + 1]).expect("it can be written");
        fs::write(root.join("none"), "").expect("it can be written");
        let huge = File::create(root.join("huge")).expect("it can be made");
        huge.set_len(1 << 40).expect("it takes no room");
        assert_eq!(loads(&root, "most").await.map(|value| value.len()), Some(MOST));
        assert_eq!(loads(&root, "none").await.as_deref(), Some(&b""[..]));
        for key in ["more", "huge"] {
            let refused = load(&root, key.as_bytes()).await;
            assert!(matches!(refused, Err(OriginError::TooLarge(MOST))), "{key}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_an_error_and_not_empty() {
        let (_around, root) = root();
        let refused = load(&root.join("elsewhere"), b"key").await;
        assert!(matches!(refused, Err(OriginError::Unreadable(_))), "{refused:?}");
    }
}
