//! A handler that answers with bytes which never change: what is left for a server to lose.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use larder_bench::consul::read;
use larder_bench::http::{Connection, Reply};
use tokio::sync::watch;

/// What the connection adds by itself, or has to.
const OF_THE_CONNECTION: [&str; 4] = ["date", "content-length", "connection", "transfer-encoding"];

#[derive(Clone)]
struct Fixed {
    headers: HeaderMap,
    body: Bytes,
    changed: watch::Sender<()>,
}

/// Serves what a server answers now to a read of this path, with the same headers. A query with an index waits
/// until something is put, whatever it is.
pub(crate) async fn serve(server: &str, path: &str) {
    let server = server.parse().expect("an address");
    let reply = Connection::open(server).await.ask(&read(path)).await;
    assert_eq!(reply.status, 200, "{path}");
    let (changed, headers) = (watch::Sender::new(()), headers(&reply));
    let fixed = Fixed { headers, body: reply.body.into(), changed };
    let router = Router::new().fallback(answer).with_state(fixed);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("listening on http://{}", listener.local_addr().expect("it is bound"));
    axum::serve(listener, router).await.expect("it serves");
}

fn headers(reply: &Reply) -> HeaderMap {
    let ours = reply.headers().filter(|(name, _)| {
        OF_THE_CONNECTION.iter().all(|other| !name.eq_ignore_ascii_case(other))
    });
    ours.map(|(name, value)| {
        let name = HeaderName::try_from(name).expect("it was one");
        (name, HeaderValue::try_from(value).expect("it was one"))
    })
    .collect()
}

async fn answer(State(fixed): State<Fixed>, method: Method, uri: Uri) -> (HeaderMap, Bytes) {
    if method == Method::PUT {
        fixed.changed.send_replace(());
        return (HeaderMap::new(), Bytes::new());
    }
    if uri.query().is_some_and(|query| query.contains("index=")) {
        let mut changes = fixed.changed.subscribe();
        changes.changed().await.expect("the sender lives as long as the server");
    }
    (fixed.headers, fixed.body)
}
