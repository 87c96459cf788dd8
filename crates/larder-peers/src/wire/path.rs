//! The path of a request: `<base><group>/<key>`, escaped as each Go family does, and read as all of them do.
//!
//! Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// How a group's name and a key are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As Go's `url.PathEscape`.
    Path,
    /// As Go's `url.QueryEscape`: a space becomes `+`, which no server turns back, so golang's peers load a
    /// key with a space under another name. It is their wire; this one's own keys come back as sent.
    Query,
}

/// What Go leaves as it is in a query.
const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');
/// What it leaves as it is in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b':')
    .remove(b'=')
    .remove(b'@');

impl Escape {
    /// Puts `raw` behind `path`.
    fn push(self, path: &mut String, raw: &[u8]) {
        match self {
            Self::Path => path.extend(percent_encode(raw, SEGMENT)),
            Self::Query => path.push_str(&percent_encode(raw, QUERY).to_string().replace(' ', "+")),
        }
    }
}

/// The path to ask for `key` of `group`; `base` begins and ends with a slash.
pub fn path(base: &str, group: &str, key: &[u8], escape: Escape) -> String {
    let mut path = String::with_capacity(base.len() + group.len() + key.len() + 8);
    path.push_str(base);
    escape.push(&mut path, group.as_bytes());
    path.push('/');
    escape.push(&mut path, key);
    path
}

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The group's name.
    pub group: Vec<u8>,
    /// The key, which may be empty and need not be UTF-8.
    pub key: Vec<u8>,
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with the base path.
    #[error("this path is not below the peers' base path")]
    Elsewhere,
    /// There is no slash behind the group.
    #[error("bad request")]
    NoKey,
    /// A percent sign without two digits behind it.
    #[error("bad request")]
    Escape,
}

/// Reads the path of a request, without its query: it is decoded whole, and then divided at the first slash
/// behind `base`, as every Go server does; so a group's name cannot have a slash. A `+` stays one.
pub fn parse(base: &str, raw: &str) -> Result<Target, PathError> {
    if !is_well_escaped(raw) {
        return Err(PathError::Escape);
    }
    let decoded: Vec<u8> = percent_decode(raw.as_bytes()).collect();
    let rest = decoded.strip_prefix(base.as_bytes()).ok_or(PathError::Elsewhere)?;
    let slash = rest.iter().position(|byte| *byte == b'/').ok_or(PathError::NoKey)?;
    Ok(Target { group: rest[..slash].to_vec(), key: rest[slash + 1..].to_vec() })
}

fn is_well_escaped(raw: &str) -> bool {
    let digits = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    raw.split('%').skip(1).all(digits)
}
