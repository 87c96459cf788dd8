//! Caches that follow a stream of changes.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{
    Attempt, Cache, Change, Edit, Ended, Error, Feed, Fetched, Fresh, Options, Refresh, Request,
    Source, StreamFault, Watch,
};
use support::{Down, secs, settle};
use tokio::sync::mpsc;

type Names = BTreeSet<&'static str>;

/// What the test says to the stream that is open.
enum Say {
    Tell(Change<Names, &'static str>),
    Heartbeat,
    End(Ended),
    Fail,
}

#[derive(Clone)]
struct Roll(Arc<Owner>);

struct Owner {
    /// What the next streams will be told, each by a channel of its own.
    streams: Mutex<Vec<mpsc::Receiver<Say>>>,
    /// Where each stream was asked to begin.
    opened: Mutex<Vec<Option<u64>>>,
    listed: Mutex<(Names, u64)>,
    fetches: Mutex<usize>,
}

impl Roll {
    fn new() -> Self {
        Self(Arc::new(Owner {
            streams: Mutex::default(),
            opened: Mutex::default(),
            listed: Mutex::new((Names::from(["listed"]), 7)),
            fetches: Mutex::new(0),
        }))
    }

    /// Lets one more stream be opened; what is sent here, it says.
    fn stream(&self) -> mpsc::Sender<Say> {
        let (say, said) = mpsc::channel(100);
        self.0.streams.lock().unwrap().insert(0, said);
        say
    }

    fn opened(&self) -> Vec<Option<u64>> {
        self.0.opened.lock().unwrap().clone()
    }

    fn fetches(&self) -> usize {
        *self.0.fetches.lock().unwrap()
    }
}

impl Source for Roll {
    type Key = u32;
    type Value = Names;
    type Error = Down;

    async fn fetch(&self, _: &u32, _: Attempt<Names>) -> Result<Fetched<Names>, Down> {
        *self.0.fetches.lock().unwrap() += 1;
        let (names, index) = self.0.listed.lock().unwrap().clone();
        Ok(Fresh::new(names).index(index).into())
    }
}

impl Watch for Roll {
    type Item = &'static str;

    async fn watch(
        &self,
        _: &u32,
        from: Option<u64>,
        feed: &mut Feed<'_, Self>,
    ) -> Result<Ended, Down> {
        self.0.opened.lock().unwrap().push(from);
        let Some(mut said) = self.0.streams.lock().unwrap().pop() else { return Err(Down) };
        while let Some(say) = said.recv().await {
            match say {
                Say::Tell(change) => feed.tell(change),
                Say::Heartbeat => feed.heard(),
                Say::End(ended) => return Ok(ended),
                Say::Fail => return Err(Down),
            }
        }
        std::future::pending().await
    }

    fn build(&self, _: &u32, before: Option<&Names>, edits: Vec<Edit<&'static str>>) -> Names {
        let mut names = before.cloned().unwrap_or_default();
        for edit in edits {
            match edit {
                Edit::Apply(name) => names.insert(name),
                Edit::Delete(name) => names.remove(name),
            };
        }
        names
    }
}

fn watching(roll: &Roll) -> Cache<Roll> {
    let refresh = Refresh::Watch { idle_timeout: secs(30) };
    let mut options = Options { refresh, ..Options::default() };
    options.limits.listed = 5;
    Cache::watching(roll.clone(), options).unwrap()
}

async fn tell(stream: &mpsc::Sender<Say>, change: Change<Names, &'static str>) {
    stream.send(Say::Tell(change)).await.unwrap();
    settle().await;
}

fn names(cache: &Cache<Roll>) -> Option<Vec<&'static str>> {
    cache.peek(&1).map(|reply| reply.iter().copied().collect())
}

#[tokio::test(start_paused = true)]
async fn nothing_half_built_is_ever_visible() {
    let roll = Roll::new();
    let stream = roll.stream();
    let cache = watching(&roll);
    let _held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    settle().await;
    tell(&stream, Change::Init).await;
    tell(&stream, Change::InitApply("a")).await;
    tell(&stream, Change::InitApply("b")).await;
    assert_eq!(names(&cache), None);
    tell(&stream, Change::InitDone(10)).await;
    assert_eq!(names(&cache), Some(vec!["a", "b"]));
    tell(&stream, Change::Apply("c", 11)).await;
    tell(&stream, Change::Delete("a", 12)).await;
    assert_eq!(names(&cache), Some(vec!["b", "c"]));
    tell(&stream, Change::Init).await;
    tell(&stream, Change::InitApply("z")).await;
    assert_eq!(names(&cache), Some(vec!["b", "c"]), "the old list until the new one is done");
    tell(&stream, Change::InitDone(13)).await;
    assert_eq!(names(&cache), Some(vec!["z"]));
    assert_eq!(roll.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_gets_a_list_at_once_and_the_stream_goes_on_from_its_index() {
    let roll = Roll::new();
    let stream = roll.stream();
    let cache = watching(&roll);
    assert!(cache.get(&1).await.unwrap().contains("listed"));
    settle().await;
    assert_eq!(roll.opened(), [Some(7)]);
    tell(&stream, Change::Apply("more", 8)).await;
    assert_eq!(names(&cache), Some(vec!["listed", "more"]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lives_means_no_age_and_its_end_means_one() {
    let roll = Roll::new();
    let stream = roll.stream();
    let cache = watching(&roll);
    cache.get(&1).await.unwrap();
    for _ in 0..20 {
        stream.send(Say::Heartbeat).await.unwrap();
        tokio::time::sleep(secs(20)).await;
    }
    assert_eq!(cache.peek(&1).unwrap().age(), Duration::ZERO);
    assert_eq!(cache.stats().keepers.connected, 1);
    stream.send(Say::Fail).await.unwrap();
    tokio::time::sleep(secs(9)).await;
    let age = cache.peek(&1).unwrap().age();
    assert!(secs(9).abs_diff(age) <= Duration::from_millis(10), "{age:?}");
    assert_eq!((cache.stats().keepers.connected, cache.stats().keepers.failing), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_quiet_is_dead_and_its_silence_counts_as_age() {
    let roll = Roll::new();
    let (quiet, _next) = (roll.stream(), roll.stream());
    let cache = watching(&roll);
    cache.get(&1).await.unwrap();
    settle().await;
    quiet.send(Say::Heartbeat).await.unwrap();
    tokio::time::sleep(secs(29)).await;
    assert_eq!((roll.opened().len(), cache.peek(&1).unwrap().age()), (1, Duration::ZERO));
    tokio::time::sleep(secs(2)).await;
    assert_eq!(roll.opened(), [Some(7), Some(7)]);
    let age = cache.peek(&1).unwrap().age();
    assert!((secs(30)..secs(32)).contains(&age), "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_resumed_from_the_last_index_that_was_told() {
    let roll = Roll::new();
    let (first, second) = (roll.stream(), roll.stream());
    let cache = watching(&roll);
    cache.get(&1).await.unwrap();
    settle().await;
    tell(&first, Change::Apply("b", 20)).await;
    first.send(Say::End(Ended::Over)).await.unwrap();
    settle().await;
    assert_eq!(roll.opened(), [Some(7), Some(20)]);
    tell(&second, Change::Apply("c", 21)).await;
    assert_eq!((names(&cache), roll.fetches()), (Some(vec!["b", "c", "listed"]), 1));
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_refused_has_the_list_made_anew() {
    let roll = Roll::new();
    let (first, _second) = (roll.stream(), roll.stream());
    let cache = watching(&roll);
    let index = cache.get(&1).await.unwrap().index();
    settle().await;
    *roll.0.listed.lock().unwrap() = (Names::from(["new"]), 3);
    first.send(Say::End(Ended::IndexRefused)).await.unwrap();
    settle().await;
    assert_eq!((names(&cache), roll.fetches()), (Some(vec!["new"]), 2));
    assert_eq!(roll.opened(), [Some(7), Some(3)], "the source's own index");
    assert!(cache.peek(&1).unwrap().index() > index, "callers' never goes backwards");
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_ends_the_stream_and_changes_nothing() {
    let senseless: [&[Change<Names, &str>]; 4] = [
        &[Change::InitApply("a")],
        &[Change::InitDone(9)],
        &[Change::Init, Change::Init],
        &[Change::Init, Change::Apply("a", 9)],
    ];
    for events in senseless {
        let roll = Roll::new();
        let stream = roll.stream();
        let cache = watching(&roll);
        let mut held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
        cache.get(&1).await.unwrap();
        settle().await;
        for event in events {
            tell(&stream, event.clone()).await;
        }
        assert_eq!(names(&cache), Some(vec!["listed"]));
        while held.changed().await.unwrap().error.is_none() {}
        assert!(cache.stats().failed >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_longer_than_the_limit_ends_the_stream() {
    let roll = Roll::new();
    let (stream, _next) = (roll.stream(), roll.stream());
    let cache = watching(&roll);
    let mut held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    settle().await;
    tell(&stream, Change::Init).await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        tell(&stream, Change::InitApply(name)).await;
    }
    let error = held.changed().await.unwrap().error.unwrap();
    assert!(matches!(error, Error::Stream(StreamFault::TooLong)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_without_a_word_is_opened_again_with_a_back_off() {
    let roll = Roll::new();
    for _ in 0..100 {
        let stream = roll.stream();
        stream.send(Say::End(Ended::Over)).await.unwrap();
    }
    let cache = watching(&roll);
    let _held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    tokio::time::sleep(secs(10)).await;
    let opened = roll.opened().len();
    // Three times at once, and from then on as the probe, about once a second.
    assert!((12..=17).contains(&opened), "{opened}");
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_ends_the_stream_and_lists_anew() {
    let roll = Roll::new();
    let (_first, _second) = (roll.stream(), roll.stream());
    let cache = watching(&roll);
    let _held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    cache.get(&1).await.unwrap();
    settle().await;
    cache.invalidate(&1);
    *roll.0.listed.lock().unwrap() = (Names::from(["later"]), 8);
    assert!(cache.get(&1).await.unwrap().contains("later"));
    settle().await;
    assert_eq!(roll.opened().last(), Some(&Some(8)));
}

#[tokio::test(start_paused = true)]
async fn nobody_interested_means_no_stream() {
    let roll = Roll::new();
    let stream = roll.stream();
    let cache = watching(&roll);
    let held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    cache.get(&1).await.unwrap();
    settle().await;
    drop(held);
    for _ in 0..80 {
        // It ends in the middle of this.
        let _ = stream.send(Say::Heartbeat).await;
        tokio::time::sleep(secs(20)).await;
    }
    assert!(stream.is_closed(), "after the idle time");
    assert_eq!((cache.stats().keepers.total, cache.stats().entries), (0, 0));
}
