//! Telling peers that a key was removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;

use crate::client::{Client, Question};
use crate::group::TellError;
use crate::pool::{Members, Shared};
use crate::wire::answer::text;
use crate::wire::path::path;

/// Tells these members, all at once, to forget `key`; returns those who could not be told. `past_owner` says
/// that the owner is one of those, so that the others load past it for a while.
pub(crate) async fn tell(
    pool: &Shared,
    members: &Members,
    group: &str,
    key: &[u8],
    to: &BTreeSet<String>,
    past_owner: bool,
) -> BTreeMap<String, TellError> {
    let options = &pool.options;
    let path = path(&options.base_path, group, key, options.mode.escape());
    let tombstone = past_owner.then_some(options.tombstone.as_secs());
    let question = Question { tombstone, ..Question::new(Method::DELETE, path, Bytes::new()) };
    let chosen = members.others().filter(|(name, _)| to.contains(*name));
    let told = chosen.map(|(name, client)| {
        let question = question.clone();
        async move { (name.to_owned(), done(client, question).await) }
    });
    let told = join_all(told).await.into_iter();
    told.filter_map(|(name, told)| told.err().map(|error| (name, error))).collect()
}

/// Asks a peer to do something, and not for a value.
pub(super) async fn done(client: &Arc<Client>, question: Question) -> Result<(), TellError> {
    let answer = client.call(question).await?;
    match answer.status {
        200 => Ok(()),
        status => Err(TellError::Refused(status, text(&answer.body))),
    }
}
