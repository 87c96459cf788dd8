//! Jobs that run somewhere else, followed until each has ended: what flyte's `AutoRefresh` cache is for.
//! The job server is asked about up to 25 jobs at a time, ten times a second at most, and is away for a
//! while in the middle.
//!
//!     cargo run -p larder-cache --example remote_jobs

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder_cache::{
    AutoRefresh, AutoRefreshOptions, Batches, OneSynced, Rate, SyncSource, Synced, Tracked,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

const JOBS: u32 = 200;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Job {
    Running { percent: u8 },
    Done,
    Failed,
}

/// The client of the job server: one line with ids out, one line with their states back.
struct JobServer(SocketAddr);

impl SyncSource for JobServer {
    type Id = u32;
    type Item = Job;
    type Error = io::Error;

    async fn sync(&self, batch: Vec<(u32, Tracked<Job>)>) -> io::Result<Vec<OneSynced<Self>>> {
        let mut stream = TcpStream::connect(self.0).await?;
        let ids: Vec<String> = batch.iter().map(|(id, _)| id.to_string()).collect();
        stream.write_all(format!("{}\n", ids.join(" ")).as_bytes()).await?;
        let mut line = String::new();
        if BufReader::new(stream).read_line(&mut line).await? == 0 {
            // Silence is no answer: without this, every job would count as unchanged.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answers = batch.iter().zip(line.split_whitespace());
        Ok(answers.map(|((id, job), state)| (*id, read(state, **job))).collect())
    }

    fn is_terminal(&self, _: &u32, job: &Job) -> bool {
        !matches!(job, Job::Running { .. })
    }
}

fn read(state: &str, before: Job) -> io::Result<Synced<Job>> {
    let job = match state {
        "done" => Job::Done,
        "failed" => Job::Failed,
        percent => Job::Running { percent: percent.parse().map_err(io::Error::other)? },
    };
    Ok(if job == before { Synced::Unchanged } else { Synced::Updated(job) })
}

/// The other side: each job goes on a little whenever it is looked at, and every tenth fails half-way.
async fn serve(listener: TcpListener, is_away: Arc<AtomicBool>) -> io::Result<()> {
    let mut percents = vec![0_u8; JOBS as usize];
    loop {
        let (stream, _) = listener.accept().await?;
        if is_away.load(Ordering::Relaxed) {
            continue;
        }
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let mut states = Vec::new();
        for id in line.split_whitespace().filter_map(|id| id.parse::<usize>().ok()) {
            let percent = &mut percents[id];
            *percent = (*percent + if id % 2 == 0 { 7 } else { 10 }).min(100);
            states.push(match *percent {
                50.. if id % 10 == 3 => "failed".to_owned(),
                100 => "done".to_owned(),
                percent => percent.to_string(),
            });
        }
        stream.write_all(format!("{}\n", states.join(" ")).as_bytes()).await?;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = JobServer(listener.local_addr()?);
    let is_away = Arc::new(AtomicBool::new(false));
    let serving = tokio::spawn(serve(listener, Arc::clone(&is_away)));

    let jobs = AutoRefresh::new(
        server,
        AutoRefreshOptions {
            period: Duration::from_millis(400),
            batches: Batches::by_size(25),
            refresh_rate: Some(Rate { burst: 5, per_second: 30.0 }),
            workers: 4,
            ..AutoRefreshOptions::default()
        },
    )?;
    jobs.start()?;
    for id in 0..JOBS {
        jobs.get_or_create(&id, Job::Running { percent: 0 })?;
    }
    for frame in 0.. {
        // Away from the second second to the fourth.
        is_away.store((20..40).contains(&frame), Ordering::Relaxed);
        let states: Vec<Job> = (0..JOBS).filter_map(|id| jobs.get(&id).map(|job| *job)).collect();
        draw(&states, jobs.stats().backing_off)?;
        if states.iter().all(|job| !matches!(job, Job::Running { .. })) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let stats = jobs.stats();
    println!("\n{} syncs for {} answers, {} failures", stats.syncs, stats.updated, stats.failed);
    jobs.close().await;
    serving.abort();
    Ok(())
}

/// One line, drawn over the last one.
fn draw(jobs: &[Job], backing_off: u64) -> io::Result<()> {
    let percent = |job: &Job| match job {
        Job::Running { percent } => u32::from(*percent),
        Job::Done | Job::Failed => 100,
    };
    let done = jobs.iter().map(percent).sum::<u32>() / JOBS;
    let count = |wanted: Job| jobs.iter().filter(|job| **job == wanted).count();
    let bar = "#".repeat(done as usize / 2);
    print!(
        "\r[{bar:-<50}] {done:3} %  {:3} done, {:2} failed, {backing_off:3} not reached ",
        count(Job::Done),
        count(Job::Failed)
    );
    io::stdout().flush()
}
