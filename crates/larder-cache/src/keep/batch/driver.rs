//! The driver: the one task of a cache that says which keys are fetched together, and when.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::{Time, millis};
use crate::engine::Engine;
use crate::entry::Entry;
use crate::keep::batch::FetchMany;
use crate::keep::batch::desk::{Desk, Phase};
use crate::keep::batch::division::Division;
use crate::keep::batch::flight::Flight;
use crate::keep::batch::plan::{Divide, Plan};
use crate::keep::batch::schedule::Lane;
use crate::keep::batch::seating::{Facts, RowOf, counts, due, entry_of, jittered, seat};
use crate::pace::Bucket;
use crate::standing::Turn;
use crate::stats::Event;
use crate::sync::{sleep, yield_now};
use crate::upstream::spread;

/// The most keys that are divided into batches at a time.
const DIVIDED: usize = 10_000;
/// The most that are let go before batches get a turn.
const LET_GO: usize = 1_000;

pub(crate) struct Driver<S: FetchMany> {
    pub(super) engine: Arc<Engine<S>>,
    pub(super) desk: Arc<Desk<S::Key, S::Value>>,
    pub(super) plan: Arc<Plan<S>>,
    /// Of the two lanes.
    buckets: [Bucket; 2],
    /// Whose turn it is if both lanes have something: new keys cannot starve the others, nor the others
    /// them.
    turn: Lane,
    began_at: Time,
    /// When a fault of the division was last logged.
    complained_at: Option<Time>,
    /// When it was last looked whether the plan keeps up, and whether it does not.
    weighed_at: Time,
    overloaded: bool,
}

const SECOND: Duration = Duration::from_secs(1);
/// One complaint a minute is enough.
const COMPLAINT: Duration = Duration::from_secs(60);

impl<S: FetchMany> Driver<S> {
    pub(crate) fn new(
        engine: Arc<Engine<S>>,
        desk: Arc<Desk<S::Key, S::Value>>,
        plan: Plan<S>,
    ) -> Self {
        let buckets = [Bucket::new(plan.rate), Bucket::new(plan.first.rate())];
        let began_at = engine.clock.now();
        let (plan, turn) = (Arc::new(plan), Lane::Refresh);
        Self {
            engine,
            desk,
            plan,
            buckets,
            turn,
            began_at,
            complained_at: None,
            weighed_at: began_at,
            overloaded: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let (engine, desk) = (Arc::clone(&self.engine), Arc::clone(&self.desk));
        let (tasks, turned) = (&engine.tasks, engine.upstream.turned());
        let mut turns = turned.version();
        while !tasks.is_closing() {
            let seen = desk.changed.version();
            let pause = match desk.phase() {
                Phase::Waiting => {
                    // Or else the changes would pile up.
                    self.settle_changes();
                    self.sweep_stale_rows();
                    None
                }
                Phase::Draining if desk.batches() > 0 => None,
                Phase::Draining | Phase::Over => break,
                Phase::Running => {
                    if turned.version() != turns {
                        turns = turned.version();
                        if !engine.upstream.is_down() {
                            self.hasten_failed();
                        }
                    }
                    self.settle_changes();
                    self.sweep_stale_rows();
                    self.weigh_load();
                    self.let_go(LET_GO, engine.clock.now());
                    let next = [self.start_batches(), desk.schedule().next_leaving()];
                    let next = next.into_iter().flatten().min();
                    next.map(|next| next.since(engine.clock.now()))
                }
            };
            // Cancel-safe: all four take nothing.
            tokio::select! {
                biased;
                () = tasks.closing() => {}
                () = desk.changed.past(seen) => {}
                () = turned.past(turns) => {}
                () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
            // A schedule that is always behind must not keep a thread to itself.
            yield_now().await;
        }
        if !tasks.is_closing() {
            // Those that were to leave at the next tick have no other one.
            self.settle_changes();
            self.let_go(usize::MAX, Time::MAX);
        }
    }

    /// Lets items go that are doomed, or were terminal for long enough. That takes no token and no place
    /// among the batches, and does not ask the upstream, so it waits for none of these.
    fn let_go(&self, most: usize, until: Time) {
        let rows = self.desk.schedule().take_leaving(most, until);
        for row in rows {
            self.see_off(row, self.engine.clock.now());
        }
    }

    /// The upstream is back: what failed is asked for again within a second.
    fn hasten_failed(&self) {
        let (engine, now) = (&*self.engine, self.engine.clock.now());
        let failed = self.desk.schedule().take_failed();
        for key in failed {
            let turn = spread(engine.throw_dice(&key, now.as_millis()));
            let shard = engine.slots.shard(&key);
            let entry = engine.store.peek(&key);
            if let Some(entry) = &entry
                && let Turn::Queued(_) = entry.standing().turn()
                && !(entry.standing().is_doomed() || entry.standing().is_terminal())
            {
                let (row, at) = ((key, Entry::clone(entry)), now.after(turn));
                let mut schedule = self.desk.schedule();
                let ticket = schedule.queue(row, at);
                // Of the two rows one does not count, be it that the entry has left this moment.
                entry.standing().set(Turn::Queued(ticket));
                schedule.strike();
            }
            drop(shard);
            engine.let_fall(entry);
        }
    }

    /// Finds a place for every key that is new, or has a new value.
    fn settle_changes(&mut self) {
        let changes = self.desk.schedule().take_changes();
        for key in changes {
            let now = self.engine.clock.now();
            let Some(seen) = self.engine.store.peek(&key) else { continue };
            let due = due(&self.engine, &self.plan, &key, seen.value(), now);
            let mut aftermath = Aftermath::new();
            let shard = self.engine.slots.shard(&key);
            let entry = self.engine.store.peek(&key);
            if let Some(entry) = &entry {
                let tokens = self.buckets[Lane::First as usize].tokens(self.plan.every, now);
                let room = tokens.saturating_mul(self.plan.size);
                let first =
                    self.plan.first.is_at_once() && self.desk.schedule().waiting_first() < room;
                let tick = self.tick(now);
                seat(
                    &self.engine,
                    &self.desk,
                    &key,
                    entry,
                    &Facts { landed: false, failed: false, due, tick, first, now },
                );
            }
            aftermath.hold(entry);
            aftermath.hold(Some(seen));
            drop(shard);
            aftermath.settle_guarded(&self.engine);
        }
    }

    /// When the doomed leave: at the next whole period since the beginning.
    fn tick(&self, now: Time) -> Time {
        let every = millis(self.plan.every).max(1);
        let ticks = now.since(self.began_at).as_millis() / u128::from(every) + 1;
        self.began_at.after(Duration::from_millis(
            every.saturating_mul(u64::try_from(ticks).unwrap_or(u64::MAX)),
        ))
    }

    fn sweep_stale_rows(&self) {
        let engine = &*self.engine;
        if !self.desk.schedule().is_littered(engine.store.len()) {
            return;
        }
        // Not under the schedule's lock: a shard comes first.
        let rows = self.desk.schedule().take_all();
        let (rows, stale): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(.., row)| {
            let shard = engine.slots.shard(&row.key);
            let entry = entry_of(engine, row);
            drop(shard);
            let counts = entry.is_some();
            engine.let_fall(entry);
            counts
        });
        self.desk.schedule().put_back(rows, stale.len());
        engine.let_fall(stale);
    }

    /// Warns once when the plan no longer keeps up with what there is to refresh.
    fn weigh_load(&mut self) {
        let now = self.engine.clock.now();
        if !self.plan.tracks || now.since(self.weighed_at) < SECOND {
            return;
        }
        self.weighed_at = now;
        let capacity = self.desk.capacity(self.engine.store.len());
        if capacity.keeps_up() {
            // Not at every swing around the limit.
            self.overloaded &= capacity.needed_per_second > 0.8 * capacity.possible_per_second;
        } else if !std::mem::replace(&mut self.overloaded, true) {
            tracing::warn!(
                needed_per_second = capacity.needed_per_second,
                possible_per_second = capacity.possible_per_second,
                "more items are tracked than can be refreshed within their period: raise the rate, the \
                 size of the batches, the workers or the period"
            );
        }
    }

    /// Starts as many batches as may be; says when there may be more, if time alone decides that.
    fn start_batches(&mut self) -> Option<Time> {
        // Whoever is let in while the upstream is down is its probe. What has left uses up none.
        let mut is_let_in = false;
        while self.desk.batches() < self.plan.parallel {
            let now = self.engine.clock.now();
            let lane = match self.ready_lane(now) {
                Ok(lane) => lane,
                Err(until) => return until,
            };
            if !is_let_in && let Err(until) = self.engine.upstream.enter(now) {
                return Some(until);
            }
            is_let_in = true;
            let rows = self.draw(lane, now);
            // What is due lies all over the memory. Looked at in one go, the entries come from there
            // many at a time, and are at hand when they board.
            let count = rows.iter().filter(|row| counts(row)).count();
            let mut passengers = Vec::with_capacity(count);
            passengers.extend(rows.into_iter().filter_map(|row| self.board(row, now)));
            if passengers.is_empty() {
                continue;
            }
            is_let_in = false;
            self.buckets[lane as usize].take(now);
            self.turn = lane.other();
            let (engine, desk) = (Arc::clone(&self.engine), Arc::clone(&self.desk));
            let flight = Flight::take_off(engine, desk, Arc::clone(&self.plan), passengers);
            self.engine.tasks.spawn(flight.fly());
        }
        None
    }

    /// The lane whose next batch may begin, or when there may be one.
    fn ready_lane(&self, now: Time) -> Result<Lane, Option<Time>> {
        let schedule = self.desk.schedule();
        let mut soonest = schedule.next().filter(|next| *next > now);
        for lane in [self.turn, self.turn.other()] {
            if schedule.is_due(lane, now) {
                let at = self.buckets[lane as usize].next();
                if at <= now {
                    return Ok(lane);
                }
                soonest = Some(soonest.map_or(at, |soonest| soonest.min(at)));
            }
        }
        Err(soonest)
    }

    /// The rows of the next batch.
    fn draw(&mut self, lane: Lane, now: Time) -> Vec<RowOf<S>> {
        let mut schedule = self.desk.schedule();
        if let Some(planned) = schedule.next_planned(lane) {
            return planned;
        }
        let Some(divide) = self.plan.divide.clone() else {
            return schedule.take(lane, self.plan.size, now);
        };
        let since = schedule.next().unwrap_or(now);
        let rows = schedule.take(lane, DIVIDED, now);
        drop(schedule);
        let batches = self.divided(&divide, rows, now);
        let mut schedule = self.desk.schedule();
        schedule.plan(lane, batches, since);
        schedule.next_planned(lane).unwrap_or_default()
    }

    /// Has the user's function divide what is due. What it drops is due again a period later.
    fn divided(
        &mut self,
        divide: &Divide<S>,
        rows: Vec<RowOf<S>>,
        now: Time,
    ) -> Vec<Vec<RowOf<S>>> {
        let engine = Arc::clone(&self.engine);
        let (mut due, mut entries, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            match entry_of(&engine, &row) {
                Some(entry) if !entry.standing().is_doomed() && !entry.standing().is_terminal() => {
                    due.push(row);
                    entries.push(entry);
                }
                // Not to be fetched; boarding sees to it.
                Some(_) => leaving.push(row),
                None => {
                    self.desk.schedule().dropped_stale();
                    engine.let_fall(Some(row));
                }
            }
        }
        let keys: Vec<S::Key> = due.iter().map(|row| row.key.clone()).collect();
        let seen: Vec<_> = keys.iter().zip(entries.iter().map(|entry| entry.value())).collect();
        // Unwind-safe: it is lent what it cannot change.
        let divide = || if seen.is_empty() { Vec::new() } else { divide(&seen) };
        let batches = catch_unwind(AssertUnwindSafe(divide)).unwrap_or_default();
        let division = Division::read(&keys, batches);
        if division.mistakes() > 0 {
            self.complain(&division, now);
        }
        for &place in &division.dropped {
            let at = now.after(jittered(&engine, &keys[place], self.plan.every, now));
            self.requeue(&due[place], at);
        }
        let row = |place: usize| due[place].clone();
        let batches = division.batches.into_iter();
        let batches = batches.map(|batch| batch.into_iter().map(row).collect());
        batches.chain((!leaving.is_empty()).then_some(leaving)).collect()
    }

    fn complain(&mut self, division: &Division, now: Time) {
        self.engine.counters.add(Event::Misdivided, division.mistakes());
        if self.complained_at.is_none_or(|at| at.after(COMPLAINT) <= now) {
            self.complained_at = Some(now);
            tracing::warn!(
                dropped = division.dropped.len(),
                doubled = division.doubled,
                invented = division.invented,
                "the function that divides due keys into batches must name each of them once: what it \
                 drops is asked about a period later"
            );
        }
    }

    /// A row goes back to the calendar.
    fn requeue(&self, row: &RowOf<S>, at: Time) {
        let shard = self.engine.slots.shard(&row.key);
        let entry = entry_of(&self.engine, row);
        match &entry {
            Some(entry) => self.queue_again(&row.key, entry, at),
            None => self.desk.schedule().dropped_stale(),
        }
        drop(shard);
        self.engine.let_fall(entry);
    }

    /// Gives an entry whose row has come up another one.
    pub(super) fn queue_again(&self, key: &S::Key, entry: &Entry<S::Value>, at: Time) {
        let ticket = self.desk.schedule().queue((key.clone(), Entry::clone(entry)), at);
        // If it has left this moment, whoever took it out strikes one row: this one then.
        entry.standing().set(Turn::Queued(ticket));
    }
}

impl<S: FetchMany> Drop for Driver<S> {
    fn drop(&mut self) {
        self.desk.enter(Phase::Over);
        // Nothing comes up any more, so no item is kept alive by its row.
        let rows = self.desk.schedule().clear();
        self.engine.let_fall(rows);
    }
}
