//! The chaos run: etcd is killed, frozen, compacted, emptied and set back, and the line to it cut, stalled,
//! refused and muted, under twenty readers. They never get an error, nor an empty or a torn list, and
//! soon after it is over everything is as it is behind.
//!
//! It runs here, and not with the whole program, because what must hold is what `RegistryCache`, `Mirror`
//! and `Guarded` make of this backend; the program adds none of its own to that. The short form has short
//! time-outs, and outages that outlast each of them; `LARDER_CHAOS=long` has production's, and a minute. How
//! soon is measured by `pace`, so that a busy machine fails nothing.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../etcd/support.rs"]
mod support;

mod pace;
mod proxy;
mod stage;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use larder_registry::guard::Mode;
use tokio::sync::{Semaphore, SemaphorePermit};

use proxy::Line;
use stage::{CONVERGED, Stage, absence, call_timeout, is_long, outage};

/// Two at a time, however many processors there are: each of them measures how long something takes.
async fn room() -> SemaphorePermit<'static> {
    static ROOM: Semaphore = Semaphore::const_new(2);
    ROOM.acquire().await.expect("it is never closed")
}

/// Asserts that what was just written is seen in time.
async fn assert_converges(stage: &mut Stage, within: Duration, after: &str) {
    let took = stage.converged().await;
    eprintln!("after {after}: converged in {took:?}");
    assert!(took.fair <= within, "after {after}: {took:?}, and not {within:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_killed_and_comes_back_on_its_data() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    for outage in [Duration::from_millis(300), outage()] {
        let since = stage.now();
        stage.server.kill();
        stage.pass(outage).await;
        // A short one may be over before it is noticed on a busy machine.
        if outage > Duration::from_secs(1) {
            stage.assert_older_than(outage / 2).await;
        }
        stage.server.restart().await;
        stage.write();
        assert_converges(&mut stage, CONVERGED, &format!("a kill and {outage:?}")).await;
        stage.assert_trickle(since, 10);
    }
    stage.end("killed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_frozen_for_longer_than_every_time_out() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    let since = stage.now();
    stage.server.freeze();
    stage.pass(outage()).await;
    // It is noticed after the idle time-out, and then since when it was.
    stage.assert_older_than(outage() / 4).await;
    stage.assert_trickle(since, 10);
    stage.server.thaw();
    stage.write();
    assert_converges(&mut stage, CONVERGED, "the thaw").await;
    stage.end("frozen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_compacted_under_watches_that_run_and_that_broke_off() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    for _ in 0..5 {
        stage.write();
        stage.server.compact();
        stage.write();
        assert_converges(&mut stage, CONVERGED, "a compaction").await;
    }
    for _ in 0..3 {
        stage.turn(Line::Refuses);
        stage.write();
        stage.write();
        stage.server.compact();
        stage.pass(Duration::from_millis(700)).await;
        stage.turn(Line::Passes);
        assert_converges(&mut stage, CONVERGED, "a compaction during a break").await;
        // What was just listed is forgotten before the watches from there have begun.
        stage.write();
        stage.server.compact();
        assert_converges(&mut stage, CONVERGED, "another one at once").await;
    }
    stage.end("compacted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_is_cut_again_and_again() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    let (since, cuts) = (stage.now(), if is_long() { 100 } else { 12 });
    for cut in 0..cuts {
        stage.cut();
        if cut % 3 == 0 {
            stage.write();
        }
        stage.pass(Duration::from_millis(250)).await;
    }
    stage.assert_trickle(since, cuts + 10);
    stage.write();
    assert_converges(&mut stage, CONVERGED, "the last cut").await;
    stage.end("cut").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_stalls_and_all_of_it_arrives_late() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    let since = stage.now();
    stage.turn(Line::Stalls);
    for _ in 0..4 {
        stage.write();
        stage.pass(outage() / 4).await;
    }
    stage.assert_older_than(outage() / 4).await;
    stage.assert_trickle(since, 10);
    stage.turn(Line::Passes);
    stage.write();
    assert_converges(&mut stage, CONVERGED, "the stall").await;
    stage.turn(Line::Slow(Duration::from_millis(20)));
    stage.write();
    assert_converges(&mut stage, CONVERGED, "a slow line").await;
    stage.end("stalled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_is_mute_and_what_it_carried_stays_dead() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    let since = stage.now();
    stage.turn(Line::Mute);
    stage.pass(outage()).await;
    stage.assert_older_than(outage() / 4).await;
    stage.assert_trickle(since, 10);
    stage.turn(Line::Passes);
    stage.write();
    // That what was opened last is dead is only known when its call is late.
    assert_converges(&mut stage, CONVERGED + call_timeout(), "the silence").await;
    stage.end("mute").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_refuses_is_tried_about_once_a_second_and_not_in_step() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    stage.turn(Line::Refuses);
    stage.pass(Duration::from_secs(1)).await;
    let since = stage.now();
    stage.pass(Duration::from_secs(if is_long() { 60 } else { 6 })).await;
    for (proxy, since) in stage.proxies().into_iter().zip(since) {
        let accepted = proxy.accepted_since(since);
        let gaps: Vec<u64> = accepted.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        let fair: Vec<_> =
            accepted.windows(2).map(|pair| pair[1].fair.saturating_sub(pair[0].fair)).collect();
        eprintln!("refused: tried after {gaps:?} ms, {fair:?} on an idle machine");
        assert!(fair.iter().all(|gap| *gap <= Duration::from_millis(1_500)), "{fair:?}");
        // One that is accepted late makes the gap before it longer, and the one after it shorter.
        let count = u64::try_from(gaps.len()).expect("a few");
        assert!(gaps.iter().sum::<u64>() >= 700 * count && count >= 3, "{gaps:?}");
        assert!(gaps.iter().all(|gap| *gap >= 400), "{gaps:?}");
        assert!(gaps.iter().max().unwrap_or(&0) - gaps.iter().min().unwrap_or(&0) > 5, "{gaps:?}");
    }
    stage.turn(Line::Passes);
    stage.write();
    assert_converges(&mut stage, CONVERGED, "the refusal").await;
    stage.end("refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_comes_back_empty_and_services_vanish_whole() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    stage.may_be_gone();
    stage.server.kill();
    stage.server.forget();
    stage.server.restart().await;
    let gone = stage.vanished().await;
    assert!(gone.fair <= CONVERGED, "what is gone is gone: {gone:?}");
    stage.write();
    assert_converges(&mut stage, CONVERGED + absence(), "the loss").await;
    stage.end("emptied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_comes_back_empty_and_the_guard_keeps_what_was_there() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::On).await;
    // The cache is not guarded: what it reads on demand is as etcd says. The mirror is.
    stage.only_the_cache_may_lose();
    stage.server.kill();
    stage.server.forget();
    stage.server.restart().await;
    stage.pass(Duration::from_secs(3)).await;
    assert_eq!(stage.mirrored_services(), stage::SERVICES);
    assert_eq!(stage.guard.held(), stage::SERVICES * stage::INSTANCES);
    stage.may_be_gone();
    stage.guard.confirm();
    let gone = stage.vanished().await;
    assert!(gone.fair <= CONVERGED, "an operator said so: {gone:?}");
    stage.write();
    assert_converges(&mut stage, CONVERGED + absence(), "the confirmation").await;
    stage.end("guarded").await;
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp is there");
    assert!(copied.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_set_back_to_what_it_was_and_its_revisions_begin_again_from_there() {
    let _room = room().await;
    let mut stage = Stage::set(Mode::Warn).await;
    stage.write();
    stage.server.kill();
    let (folder, then) = (tempfile::tempdir().expect("a folder"), stage.generation());
    let backup = folder.path().join("data");
    copy(&stage.server.data(), &backup);
    stage.server.restart().await;
    for _ in 0..5 {
        stage.write();
    }
    assert_converges(&mut stage, CONVERGED, "a kill").await;
    stage.server.kill();
    stage.server.forget();
    copy(&backup, &stage.server.data());
    stage.go_back(then);
    stage.server.restart().await;
    assert_converges(&mut stage, CONVERGED, "the restoration").await;
    stage.write();
    assert_converges(&mut stage, CONVERGED, "a write after that").await;
    stage.end("set back").await;
}
