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

use bytes::Bytes;
use larder_cache::Fetched;

use super::OriginError;

/// A directory.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    /// The largest value, in bytes.
    max_value: usize,
}

impl Directory {
    pub(crate) fn new(root: PathBuf, max_value: usize) -> Self {
        Self { root, max_value }
    }

    /// Reads `key`'s file. What is no file, or cannot be one, is no key.
    pub(super) async fn load(&self, key: &[u8]) -> Result<Fetched<Bytes>, OriginError> {
        let Some(file) = relative(key) else { return Ok(absent()) };
        let (root, file, most) = (self.root.clone(), file.to_owned(), self.max_value);
        // Whoever waits may be gone before a slow disk has answered; the reading then ends by itself.
        let reading = tokio::task::spawn_blocking(move || read(&root, &file, most));
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
