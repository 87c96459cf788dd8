//! A cache in front of an HTTP server: its `Cache-Control: max-age` becomes the value's ttl, and while it
//! is down the last good answer is served with its age and the error beside it.
//!
//!     cargo run -p larder-cache --example http_origin
//!
//! The server is in here too, and so is as much of HTTP as this takes: the cache knows none.

use std::error::Error;
use std::io;
use std::time::Duration;

use larder_cache::{Attempt, Cache, Fetched, Fresh, Options, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Asks one server for paths.
struct Origin {
    address: std::net::SocketAddr,
}

impl Source for Origin {
    type Key = String;
    type Value = String;
    type Error = io::Error;

    async fn fetch(&self, path: &String, _: Attempt<String>) -> io::Result<Fetched<String>> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        if head.starts_with("HTTP/1.0 404") {
            return Ok(Fetched::Absent { remember_for: None });
        }
        let fresh = Fresh::new(body.to_owned());
        Ok(match max_age(head) {
            Some(ttl) => fresh.ttl(ttl).into(),
            None => fresh.into(),
        })
    }
}

fn max_age(head: &str) -> Option<Duration> {
    let (_, rest) = head.split_once("max-age=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(Duration::from_secs)
}

/// Answers each request with how many there have been.
async fn serve(listener: TcpListener) -> io::Result<()> {
    for request in 1.. {
        let (mut stream, _) = listener.accept().await?;
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await?;
        let body = format!("answer number {request}");
        let answer = format!("HTTP/1.0 200 OK\r\nCache-Control: max-age=1\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = Origin { address: listener.local_addr()? };
    let server: JoinHandle<io::Result<()>> = tokio::spawn(serve(listener));
    let cache = Cache::new(origin, Options::default())?;
    let path = "/greeting".to_owned();

    for _ in 0..3 {
        let reply = cache.get(&path).await?;
        println!("{:?}, {:?} old, {:?}", *reply, reply.age(), reply.origin());
    }
    println!("-- a second later it is no longer fresh");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    println!("{:?}", *cache.get(&path).await?);

    println!("-- the server goes away");
    server.abort();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let reply = cache.get(&path).await?;
    println!("{:?}, {:?} old, because: {}", *reply, reply.age(), reply.error().ok_or("no error")?);

    cache.close().await;
    Ok(())
}
