//! One scenario: a ring, what is asked of it, and what befalls it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use larder_cache::{Clock, Hands};
use larder_peers::{Group, GroupOptions, Hedge, HotCopy, Mode, Peer, Pool, PoolOptions};
use tokio::task::JoinSet;

use super::calls::Call;
use super::database::{Database, Mood};
use super::dice::Dice;
use super::history::{History, Record, millis};
use super::network::{Network, authority};

pub(super) const PEER_TIMEOUT: Duration = Duration::from_secs(1);
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);
const TOMBSTONE: Duration = Duration::from_secs(8);
/// What time it is when a scenario begins.
const EPOCH: u64 = 1_700_000_000_000;
/// How the nodes' clocks move.
const STEP: Duration = Duration::from_millis(20);
pub(super) const KEYS: usize = 3;
/// Retries back off for up to ten seconds.
const SETTLED: u64 = 40_000;

/// How the nodes' lists of peers relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    /// All have the same.
    Agree,
    /// All know everybody, by other names, and so see other owners.
    Differ,
    /// They change, and some lack somebody for a time.
    Change,
}

pub(super) struct Node {
    pub(super) life: u64,
    pub(super) pool: Pool,
    pub(super) group: Group<Database>,
    pub(super) is_full: bool,
    /// Its peers had other names before: who had missed a removal is waited for by a name that nobody has.
    pub(super) has_renamed: bool,
}

type AllHands = Arc<Mutex<Vec<Option<(Hands, i64)>>>>;

pub(super) struct Stage {
    mode: Mode,
    pub(super) lists: Lists,
    pub(super) second_owner: bool,
    hedges: bool,
    pub(super) is_ever_ill: bool,
    max_retries: usize,
    pub(super) network: Network,
    pub(super) history: History,
    dice: Dice,
    pub(super) nodes: Vec<Option<Node>>,
    hands: AllHands,
    calls: JoinSet<()>,
}

/// Lives it to the end.
pub(crate) async fn live(seed: u64, is_told: bool) -> Record {
    let mut dice = Dice::new(seed);
    let history = History::default();
    history.begin();
    let mode = [Mode::MailgunV2, Mode::Native, Mode::Native, Mode::GroupcacheGoV3, Mode::Golang]
        [dice.pick(5)];
    let lists = [Lists::Agree, Lists::Agree, Lists::Differ, Lists::Change][dice.pick(4)];
    let nodes = 3 + dice.pick(3);
    {
        let mut record = history.lock();
        (record.seed, record.is_told) = (seed, is_told);
        let least = [400, 3_000][dice.pick(2)];
        record.ttl = Duration::from_millis(least + dice.throw(5 * least));
        record.tombstone = TOMBSTONE;
        record.skew = [0, 500, 2_000][dice.pick(3)];
        record.renew_ahead = if dice.once_in(3) { record.ttl / 4 } else { Duration::ZERO };
        record.lives_of_a_copy = if mode == Mode::Golang { 2 } else { 1 };
    }
    let slowest = [0, 30][dice.pick(2)];
    let mut stage = Stage {
        mode,
        lists,
        second_owner: dice.once_in(3),
        hedges: dice.once_in(3),
        is_ever_ill: dice.once_in(2),
        max_retries: if dice.once_in(6) { 2 } else { 1_000 },
        network: Network::new(seed, nodes, slowest, history.clone()),
        history: history.clone(),
        dice,
        nodes: (0..nodes).map(|_| None).collect(),
        hands: Arc::new(Mutex::new((0..nodes).map(|_| None).collect())),
        calls: JoinSet::new(),
    };
    let second_owner = stage.second_owner;
    let about = format!("{nodes} nodes, {mode:?}, lists {lists:?}, second owner {second_owner}");
    stage.tell(|| about.clone());
    history.lock().about = about;
    let clocks = tokio::spawn(move_clocks(Arc::clone(&stage.hands)));
    for node in 0..nodes {
        stage.start(node);
    }
    for _ in 0..100 {
        stage.step().await;
    }
    stage.end().await;
    clocks.abort();
    drop(clocks.await);
    stage.tasks_end().await;
    drop(stage);
    std::mem::take(&mut *history.lock())
}

async fn move_clocks(hands: AllHands) {
    loop {
        tokio::time::sleep(STEP).await;
        for (hands, _) in hands.lock().unwrap().iter().flatten() {
            hands.advance(STEP);
        }
    }
}

impl Stage {
    fn tell(&self, what: impl FnOnce() -> String) {
        self.history.lock().tell(what);
    }

    fn now(&self) -> u64 {
        self.history.lock().now()
    }

    fn start(&mut self, node: usize) {
        let dialer = self.network.begin(node);
        let skew = self.any_skew();
        let (clock, hands) = Clock::by_hand((EPOCH + self.now()).wrapping_add_signed(skew));
        self.hands.lock().unwrap()[node] = Some((hands, skew));
        let options = PoolOptions {
            mode: self.mode,
            transport: Arc::new(dialer),
            second_owner: self.second_owner,
            peer_timeout: PEER_TIMEOUT,
            connections: 8,
            tombstone: TOMBSTONE,
            retry_for: Duration::from_secs(3_600),
            max_retries: self.max_retries,
            hedge: if self.hedges { Hedge::After(Duration::from_millis(40)) } else { Hedge::Off },
            clock: Some(clock),
            ..PoolOptions::default()
        };
        let pool = Pool::new(self.name(node), options).unwrap();
        let life = self.network.life(node);
        let database = Database { node, life, history: self.history.clone() };
        let (ttl, renew_ahead) = {
            let record = self.history.lock();
            (record.ttl, record.renew_ahead)
        };
        let options = GroupOptions {
            ttl,
            load_timeout: LOAD_TIMEOUT,
            renew_ahead,
            ..GroupOptions::default()
        };
        let group = pool.group("g", database, options).unwrap();
        pool.set_peers(self.peers(node, None)).unwrap();
        self.network.listen(node, pool.service());
        self.tell(|| format!("node {node} starts, its clock {skew} ms ahead"));
        self.nodes[node] = Some(Node { life, pool, group, is_full: true, has_renamed: false });
    }

    fn name(&self, node: usize) -> String {
        match self.mode {
            Mode::GroupcacheGoV3 => authority(node),
            _ => format!("http://{}", authority(node)),
        }
    }

    fn any_skew(&mut self) -> i64 {
        let most = self.history.lock().skew;
        i64::try_from(self.dice.throw(most + 1)).unwrap() - i64::try_from(most / 2).unwrap()
    }

    /// What `node` takes for the ring, perhaps without one other.
    fn peers(&mut self, node: usize, without: Option<usize>) -> Vec<Peer> {
        let all = (0..self.nodes.len()).filter(|other| Some(*other) != without);
        let all: Vec<_> = all.collect();
        let differ = self.lists == Lists::Differ;
        all.into_iter()
            .map(|other| {
                if !differ || other == node {
                    return Peer::new(self.name(other));
                }
                let alias = format!("10.{}.{}.{}:80", node, self.dice.throw(200), other + 1);
                let scheme = if self.mode == Mode::GroupcacheGoV3 { "" } else { "http://" };
                Peer::new(format!("{scheme}{alias}")).at(self.name(other))
            })
            .collect()
    }

    /// One call or one fault, and a pause.
    async fn step(&mut self) {
        match self.dice.throw(100) {
            0..30 => self.get(),
            30..40 => self.many_gets(),
            40..46 => self.get_many(),
            46..58 => self.remove(),
            58..70 => self.set(),
            _ => self.fault(),
        }
        let pause = [0, 0, 5, 30, 200, 900][self.dice.pick(6)];
        tokio::time::sleep(Duration::from_millis(pause)).await;
        self.look_whether_all_have_heard();
        while self.calls.try_join_next().is_some() {}
    }

    fn any_key(&mut self) -> Bytes {
        key_of("", self.dice.pick(KEYS))
    }

    /// A caller at any node, if that is up.
    fn call(&mut self, key: &Bytes) -> Option<Call> {
        let node = self.dice.pick(self.nodes.len());
        let there = self.nodes[node].as_ref()?;
        Some(Call::of(node, there, self, key.clone()))
    }

    fn get(&mut self) {
        let key = self.any_key();
        let patience = self.dice.once_in(2).then(|| self.dice.throw(1_500));
        let Some(call) = self.call(&key) else { return };
        self.calls.spawn(call.get(patience.map(Duration::from_millis)));
    }

    /// Ten callers of one key, at as many places.
    fn many_gets(&mut self) {
        let key = self.any_key();
        for _ in 0..10 {
            let Some(call) = self.call(&key) else { continue };
            self.calls.spawn(call.get(None));
        }
    }

    fn get_many(&mut self) {
        let key = self.any_key();
        let Some(call) = self.call(&key) else { return };
        self.calls.spawn(call.get_many());
    }

    fn remove(&mut self) {
        let key = self.any_key();
        let Some(call) = self.call(&key) else { return };
        self.calls.spawn(call.remove());
    }

    fn set(&mut self) {
        let key = self.any_key();
        let ttl = [1, 4_000, 1_000_000_000][self.dice.pick(3)];
        let copy = if self.dice.once_in(2) { HotCopy::Keep } else { HotCopy::Drop };
        let Some(call) = self.call(&key) else { return };
        let wall = self.wall(call.node);
        self.calls.spawn(call.set(Duration::from_millis(ttl), wall, copy));
    }

    /// The time of day, as a node sees it.
    fn wall(&self, node: usize) -> u64 {
        let skew = self.hands.lock().unwrap()[node].as_ref().map_or(0, |(_, skew)| *skew);
        (EPOCH + self.now()).wrapping_add_signed(skew)
    }

    fn fault(&mut self) {
        let (one, other) = (self.dice.pick(self.nodes.len()), self.dice.pick(self.nodes.len()));
        match self.dice.throw(12) {
            0 => self.partition(one, &[other]),
            1 => {
                let all: Vec<_> = (0..self.nodes.len()).collect();
                self.partition(one, &all);
            }
            2 => {
                self.count("links cut one way", || format!("{one} does not reach {other}"));
                self.network.set_link(one, other, |link| link.open = false);
            }
            3 => {
                let delay = Duration::from_millis(self.dice.throw(1_500));
                self.count("slow links", || format!("{one} to {other} takes {delay:?}"));
                self.network.set_link(one, other, |link| link.delay = delay);
            }
            4 => {
                self.count("lossy links", || format!("{one} to {other} loses"));
                self.network.set_link(one, other, |link| link.loses = 3);
            }
            5 | 6 => {
                self.tell(|| "the network is healed".to_owned());
                self.network.heal();
            }
            7 | 8 => self.restart(one),
            9 => self.turn_clock(one),
            10 => self.change_mood(),
            _ => self.change_lists(one, other),
        }
    }

    fn count(&self, what: &'static str, tell: impl FnOnce() -> String) {
        let mut record = self.history.lock();
        record.count(what);
        record.tell(tell);
    }

    fn partition(&self, one: usize, others: &[usize]) {
        self.count("partitions", || format!("{one} and {others:?} are apart"));
        for other in others.iter().filter(|other| **other != one) {
            self.network.set_link(one, *other, |link| link.open = false);
            self.network.set_link(*other, one, |link| link.open = false);
        }
    }

    /// Ends a node, which loses everything, or begins its next life.
    fn restart(&mut self, node: usize) {
        if self.nodes[node].is_none() {
            return self.start(node);
        }
        self.count("crashes", || format!("node {node} crashes"));
        self.network.crash(node);
        self.nodes[node] = None;
        self.hands.lock().unwrap()[node] = None;
    }

    fn turn_clock(&mut self, node: usize) {
        let skew = self.any_skew();
        let ahead = self.dice.once_in(3).then(|| Duration::from_millis(self.dice.throw(30_000)));
        let wall = (EPOCH + self.now()).wrapping_add_signed(skew);
        let mut hands = self.hands.lock().unwrap();
        let Some((hands, was)) = &mut hands[node] else { return };
        if let Some(ahead) = ahead {
            hands.advance(ahead);
            self.history.lock().jumped(node);
        }
        hands.set_wall(wall);
        *was = skew;
        self.count("clocks that were set", || {
            format!("node {node} jumps {ahead:?}, its clock is {skew} ms ahead")
        });
    }

    fn change_mood(&mut self) {
        if self.is_ever_ill {
            let mood = [Mood::Well, Mood::Slow, Mood::Failing][self.dice.pick(3)];
            self.count("moods", || format!("the database is {mood:?}"));
            self.history.lock().mood = mood;
        }
    }

    fn change_lists(&mut self, node: usize, without: usize) {
        if self.lists == Lists::Agree || self.nodes[node].is_none() {
            return;
        }
        let lacks = self.lists == Lists::Change && without != node && self.dice.once_in(2);
        let peers = self.peers(node, lacks.then_some(without));
        self.history.lock().list_changed(node);
        self.count("changed lists", || format!("node {node} has the list {peers:?}"));
        if let Some(there) = &mut self.nodes[node] {
            there.is_full = !lacks;
            there.has_renamed |= self.lists == Lists::Differ;
            there.pool.set_peers(peers).unwrap();
        }
    }

    fn look_whether_all_have_heard(&self) {
        for (node, there) in self.nodes.iter().enumerate() {
            let Some(there) = there else { continue };
            let retries = there.pool.retries();
            let mut record = self.history.lock();
            if retries.pending > self.max_retries {
                record.violated(format!("node {node} has {retries:?}"));
            }
            if retries.pending == 0 && retries.given_up == 0 {
                record.all_heard(node, there.life);
            }
        }
    }

    /// Everything is well again: everybody hears, and each key is loaded once.
    async fn end(&mut self) {
        self.tell(|| "the end begins".to_owned());
        self.network.heal();
        self.history.lock().mood = Mood::Well;
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_none() {
                self.start(node);
            }
            if self.lists == Lists::Change {
                self.history.lock().list_changed(node);
                let peers = self.peers(node, None);
                let there = self.nodes[node].as_mut().unwrap();
                there.pool.set_peers(peers).unwrap();
                there.is_full = true;
            }
        }
        while self.calls.join_next().await.is_some() {}
        let since = self.now();
        let has_more = |there: &Node| there.pool.retries().pending > 0;
        while self.nodes.iter().flatten().any(has_more) {
            if self.now() > since + SETTLED {
                let mut others = self.nodes.iter().flatten().filter(|there| !there.has_renamed);
                if others.any(has_more) {
                    self.history.lock().violated("somebody never hears of a removal".to_owned());
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.look_whether_all_have_heard();
        self.read_all("").await;
        // By now whoever rested has been tried again, in the reading of keys that nobody has.
        for round in 0..12 {
            self.read_all(&format!("probe-{round}-")).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        if self.nodes.iter().flatten().any(|there| !there.pool.resting().is_empty()) {
            self.history.lock().violated("a peer that is well is left alone".to_owned());
        }
        let lasts = {
            let record = self.history.lock();
            // What expires before it has arrived, by the clock there, is loaded there as well.
            millis(record.ttl) > 2 * record.skew + 1_000
        };
        if lasts {
            self.each_is_loaded_once().await;
        }
        self.close().await;
    }

    /// Every node reads every key.
    async fn read_all(&mut self, prefix: &str) {
        for n in 0..KEYS {
            let key = key_of(prefix, n);
            for (node, there) in self.nodes.iter().enumerate() {
                let Some(there) = there else { continue };
                self.calls.spawn(Call::of(node, there, self, key.clone()).get(None));
            }
        }
        while self.calls.join_next().await.is_some() {}
    }

    async fn each_is_loaded_once(&mut self) {
        let most = if self.lists == Lists::Differ { self.nodes.len() as u64 } else { 1 };
        for round in 0..3 {
            let key = |n| key_of("once-", n);
            let before: Vec<_> = (0..KEYS).map(|n| self.history.lock().loads_of(&key(n))).collect();
            self.read_all("once-").await;
            for (n, before) in before.into_iter().enumerate() {
                let loads = self.history.lock().loads_of(&key(n)) - before;
                if loads == 0 || loads > most {
                    let what = format!("round {round}: {:?} was loaded {loads} times", key(n));
                    self.history.lock().violated(what);
                }
            }
            if !self.mode.can_write() {
                return;
            }
            for n in 0..KEYS {
                let node = self.dice.pick(self.nodes.len());
                let there = self.nodes[node].as_ref().unwrap();
                let call = Call::of(node, there, self, key(n));
                call.remove().await;
            }
        }
    }

    async fn close(&mut self) {
        for there in self.nodes.iter_mut().filter_map(Option::take) {
            there.group.close().await;
            there.pool.close().await;
        }
    }

    /// Those of nodes that have crashed have ended as well.
    async fn tasks_end(&self) {
        for node in 0..self.nodes.len() {
            self.network.forget_service(node);
        }
        let metrics = tokio::runtime::Handle::current().metrics();
        for _ in 0..300 {
            if metrics.num_alive_tasks() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let left = metrics.num_alive_tasks();
        self.history.lock().violated(format!("{left} tasks have not ended"));
    }
}

/// Mailgun's ring has long runs of one owner: keys that are far from each other.
pub(super) fn key_of(prefix: &str, n: usize) -> Bytes {
    let far = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Bytes::from(format!("{prefix}{far:x}"))
}
