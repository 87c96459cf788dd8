//! What has happened in a scenario, and what must not have: each read is judged by all writes before it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use larder_cache::Clock;

use super::database::{Mood, Versions};

/// The clocks by which nodes live move in steps: so much may everything be late.
pub(crate) const GRAIN: u64 = 60;

/// A time, and the place among all that happened at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64, u64);

/// Where a value comes from. Times are in milliseconds since the scenario began.
#[derive(Debug, Clone)]
pub(crate) struct Birth {
    pub(crate) version: u64,
    /// From when on its time to live counts.
    pub(crate) at: u64,
    pub(crate) ttl: Duration,
    /// The write that set it; none if it was loaded.
    pub(crate) set: Option<usize>,
}

/// Who has heard of a write that has returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has not returned, or has failed: it counts for nobody, and may have been done all the same.
    Unknown,
    All,
    /// All but these. `passed_on`: others ask them for the key, and so may have it from them. `is_past_owner`:
    /// but for a while they do not ask.
    AllBut {
        missed: Vec<usize>,
        passed_on: bool,
        is_past_owner: bool,
    },
}

/// A set or a removal.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) version: u64,
    pub(crate) began: Moment,
    pub(crate) ended: Option<Moment>,
    pub(crate) heard: Heard,
    /// The lives of all nodes when it began.
    pub(crate) lives: Vec<u64>,
    /// The writer had every node in its list, and nobody's list changed while it wrote.
    pub(crate) is_whole: bool,
    /// When those that had not heard had.
    pub(crate) made_up: Option<Moment>,
}

/// The loads of one key by one life of a node.
#[derive(Debug, Default)]
struct Loads {
    running: u32,
    /// When the last one that succeeded began and ended.
    last: Option<(Moment, u64)>,
    all: u64,
}

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) seed: u64,
    pub(crate) about: String,
    pub(crate) ttl: Duration,
    /// So long before they expire, values may be loaded anew.
    pub(crate) renew_ahead: Duration,
    pub(crate) tombstone: Duration,
    /// How far two clocks differ at most, in milliseconds.
    pub(crate) skew: u64,
    /// How many times its time to live a value may be kept: two in a golang ring.
    pub(crate) lives_of_a_copy: u32,
    pub(crate) mood: Mood,
    clock: Option<Clock>,
    versions: Versions,
    births: Vec<(Bytes, Birth)>,
    writes: HashMap<Bytes, Vec<Write>>,
    loads: HashMap<(usize, u64, Bytes), Loads>,
    load_serial: u64,
    /// When a node forgot a key for the last time, or may have.
    forgot: HashMap<(usize, Bytes), Moment>,
    /// When a node's clock jumped ahead.
    jumps: Vec<(usize, Moment)>,
    list_changes: Vec<Moment>,
    happened: u64,
    pub(crate) violations: Vec<String>,
    /// How often what happened: so that the scenarios are known to be more than a quiet sea.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) is_told: bool,
}

#[derive(Clone, Default)]
pub(crate) struct History(Arc<Mutex<Record>>);

impl History {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap()
    }

    pub(crate) fn begin(&self) {
        self.lock().clock = Some(Clock::running());
    }

    /// A node has answered a peer.
    pub(crate) fn answered(&self, node: usize, method: &Method, path: &str) {
        let key = path.rsplit('/').next().unwrap_or_default();
        let mut record = self.lock();
        record.tell(|| format!("node {node} answered {method} {path}"));
        match *method {
            Method::PUT => record.count("sets answered"),
            Method::DELETE => record.count("removals answered"),
            _ => return record.count("gets answered"),
        }
        record.forgets(node, &Bytes::copy_from_slice(key.as_bytes()));
    }
}

impl Record {
    pub(crate) fn now(&self) -> u64 {
        let clock = self.clock.as_ref().expect("it has begun");
        u64::try_from(clock.uptime().as_millis()).unwrap()
    }

    pub(crate) fn moment(&mut self) -> Moment {
        self.happened += 1;
        Moment(self.now(), self.happened)
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{:>7} {}", self.now(), what());
        }
    }

    pub(crate) fn violated(&mut self, what: impl Display) {
        self.tell(|| format!("VIOLATED: {what}"));
        let now = self.now();
        self.violations.push(format!("at {now}: {what}"));
    }

    pub(crate) fn version(&self, key: &Bytes) -> u64 {
        self.versions.get(key).copied().unwrap_or_default()
    }

    /// A value, which says where it comes from.
    pub(crate) fn born(&mut self, key: &Bytes, birth: Birth) -> Bytes {
        let value = format!("{}/{}", String::from_utf8_lossy(key), self.births.len());
        self.tell(|| format!("{value} is born: {birth:?}"));
        self.births.push((key.clone(), birth));
        value.into()
    }

    pub(crate) fn forgets(&mut self, node: usize, key: &Bytes) {
        let now = self.moment();
        self.forgot.insert((node, key.clone()), now);
    }

    pub(crate) fn jumped(&mut self, node: usize) {
        let now = self.moment();
        self.count("clocks that jumped ahead");
        self.jumps.push((node, now));
    }

    pub(crate) fn load_begun(&mut self, node: usize, life: u64, key: &Bytes) -> u64 {
        self.tell(|| format!("node {node} loads {key:?}"));
        self.count("loads");
        let (now, ttl) = (self.now(), self.ttl);
        let loads = self.loads.entry((node, life, key.clone())).or_default();
        loads.running += 1;
        loads.all += 1;
        let (running, last) = (loads.running, loads.last);
        if running > 1 {
            self.violated(format!("node {node} loads {key:?} {running} times at once"));
        }
        if let Some((began, ended)) = last {
            let expired = now + GRAIN + millis(self.renew_ahead) >= ended + millis(ttl);
            if !expired && !self.may_have_forgotten(node, life, key, began) {
                self.violated(format!("node {node} loads {key:?} again, and has it"));
            }
        }
        self.load_serial += 1;
        self.load_serial
    }

    pub(crate) fn load_succeeded(&mut self, node: usize, life: u64, key: &Bytes, began: Moment) {
        let now = self.now();
        self.loads.entry((node, life, key.clone())).or_default().last = Some((began, now));
    }

    pub(crate) fn load_ended(&mut self, node: usize, life: u64, key: &Bytes) {
        self.loads.entry((node, life, key.clone())).or_default().running -= 1;
    }

    /// All loads of a key.
    pub(crate) fn loads_of(&self, key: &Bytes) -> u64 {
        let of_key = self.loads.iter().filter(|((_, _, loaded), _)| loaded == key);
        of_key.map(|(_, loads)| loads.all).sum()
    }

    fn may_have_forgotten(&self, node: usize, life: u64, key: &Bytes, since: Moment) -> bool {
        // In one moment a load may be planned, the key be removed, and the load then begin: it counts as from
        // before the removal, and is not kept.
        let told = self.forgot.get(&(node, key.clone())).is_some_and(|last| last.0 >= since.0);
        let jumped = self.jumps.iter().any(|(at, when)| *at == node && *when >= since);
        let writes = self.writes.get(key).into_iter().flatten();
        let mut own = writes.filter(|write| (write.node, write.life) == (node, life));
        // One that did not reach everybody is tried again, and forgotten here again.
        let wrote = own.any(|write| {
            write.heard != Heard::All || write.ended.is_none_or(|ended| ended >= since)
        });
        told || jumped || wrote
    }

    /// A write begins: the database is changed before.
    pub(crate) fn write_begun(&mut self, key: &Bytes, mut write: Write) -> usize {
        let version = self.versions.entry(key.clone()).or_default();
        *version += 1;
        write.version = *version;
        self.tell(|| format!("{key:?}: {write:?}"));
        let writes = self.writes.entry(key.clone()).or_default();
        writes.push(write);
        writes.len() - 1
    }

    /// What a write sets.
    pub(crate) fn set_born(&mut self, key: &Bytes, write: usize, ttl: Duration) -> Bytes {
        let Write { version, began, .. } = self.writes[key][write];
        let ttl = ttl.min(self.ttl);
        self.born(key, Birth { version, at: began.0, ttl, set: Some(write) })
    }

    pub(crate) fn write_ended(&mut self, key: &Bytes, write: usize, heard: Heard) {
        let now = self.moment();
        self.tell(|| format!("{key:?}: write {write} ends: {heard:?}"));
        let changed = self.list_changes.last().copied();
        let Some(write) = self.writes.get_mut(key).and_then(|writes| writes.get_mut(write)) else {
            return;
        };
        (write.ended, write.heard) = (Some(now), heard);
        write.is_whole &= changed.is_none_or(|changed| changed < write.began);
    }

    /// Nobody has anything left to hear from this life of a node.
    pub(crate) fn all_heard(&mut self, node: usize, life: u64) {
        let now = self.moment();
        for write in self.writes.values_mut().flatten() {
            let is_its = (write.node, write.life) == (node, life);
            if is_its && write.ended.is_some() && matches!(write.heard, Heard::AllBut { .. }) {
                write.made_up.get_or_insert(now);
            }
        }
    }

    /// A life's lists have changed: who was not told of something may not be told any more.
    pub(crate) fn list_changed(&mut self, node: usize) {
        let now = self.moment();
        self.list_changes.push(now);
        for write in self.writes.values_mut().flatten().filter(|write| write.node == node) {
            write.is_whole &= write.heard == Heard::All || write.made_up.is_some();
        }
    }

    /// A read that began at `began` has brought `value` to this life of a node, which may have had it in hand
    /// for `in_hand` milliseconds.
    pub(crate) fn read(
        &mut self,
        (node, life): (usize, u64),
        key: &Bytes,
        began: Moment,
        in_hand: u64,
        value: &Bytes,
    ) {
        self.count("reads");
        self.tell(|| format!("node {node} read {value:?}, asked at {began:?}"));
        let text = String::from_utf8_lossy(value).into_owned();
        let serial = text.rsplit('/').next().and_then(|serial| serial.parse::<usize>().ok());
        let Some((of, birth)) = serial.and_then(|serial| self.births.get(serial)).cloned() else {
            return self
                .violated(format!("node {node} read {text} of {key:?}, which nobody wrote"));
        };
        if of != *key {
            return self.violated(format!("node {node} read {text} for {key:?}"));
        }
        let now = self.now();
        let longest = millis(birth.ttl) * u64::from(self.lives_of_a_copy) + 2 * self.skew + GRAIN;
        if now - in_hand > birth.at.saturating_add(longest) {
            let age = now - birth.at;
            self.violated(format!("node {node} read {text} at the age of {age} ms"));
        }
        let writes = self.writes.get(key).map_or(&[][..], Vec::as_slice);
        let undone = writes.iter().find(|write| {
            write.version > birth.version
                && !self.is_loose(key, &birth, write)
                && self.binds(write, node, life, began, now)
        });
        if let Some(undone) = undone.cloned() {
            let about = format!("{text}, {birth:?}");
            self.violated(format!("node {node} read {about}, which undoes {undone:?}"));
        }
    }

    /// Whether a value was set by a call that may be ordered after `write`: it had not returned by then, or
    /// failed, so that nobody knows when it was done.
    fn is_loose(&self, key: &Bytes, birth: &Birth, write: &Write) -> bool {
        let set = birth.set.and_then(|set| self.writes.get(key)?.get(set));
        set.is_some_and(|set| {
            set.heard == Heard::Unknown || set.ended.is_none_or(|ended| ended > write.began)
        })
    }

    /// Whether this node must not hand out, between these times, what was there before the write.
    fn binds(&self, write: &Write, node: usize, life: u64, began: Moment, now: u64) -> bool {
        if !write.is_whole || write.ended.is_none_or(|ended| ended > began) {
            return false;
        }
        if write.made_up.is_some_and(|at| at <= began) {
            return true;
        }
        match &write.heard {
            Heard::Unknown => false,
            Heard::AllBut { missed, .. } if missed.contains(&node) => false,
            Heard::All | Heard::AllBut { passed_on: false, .. } => true,
            // It is loaded past those who have not heard, for a while.
            Heard::AllBut { is_past_owner, .. } => {
                let mut jumps = self.jumps.iter();
                let jumped = jumps.any(|(at, when)| *at == node && *when >= write.began);
                let stands = now + GRAIN < write.began.0 + millis(self.tombstone);
                *is_past_owner && stands && !jumped && write.lives[node] == life
            }
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
