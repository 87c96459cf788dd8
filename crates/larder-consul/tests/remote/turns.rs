//! More keys than connections: all stay fresh, and no copy says that it is younger than it is.

use std::time::{Duration, Instant};

use larder_consul::client;
use larder_consul::remote;

use crate::support::{Front, Upstream, cached, health, text};

/// Seven for queries that wait, and one for what is answered at once.
const CONNECTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "ages are compared with the time that really passed")]
async fn forty_keys_take_turns_at_seven_connections_and_all_stay_fresh() {
    let upstream = Upstream::start();
    let services: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    let path = |service: &str| format!("/v1/health/service/{service}");
    for service in &services {
        upstream.stage.set(&path(service), 7, "[0]");
    }
    let options = client::Options { max_connections: CONNECTIONS, ..upstream.options() };
    let front = Front::with(&options, remote::Options::default());
    for service in &services {
        front.read(&health(service), &cached()).await.expect("it is there");
    }
    for round in 1_u64..3 {
        let changed = Instant::now();
        let body = format!("[{round}]");
        // A few of them: an answer ends a turn, and if all had one there would be turns for everybody.
        let few: Vec<_> = services.iter().skip(3).step_by(9).collect();
        for service in &few {
            upstream.stage.set(&path(service), 7 + round, &body);
        }
        for service in few {
            loop {
                let asked = changed.elapsed();
                let read = front.read(&health(service), &cached()).await.expect("it is there");
                if text(&read) == body {
                    break;
                }
                // It was changed that long ago, so that nobody has vouched for the old copy since; what is on
                // its way when the copy is read may be.
                assert!(read.age + Duration::from_secs(1) >= asked, "{:?} < {asked:?}", read.age);
                assert!(changed.elapsed() < Duration::from_secs(15), "{service} is not fresh");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    let most = upstream.stage.most_connections();
    // One that was cut is counted until the agent has noticed.
    assert!(most <= CONNECTIONS + 2, "{most} connections at a time");
    front.agent.close().await;
}
