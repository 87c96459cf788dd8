//! Turns at the connections: each query that waits for news holds one, and there may be more keys to keep than
//! connections.
//!
//! While there are enough, a query waits for as long as it may. Once somebody is left without one, all waits
//! become short, so that every key is asked about every few seconds; queries that began with a long wait are
//! cut once they have had as much as the others get, one after the other: what is cut closes its connection, and
//! an agent counts it until it has noticed. Turns are given in the order in which they were wanted.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use larder_cache::{Clock, Time};
use tokio::sync::{Semaphore, SemaphorePermit, watch as progress};

/// How long it should take until each key has had its turn.
const ROUND: Duration = Duration::from_secs(4);

/// The shortest turn, however many want one: below it, agents would do nothing but answer that nothing has
/// changed. With 112 connections that holds a round for some 4,500 keys; beyond that, rounds become longer.
const SHORTEST: Duration = Duration::from_millis(100);

/// For how long one of `contenders` may hold one of `places`, if it could use `wanted`.
pub(super) fn turn(places: usize, contenders: usize, wanted: Duration) -> Duration {
    if contenders <= places {
        return wanted;
    }
    let ratio = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    ROUND.mul_f64(ratio(places) / ratio(contenders)).max(SHORTEST).min(wanted)
}

/// How soon who has held a place for so long gives it to those who wait for one. `lot`, from 0 to 1, is where
/// they are in the row of all who hold one.
fn leaves_in(turn: Duration, held: Duration, lot: f64) -> Duration {
    turn.saturating_sub(held).max(turn.mul_f64(lot))
}

/// The lot of the turn of this number: those of any few in a row lie far from each other.
fn lot(number: u32) -> f64 {
    const GOLDEN: u32 = 0x9E37_79B9;
    f64::from(number.wrapping_mul(GOLDEN)) / f64::from(u32::MAX)
}

/// Gives turns.
#[derive(Debug)]
pub(super) struct Turns {
    places: Semaphore,
    count: usize,
    /// Who holds a place or waits for one.
    contenders: AtomicUsize,
    /// How many wait for one.
    waiting: progress::Sender<usize>,
    /// How many turns were given.
    given: AtomicU32,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    began_at: Time,
    lot: f64,
    _place: SemaphorePermit<'a>,
    _contender: Contender<'a>,
}

/// Somebody who holds a place or waits for one.
#[derive(Debug)]
struct Contender<'a>(&'a Turns);

/// Somebody who waits for a place.
struct Waiting<'a>(&'a Turns);

impl Turns {
    /// With so many places; at least one.
    pub(super) fn new(places: usize) -> Self {
        let count = places.max(1);
        Self {
            places: Semaphore::new(count),
            count,
            contenders: AtomicUsize::new(0),
            waiting: progress::Sender::new(0),
            given: AtomicU32::new(0),
        }
    }

    /// Waits for a place, behind everyone who waits already.
    ///
    /// Cancel-safe: who gives up has taken nothing, and is not counted any more.
    pub(super) async fn take(&self, clock: &Clock) -> Turn<'_> {
        self.contenders.fetch_add(1, Ordering::Relaxed);
        let contender = Contender(self);
        let place = if let Ok(place) = self.places.try_acquire() {
            place
        } else {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let _waiting = Waiting(self);
            match self.places.acquire().await {
                Ok(place) => place,
                // It is never closed.
                Err(_) => std::future::pending().await,
            }
        };
        let lot = lot(self.given.fetch_add(1, Ordering::Relaxed));
        Turn { turns: self, began_at: clock.now(), lot, _place: place, _contender: contender }
    }

    fn turn(&self, wanted: Duration) -> Duration {
        turn(self.count, self.contenders.load(Ordering::Relaxed), wanted)
    }
}

impl Turn<'_> {
    /// For how long to wait for news, if it could be for `wanted`.
    pub(super) fn wait(&self, wanted: Duration) -> Duration {
        self.turns.turn(wanted)
    }

    /// Returns once the place is wanted by others, and was held for as long as they will hold theirs.
    pub(super) async fn is_over(&self, clock: &Clock, wanted: Duration) {
        let mut waiting = self.turns.waiting.subscribe();
        loop {
            // The sender is the turns', which outlive this.
            let _ = waiting.wait_for(|waiting| *waiting > 0).await;
            let held = clock.now().since(self.began_at);
            tokio::time::sleep(leaves_in(self.turns.turn(wanted), held, self.lot)).await;
            if *waiting.borrow() > 0 {
                return;
            }
        }
    }
}

impl Drop for Contender<'_> {
    fn drop(&mut self) {
        self.0.contenders.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_has_a_place_to_himself_waits_as_long_as_he_likes() {
        assert_eq!(turn(112, 112, LONG), LONG);
        assert!(turn(112, 113, LONG) <= ROUND);
    }

    #[test]
    fn the_more_want_a_place_the_shorter_each_turn_until_it_is_as_short_as_it_gets() {
        assert_eq!(turn(100, 400, LONG), Duration::from_secs(1));
        assert_eq!(turn(100, 4_000, LONG), SHORTEST);
        assert_eq!(turn(100, 400_000, LONG), SHORTEST);
        assert_eq!(turn(1, 2, Duration::from_millis(7)), Duration::from_millis(7));
    }

    proptest! {
        #[test]
        fn everyone_has_a_turn_within_a_round_unless_turns_are_at_their_shortest(
            places in 1_usize..200, contenders in 1_usize..100_000,
        ) {
            let one = turn(places, contenders, LONG);
            prop_assert!(one <= LONG);
            if contenders > places && one > SHORTEST {
                let rounds = f64::from(u32::try_from(contenders).unwrap()) / f64::from(u32::try_from(places).unwrap());
                prop_assert!(one.mul_f64(rounds) <= ROUND + Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn places_are_left_one_after_the_other_and_none_before_it_was_held_for_a_turn() {
        let (turn, half) = (Duration::from_secs(4), Duration::from_secs(2));
        assert_eq!(leaves_in(turn, half, 0.1), half);
        assert_eq!(leaves_in(turn, half, 0.75), Duration::from_secs(3));
        let mut lots: Vec<f64> = (1_000..1_112).map(lot).collect();
        lots.sort_by(f64::total_cmp);
        let widest = lots.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(widest < 0.02, "they come evenly: {widest}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_ends_when_others_want_the_place_and_have_waited_for_it() {
        let (turns, clock) = (Arc::new(Turns::new(1)), Clock::running());
        let first = turns.take(&clock).await;
        assert_eq!(first.wait(LONG), LONG);
        tokio::time::sleep(Duration::from_secs(30)).await;
        let second = tokio::spawn({
            let (turns, clock) = (turns.clone(), clock.clone());
            async move { turns.take(&clock).await.wait(LONG) }
        });
        let asked = clock.now();
        first.is_over(&clock, LONG).await;
        assert!(clock.now().since(asked) <= ROUND, "it had had its turn");
        drop(first);
        assert_eq!(second.await.expect("it got a place"), LONG, "it is alone again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_is_not_waited_for() {
        let (turns, clock) = (Turns::new(1), Clock::running());
        let first = turns.take(&clock).await;
        let second = tokio::time::timeout(Duration::from_secs(1), turns.take(&clock)).await;
        assert!(second.is_err());
        assert_eq!(first.wait(LONG), LONG);
        let over = tokio::time::timeout(LONG, first.is_over(&clock, LONG)).await;
        assert!(over.is_err(), "nobody wants the place");
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_the_order_in_which_they_were_wanted() {
        let (turns, clock) = (Arc::new(Turns::new(1)), Clock::running());
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let first = turns.take(&clock).await;
        let mut tasks = Vec::new();
        for name in 0..5 {
            let (turns, clock, told) = (turns.clone(), clock.clone(), told.clone());
            tasks.push(tokio::spawn(async move {
                let _turn = turns.take(&clock).await;
                told.lock().expect("nobody panicked").push(name);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.expect("it had its turn");
        }
        assert_eq!(*told.lock().expect("nobody panicked"), [0, 1, 2, 3, 4]);
    }
}
