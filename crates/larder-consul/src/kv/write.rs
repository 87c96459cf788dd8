//! What a write says beside its key and value.

use super::Refused;
use crate::params::{Asked, number};
use crate::question::KvForm;

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Put {
    /// `flags`: a number that is kept with the value.
    pub flags: u64,
    /// `cas`: only if the key was last changed at this index; zero, only if it is not there.
    pub cas: Option<u64>,
}

/// How a key is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delete {
    /// Whatever it is.
    #[default]
    Key,
    /// `cas`: only if it was last changed at this index, or is not there. Zero fits no key that is.
    Cas(u64),
    /// `recurse`: with all others that begin like it.
    Prefix,
}

impl Put {
    /// What the request says.
    pub fn of(asked: &Asked) -> Result<Self, Refused> {
        refuse_conflicts(asked, &["acquire", "cas", "release"])?;
        refuse_locks(asked)?;
        let flags = value(asked, "flags")?.unwrap_or(0);
        Ok(Self { flags, cas: value(asked, "cas")? })
    }
}

impl Delete {
    /// What the request says. `keys` is not for deletions, and takes away what `recurse` says.
    pub fn of(asked: &Asked) -> Result<Self, Refused> {
        let recurses = asked.selection.kv == KvForm::Recurse;
        let cas = value(asked, "cas");
        match (cas, recurses) {
            (Ok(None), true) => Ok(Self::Prefix),
            (_, true) => {
                let cas = asked.other("cas").unwrap_or_default();
                Err(Refused::Conflict(format!("cas={cas}&recurse=").into()))
            }
            (cas, false) => Ok(cas?.map_or(Self::Key, Self::Cas)),
        }
    }
}

fn refuse_conflicts(asked: &Asked, names: &[&str]) -> Result<(), Refused> {
    let said = names.iter().filter_map(|name| Some(format!("{name}={}", asked.other(name)?)));
    let said: Vec<_> = said.collect();
    if said.len() > 1 { Err(Refused::Conflict(said.join("&").into())) } else { Ok(()) }
}

fn refuse_locks(asked: &Asked) -> Result<(), Refused> {
    let lock = ["acquire", "release"].into_iter().find(|name| asked.other(name).is_some());
    lock.map_or(Ok(()), |name| Err(Refused::Locks(name)))
}

fn value(asked: &Asked, name: &'static str) -> Result<Option<u64>, Refused> {
    let Some(text) = asked.other(name) else { return Ok(None) };
    number(text).map(Some).ok_or_else(|| Refused::Number { name, value: text.into() })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::params;

    fn asked(query: &str) -> Asked {
        params::read(Some(query), &HeaderMap::new()).unwrap()
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, Refused>) -> (u16, String) {
        let error = result.expect_err("it is refused");
        (error.status().as_u16(), error.to_string())
    }

    #[test]
    fn a_put_says_its_flags_and_its_condition() {
        let put = |query| Put::of(&asked(query));
        assert_eq!(put(""), Ok(Put::default()));
        assert_eq!(put("flags=42&cas=0"), Ok(Put { flags: 42, cas: Some(0) }));
        assert_eq!(refused(put("flags=-1")), (400, "Invalid flags value \"-1\"".to_owned()));
        assert_eq!(refused(put("cas=x")), (400, "Invalid cas value \"x\"".to_owned()));
        let conflict = "Conflicting flags: acquire=x&cas=1".to_owned();
        assert_eq!(refused(put("cas=1&acquire=x")), (400, conflict));
    }

    #[test]
    fn locks_are_not_kept_and_the_answer_says_who_keeps_them() {
        for query in ["acquire=s", "release=s"] {
            let (status, sentence) = refused(Put::of(&asked(query)));
            assert_eq!(status, 501);
            assert!(sentence.contains("--upstream"), "{sentence}");
        }
    }

    #[test]
    fn a_deletion_is_of_a_key_a_version_or_a_prefix() {
        let delete = |query| Delete::of(&asked(query));
        assert_eq!(delete(""), Ok(Delete::Key));
        assert_eq!(delete("cas=7"), Ok(Delete::Cas(7)));
        assert_eq!(delete("recurse"), Ok(Delete::Prefix));
        assert_eq!(refused(delete("cas=x")), (400, "Invalid cas value \"x\"".to_owned()));
        let conflict = "Conflicting flags: cas=1&recurse=".to_owned();
        assert_eq!(refused(delete("recurse&cas=1")), (400, conflict));
    }
}
