//! A value made of parts, kept by a stream of their changes, as a registry's watch tells them. Readers see
//! whole lists only.
//!
//!     cargo run -p larder-cache --example watch

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use larder_cache::{
    Attempt, Cache, Change, Edit, Ended, Feed, Fetched, Fresh, Options, Refresh, Request, Source,
    Watch,
};

/// An owner of lists of names, where one joins and one leaves.
struct Registry;

type Names = BTreeSet<&'static str>;

impl Source for Registry {
    type Key = String;
    type Value = Names;
    type Error = Infallible;

    // Who asks before the stream has told anything gets a list.
    async fn fetch(&self, _: &String, _: Attempt<Names>) -> Result<Fetched<Names>, Infallible> {
        Ok(Fresh::new(Names::from(["ada", "grace"])).index(2).into())
    }
}

impl Watch for Registry {
    type Item = &'static str;

    async fn watch(
        &self,
        _: &String,
        from: Option<u64>,
        feed: &mut Feed<'_, Self>,
    ) -> Result<Ended, Infallible> {
        if from.is_none() {
            feed.tell(Change::Init);
            feed.tell(Change::InitApply("ada"));
            feed.tell(Change::InitApply("grace"));
            feed.tell(Change::InitDone(2));
        }
        feed.heard();
        tokio::time::sleep(Duration::from_millis(300)).await;
        feed.tell(Change::Apply("barbara", 3));
        tokio::time::sleep(Duration::from_millis(300)).await;
        feed.tell(Change::Delete("ada", 4));
        // It stays open: a heartbeat now and then tells that it lives.
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            feed.heard();
        }
    }

    fn build(&self, _: &String, before: Option<&Names>, edits: Vec<Edit<&'static str>>) -> Names {
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let refresh = Refresh::Watch { idle_timeout: Duration::from_secs(30) };
    let cache = Cache::watching(Registry, Options { refresh, ..Options::default() })?;
    let mut names = cache.subscribe(&"team".to_owned(), &Request::DEFAULT)?;
    for _ in 0..3 {
        let update = names.changed().await.ok_or("the cache is open")?;
        println!("{:?}", update.value.map(|names| names.iter().copied().collect::<Vec<_>>()));
    }
    drop(names);
    cache.close().await;
    Ok(())
}
