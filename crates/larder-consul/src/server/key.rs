//! Keys and their values: `kv/:key`.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::body::receive;
use super::read::{Contact, Looked};
use super::refusal::Refusal;
use super::respond::{self, About};
use super::{Consul, asked, printed};
use crate::kv::{Delete, Entry, Put, Read, Refused, Scope};
use crate::question::{Endpoint, KvForm, Question};
use crate::wire::DirEntry;

impl Consul {
    pub(super) async fn key(
        &self,
        key: Box<str>,
        parts: Parts,
        body: Body,
    ) -> Result<Response, Refusal> {
        match parts.method {
            // Apart, so that it takes no room in the reads that wait.
            Method::PUT => Box::pin(self.put(&key, &parts, body)).await,
            Method::DELETE => self.delete(&key, &parts),
            _ => self.read(Endpoint::Kv(key), parts).await,
        }
    }

    async fn put(&self, key: &str, parts: &Parts, body: Body) -> Result<Response, Refusal> {
        let put = Put::of(&asked(parts)?)?;
        let value = receive(body, self.options.kv.max_value, self.options.body_time).await?;
        Ok(done(self.kv.put(key, &value, put)?))
    }

    fn delete(&self, key: &str, parts: &Parts) -> Result<Response, Refusal> {
        let delete = Delete::of(&asked(parts)?)?;
        if key.is_empty() && delete != Delete::Prefix {
            return Err(missing_key());
        }
        Ok(done(self.kv.delete(key, delete)))
    }

    /// What the store has. Waits until the index has passed `past`, or for `wait`.
    pub(super) async fn look_up(
        &self,
        key: &str,
        question: &Question,
        past: u64,
        wait: Duration,
    ) -> Result<Looked, Refusal> {
        let form = &question.selection.kv;
        let scope = match form {
            KvForm::Entry | KvForm::Raw if key.is_empty() => return Err(missing_key()),
            KvForm::Entry | KvForm::Raw => Scope::Key(key.into()),
            KvForm::Recurse | KvForm::Keys { .. } => Scope::Prefix(key.into()),
        };
        // Cancel-safe: a place is left when it is dropped.
        if let Ok(refused) = tokio::time::timeout(wait, self.kv.wait(&scope, past)).await {
            refused?;
        }
        let pretty = question.selection.pretty;
        let (index, found) = match form {
            KvForm::Entry => self.kv.get(key).found(|entry| printed(&[dir_entry(entry)], pretty)),
            KvForm::Raw => self.kv.get(key).found(|entry| Ok(entry.value.clone())),
            KvForm::Recurse => {
                let Read { value, index } = self.kv.list(key);
                let entries: Vec<_> = value.iter().map(dir_entry).collect();
                (index, (!entries.is_empty()).then(|| printed(&entries, pretty)))
            }
            KvForm::Keys { separator } => {
                let Read { value, index } = self.kv.keys(key, separator);
                // As with Consul: who asks for all keys is told that there are none.
                let is_there = key.is_empty() || !value.is_empty();
                (index, is_there.then(|| printed(&value, pretty)))
            }
        };
        let is_raw = *form == KvForm::Raw && found.is_some();
        let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        Ok(Looked {
            status,
            headers: headers(is_raw, found.is_some()),
            body: found.transpose()?.unwrap_or_default(),
            index,
            age: Duration::ZERO,
            // What this server keeps itself is as good as cached.
            is_hit: true,
            contact: Contact::Now,
        })
    }
}

impl Read<Option<Entry>> {
    fn found<T>(&self, print: impl FnOnce(&Entry) -> T) -> (u64, Option<T>) {
        (self.index, self.value.as_ref().map(print))
    }
}

fn dir_entry(entry: &Entry) -> DirEntry<'_> {
    DirEntry {
        lock_index: 0,
        key: (&*entry.key).into(),
        flags: entry.flags,
        value: (&*entry.value).into(),
        session: "".into(),
        create_index: entry.create_index,
        modify_index: entry.modify_index,
    }
}

/// A value is whatever somebody put there: a browser must not take it for a page.
fn headers(is_raw: bool, is_there: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if is_raw {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    } else if is_there {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers
}

fn done(is_done: bool) -> Response {
    respond::json(if is_done { "true" } else { "false" }, About::NOTHING)
}

fn missing_key() -> Refusal {
    Refusal::invalid("Missing key name")
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::new(refused.status(), refused.to_string())
    }
}
