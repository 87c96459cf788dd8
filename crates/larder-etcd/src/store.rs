//! Reading: listings page by page, services in whatever case they are written, single instances.
//!
//! Every reading is of one revision. Its first question is linearizable, so that no answer is older
//! than the question (go-micro's own reads may be: they are what stale members of the cluster say);
//! the rest ask for the same revision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_cache::{Clock, Upstream};
use larder_micro::mapping;
use larder_registry::model::{Key, Name};
use larder_registry::{Error, Phase};

use crate::api::{KeyValue, RangeRequest, Request, RequestOp, Response, TxnRequest};
use crate::connection::{Connection, Fault};
use crate::holdings::Stored;
use crate::keys::{self, Keys, Parts, Place, Range};
use crate::options::Options;
use crate::spelling::Spellings;

/// How many keys an answer holds at most; fewer once one was too large.
const PAGE_LEN: i64 = 1_000;

/// How many operations a transaction holds: etcd takes 128 unless told otherwise.
const OPERATIONS_MAX: usize = 100;

/// How often a service is sought before every key is looked at instead. One look or two are usual; only
/// keys that were made for it take so many.
const LOOKS_MAX: u32 = 100;

/// How often a reading starts anew because its revision was forgotten meanwhile.
const STARTS_MAX: u32 = 3;

/// What the parts of a backend share.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) connection: Connection,
    pub(crate) keys: Keys,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    /// What all watches know together of whether etcd is there.
    pub(crate) upstream: Upstream,
    /// How often a value was no instance.
    skipped: AtomicU64,
}

/// What there is, as of one revision.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) stored: Vec<Stored>,
    pub(crate) revision: i64,
    /// Which cluster said so.
    pub(crate) cluster: u64,
}

/// What there is about one instance.
#[derive(Debug, Default)]
pub(crate) struct Located {
    /// The keys that speak of it.
    pub(crate) held: Vec<Stored>,
    /// The revision of every key that was looked at and matters to a write; zero for one that is not
    /// there.
    pub(crate) seen: BTreeMap<String, i64>,
}

/// A reading under way: the revision is known from its first answer on.
#[derive(Debug)]
struct Reading<'a> {
    store: &'a Store,
    phase: Phase,
    revision: i64,
    cluster: u64,
}

impl Store {
    pub(crate) fn new(connection: Connection, options: Options, clock: Clock) -> Self {
        let keys = Keys::new(&options.prefix);
        let upstream = Upstream::new(clock.clone());
        Self { connection, keys, options, clock, upstream, skipped: AtomicU64::new(0) }
    }

    /// How often a value was no instance.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// What a key and its value say; none if they are not go-micro's, or do not belong together.
    pub(crate) fn stored(&self, kv: KeyValue) -> Option<Stored> {
        let place = self.keys.parse(&kv.key)?.place;
        let key = String::from_utf8(kv.key).ok()?;
        let instance = match mapping::decode(&kv.value) {
            Ok(instance) => instance,
            Err(error) => {
                self.skip(&key, &error.to_string());
                return None;
            }
        };
        let own = self.keys.of(place, instance.service.as_str(), &instance.id);
        if own.as_deref() != Some(&*key) {
            self.skip(&key, "it speaks of another instance than its key");
            return None;
        }
        Some(Stored {
            key,
            created: kv.create_revision,
            revision: kv.mod_revision,
            lease: kv.lease,
            instance: Arc::new(instance),
        })
    }

    /// Logged at the first, second, fourth, … time: a bad value is met at every reading.
    fn skip(&self, key: &str, reason: &str) {
        let times = self.skipped.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            tracing::warn!(key, reason, times, "skipped a value in etcd that is no instance");
        }
    }

    /// Everything.
    pub(crate) async fn list(&self) -> Result<Listing, Error> {
        for _ in 1..STARTS_MAX {
            match self.try_list().await {
                Err(fault) if fault.is_compacted() => {}
                answer => return Ok(answer?),
            }
        }
        Ok(self.try_list().await?)
    }

    async fn try_list(&self) -> Result<Listing, Fault> {
        let mut reading = self.reading(Phase::List);
        let mut stored = Vec::new();
        let mut pages = Pages::of(self.keys.all(), false);
        while let Some(page) = pages.next(&mut reading).await? {
            stored.extend(page.into_iter().filter_map(|kv| self.stored(kv)));
            self.check_len(stored.len())?;
        }
        Ok(reading.listing(stored))
    }

    /// Everything about one service.
    pub(crate) async fn service(&self, name: &Name) -> Result<Listing, Error> {
        for _ in 1..STARTS_MAX {
            match self.try_service(name).await {
                Err(fault) if fault.is_compacted() => {}
                answer => return Ok(answer?),
            }
        }
        Ok(self.try_service(name).await?)
    }

    async fn try_service(&self, name: &Name) -> Result<Listing, Fault> {
        let mut reading = self.reading(Phase::Read);
        let mut stored = Vec::new();
        for (place, folder) in reading.folders(name).await? {
            let mut pages = Pages::of(self.keys.service(place, &folder), false);
            while let Some(page) = pages.next(&mut reading).await? {
                let of_this = page.into_iter().filter_map(|kv| self.stored(kv));
                stored.extend(of_this.filter(|stored| stored.instance.service == *name));
                self.check_len(stored.len())?;
            }
        }
        if reading.revision == 0 {
            // A name that no key can have: etcd was not asked, and a watch must know where to begin.
            reading.range(&self.keys.all(), 1, true).await?;
        }
        Ok(reading.listing(stored))
    }

    /// What there is about one instance: under the name as it is written if there is anything, else
    /// under its other spellings. None of it if the key has no form in etcd.
    pub(crate) async fn locate(&self, phase: Phase, key: &Key) -> Result<Option<Located>, Error> {
        let written = (key.service.as_str(), &*key.id);
        let exact: Option<Vec<String>> =
            Place::ALL.map(|place| self.keys.of(place, written.0, written.1)).into_iter().collect();
        let Some(exact) = exact else { return Ok(None) };
        for _ in 1..STARTS_MAX {
            match self.try_locate(phase, key, &exact).await {
                Err(fault) if fault.is_compacted() => {}
                answer => return Ok(Some(answer?)),
            }
        }
        Ok(Some(self.try_locate(phase, key, &exact).await?))
    }

    async fn try_locate(
        &self,
        phase: Phase,
        key: &Key,
        exact: &[String],
    ) -> Result<Located, Fault> {
        let mut reading = self.reading(phase);
        let mut located = reading.keys(exact, key).await?;
        if located.held.is_empty() {
            let node = keys::part(&key.id).unwrap_or_default();
            let folders = reading.folders(&key.service).await?.into_iter();
            let others = folders.map(|(place, service)| self.keys.join(place, &service, &node));
            let others: Vec<String> = others.collect();
            let elsewhere = reading.keys(&others, key).await?;
            located.held = elsewhere.held;
        }
        let held = located.held.iter().map(|stored| (stored.key.clone(), stored.revision));
        located.seen.extend(held);
        Ok(located)
    }

    fn check_len(&self, len: usize) -> Result<(), Fault> {
        let limit = self.options.max_instances;
        if len > limit { Err(Fault::TooMany { limit }) } else { Ok(()) }
    }

    fn reading(&self, phase: Phase) -> Reading<'_> {
        Reading { store: self, phase, revision: 0, cluster: 0 }
    }
}

/// Where a listing is: the rest of its range.
#[derive(Debug)]
struct Pages {
    rest: Option<Range>,
    len: i64,
    keys_only: bool,
}

impl Reading<'_> {
    fn listing(&self, stored: Vec<Stored>) -> Listing {
        Listing { stored, revision: self.revision, cluster: self.cluster }
    }

    fn note(&mut self, cluster: u64, revision: i64) {
        if self.revision == 0 {
            (self.cluster, self.revision) = (cluster, revision);
        }
    }

    async fn range(
        &mut self,
        range: &Range,
        limit: i64,
        keys_only: bool,
    ) -> Result<(Vec<KeyValue>, bool), Fault> {
        let question = RangeRequest {
            key: range.start.clone(),
            range_end: range.end.clone(),
            limit,
            revision: self.revision,
            keys_only,
        };
        let answer = self.store.connection.range(self.phase, question).await?;
        let header = answer.header.unwrap_or_default();
        self.note(header.cluster_id, header.revision);
        Ok((answer.kvs, answer.more))
    }

    /// What the keys say about the instance, all at once.
    async fn keys(&mut self, keys: &[String], key: &Key) -> Result<Located, Fault> {
        let mut located = Located::default();
        for keys in keys.chunks(OPERATIONS_MAX) {
            let questions = keys.iter().map(|key| RangeRequest {
                key: key.clone().into_bytes(),
                revision: self.revision,
                ..RangeRequest::default()
            });
            let answers = self.ranges(questions.collect()).await?;
            located.seen.extend(keys.iter().map(|key| (key.clone(), 0)));
            for kv in answers.into_iter().flatten() {
                let spelled = String::from_utf8_lossy(&kv.key).into_owned();
                located.seen.insert(spelled, kv.mod_revision);
                let stored = self.store.stored(kv);
                located.held.extend(stored.filter(|held| held.instance.key() == *key));
            }
        }
        Ok(located)
    }

    /// Asks for several ranges at once; answers in their order.
    async fn ranges(&mut self, questions: Vec<RangeRequest>) -> Result<Vec<Vec<KeyValue>>, Fault> {
        let success = questions
            .into_iter()
            .map(|question| RequestOp { request: Some(Request::Range(question)) })
            .collect();
        let question = TxnRequest { compare: Vec::new(), success };
        let answer = self.store.connection.read(self.phase, question).await?;
        let header = answer.header.unwrap_or_default();
        self.note(header.cluster_id, header.revision);
        let found = answer.responses.into_iter().map(|answer| match answer.response {
            Some(Response::Range(range)) => range.kvs,
            Some(Response::Put(_) | Response::Delete(_)) | None => Vec::new(),
        });
        Ok(found.collect())
    }

    /// Where the service may be kept: its folders, in every spelling that exists.
    async fn folders(&mut self, name: &Name) -> Result<Vec<(Place, String)>, Fault> {
        let Some(folded) = keys::part(name.folded()) else { return Ok(Vec::new()) };
        if let Some(spellings) = Spellings::new(&folded)
            && let Some(found) = self.seek(&spellings).await?
        {
            return Ok(found);
        }
        self.sift(&folded).await
    }

    /// None if it takes too many looks.
    async fn seek(&mut self, spellings: &Spellings) -> Result<Option<Vec<(Place, String)>>, Fault> {
        let keys = self.store.keys.clone();
        let mut found = Vec::new();
        let mut looks = 0;
        for (place, until, mut key) in self.inhabited(spellings).await? {
            while let Some(spelling) = spellings.at_or_after(&key) {
                if key.strip_prefix(&*spelling).is_some_and(|rest| rest.starts_with('/')) {
                    key = format!("{spelling}0");
                    found.push((place, spelling));
                }
                let next = spellings.at_or_after(&key).map(|next| format!("{next}/"));
                let Some(next) = next.filter(|next| *next < until) else { break };
                looks += 1;
                if looks > LOOKS_MAX {
                    return Ok(None);
                }
                let (first, _) = self.range(&keys.between(place, &next, &until), 1, true).await?;
                let Some(first) = first.first() else { break };
                key = keys.below(place, &first.key).unwrap_or_default();
            }
        }
        Ok(Some(found))
    }

    /// The branches of the spellings in which there is a key: where they are, where they end, and
    /// their first key, as it stands after the place's prefix.
    async fn inhabited(
        &mut self,
        spellings: &Spellings,
    ) -> Result<Vec<(Place, String, String)>, Fault> {
        let keys = self.store.keys.clone();
        let branches = spellings.branches();
        let asked: Vec<(Place, &(String, String))> = Place::ALL
            .into_iter()
            .flat_map(|place| branches.iter().map(move |branch| (place, branch)))
            .collect();
        let mut inhabited = Vec::new();
        for asked in asked.chunks(OPERATIONS_MAX) {
            let questions = asked.iter().map(|(place, (from, until))| {
                let range = keys.between(*place, from, until);
                RangeRequest {
                    key: range.start,
                    range_end: range.end,
                    limit: 1,
                    keys_only: true,
                    revision: self.revision,
                }
            });
            let answers = self.ranges(questions.collect()).await?;
            for ((place, (_, until)), found) in asked.iter().zip(answers) {
                let key = found.first().and_then(|first| keys.below(*place, &first.key));
                inhabited.extend(key.map(|key| (*place, until.clone(), key)));
            }
        }
        Ok(inhabited)
    }

    /// Looks at every key, for a name whose spellings cannot be told beforehand.
    async fn sift(&mut self, folded: &str) -> Result<Vec<(Place, String)>, Fault> {
        let keys = self.store.keys.clone();
        let mut found = Vec::new();
        let mut pages = Pages::of(keys.all(), true);
        while let Some(page) = pages.next(self).await? {
            for kv in page {
                let Some(Parts { place, service, .. }) = keys.parse(&kv.key) else { continue };
                if service.to_lowercase() == folded {
                    found.push((place, service.to_owned()));
                }
            }
            // Keys are in order, so that those of one folder follow each other.
            found.dedup();
        }
        Ok(found)
    }
}

impl Pages {
    fn of(range: Range, keys_only: bool) -> Self {
        Self { rest: Some(range), len: PAGE_LEN, keys_only }
    }

    /// The next page; none after the last.
    async fn next(&mut self, reading: &mut Reading<'_>) -> Result<Option<Vec<KeyValue>>, Fault> {
        while let Some(range) = &self.rest {
            match reading.range(range, self.len, self.keys_only).await {
                Ok((page, more)) => {
                    let last = page.last().filter(|_| more).map(|kv| kv.key.clone());
                    let end = range.end.clone();
                    // The first key after the last one is that one with a zero.
                    self.rest = last.map(|last| Range { start: [last, vec![0]].concat(), end });
                    return Ok(Some(page));
                }
                Err(fault) if fault.is_too_large() && self.len > 1 => self.len /= 4,
                Err(fault) => return Err(fault),
            }
            self.len = self.len.max(1);
        }
        Ok(None)
    }
}
