//! One call's instances: the first to try, and the others for its retries.

use std::sync::{Arc, Mutex};

use larder_cache::Time;

use super::lineup::Lineup;
use super::rota::Rota;
use super::strategy::Member;
use super::{Desk, lock};
use crate::model::Instance;

/// Whom one call may be sent to, as of the snapshot that it was selected from: one after the other until it
/// succeeds or the caller gives up. For the next call select anew.
#[derive(Debug)]
pub struct Selection {
    pub(super) desk: Arc<Desk>,
    pub(super) rota: Arc<Mutex<Rota>>,
    pub(super) view: u64,
    /// When it was made, and the first was picked: callers do not wait between the two.
    pub(super) at: Time,
    /// Never of nobody.
    pub(super) lineup: Arc<Lineup>,
    pub(super) tried: Vec<Arc<Instance>>,
}

impl Selection {
    /// Whom to try next. Nobody is tried twice while others remain; then they are all tried again, so the
    /// caller counts its retries.
    ///
    /// Those that are available in the own zone come first, in the way of the strategy; then the other
    /// available ones; then those that are marked, beginning with the one whose last failure was the
    /// longest ago.
    #[expect(clippy::should_implement_trait, reason = "an iterator would never end")]
    pub fn next(&mut self) -> Pick {
        let begun = if self.tried.is_empty() { self.at } else { self.desk.clock.now() };
        self.begin_anew_if_all_were_tried();
        let random = self.desk.throw_dice();
        let member = lock(&self.rota)
            .pick(self.view, &self.lineup, &self.tried, random)
            .expect("a lineup of somebody, of whom not all were tried");
        self.tried.push(member.instance.clone());
        Pick { member, begun, desk: self.desk.clone(), rota: self.rota.clone() }
    }

    /// How many instances there are to try.
    pub fn candidates(&self) -> usize {
        self.lineup.len()
    }

    fn begin_anew_if_all_were_tried(&mut self) {
        let count = self.lineup.len();
        if self.tried.len() >= count {
            // Not the same twice in a row, unless there is no other.
            self.tried.drain(..self.tried.len() - usize::from(count > 1));
        }
    }
}

/// An instance to send one request to, which counts as outstanding there until this is dropped.
///
/// Say how it went by [`succeeded`](Self::succeeded) or [`failed`](Self::failed). A pick that is merely
/// dropped, of a call that was cancelled say, tells nothing about the instance.
#[derive(Debug)]
#[must_use = "the request counts as outstanding only while this is held"]
pub struct Pick {
    member: Member,
    begun: Time,
    desk: Arc<Desk>,
    rota: Arc<Mutex<Rota>>,
}

impl Pick {
    /// The instance to send the request to.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.member.instance
    }

    /// The instance answered, whatever it said: an error of the application is an answer as well.
    pub fn succeeded(self) {
        lock(&self.rota).succeed(&self.member);
    }

    /// The request did not get there, or no answer came back: refused, reset, timed out while connecting.
    ///
    /// Only that. Whoever reports what the application answered as well will mark healthy instances, as
    /// go-micro's blacklist did until it was taken out.
    pub fn failed(self) {
        let now = self.desk.clock.now();
        lock(&self.rota).fail(&self.member, &self.desk.rules, self.begun, now);
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.member.load.end();
    }
}
