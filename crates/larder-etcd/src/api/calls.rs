//! One call to one server, and one stream.

use futures_util::stream::{self, BoxStream};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{LeaseKeepAliveRequest, LeaseKeepAliveResponse, WatchRequest, WatchResponse};

/// The largest answer that is taken. A page of a listing and one turn of a watch are far below it,
/// unless values are close to the megabyte and a half that etcd allows.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What etcd gave for a name and a password, to be sent along with every call. Marked as sensitive, so
/// that nothing prints it.
pub(crate) type Token = MetadataValue<Ascii>;

/// The answers of a stream.
pub(crate) type Stream = Streaming<WatchResponse>;

/// What a keep-alive found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// The lease begins again.
    Renewed,
    /// There is no such lease.
    Lost,
}

/// Calls the method at `path`, once. Without a bound in time: that is the caller's.
pub(crate) async fn unary<Q, A>(
    channel: Channel,
    token: Option<&Token>,
    path: &'static str,
    question: Q,
) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = ready(channel).await?;
    let codec = ProstCodec::<Q, A>::default();
    let path = PathAndQuery::from_static(path);
    Ok(grpc.unary(with_token(Request::new(question), token), path, codec).await?.into_inner())
}

/// Renews a lease, once.
pub(crate) async fn keep_alive(
    channel: Channel,
    token: Option<&Token>,
    id: i64,
) -> Result<KeepAlive, Status> {
    let mut grpc = ready(channel).await?;
    let codec = ProstCodec::<LeaseKeepAliveRequest, LeaseKeepAliveResponse>::default();
    let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
    // The stream ends with its only question; the server answers it all the same.
    let question = stream::iter([LeaseKeepAliveRequest { id }]);
    let asked = with_token(Request::new(question), token);
    let mut answers = grpc.streaming(asked, path, codec).await?.into_inner();
    match answers.message().await? {
        Some(answer) if answer.ttl > 0 => Ok(KeepAlive::Renewed),
        Some(_) => Ok(KeepAlive::Lost),
        None => Err(Status::new(Code::Unavailable, "the server ended the keep-alive unanswered")),
    }
}

/// Opens a watch, whose questions come from `questions`.
pub(crate) async fn watch(
    channel: Channel,
    token: Option<&Token>,
    questions: mpsc::Receiver<WatchRequest>,
) -> Result<Stream, Status> {
    let mut grpc = ready(channel).await?;
    let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    let asked = with_token(Request::new(drain(questions)), token);
    Ok(grpc.streaming(asked, path, codec).await?.into_inner())
}

async fn ready(channel: Channel) -> Result<Grpc<Channel>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    Ok(grpc)
}

fn with_token<T>(mut request: Request<T>, token: Option<&Token>) -> Request<T> {
    if let Some(token) = token {
        request.metadata_mut().insert("token", token.clone());
    }
    request
}

fn drain<T: Send + 'static>(questions: mpsc::Receiver<T>) -> BoxStream<'static, T> {
    Box::pin(stream::unfold(questions, async |mut questions| {
        questions.recv().await.map(|question| (question, questions))
    }))
}
