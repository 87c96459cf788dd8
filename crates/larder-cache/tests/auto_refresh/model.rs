//! Random calls, times and outcomes against a naive reference: a map of the items that there must be, with
//! the rules of the contract.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use larder_cache::{Backoff, Removal, Updated};
use proptest::prelude::*;

use crate::owner::{
    DONE, Mood, Options, Owner, Tracking, get, millis, now, pass, secs, together, unstarted,
};

const PERIOD: Duration = secs(10);
const TIMEOUT: Duration = secs(5);
const CAP: Duration = secs(8);
const IDS: u32 = 6;
const SIZE: usize = 4;
/// The scheduler's buckets, and the tick of a clock.
const GRAIN: Duration = millis(50);

#[derive(Debug, Clone, Copy)]
enum Step {
    Create(u32, bool),
    Update(u32, bool),
    Delete(u32),
    DeleteDelayed(u32),
    Says(u32, Mood),
    /// So long syncs take from now on.
    Takes(u64),
    Pass(u64),
}

/// An item as the reference knows it.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Whoever gave the item chose this; syncs keep it.
    base: u64,
    /// As it was last seen.
    item: u64,
    born: Duration,
    asked: Option<Duration>,
    /// When it must leave at the latest, and whether it may not leave before.
    doomed: Option<(Duration, bool)>,
}

struct Model {
    tracking: Tracking,
    owner: Owner,
    began: tokio::time::Instant,
    items: HashMap<u32, Known>,
    left: HashSet<u64>,
    asked: usize,
    removed: usize,
    serial: u64,
}

type Check = Result<(), String>;

fn so(right: bool, what: impl FnOnce() -> String) -> Check {
    if right { Ok(()) } else { Err(what()) }
}

const fn base(item: u64) -> u64 {
    item % DONE / 1_000
}

fn step() -> impl Strategy<Value = Step> {
    let mood = prop_oneof![
        4 => Just(Mood::Counts),
        1 => Just(Mood::Same),
        1 => Just(Mood::Silent),
        1 => Just(Mood::Ends),
        1 => Just(Mood::Gone),
        1 => Just(Mood::Fails),
        1 => Just(Mood::FailsAll),
        1 => Just(Mood::Panics),
        2 => Just(Mood::Hangs),
    ];
    prop_oneof![
        5 => (0..IDS, prop::bool::weighted(0.1)).prop_map(|(id, end)| Step::Create(id, end)),
        2 => (0..IDS, prop::bool::weighted(0.1)).prop_map(|(id, end)| Step::Update(id, end)),
        1 => (0..IDS).prop_map(Step::Delete),
        2 => (0..IDS).prop_map(Step::DeleteDelayed),
        3 => (0..IDS, mood).prop_map(|(id, mood)| Step::Says(id, mood)),
        1 => (0_u64..4_500).prop_map(Step::Takes),
        4 => (0_u64..6_000).prop_map(Step::Pass),
        1 => (10_000_u64..40_000).prop_map(Step::Pass),
    ]
}

impl Model {
    fn new() -> Self {
        let backoff = Backoff { free_failures: 0, base: secs(2), cap: CAP };
        let options = Options { size: SIZE, period: PERIOD, backoff, ..together(3) };
        let (tracking, owner) = unstarted(Mood::Counts, options);
        tracking.start().unwrap();
        let (items, left) = (HashMap::new(), HashSet::new());
        Self { tracking, owner, began: now(), items, left, asked: 0, removed: 0, serial: 0 }
    }

    fn at(&self) -> Duration {
        now().duration_since(self.began)
    }

    /// An item that is like no other.
    fn next(&mut self, ends: bool) -> u64 {
        self.serial += 1;
        self.serial * 1_000 + if ends { DONE } else { 0 }
    }

    fn runs(&self, id: u32) -> bool {
        self.owner.books().running.get(&id).is_some_and(|running| *running > 0)
    }

    async fn take(&mut self, step: Step) -> Check {
        match step {
            Step::Create(id, ends) => self.create(id, ends)?,
            Step::Update(id, ends) => self.update(id, ends)?,
            Step::Delete(id) => {
                let there = self.items.remove(&id).is_some();
                so(self.tracking.delete(&id) == there, || format!("delete {id}: {there}"))?;
            }
            Step::DeleteDelayed(id) => {
                let there = self.tracking.delete_delayed(&id);
                so(there == self.items.contains_key(&id), || format!("delayed {id}: {there}"))?;
                let (at, runs) = (self.at(), self.runs(id));
                let ticks = u32::try_from(at.as_millis() / PERIOD.as_millis()).unwrap() + 1;
                // What runs may be its predecessor's sync, for which it does not wait.
                let tick = PERIOD * ticks;
                let due = if runs { tick.max(at + TIMEOUT) } else { tick };
                if let Some(known) = self.items.get_mut(&id) {
                    known.doomed = known.doomed.or(Some((due, !runs)));
                }
            }
            Step::Says(id, mood) => self.owner.says(id, mood),
            Step::Takes(time) => self.owner.books().takes = millis(time),
            Step::Pass(time) => {
                for part in (0..time).step_by(500) {
                    pass(millis((time - part).min(500))).await;
                    self.look()?;
                }
            }
        }
        self.look()
    }

    fn create(&mut self, id: u32, ends: bool) -> Check {
        let item = self.next(ends);
        let known = self.items.get(&id).filter(|known| known.doomed.is_none()).copied();
        let before = self.tracking.stats();
        let creation = self.tracking.get_or_create(&id, item).map_err(|error| error.to_string())?;
        so(creation.is_new == known.is_none(), || format!("create {id}: {known:?}"))?;
        let expected = known.map_or(item / 1_000 % 1_000_000, |known| known.base);
        so(base(*creation.item) == expected, || format!("create {id}: {}", *creation.item))?;
        if !creation.is_new {
            return Ok(());
        }
        let replaced = self.items.remove(&id).is_some();
        let victims: Vec<_> = self.owner.books().removed[self.removed..]
            .iter()
            .filter(|(.., cause)| *cause == Removal::Evicted)
            .copied()
            .collect();
        let full = self.items.len() == SIZE && !replaced;
        so(victims.len() == usize::from(full), || format!("{victims:?} were evicted"))?;
        for (victim, item, _) in victims {
            so(before.terminal == 0 || item >= DONE, || format!("{victim} lives"))?;
            let gone = self.items.remove(&victim).is_some_and(|known| known.base == base(item));
            so(gone, || format!("{victim} was not there"))?;
        }
        let (base, born) = (base(item), self.at());
        self.items.insert(id, Known { base, item, born, asked: None, doomed: None });
        Ok(())
    }

    fn update(&mut self, id: u32, ends: bool) -> Check {
        let before = get(&self.tracking, id);
        let item = self.next(ends);
        let updated = self.tracking.update(&id, item);
        let expected = match before {
            None => Updated::NotFound,
            Some(item) if item >= DONE => Updated::Terminal,
            Some(_) => Updated::Stored,
        };
        so(updated == expected, || format!("update {id}: {updated:?}, {before:?}"))?;
        if let Some(known) = self.items.get_mut(&id).filter(|_| updated == Updated::Stored) {
            (known.base, known.item) = (base(item), item);
        }
        Ok(())
    }

    /// Everything that must hold at any time.
    fn look(&mut self) -> Check {
        self.follow_syncs()?;
        self.follow_departures()?;
        for id in 0..IDS {
            self.compare(id)?;
        }
        let stats = self.tracking.stats();
        so(stats.items == self.items.len() as u64, || format!("{stats:?}"))?;
        so(stats.items <= SIZE as u64 && stats.queued <= stats.items, || format!("{stats:?}"))?;
        let ended = self.items.values().filter(|known| known.item >= DONE).count();
        so(stats.terminal == ended as u64, || format!("{ended} are terminal: {stats:?}"))
    }

    fn follow_syncs(&mut self) -> Check {
        let books = self.owner.books();
        so(books.most_of_one <= 1, || "an item was in two syncs".into())?;
        for asked in &books.asked[self.asked..] {
            for (id, item) in &asked.batch {
                so(*item < DONE, || format!("{id} is terminal, and was asked about"))?;
                // One that is gone by now left after it.
                if let Some(known) = self.items.get_mut(id) {
                    so(known.base == base(*item), || format!("{id}: {item} in {asked:?}"))?;
                    so(known.doomed.is_none(), || format!("{id} is doomed: {asked:?}"))?;
                    known.asked = Some(asked.at);
                }
            }
        }
        self.asked = books.asked.len();
        Ok(())
    }

    fn follow_departures(&mut self) -> Check {
        let at = self.at();
        let books = self.owner.books();
        for (id, item, cause) in &books.removed[self.removed..] {
            so(self.left.insert(base(*item)), || format!("{id} left twice: {item}"))?;
            let Some(known) = self.items.get(id).filter(|known| known.base == base(*item)) else {
                continue;
            };
            let may = match cause {
                Removal::Absent => known.asked.is_some(),
                Removal::Deleted => known.doomed.is_some_and(|(due, late)| !late || at >= due),
                _ => false,
            };
            so(may, || format!("{id} left at {at:?}: {cause:?} {known:?}"))?;
            self.items.remove(id);
        }
        self.removed = books.removed.len();
        Ok(())
    }

    fn compare(&mut self, id: u32) -> Check {
        let (seen, at, runs) = (get(&self.tracking, id), self.at(), self.runs(id));
        let failing = self.tracking.last_error(&id).is_some();
        let Some(known) = self.items.get_mut(&id) else {
            return so(seen.is_none(), || format!("{id} is {seen:?}, and should not be"));
        };
        let Some(seen) = seen else { return Err(format!("{id} is lost: {known:?}")) };
        let still = known.item < DONE || seen == known.item;
        let grows = base(seen) == known.base && seen >= known.item && still;
        so(grows, || format!("{id} is {seen}: {known:?}"))?;
        known.item = seen;
        let known = *known;
        if let Some((due, _)) = known.doomed {
            return so(at <= due + GRAIN, || format!("{id} should have left by {at:?}: {known:?}"));
        }
        // A predecessor's sync may take its time; a batch is begun at once.
        let by = match known.asked {
            None => known.born + TIMEOUT,
            Some(asked) => {
                let backoff = if failing { CAP } else { Duration::ZERO };
                asked + TIMEOUT + PERIOD + PERIOD / 16 + backoff
            }
        };
        so(seen >= DONE || runs || at <= by + GRAIN, || {
            format!("{id} is forgotten: {known:?} {at:?}")
        })
    }
}

fn run(steps: Vec<Step>) -> Check {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut model = Model::new();
        for (place, step) in steps.into_iter().enumerate() {
            let taken = model.take(step).await;
            taken.map_err(|why| format!("step {place}, {step:?}: {why}"))?;
        }
        model.tracking.close().await;
        so(model.owner.books().syncs_running == 0, || "a sync goes on".into())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_item_is_what_its_creator_and_its_owner_have_made_of_it(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        run(steps).map_err(TestCaseError::fail)?;
    }
}
