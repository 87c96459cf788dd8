//! What an upstream refuses is handed on, and copies do not outlive the token that they were read by.

use std::time::Duration;

use larder_consul::question::Endpoint;
use larder_consul::remote::Unanswered;
use larder_consul::terms::Terms;

use crate::support::{Front, Mood, Upstream, about, cached, health, text, until};

const WEB: &str = "/v1/health/service/web";

fn status(answer: Result<larder_consul::remote::Read, Unanswered>) -> (u16, String) {
    match answer {
        Err(Unanswered::Refused(answer) | Unanswered::Failed(answer)) => {
            (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_loses_its_copies_and_nobody_elses() {
    let upstream = Upstream::start();
    for path in [WEB, "/v1/health/service/db"] {
        upstream.stage.set(path, 7, "[1]");
    }
    let front = Front::of(&upstream);
    let web = |token| about(Endpoint::Health("web".into()), token);
    let db = about(Endpoint::Health("db".into()), "bad");
    for question in [&web("good"), &web("bad"), &db] {
        front.read(question, &cached()).await.expect("it may be read");
    }
    until("each has its query", || upstream.stage.parked(WEB) == 2).await;
    let waiting = front.park(&web("bad"), 7);
    until("it is parked", || front.agent.stats().0.parked == 1).await;
    upstream.stage.refuse("bad");
    assert_eq!(status(waiting.await.expect("it ran")), (403, "ACL not found".to_owned()));
    until("its copies have left", || front.agent.stats().0.entries == 1).await;
    assert_eq!(status(front.read(&web("bad"), &cached()).await).0, 403);
    assert_eq!(status(front.read(&db, &cached()).await).0, 403);
    let good = front.read(&web("good"), &cached()).await.expect("it may still be read");
    assert!(good.from_cache);
    let asked = upstream.stage.asked(WEB);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(upstream.stage.asked(WEB), asked, "nobody asks with it any more");
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_never_crosses_a_token() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    for (times, token) in ["", "a", "b"].into_iter().enumerate() {
        let question = about(Endpoint::Health("web".into()), token);
        let read = front.read(&question, &cached()).await.expect("it may be read");
        assert!(!read.from_cache, "it is the first of its token");
        until("it is asked", || upstream.stage.asked(WEB) > times).await;
    }
    let heard = upstream.stage.heard();
    for token in ["a", "b"] {
        assert!(heard.iter().any(|line| line.ends_with(&format!(" {token}"))), "{heard:?}");
    }
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_upstream_says_is_wrong_is_told_as_it_said_it_and_not_from_a_copy() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    front.read(&health("web"), &Terms::default()).await.expect("it is there");
    upstream.stage.be(Mood::Answers(400, "Invalid filter"));
    let told = status(front.read(&health("web"), &Terms::default()).await);
    assert_eq!(told, (400, "Invalid filter".to_owned()));
    assert_eq!(status(front.read(&health("other"), &cached()).await).0, 400);
    upstream.stage.be(Mood::Well);
    upstream.stage.set("/v1/health/service/other", 8, "[2]");
    let mut answer = front.read(&health("other"), &Terms::default()).await;
    for _ in 0..40 {
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = front.read(&health("other"), &Terms::default()).await;
    }
    assert_eq!(text(&answer.expect("a refusal is not kept for long")), "[2]");
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_too_many_clients_is_told_so_where_there_is_no_copy() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    front.read(&health("web"), &Terms::default()).await.expect("it is there");
    upstream.stage.be(Mood::Answers(429, "too many"));
    let copy = front.read(&health("web"), &Terms::default()).await.expect("the last good copy");
    assert!(copy.stale.is_some());
    assert_eq!(status(front.read(&health("other"), &Terms::default()).await).0, 429);
    front.agent.close().await;
}
